"""Checks of how a generator behaves towards what surrounds it: configuration, files, arguments, global state."""

from __future__ import annotations

import copy
import inspect
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from augment.errors import ConfigError, DataError
from augment.generator import Generator
from augment.testing.subject import Subject, changed, equal_weights, global_state, require, restore, rng


def check_constructor(subject: Subject) -> None:
    """``__init__(config, spec)`` keeps both, and draws its weights from torch's global RNG alone."""
    parameters = list(inspect.signature(subject.cls.__init__).parameters)[1:]
    require(
        parameters == ["config", "spec"], f"__init__ takes {parameters}", "(config, spec) and nothing else", "Generator"
    )
    before = global_state()
    first, second = subject.create(), subject.create()
    touched = changed(before) - {"torch's RNG"}
    restore(before)
    require(not touched, f"__init__ changed {sorted(touched)}", "global state left alone", "Generator")
    unchanged = first.config == subject.config and first.spec == subject.spec
    require(unchanged, "config or spec is not what was passed", "super().__init__(config, spec)", "Generator")
    same = equal_weights(first, second)
    require(same, "The same torch seed gave other weights", "weights that follow torch.manual_seed", "Generator")


def check_config(subject: Subject) -> None:
    """The configuration has a default for every option, survives JSON, is frozen and refuses unknown options."""
    where, config, cls = "GeneratorConfig", subject.config, subject.cls.Config
    cls.parse({})
    back = cls.parse(json.loads(json.dumps(config.model_dump(mode="json"))))
    require(back == config, f"{config!r} came back from JSON as {back!r}", "an equal configuration", where)
    require(bool(cls.model_config.get("frozen")), f"{cls.__name__} is not frozen", "a frozen configuration", where)
    refused = _raises(ConfigError, lambda: cls.parse({"no_such_option": 1}))
    require(refused, "parse accepted the unknown option no_such_option=1", "ConfigError", where)


def _raises(expected: type[Exception], call: Callable[[], object]) -> bool:
    try:
        call()
    except expected:
        return True
    return False


def check_save_load(subject: Subject) -> None:
    """A saved and loaded generator has the same configuration, samples and features, whatever the global seed."""
    generator, wants = subject.fitted(), "all state in parameters and buffers"
    with tempfile.TemporaryDirectory() as folder:
        generator.save(folder)
        torch.manual_seed(99)
        loaded = subject.cls.load(folder)
    equal = (loaded.config, loaded.spec) == (generator.config, generator.spec)
    require(equal, f"{generator.config!r} was loaded as {loaded.config!r}", "an equal one", "Generator.save")
    require(not loaded.training, "The loaded generator is in train mode", "eval mode", "Generator.load")
    x, loaded_x = (each.sample(6, subject.labels, rng=rng()) for each in (generator, loaded))
    require(torch.equal(x, loaded_x), "A loaded generator draws other images", wants, "Generator.save")
    z, loaded_z = generator.encode(subject.images), loaded.encode(subject.images)
    require(torch.equal(z, loaded_z), "A loaded generator gives other features", wants, "Generator.save")


def check_damaged_save(subject: Subject) -> None:
    """Loading a folder in which a file is truncated, a pickle, empty or missing raises DataError."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subject.fitted().save(folder)
        for file in (folder / "model.safetensors", folder / "config.json"):
            whole = file.read_bytes()
            for damage in (whole[: len(whole) // 2], b"\x80\x04}\x94.", b""):
                file.write_bytes(damage)
                _require_refusal(subject.cls, folder, f"{file.name} is {damage[:20]!r}, {len(damage)} bytes")
            file.unlink()
            _require_refusal(subject.cls, folder, f"{file.name} is missing")
            file.write_bytes(whole)


def _require_refusal(cls: type[Generator], folder: Path, damage: str) -> None:
    refused = _raises(DataError, lambda: cls.load(folder))
    require(refused, f"load accepted a folder in which {damage}", "augment.errors.DataError", "Generator.load")


def _calls(generator: Generator, images: Tensor, labels: Tensor) -> Iterator[tuple[str, Callable[[], object]]]:
    """Every public call by name; the two that change weights come last."""
    extended = cast(Any, generator)
    yield "sample", lambda: generator.sample(len(labels), labels, rng=rng())
    yield "encode", lambda: generator.encode(images)
    if generator.tags.reconstructs:
        yield "reconstruct", lambda: extended.reconstruct(images)
    if generator.tags.decodes:
        yield "decode", lambda: extended.decode(generator.encode(images))
    if generator.tags.likelihood:
        yield "log_prob", lambda: extended.log_prob(images)
    if generator.tags.edits:
        yield "sample_from", lambda: extended.sample_from(images, labels, 0.5, rng=rng())
    optimizers = generator.configure_optimizers()
    yield "training_step", lambda: generator.training_step(images, labels, optimizers)
    yield "after_training", lambda: torch.no_grad()(generator.eval().after_training)(images, labels)


_TRAINING = ("training_step", "after_training")


def check_global_state(subject: Subject) -> None:
    """No call touches global state; training alone may draw from torch's RNG, which the loop seeds."""
    for name, call in _calls(subject.fitted(), subject.images, subject.labels):
        before = global_state()
        call()
        touched = changed(before) - ({"torch's RNG"} if name in _TRAINING else set())
        restore(before)
        problem = f"{name} changed {sorted(touched)}"
        require(not touched, problem, "global state left alone; sample draws from its rng", "Generator")


def check_arguments(subject: Subject) -> None:
    """No call modifies the images or labels it was given."""
    images, labels = subject.images, subject.labels
    for name, call in _calls(subject.fitted(), images, labels):
        call()
        intact = torch.equal(images, subject.images) and torch.equal(labels, subject.labels)
        require(intact, f"{name} modified its arguments", "arguments left as they are", "Generator")


def check_modes(subject: Subject) -> None:
    """Outside training no call leaves a module in another mode, nor, in eval mode, a weight or buffer changed."""
    for training in (True, False):
        generator = subject.fitted().train(training)
        for name, call in _calls(generator, subject.images, subject.labels):
            if name in _TRAINING:
                continue
            modes, state = _modes(generator), copy.deepcopy(generator.state_dict())
            call()
            problem = (
                f"{name} left a module in another train/eval mode, or switched requires_grad (training={training})"
            )
            require(_modes(generator) == modes, problem, "modes as they were", "Generator")
            moved = [key for key, value in generator.state_dict().items() if not torch.equal(value, state[key])]
            unchanged = not moved or (training and name != "encode")
            require(unchanged, f"{name} changed {moved}", "weights and buffers as they were", "Generator")


def _modes(generator: Generator) -> list[bool]:
    return [module.training for module in generator.modules()] + [p.requires_grad for p in generator.parameters()]
