"""What one generator class can do, read from the class itself: tags, options, options of ``encode``, parameters."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

if TYPE_CHECKING:
    from augment.generator import Generator, ImageSpec

COUNTED_ON = (1, 28, 28, 10)
"""Channels, height, width and classes for which parameters are counted."""

REQUIRED = inspect.Parameter.empty
"""Stands for the default of an ``encode`` option that has none."""


@dataclass(frozen=True)
class EncodeOption:
    """A keyword-only option of ``encode``; default: as JSON holds it, None where it has to be given."""

    name: str
    type: str
    default: Any
    required: bool


@dataclass(frozen=True)
class ModelOption:
    """A field of a generator's config; allowed: the range of a number in words.  common: every generator has it."""

    name: str
    type: str
    allowed: str
    default: Any
    required: bool
    common: bool
    description: str


@dataclass(frozen=True)
class Capabilities:
    """Everything a listing shows of a class; nothing of one that cannot be imported.

    tags: of :class:`augment.generator.Tags`.  encode: its docstring.  parameters: None where ``parameters_problem``
    says why they could not be counted.  options: what the class itself declares first, then its parents', then those
    of every generator.
    """

    family: str = ""
    description: str = ""
    tags: Mapping[str, bool] = field(default_factory=dict)
    encode: str = ""
    encode_options: tuple[EncodeOption, ...] = ()
    parameters: int | None = None
    parameters_problem: str | None = None
    options: tuple[ModelOption, ...] = ()

    def able(self) -> list[str]:
        """The tags that hold."""
        return [name for name, value in self.tags.items() if value]


def describe(cls: type[Generator]) -> Capabilities:
    """What ``cls`` can do; builds it once, without weights where that is possible."""
    from pydantic_core import to_jsonable_python

    parameters, problem = count_parameters(cls)
    encode = [
        EncodeOption(
            name,
            type=type_name(cls.encode.__annotations__.get(name, "")),
            default=None if default is REQUIRED else to_jsonable_python(default, fallback=str),
            required=default is REQUIRED,
        )
        for name, default in encode_options(cls).items()
    ]
    return Capabilities(
        family=cls.family,
        description=inspect.cleandoc(cls.__doc__ or ""),
        tags=asdict(cls.tags),
        encode=inspect.cleandoc(cls.encode.__doc__ or ""),
        encode_options=tuple(encode),
        parameters=parameters,
        parameters_problem=problem,
        options=_options(cls),
    )


def encode_options(cls: type[Generator]) -> dict[str, Any]:
    """Keyword-only options of ``cls.encode`` with their defaults; :data:`REQUIRED` where there is none."""
    parameters = inspect.signature(cls.encode).parameters.values()
    return {one.name: one.default for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY}


def count_parameters(cls: type[Generator]) -> tuple[int | None, str | None]:
    """Numbers in a default model's parameters at :data:`COUNTED_ON`, or None and why it cannot be built there.

    Built on the meta device, which allocates and draws nothing; on the CPU where a constructor needs real values.
    The global random state stays as it was.
    """
    import torch

    from augment.generator import ImageSpec

    spec, problem = ImageSpec(*COUNTED_ON), ""
    for device in ("meta", "cpu"):
        try:
            with torch.random.fork_rng(devices=[]), torch.device(device):
                return _built(cls, spec), None
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
    return None, problem


def _built(cls: type[Generator], spec: ImageSpec) -> int:
    generator = cls(cls.Config.parse({}), spec)
    return sum(parameter.numel() for parameter in generator.parameters())


def _options(cls: type[Generator]) -> tuple[ModelOption, ...]:
    from augment.generator import GeneratorConfig

    defaults = cls.Config.model_construct().model_dump(mode="json")
    schema = cls.Config.model_json_schema()["properties"]
    options = [
        ModelOption(
            name,
            type=type_name(declared.annotation),
            allowed=_bounds(schema[name]),
            default=defaults.get(name),
            required=declared.is_required(),
            common=name in GeneratorConfig.model_fields,
            description=declared.description or "",
        )
        for name, declared in cls.Config.model_fields.items()
    ]
    own = inspect.get_annotations(cls.Config)
    return tuple(sorted(options, key=lambda option: (option.common, option.name not in own)))


def _bounds(schema: Mapping[str, Any]) -> str:
    """The range of a number as words, empty where there is none."""
    keys = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
    low, high, above, below, step = (_whole(schema.get(key)) for key in keys)
    parts = [f"{low} to {high}"] if low is not None and high is not None else []
    if not parts:
        parts += [f"at least {low}"] if low is not None else []
        parts += [f"at most {high}"] if high is not None else []
    parts += [f"above {above}"] if above is not None else []
    parts += [f"below {below}"] if below is not None else []
    return ", ".join([*parts, *([f"a multiple of {step}"] if step is not None else [])])


def _whole(bound: float | None) -> float | None:
    """0 for 0.0, as releases of pydantic differ in which of them they write."""
    return int(bound) if isinstance(bound, float) and bound.is_integer() else bound


def type_name(annotation: Any) -> str:
    """A type as a person reads it: ``int``, or the values to choose from."""
    if get_origin(annotation) is Literal:
        return " | ".join(str(value) for value in get_args(annotation))
    if isinstance(annotation, UnionType) or get_origin(annotation) is Union:
        return " or ".join(type_name(part) for part in get_args(annotation) if part is not type(None))
    if get_origin(annotation) is tuple:
        return f"list of {type_name(get_args(annotation)[0])}"
    if get_origin(annotation) is dict:
        return "mapping"
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)
