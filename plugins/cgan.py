"""Class-conditional GAN with a projection discriminator, trained by hinge losses with differentiable augmentation.

Goodfellow et al. 2014, arXiv 1406.2661; layout: Radford, Metz and Chintala 2015 (DCGAN), arXiv 1511.06434; projection
discriminator: Miyato and Koyama 2018, arXiv 1802.05637; spectral normalisation: Miyato et al. 2018, arXiv 1802.05957;
augmentation: Zhao et al. 2020 (DiffAugment), arXiv 2006.10738.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from augment.generator import ImageSpec

from . import _adversarial as adversarial
from ._layers import Grid

SLOPE = 0.2
"""Slope of the discriminator's activations below 0."""


class CGANConfig(adversarial.AdversarialConfig):
    """Options of ``cgan``."""

    steps: int = Field(4500, ge=1, description="optimizer updates")
    batch_size: int = Field(64, ge=1, description="images per update")
    lr: float = Field(1e-3, gt=0, description="peak learning rate of the synthesis net")
    ema_decay: float = Field(0.998, ge=0, lt=1, description="decay of the averaged weights; 0 switches averaging off")
    width: int = Field(32, ge=4, multiple_of=4, description="channels of the finest feature maps of either net")
    embedding_dim: int = Field(32, ge=1, description="size of the class embedding given to the synthesis net")


class CGAN(adversarial.AdversarialGenerator):
    """Class-conditional convolutional GAN with a projection discriminator.

    ``conditional=false`` gives a DCGAN: no net sees the class, ``sample`` ignores labels.
    """

    Config: ClassVar[type[CGANConfig]] = CGANConfig
    config: CGANConfig
    test_options: ClassVar[dict[str, Any]] = {"width": 4, "latent_dim": 8, "embedding_dim": 4}

    def __init__(self, config: CGANConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        self.synthesis = CGANSynthesis(config, spec)
        self.discriminator = CGANDiscriminator(config, spec)


def _widths(finest: int, cell: int) -> list[int]:
    """Channels of the feature maps from half the image's size to the grid's: doubled once, then as they are."""
    return [finest, *[2 * finest] * (cell.bit_length() - 2)]


class CGANSynthesis(adversarial.SynthesisBase):
    """Noise and class embedding, joined, to the grid; transposed convolutions double it until it is the image."""

    def __init__(self, config: CGANConfig, spec: ImageSpec) -> None:
        super().__init__()
        self.grid = Grid.of(spec)
        widths = _widths(config.width, self.grid.cell)[::-1]
        self.embedding = nn.Embedding(spec.num_classes, config.embedding_dim) if config.conditional else None
        inputs = config.latent_dim + config.embedding_dim * config.conditional
        self.map_shape = (widths[0], self.grid.rows, self.grid.columns)
        self.expand = nn.Linear(inputs, widths[0] * self.grid.cells, bias=False)
        layers: list[nn.Module] = [nn.BatchNorm2d(widths[0]), nn.ReLU()]
        for coarse, fine in pairwise(widths):
            layers += [nn.ConvTranspose2d(coarse, fine, 4, stride=2, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(fine), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.ConvTranspose2d(widths[-1], spec.channels, 4, stride=2, padding=1)

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """See the base class."""
        if self.embedding is not None:
            z = torch.cat([z, self.embedding(labels)], dim=1)
        x = self.expand(z).unflatten(1, self.map_shape)
        return self.grid.crop(self.head(self.body(x)).tanh())


class CGANDiscriminator(adversarial.DiscriminatorBase):
    """Strided convolutions to the grid and one more, summed over positions; the class enters by a projection."""

    def __init__(self, config: CGANConfig, spec: ImageSpec) -> None:
        super().__init__()
        self.grid = Grid.of(spec)
        widths = _widths(config.width, self.grid.cell)
        layers: list[nn.Module] = [
            nn.Conv2d(fine, coarse, 4, stride=2, padding=1) for fine, coarse in pairwise([spec.channels, *widths])
        ]
        features = 2 * widths[-1]
        layers.append(nn.Conv2d(widths[-1], features, 3, padding=1))
        self.blocks = nn.ModuleList(spectral_norm(layer) for layer in layers)
        self.score = spectral_norm(nn.Linear(features, 1))
        self.projection = spectral_norm(nn.Embedding(spec.num_classes, features)) if config.conditional else None

    def feature_maps(self, images: Tensor) -> Iterator[Tensor]:
        """See the base class."""
        x = self.grid.pad(images)
        for block in self.blocks:
            x = F.leaky_relu(block(x), SLOPE)
            yield x
