"""Checks of what a generator returns: images, features, likelihoods, and new images made from given ones."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from augment.errors import ConfigError
from augment.generator import SAMPLE_CHUNK, draw
from augment.testing.subject import Subject, require, require_images, rng


def check_sample(subject: Subject) -> None:
    """``sample`` returns exactly n finite float32 images in [0, 1], with labels and without."""
    generator = subject.fitted()
    for n in (0, 1, 5):
        labels = torch.arange(n) % subject.spec.num_classes
        require_images(generator.sample(n, labels, rng=rng()), n, subject.spec, f"sample({n}, labels)")
        require_images(generator.sample(n, rng=rng()), n, subject.spec, f"sample({n})")


def check_sample_seeded(subject: Subject) -> None:
    """All randomness of ``sample`` comes from ``rng``; without rng from torch's global one."""
    generator, where = subject.fitted(), "Generator.sample"
    for labels in (subject.labels, None):
        torch.manual_seed(1)
        first, unseeded = generator.sample(6, labels, rng=rng(1)), generator.sample(6, labels)
        torch.manual_seed(1)
        again = generator.sample(6, labels)
        require(torch.equal(unseeded, again), "rng=None ignored torch.manual_seed", "torch's global RNG then", where)
        again, other = generator.sample(6, labels, rng=rng(1)), generator.sample(6, labels, rng=rng(2))
        require(torch.equal(first, again), "One seed gave two sets of images", "all randomness from rng", where)
        require(not torch.equal(first, other), "Two seeds gave the same images", "randomness from rng", where)


def check_draw_shards(subject: Subject) -> None:
    """``draw`` gives a shard the images the whole has there: nothing carries over between calls of ``sample``."""
    labels = torch.arange(SAMPLE_CHUNK + 2) % subject.spec.num_classes
    whole = torch.cat(list(draw(subject.fitted(), labels, seed=3)))[SAMPLE_CHUNK:]
    shard = torch.cat(list(draw(subject.fitted(), labels[SAMPLE_CHUNK:], seed=3, first_chunk=1)))
    problem = "A chunk drawn alone differs from the same chunk drawn after another"
    require(
        torch.equal(whole, shard), problem, "images that depend on n, labels, rng and weights only", "Generator.sample"
    )


def check_encode(subject: Subject) -> None:
    """``encode(images)`` gives finite float32 features, one row per image, other rows for other images; no labels."""
    generator, where = subject.fitted(), "Generator.encode"
    options = list(inspect.signature(subject.cls.encode).parameters.values())[2:]
    wrong = [option.name for option in options if option.kind is not option.KEYWORD_ONLY or "label" in option.name]
    require(not wrong, f"encode also takes {wrong}", "images, then keyword-only options, never labels", where)
    for n in (1, 6):
        z = generator.encode(subject.images[:n])
        _require_features(z, n, f"encode({n} images)")
    require(len(torch.unique(z, dim=0)) > 1, "All images have the same features", "features of the image", where)


def _require_features(z: Tensor, n: int, what: str) -> None:
    where = "Generator.encode"
    require(z.ndim == 2 and len(z) == n, f"{what} has shape {tuple(z.shape)}", f"({n}, D)", where)
    require(z.dtype == torch.float32, f"Features are {z.dtype}", "float32", where)
    require(bool(torch.isfinite(z).all()), "Features are not finite", "finite ones", where)


def check_encode_rows(subject: Subject) -> None:
    """Row i of ``encode`` depends on image i alone: not on its place, the batch's size or its batch mates."""
    generator, images = subject.fitted(), subject.images
    z, order = generator.encode(images), torch.tensor([3, 0, 5, 1, 4, 2])
    for condition, expected, z_i in (
        ("in another order", z[order], generator.encode(images[order])),
        ("alone", z[2:3], generator.encode(images[2:3])),
        ("with other batch mates", z[:2], generator.encode(images[[0, 1, 5, 5]])[:2]),
    ):
        same = expected.shape == z_i.shape and torch.allclose(expected, z_i, rtol=1e-3, atol=1e-4)
        problem = f"The features of an image differ when it is encoded {condition}"
        require(same, problem, "each row to depend on its image alone", "Generator.encode")


def check_encode_deterministic(subject: Subject) -> None:
    """``encode`` gives the same features every time, in train mode too, and whatever the global seed."""
    generator = subject.fitted()
    torch.manual_seed(1)
    z = generator.encode(subject.images)
    for training in (False, True):
        torch.manual_seed(2)
        again = generator.train(training).encode(subject.images)
        problem = f"The features of the same images differ in a second call (training={training})"
        wants = "fixed noise, and eval mode inside (augment.generator.evaluating)"
        require(torch.allclose(z, again, rtol=1e-3, atol=1e-4), problem, wants, "Generator.encode")


def check_layers(subject: Subject) -> None:
    """``layers`` are what option ``layer`` takes, ``encode_layers`` gives what ``encode`` does; others: ConfigError."""
    generator, images, where = subject.fitted(), subject.images, "Generator.layers"
    encode, layers = cast(Any, generator.encode), generator.layers
    problem = f"layers is {layers}, and encode has {'an' if _has(subject, 'layer') else 'no'} option layer"
    require(bool(layers) == _has(subject, "layer"), problem, "both or neither", where)
    require(len(set(layers)) == len(layers), f"layers is {layers}", "every name once", where)
    if not layers:
        return
    for name in layers:
        refused = _refuses(partial(encode, images, layer=name))
        require(not refused, f"encode refuses layer={name!r}, one of layers", "names that encode takes", where)
    for name, z in zip(layers[::-1], generator.encode_layers(images, layers[::-1]), strict=True):
        _require_features(z, len(images), f"encode_layers of {name!r}")
        problem = f"encode_layers gives other features of {name!r} than encode(images, layer={name!r})"
        require(_alike(z, encode(images, layer=name)), problem, "the same", "Generator.encode_layers")
    for what, call in (
        ("encode", partial(encode, images, layer="no-such-layer")),
        ("encode_layers", partial(generator.encode_layers, images, ["no-such-layer"])),
    ):
        require(_refuses(call), f"{what} took the layer 'no-such-layer'", "ConfigError", where)


def check_timesteps(subject: Subject) -> None:
    """Option ``t`` of ``encode`` is there where ``timesteps`` > 0, takes 0 to ``timesteps - 1``, and refuses others."""
    generator, images, where = subject.fitted(), subject.images, "Generator.timesteps"
    encode, count = cast(Any, generator.encode), generator.timesteps
    problem = f"timesteps is {count}, and encode has {'an' if _has(subject, 't') else 'no'} option t"
    require((count > 0) == _has(subject, "t"), problem, "timesteps > 0 with that option, and 0 without", where)
    if not count:
        return
    for t in (0, count - 1):
        require(not _refuses(partial(encode, images, t=t)), f"encode refuses t={t}", f"t in 0..{count - 1}", where)
    for t in (-1, count):
        require(_refuses(partial(encode, images, t=t)), f"encode took t={t}", "ConfigError", where)
    moved = not _alike(encode(images, t=0), encode(images, t=count - 1))
    for name in generator.layers:
        z, (other,) = encode(images, layer=name, t=count - 1), generator.encode_layers(images, [name], t=count - 1)
        require(_alike(z, other), f"encode_layers of {name!r} loses t={count - 1}", "the options of encode", where)
        moved = moved or not _alike(encode(images, layer=name, t=0), z)
    require(moved, f"t=0 and t={count - 1} gave the same features in every layer", "a t that matters", where)


def _has(subject: Subject, option: str) -> bool:
    return option in inspect.signature(subject.cls.encode).parameters


def _refuses(call: Callable[[], object]) -> bool:
    try:
        call()
    except ConfigError:
        return True
    return False


def _alike(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-3, atol=1e-4)


def check_labels_change_sample(subject: Subject) -> None:
    """A conditional generator draws other images for other labels, all else equal."""
    generator, ones = subject.fitted(), torch.ones(6, dtype=torch.int64)
    zeroth, first = (generator.sample(6, labels, rng=rng()) for labels in (0 * ones, ones))
    problem = "Labels 0 and 1 gave the same images"
    require(not torch.equal(zeroth, first), problem, "labels that matter, or Tags(conditional=False)", "Tags")


def check_reconstruct(subject: Subject) -> None:
    """``reconstruct(images)`` returns one image in [0, 1] for each."""
    generator = cast(Any, subject.fitted())
    require_images(generator.reconstruct(subject.images), 6, subject.spec, "reconstruct(6 images)")


def check_decode(subject: Subject) -> None:
    """``decode`` takes what ``encode`` gives and returns one image in [0, 1] for each row."""
    generator = cast(Any, subject.fitted())
    require_images(generator.decode(generator.encode(subject.images)), 6, subject.spec, "decode(encode(6 images))")


def check_log_prob(subject: Subject) -> None:
    """``log_prob(images)`` returns one finite number for each image."""
    values = cast(Any, subject.fitted()).log_prob(subject.images)
    require(tuple(values.shape) == (6,), f"log_prob(6 images) has shape {tuple(values.shape)}", "(6,)", "Tags")
    require(bool(torch.isfinite(values).all()), "log_prob is not finite", "finite numbers", "Tags")


WHERE = "Tags"
WEAK, HALF, FULL = 0.1, 0.5, 1.0


def check_sample_from(subject: Subject) -> None:
    """``sample_from`` gives one float32 image in [0, 1] for each, at any strength in (0, 1], and refuses others."""
    for strength in (WEAK, HALF, FULL):
        for n in (0, 1, 6):
            images = _edited(subject, subject.images[:n], subject.labels[:n], strength)
            require_images(images, n, subject.spec, f"sample_from({n} images, labels, {strength})")
    for strength in (0.0, 1.1):
        try:
            _edited(subject, subject.images, subject.labels, strength)
        except ConfigError:
            continue
        require(False, f"sample_from took strength={strength}", "ConfigError outside (0, 1]", WHERE)


def check_sample_from_seeded(subject: Subject) -> None:
    """All randomness of ``sample_from`` comes from ``rng``; without rng from torch's global one."""
    inputs = subject.images, subject.labels, HALF
    first, again, other = (_edited(subject, *inputs, seed=seed) for seed in (1, 1, 2))
    require(torch.equal(first, again), "One seed gave two sets of images", "all randomness from rng", WHERE)
    require(not torch.equal(first, other), "Two seeds gave the same images", "randomness from rng", WHERE)
    unseeded = []
    for _ in range(2):
        torch.manual_seed(1)
        unseeded.append(_edited(subject, *inputs, seed=None))
    require(torch.equal(*unseeded), "rng=None ignored torch.manual_seed", "torch's global RNG then", WHERE)


def check_sample_from_rows(subject: Subject) -> None:
    """Image i of ``sample_from`` depends on image i, label i and the noise: not on batch mates or their classes."""
    images, labels = subject.images, subject.labels
    mates = torch.cat([images[:3], 1 - images[3:]]), torch.cat([labels[:3], 2 - labels[3:]])
    one, other = (_edited(subject, *inputs, HALF)[:3] for inputs in ((images, labels), mates))
    same = torch.allclose(one, other, rtol=1e-3, atol=1e-4)
    problem = "An image is edited to something else among other batch mates"
    require(same, problem, "each image to depend on its own image, label and noise", WHERE)


def check_sample_from_strength(subject: Subject) -> None:
    """A weak edit is nearer to the image it starts from than a full one."""
    images, labels = subject.images, subject.labels
    weak, full = (_distance(_edited(subject, images, labels, strength), images) for strength in (WEAK, FULL))
    problem = f"Strength {WEAK} moved images by {weak:.3g} (root mean square), strength {FULL:g} by {full:.3g}"
    require(weak < full, problem, "images that stay nearer the weaker the edit is", WHERE)


def check_labels_change_sample_from(subject: Subject) -> None:
    """A conditional generator makes other images for other labels of the same images."""
    ones = torch.ones_like(subject.labels)
    zeroth, first = (_edited(subject, subject.images, labels, FULL) for labels in (0 * ones, ones))
    problem = "Labels 0 and 1 gave the same images"
    require(not torch.equal(zeroth, first), problem, "labels that matter, or Tags(conditional=False)", WHERE)


def _edited(subject: Subject, images: Tensor, labels: Tensor, strength: float, *, seed: int | None = 0) -> Tensor:
    generator = subject.fitted()
    noise = None if seed is None else rng(seed)
    return cast(Tensor, generator.sample_from(images, labels, strength, rng=noise))  # type: ignore[operator]


def _distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).detach().square().mean().sqrt())
