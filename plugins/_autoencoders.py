"""What autoencoders share: convolutional encoder and decoder, reconstruction loss, latents shaped by classes.

Few feature maps at full resolution: on a CPU normalisation and activations in backward cost as much as convolutions,
so the stem strides at once and the head is a convolution and a pixel shuffle (transposed convolutions are slow).

Latents are shaped, where images have labels, by a classifier on them, and by classes at right angles. Supervised
autoencoders: Le, Patterson and White 2018, "Supervised Autoencoders: Improving Generalization Performance with
Unsupervised Regularizers", NeurIPS 31; with few labels, Kingma et al. 2014 (M1 and M2), arXiv 1406.5298. Decorrelated
classes: Ranasinghe et al. 2021, "Orthogonal Projection Loss", arXiv 2103.14021.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from augment.generator import UNLABELLED, GeneratorConfig, ImageSpec

from ._layers import Grid, ResidualBlock

Backbone = Literal["conv", "resnet"]


class ConvStage(nn.Sequential):
    """3x3 convolution and ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.Conv2d(width, width, 3, padding=1), nn.ReLU())


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


class LatentClassConfig(GeneratorConfig):
    """Options of a generator whose latents learn from labels, where images have one.

    1.0 is a good start for either. MNIST, 60,000 images of which 32 (8) per class have a label, a linear probe on the
    latents of ``ae``: 84.7 % (74.6 %) with neither, 89.6 % (75.4 %) with supervision, 91.8 % (78.1 %) with
    decorrelation; both together are no better than that, and ``vae`` is much the same.
    """

    supervision: float = Field(
        0.0, ge=0, description="weight of a linear classifier's cross-entropy on the latents; 1 is a good start"
    )
    decorrelation: float = Field(
        0.0, ge=0, description="weight of latents of two classes not being at right angles; 1 is a good start"
    )

    @property
    def semi_supervised(self) -> bool:
        """Whether labels shape the latents."""
        return self.supervision > 0 or self.decorrelation > 0


class LatentClasses(nn.Module):
    """Terms of a loss that shape latents ``(n, latent_dim)``; no parameters and no effect where both weights are 0.

    Images without a label are left out; a batch without any gives 0, for decorrelation also one with a single class.
    """

    def __init__(self, config: LatentClassConfig, latent_dim: int, num_classes: int) -> None:
        super().__init__()
        self.supervision, self.decorrelation = config.supervision, config.decorrelation
        self.classifier = nn.Linear(latent_dim, num_classes) if self.supervision else None

    def add_to(self, terms: dict[str, Tensor], z: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """``terms`` with those of the latents ``z`` and classes ``labels``, which enter ``"loss"`` by their weights."""
        terms = dict(terms)
        if self.classifier is not None:
            terms["supervision"] = cross_entropy(self.classifier(z).float(), labels)
            terms["loss"] = terms["loss"] + self.supervision * terms["supervision"]
        if self.decorrelation:
            terms["decorrelation"] = orthogonal_projection(z.float(), labels)
            terms["loss"] = terms["loss"] + self.decorrelation * terms["decorrelation"]
        return terms


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy in nats of logits ``(n, num_classes)``, a mean over the images with a label; 0 without any."""
    known = (labels != UNLABELLED).sum()
    return F.cross_entropy(logits, labels, ignore_index=UNLABELLED, reduction="sum") / known.clamp(min=1)


def orthogonal_projection(z: Tensor, labels: Tensor) -> Tensor:
    """Latents ``(n, latent_dim)`` of one class point in one direction, those of two classes at right angles.

    The mean of 1 - cos over pairs of one class plus the mean of cos^2 over pairs of two, in [0, 3]; angles are seen
    from the mean of the labelled latents, so C classes apart in all directions leave 1 / (C - 1)^2. 0 where there are
    fewer than two classes. Squares instead of the paper's absolute mean, under which angles on both sides of a right
    one cancel.
    """
    known = labels != UNLABELLED
    centre = (z * known[:, None]).sum(0) / known.sum().clamp(min=1)
    direction = F.normalize(z - centre, dim=1, eps=1e-6)
    cosine, equal = direction @ direction.T, labels[:, None] == labels
    pairs = (known[:, None] & known).fill_diagonal_(False)
    apart = _mean(cosine.square(), pairs & ~equal)
    return (apart + _mean(1 - cosine, pairs & equal)) * (pairs & ~equal).any()


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    return (values * chosen).sum() / chosen.sum().clamp(min=1)


def one_hot(labels: Tensor, num_classes: int) -> Tensor:
    """Classes ``(n, num_classes)`` float32; zeros, the withheld class, for an image without a label."""
    return F.one_hot(labels.clamp(min=0), num_classes) * (labels != UNLABELLED).float()[:, None]


def unseen_classes(labels: Tensor, num_classes: int) -> Tensor:
    """Which classes ``(num_classes,)`` no image has, where some images have no label; otherwise none."""
    if not (labels == UNLABELLED).any():
        return labels.new_zeros(num_classes).bool()
    return ~(labels == torch.arange(num_classes, device=labels.device)[:, None]).any(1)
