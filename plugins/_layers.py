"""What built-ins of every kind share of their networks: the grid behind an image's pixels, and layers as features.

Features come from a pass that ends early, are pooled over positions, and see noise that images choose.
"""

from __future__ import annotations

import inspect
import zlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from augment.errors import ConfigError, ImageSizeError, unknown_name
from augment.generator import Generator, ImageSpec
from augment.seeds import torch_rng

SMALLEST, LARGEST = 8, 64
"""Pixels a side of the images that a grid is made for."""

ALL = "all"
"""Stands for all layers of a model, joined."""

CONTENT_LEVELS = 255
"""Largest value of the 8-bit pixels that stand for an image's content."""


@dataclass(frozen=True)
class Grid:
    """Geometry: images are padded to ``(rows * cell, columns * cell)`` pixels; a code has rows x columns cells."""

    height: int
    width: int
    rows: int
    columns: int
    cell: int

    @classmethod
    def of(cls, spec: ImageSpec, cell: int | None = None) -> Grid:
        """The grid for a size, at most 8 x 8 cells unless ``cell`` is given; ConfigError outside 8..64 pixels."""
        for side, pixels in (("height", spec.height), ("width", spec.width)):
            if not SMALLEST <= pixels <= LARGEST:
                raise ImageSizeError(
                    f"Image {side} is {pixels} pixels; this model takes {SMALLEST}..{LARGEST}.",
                    min(max(pixels, SMALLEST), LARGEST),
                )
        largest = max(spec.height, spec.width)
        cell = cell or (2 if largest <= 16 else 4 if largest <= 32 else 8)
        return cls(spec.height, spec.width, -(-spec.height // cell), -(-spec.width // cell), cell)

    @property
    def cells(self) -> int:
        """Number of cells."""
        return self.rows * self.columns

    def pad(self, images: Tensor) -> Tensor:
        """Repeat the last row and column until the image is a whole number of cells."""
        below, right = self.rows * self.cell - self.height, self.columns * self.cell - self.width
        return F.pad(images, (0, right, 0, below), mode="replicate") if below or right else images

    def crop(self, images: Tensor) -> Tensor:
        """Undo :meth:`pad`."""
        return images[..., : self.height, : self.width]


class ResidualBlock(nn.Module):
    """ReLU, 3x3 convolution, ReLU, 1x1 convolution, added to the input: the block of arXiv 1711.00937, section 4.1.

    Without normalisation, which costs as much as the convolutions here and brings nothing at this depth.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        inner, outer = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 1)
        self.body = nn.Sequential(nn.ReLU(), inner, nn.ReLU(), outer)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, width, h, w)`` to the same shape."""
        return x + self.body(x)  # type: ignore[no-any-return]


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Eval mode with gradients left as they are."""
    was_training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was_training)


def draw_labels(
    n: int, labels: Tensor | None, num_classes: int, rng: torch.Generator | None, device: torch.device
) -> Tensor:
    """``labels`` on the device, or classes drawn uniformly."""
    if labels is not None:
        return labels.to(device)
    return torch.randint(num_classes, (n,), generator=rng, device=device)


@torch.no_grad()
def settle_spectral_norms(module: nn.Module, iterations: int = 60) -> None:
    """Power iterations for the weights as they are now.

    Weights may be averages over training; the stored singular vectors, averaged too, are then neither of unit length
    nor those of the weights.
    """
    for part in module.modules():
        if isinstance(part, parametrize.ParametrizationList):
            was_training = part.training
            part.train()
            for _ in range(iterations):
                part()
            part.train(was_training)


@contextmanager
def standing_statistics(module: nn.Module) -> Iterator[None]:
    """Batch norms forget their running statistics and average, with equal weight, those of the batches seen inside.

    The statistics of averaged weights are not the averages of statistics: arXiv 1809.11096, section 3.
    """
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    momenta = [part.momentum for part in norms]
    was_training = [part.training for part in norms]
    for part in norms:
        part.reset_running_stats()
        part.momentum = None
        part.train()
    try:
        yield
    finally:
        for part, momentum, training in zip(norms, momenta, was_training, strict=True):
            part.momentum = momentum
            part.train(training)


class LayeredGenerator(Generator):
    """A generator whose ``encode`` has the options ``layer`` and ``pool``, which mean the same in every subclass.

    layer: one of :attr:`layers`, several of them with commas between, whose features are joined, or ``all``.  pool: see
    :func:`pooled`. A subclass has ``layers``, ``activations``, and an ``encode`` that calls :meth:`encode_layer`.
    """

    @abstractmethod
    def activations(self, images: Tensor, layers: Sequence[str], **options: Any) -> dict[str, Tensor]:
        """Maps ``(n, c, h, w)`` or vectors ``(n, D)`` of the named layers, from one pass that ends after the last.

        Called in eval mode. ``options`` are those of ``encode``, each of them, without ``layer`` and ``pool``.
        """

    def encode_layer(self, images: Tensor, layer: str, **options: Any) -> Tensor:
        """:meth:`encode_layers` with one name."""
        return self.encode_layers(images, [layer], **options)[0]

    def encode_layers(self, images: Tensor, layers: Sequence[str], **options: Any) -> list[Tensor]:
        """See :meth:`Generator.encode_layers`; all layers come out of one pass.

        Raises ConfigError for an unknown layer or option, and for what ``encode`` refuses.
        """
        joins = [self._names(layer) for layer in layers]
        pool, rest = self._options(options)
        wanted = [name for name in self.layers if any(name in join for join in joins)]
        with eval_mode(self):
            outputs = self.activations(images, wanted, **rest)
        features = {name: pooled(outputs[name], pool) for name in wanted}
        return [torch.cat([features[name] for name in join], dim=1) for join in joins]

    def _names(self, layer: str) -> Sequence[str]:
        names = self.layers if layer == ALL else layer.split(",")
        for name in names:
            if name not in self.layers:
                raise ConfigError(unknown_name("layer", name, (ALL, *self.layers)))
        return names

    def _options(self, given: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """``pool`` and the other options, with the defaults of ``encode`` for those that were not given."""
        parameters = inspect.signature(self.encode).parameters.values()
        options = {one.name: one.default for one in parameters if one.kind is one.KEYWORD_ONLY and one.name != "layer"}
        for name in given:
            if name not in options:
                raise ConfigError(unknown_name("option of encode_layers", name, options))
        options |= given
        pool = options.pop("pool")
        if pool < 1:
            raise ConfigError(f"pool is {pool}; it is at least 1, for the mean over all positions.")
        return pool, options


def pooled(activation: Tensor, pool: int) -> Tensor:
    """Means of a map ``(n, c, h, w)`` over a grid of ``pool`` x ``pool`` parts: ``(n, c * pool * pool)`` float32.

    1 is the mean over all positions. A side with fewer positions than ``pool`` is taken as it is, and so is what has no
    positions, ``(n, D)``.
    """
    if activation.ndim == 2:
        return activation.float()
    rows, columns = (min(pool, side) for side in activation.shape[2:])
    return F.adaptive_avg_pool2d(activation.float(), (rows, columns)).flatten(1)


class _Enough(Exception):  # noqa: N818 - no error: it ends a pass
    """All that was wanted is there."""


@contextmanager
def recorded(blocks: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """Collect, by name, the outputs of blocks in the pass made inside, which ends after the last of them.

    Of a block that returns several things the first is kept: a U-Net's down blocks return their skips besides.
    """
    outputs: dict[str, Tensor] = {}

    def keep(name: str, output: Any) -> None:
        outputs[name] = output[0] if isinstance(output, tuple) else output
        if len(outputs) == len(blocks):
            raise _Enough

    handles = [
        block.register_forward_hook(lambda module, inputs, output, name=name: keep(name, output))
        for name, block in blocks.items()
    ]
    try:
        yield outputs
    except _Enough:
        pass
    finally:
        for handle in handles:
            handle.remove()


class NoiseKind(Protocol):
    """``torch.rand`` or ``torch.randn``."""

    def __call__(self, size: torch.Size, *, generator: torch.Generator, out: Tensor) -> Tensor:
        """Fill ``out``."""


def content_noise(images: Tensor, seed: int, kind: NoiseKind = torch.rand) -> Tensor:
    """Noise ``(n, C, H, W)`` seeded by each image's own 8-bit pixels and ``seed``: uniform in [0, 1), or as ``kind``.

    So it is the same in every call and beside any batch mates, and independent between different images.
    """
    pixels = (images * CONTENT_LEVELS).round().to(torch.uint8).cpu().contiguous()
    noise = torch.empty(images.shape)
    for row, image in zip(noise, pixels, strict=True):
        own = torch_rng(seed, "noise of an image", zlib.crc32(image.numpy().tobytes()))
        kind(image.shape, generator=own, out=row)
    return noise.to(images.device)
