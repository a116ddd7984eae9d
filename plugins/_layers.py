"""Convolutional blocks, norms and attention that several generators share, for images of 8 to 64 pixels a side.

Few feature maps at full resolution: on a CPU normalisation and activations in backward cost as much as convolutions,
so the stem strides at once and the head is a convolution and a pixel shuffle (transposed convolutions are slow).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

from augment.errors import ImageSizeError
from augment.generator import ImageSpec

SMALLEST, LARGEST = 8, 64

Backbone = Literal["conv", "resnet"]


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


class ConvStage(nn.Sequential):
    """3x3 convolution and ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.Conv2d(width, width, 3, padding=1), nn.ReLU())


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


def norm(width: int) -> nn.GroupNorm:
    """Group normalisation in groups of 8 channels; one group where 8 does not divide the width."""
    return nn.GroupNorm(width // 8 if width % 8 == 0 else 1, width)


def block(backbone: Backbone, width: int) -> nn.Module:
    """One block of the chosen kind."""
    return ResidualBlock(width) if backbone == "resnet" else ConvStage(width)


class ImageEncoder(nn.Module):
    """Images ``(n, C, H, W)`` in [0, 1] to a feature map ``(n, width, rows, columns)``."""

    def __init__(self, spec: ImageSpec, width: int, backbone: Backbone) -> None:
        super().__init__()
        self.grid = Grid.of(spec)
        stride = self.grid.cell // 2
        self.stem = nn.Conv2d(spec.channels, width // 2, stride + 2, stride=stride, padding=1)
        self.down = nn.Conv2d(width // 2, width, 4, stride=2, padding=1)
        self.norm = norm(width)
        self.block = block(backbone, width)

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        return self.stages(images)["encoder"]

    def stages(self, images: Tensor) -> dict[str, Tensor]:
        """The feature maps by name, nearest to the image first: half the width at ``stem``, then ``encoder``."""
        x = self.stem(2 * self.grid.pad(images) - 1).relu()
        return {"stem": x, "encoder": self.block(self.norm(self.down(x)).relu())}


class ImageDecoder(nn.Module):
    """A feature map ``(n, width, rows, columns)`` to logits of pixels ``(n, C, H, W)``."""

    def __init__(self, spec: ImageSpec, width: int, backbone: Backbone) -> None:
        super().__init__()
        self.grid = Grid.of(spec)
        stride = self.grid.cell // 2
        self.coarse = block(backbone, width)
        self.up = nn.Sequential(nn.Conv2d(width, 2 * width, 3, padding=1), nn.PixelShuffle(2), nn.ReLU())
        self.fine = block(backbone, width // 2)
        self.head = nn.Sequential(
            nn.Conv2d(width // 2, spec.channels * stride**2, 3, padding=1), nn.PixelShuffle(stride)
        )

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.grid.crop(self.head(self.fine(self.up(self.coarse(x)))))


def reconstruction_loss(logits: Tensor, images: Tensor, kind: Literal["bce", "mse"]) -> Tensor:
    """Mean over images of the sum over pixels, in float32; ``logits`` are squashed by a sigmoid."""
    logits = logits.float()
    if kind == "bce":
        return F.binary_cross_entropy_with_logits(logits, images, reduction="sum") / len(images)
    return F.mse_loss(logits.sigmoid(), images, reduction="sum") / len(images)


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


def plain(layer: nn.Module) -> nn.Module:
    """The layer as it is: no normalisation of its weight."""
    return layer


def spectral(layer: nn.Module) -> nn.Module:
    """Give a layer an orthogonal weight and spectral normalisation: arXiv 1802.05957 and 1809.11096."""
    nn.init.orthogonal_(layer.get_parameter("weight"))
    return spectral_norm(layer)


def orthogonal_penalty(module: nn.Module) -> Tensor:
    """Sum over spectrally normalised weights of squared inner products of different filters: arXiv 1809.11096, eq. 3.

    Embeddings, whose rows are classes and no filters, are left out.
    """
    total = torch.zeros((), device=next(module.parameters()).device)
    for layer in module.modules():
        if parametrize.is_parametrized(layer, "weight") and not isinstance(layer, nn.Embedding):
            weight = cast(Tensor, layer.weight)
            if isinstance(layer, nn.ConvTranspose2d):
                weight = weight.transpose(0, 1)
            filters = weight.flatten(1)
            gram = filters @ filters.T
            total = total + (gram - gram.diagonal().diag()).square().sum()
    return total


class SelfAttention2d(nn.Module):
    """Self-attention over positions, added with a learned weight that starts at 0: arXiv 1805.08318, section 3.

    Keys and values come from a map pooled by 2. ``normalise`` wraps each projection, as :func:`spectral` does.
    """

    def __init__(self, width: int, normalise: Callable[[nn.Module], nn.Module] = plain) -> None:
        super().__init__()
        inner = max(1, width // 8)
        self.query = normalise(nn.Conv2d(width, inner, 1, bias=False))
        self.key = normalise(nn.Conv2d(width, inner, 1, bias=False))
        self.value = normalise(nn.Conv2d(width, width // 2, 1, bias=False))
        self.out = normalise(nn.Conv2d(width // 2, width, 1, bias=False))
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """``(n, width, h, w)`` to the same shape."""
        query = self.query(x).flatten(2).transpose(1, 2)
        key = F.max_pool2d(self.key(x), 2).flatten(2)
        value = F.max_pool2d(self.value(x), 2).flatten(2)
        weights = (query @ key).float().softmax(dim=-1).to(value.dtype)
        attended = (value @ weights.transpose(1, 2)).unflatten(2, x.shape[2:])
        return x + self.gamma * self.out(attended)  # type: ignore[no-any-return]


class ConditionalBatchNorm2d(nn.Module):
    """Batch normalisation whose gain and bias are linear in a condition ``(n, condition_dim)``: arXiv 1707.00683.

    ``normalise`` wraps the two linear maps, as :func:`spectral` does.
    """

    def __init__(self, width: int, condition_dim: int, normalise: Callable[[nn.Module], nn.Module] = plain) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(width, affine=False)
        self.gain = normalise(nn.Linear(condition_dim, width, bias=False))
        self.bias = normalise(nn.Linear(condition_dim, width, bias=False))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """``(n, width, h, w)`` to the same shape."""
        gain, bias = (part(condition)[:, :, None, None] for part in (self.gain, self.bias))
        return self.norm(x) * (1 + gain) + bias  # type: ignore[no-any-return]


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
