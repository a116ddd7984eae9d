"""What all studies ask of a person, and how an option is stated: once, as a field with its type, limits and help.

The command line, the keys of a study file, the Python interface, the key of a result and the line that repeats it are
all made from these fields. Imports no torch, so that ``--help`` does not wait for it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator
from pydantic.fields import FieldInfo

from augment.datasets.catalogue import DESCRIPTIONS
from augment.errors import (
    LARGEST_COUNT,
    LARGEST_SEED,
    LARGEST_SIDE,
    SMALLEST_SIDE,
    ConfigError,
    InvalidValue,
    invalid_values,
    unknown_name,
)
from augment.storage.locations import local_path

if TYPE_CHECKING:
    from augment.datasets import ImageSet
    from augment.progress import Reporter


@dataclass(frozen=True)
class Option:
    """How a setting is given.

    help: one line.  flag: its name on the command line and in study files, where that is not the field's.
    default: what a default of None means, for the help.  given: how a command line gives several values: the flag
    ``repeated``, one text with ``commas``, or ``pairs`` of key=value, the flag repeated.  decides: does the result
    depend on it?  whole: may its text hold a comma of its own?  file: is a path that of a file?  refused: why it is no
    key of a sweep.  complete: names that begin so, for the shell.
    """

    help: str
    flag: str = ""
    default: str = ""
    given: Literal["once", "repeated", "commas", "pairs"] = "once"
    decides: bool = True
    whole: bool = False
    file: bool = False
    refused: str = ""
    complete: Callable[[str], list[str]] | None = None


@dataclass(frozen=True)
class Setting:
    """A field of a config with its option."""

    name: str
    option: Option
    field: FieldInfo

    @property
    def flag(self) -> str:
        """``--imbalance-factor``."""
        return f"--{self.key.replace('_', '-')}"

    @property
    def key(self) -> str:
        """As a study file has it: ``imbalance_factor``."""
        return self.option.flag or self.name

    @property
    def kinds(self) -> tuple[Any, ...]:
        """The types that a value may have, None left out."""
        kind = self.field.annotation
        several = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
        plain = (get_args(one)[0] if get_origin(one) is Annotated else one for one in several)
        return tuple(one for one in plain if one is not type(None))

    @property
    def is_list(self) -> bool:
        """Is one value a list?"""
        return any(get_origin(kind) is tuple for kind in self.kinds)

    @property
    def numbers(self) -> bool:
        """Is it a list of whole numbers?"""
        return any(get_origin(kind) is tuple and int in get_args(kind) for kind in self.kinds)

    @property
    def words_instead(self) -> tuple[str, ...]:
        """Words that stand for a whole value, as ``auto``."""
        return tuple(word for kind in self.kinds if get_origin(kind) is Literal for word in get_args(kind))

    def limit(self, name: Literal["ge", "le", "gt"]) -> Any:
        """A bound of its numbers; None without one."""
        return next((getattr(one, name) for one in self.field.metadata if hasattr(one, name)), None)

    def words(self, value: Any) -> Iterator[list[str]]:
        """How a command line says this value, flag by flag; nothing for what it says by saying nothing."""
        if value is None or value is False:
            return
        if value is True:
            yield [self.flag]
        elif self.option.given == "pairs":
            yield from ([self.flag, f"{key}={_pair(each)}"] for key, each in value.items())
        elif self.option.given == "repeated":
            yield from ([self.flag, str(each)] for each in value)
        elif isinstance(value, list | tuple):
            yield [self.flag, ",".join(map(str, value)) or "none"]
        else:
            whole = isinstance(value, float) and value.is_integer()
            yield [self.flag, str(int(value)) if whole else str(value)]


def _pair(value: Any) -> str:
    """As ``--set`` reads it: JSON, or text where that is no JSON."""
    if isinstance(value, str):
        try:
            json.loads(value)
        except ValueError:
            return value
    return json.dumps(value)


def split_names(text: Any) -> Any:
    """Names separated by commas, each once; ``none`` and nothing are no names. What is no text stays."""
    if not isinstance(text, str):
        return text
    parts = [part.strip() for part in text.split(",")]
    return tuple(dict.fromkeys(part for part in parts if part and part != "none"))


def split_numbers(text: Any) -> Any:
    """Whole numbers separated by commas; raises ValueError for other text. What is no text stays."""
    if not isinstance(text, str):
        return text
    try:
        return tuple(int(part) for part in text.replace(" ", "").split(","))
    except ValueError:
        raise ValueError("write whole numbers separated by commas, like 400,200,100") from None


def class_names(given: Any) -> Any:
    """Names of classes, as :func:`split_names`; numbers are names, too, as JSON and YAML make of them."""
    if isinstance(given, list | tuple):
        return tuple(str(one) if isinstance(one, int | float) else one for one in given)
    return split_names(str(given) if isinstance(given, int | float) else given)


Names = Annotated[tuple[str, ...], BeforeValidator(split_names)]
ClassNames = Annotated[tuple[str, ...], BeforeValidator(class_names)]
Numbers = Annotated[tuple[int, ...], BeforeValidator(split_numbers)]


def complete_model(incomplete: str) -> list[str]:
    """Registered generators that begin so."""
    from augment.registry import registered

    return [name for name in registered() if name.startswith(incomplete)]


def complete_dataset(incomplete: str) -> list[str]:
    """Named data sets that begin so."""
    from augment.datasets.catalogue import DESCRIPTIONS

    return [name for name in DESCRIPTIONS if name.startswith(incomplete)]


MODEL = Option("A registered generator; see `augment models`.", complete=complete_model)
Size = Annotated[
    int | None, Field(ge=1, le=LARGEST_COUNT), Option("Training images in all.", default="all for natural, else 5000")
]
ImbalanceFactor = Annotated[float, Option("Largest over smallest class, for --regime high.")]
ClassCounts = Annotated[Numbers | None, Option("Explicit counts per class, separated by commas.", given="commas")]
"""How many training images of each class are drawn."""

DATASET = Option("A named data set, or a folder of images.", complete=complete_dataset, decides=False)


class StudyConfig(BaseModel):
    """Settings with the same names as the command line's options; checked before anything is loaded."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    called: ClassVar[str] = "study"
    """What a person calls it, for error messages."""

    dataset: Annotated[str, DATASET]
    data_dir: Annotated[
        Path | None, Option("Folder with the data set's files; looked at first.", decides=False, whole=True)
    ] = None
    image_size: Annotated[
        int | None,
        Field(ge=SMALLEST_SIDE, le=LARGEST_SIDE),
        Option("Resize an image folder to this many pixels, squared."),
    ] = None
    classes: Annotated[
        ClassNames, Option("Take these classes, separated by commas.", given="commas", default="all")
    ] = ()
    merge_classes: Annotated[
        dict[str, ClassNames],
        Option("Take several classes for one, as in healthy=a,b; repeatable.", given="pairs", whole=True),
    ] = Field(default_factory=dict)
    strict: Annotated[bool, Option("Refuse broken image files instead of skipping them.", decides=False)] = False
    options: Annotated[
        dict[str, Any], Option("A model's option as key=value; repeatable.", flag="set", given="pairs")
    ] = Field(default_factory=dict)
    seed: Annotated[int, Field(ge=0, le=LARGEST_SEED), Option("First seed.")] = 0
    steps: Annotated[int | None, Field(ge=1, le=LARGEST_COUNT), Option("Training steps of the generator.")] = None
    max_minutes: Annotated[
        float | None, Field(gt=0), Option("Stop the generator's training after this many minutes.")
    ] = None
    device: Annotated[str, Option("auto, cpu, cuda, cuda:1, mps.")] = "auto"
    precision: Annotated[str, Option("auto, fp32 or bf16.")] = "auto"
    tracker: Annotated[
        str | None,
        Option(
            "Keep curves and results for tensorboard, wandb or mlflow, in the run's folder `tracker`.", decides=False
        ),
    ] = None
    out: Annotated[Path, Option("Folder for run folders.", decides=False)] = Path("runs")
    resume: Annotated[
        bool,
        Option(
            "Go on with what was interrupted and reuse finished parts.",
            decides=False,
            refused="A sweep always goes on where it was; choose another name to begin anew.",
        ),
    ] = True
    offline: Annotated[bool, Option("Never try the network.", decides=False)] = False

    @field_validator("data_dir", "out")
    @classmethod
    def _usable(cls, path: Path | None) -> Path | None:
        return None if path is None else local_path(path)

    @field_validator("tracker")
    @classmethod
    def _known_tracker(cls, name: str | None) -> str | None:
        from augment.training.tracking import check_tracker

        return None if name is None else check_tracker(name)

    @classmethod
    def settings(cls) -> tuple[Setting, ...]:
        """All fields with their options: the data set, what this kind of study has, what all have."""
        return _settings(cls)

    @classmethod
    def deciding(cls) -> frozenset[str]:
        """Names of the settings that a result depends on."""
        return frozenset(setting.name for setting in cls.settings() if setting.option.decides)

    @classmethod
    def parse(cls, **values: Any) -> Self:
        """Validate; raises ConfigError that names the option and what is allowed."""
        try:
            found = cls(**values)
        except ValidationError as error:
            first = {problem.where[:1]: problem for problem in reversed(invalid_values(error))}
            raise ConfigError("\n".join(map(cls._explained, reversed(first.values())))) from None
        if found.offline:
            os.environ["HF_HUB_OFFLINE"] = "1"  # libraries that plugins load weights with read it
        return found

    @classmethod
    def _explained(cls, problem: InvalidValue) -> str:
        if not problem.where:  # of settings together
            return f"{problem.message}."
        name = str(problem.where[0])
        if problem.unknown:
            return unknown_name(f"setting of a {cls.called}", name, cls.model_fields)
        flag = next(one.flag for one in cls.settings() if one.name == name)
        return f"{flag} {problem.value}: {problem.message}."

    def words(self) -> list[list[str]]:
        """The options of a command line that asks for the same; all that decide, so that later defaults do not."""
        told = (setting for setting in self.settings() if setting.option.decides or setting.name == "dataset")
        return [words for setting in told for words in setting.words(getattr(self, setting.name))]

    @property
    def data_key(self) -> tuple[Any, ...]:
        """What the loaded data depend on."""
        merged = tuple((new, *members) for new, members in self.merge_classes.items())
        return self.dataset, self.data_dir, self.image_size, self.classes, merged, self.strict

    def load_data(self, reporter: Reporter) -> ImageSet:
        """The data set with the classes that are asked for.

        Raises the errors of :func:`augment.load_dataset` and :func:`~augment.datasets.classes.with_classes`.
        """
        from augment.datasets import load_dataset
        from augment.datasets.classes import with_classes

        reporter.stage(f"Load {self.dataset}")
        loaded = load_dataset(
            self.dataset,
            data_dir=self.data_dir,
            image_size=self.image_size,
            strict=self.strict,
            offline=self.offline,
            log=reporter.note,
        )
        data = with_classes(loaded, self.classes, self.merge_classes)
        return data if self.dataset in DESCRIPTIONS else _with_warnings(data, reporter)


def _with_warnings(data: ImageSet, reporter: Reporter) -> ImageSet:
    """A person's own data, with what they cannot tell, or tell wrongly, among their notes."""
    from augment.evidence.data_checks import told_before_training

    warnings = tuple(told_before_training(data.train, data.test, data.classes))
    for warning in warnings:
        reporter.note(warning)
    return replace(data, notes=(*data.notes, *warnings))


@cache
def _settings(cls: type[StudyConfig]) -> tuple[Setting, ...]:
    found = []
    for name, field in cls.model_fields.items():
        option = next((one for one in field.metadata if isinstance(one, Option)), None)
        assert option is not None, f"{cls.__name__}.{name} has no Option that says how it is given"
        found.append(Setting(name, option, field))
    common = {name: rank for rank, name in enumerate(StudyConfig.model_fields)}
    return tuple(sorted(found, key=lambda one: (one.name != "dataset", one.name in common, common.get(one.name, 0))))
