"""Convolutional encoder and decoder blocks shared by the autoencoders, for images of 8 to 64 pixels a side.

Few feature maps at full resolution: on a CPU normalisation and activations in backward cost as much as convolutions,
so the stem strides at once and the head is a convolution and a pixel shuffle (transposed convolutions are slow).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augment.errors import ConfigError
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
    def of(cls, spec: ImageSpec) -> Grid:
        """The grid for a size, at most 8 x 8 cells; raises ConfigError outside 8..64 pixels."""
        for side, pixels in (("height", spec.height), ("width", spec.width)):
            if not SMALLEST <= pixels <= LARGEST:
                raise ConfigError(
                    f"Image {side} is {pixels} pixels; this model takes {SMALLEST}..{LARGEST}. "
                    f"Resize the images with --image-size {min(max(pixels, SMALLEST), LARGEST)}."
                )
        largest = max(spec.height, spec.width)
        cell = 2 if largest <= 16 else 4 if largest <= 32 else 8
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


class ConvBlock(nn.Sequential):
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
    return ResidualBlock(width) if backbone == "resnet" else ConvBlock(width)


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
        x = self.stem(2 * self.grid.pad(images) - 1).relu()
        return self.block(self.norm(self.down(x)).relu())  # type: ignore[no-any-return]


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
