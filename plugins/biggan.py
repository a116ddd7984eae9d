"""BigGAN in small: residual nets, conditional batch norm with shared embedding and skip-z, self-attention.

Brock, Donahue and Simonyan 2018, arXiv 1809.11096; self-attention: Zhang et al. 2018, arXiv 1805.08318; spectral
normalisation: Miyato et al. 2018, arXiv 1802.05957; projection: Miyato and Koyama 2018, arXiv 1802.05637; augmentation:
Zhao et al. 2020, arXiv 2006.10738. Strided convolutions take the place of a convolution beside a resampling.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

from augment.generator import ImageSpec

from . import _adversarial as adversarial
from ._layers import Grid


class BigGANConfig(adversarial.AdversarialConfig):
    """Options of ``biggan``."""

    steps: int = Field(2400, ge=1, description="optimizer updates")
    batch_size: int = Field(32, ge=1, description="images per update")
    lr: float = Field(1e-3, gt=0, description="peak learning rate of the synthesis net")
    ema_decay: float = Field(0.998, ge=0, lt=1, description="decay of the averaged weights; 0 switches averaging off")
    latent_dim: int = Field(64, ge=4, le=1024, description="size of the noise vector; every block gets a share")
    width: int = Field(32, ge=8, multiple_of=8, description="channels of the discriminator's finest feature maps")
    embedding_dim: int = Field(32, ge=1, description="size of the class embedding that all blocks share")
    attention: bool = Field(True, description="self-attention at half the image's size")
    orthogonal: float = Field(1e-4, ge=0, description="weight of the synthesis net's orthogonal regularisation")
    truncation: float | None = Field(
        None, gt=0, description="largest absolute noise value at sampling (fidelity for diversity); null for no limit"
    )


class BigGAN(adversarial.AdversarialGenerator):
    """BigGAN for images of 8 to 64 pixels a side, small enough to train on one core.

    ``truncation`` trades diversity of samples for fidelity; ``conditional=false`` withholds the class from both nets.
    """

    Config: ClassVar[type[BigGANConfig]] = BigGANConfig
    config: BigGANConfig
    test_options: ClassVar[dict[str, Any]] = {"width": 8, "latent_dim": 8, "embedding_dim": 4}
    synthesis: BigGANSynthesis

    def __init__(self, config: BigGANConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        self.synthesis = BigGANSynthesis(config, spec)
        self.discriminator = BigGANDiscriminator(config, spec)

    def regularisation(self) -> Tensor | float:
        """Orthogonal regularisation of the synthesis net's blocks.

        The map to the grid is left out: it has many more filters than inputs, so that they cannot be orthogonal.
        """
        weight = self.config.orthogonal
        return weight * orthogonal_penalty(self.synthesis.blocks) if weight else 0.0

    def sampling_noise(self, n: int, rng: torch.Generator | None) -> Tensor:
        """N(0, I) cut off at ``truncation``, by the inverse of its distribution function."""
        limit = self.config.truncation
        if limit is None:
            return super().sampling_noise(n, rng)
        inside = math.erf(limit / math.sqrt(2))
        uniform = torch.rand(n, self.config.latent_dim, generator=rng, device=self.device)
        return (math.sqrt(2) * torch.erfinv(inside * (2 * uniform - 1))).clamp(-limit, limit)


class BigGANSynthesis(adversarial.SynthesisBase):
    """Noise in shares: the first makes the grid, each further one joins the class embedding as a block's condition."""

    def __init__(self, config: BigGANConfig, spec: ImageSpec) -> None:
        super().__init__()
        self.grid = Grid.of(spec)
        levels = self.grid.cell.bit_length() - 1
        widths = [max(config.width * 2**level // 2, 8) for level in range(levels, -1, -1)]
        widths = [min(width, 4 * config.width) for width in widths]
        self.shares = [len(share) for share in torch.zeros(config.latent_dim).tensor_split(levels + 1)]
        self.embedding = nn.Embedding(spec.num_classes, config.embedding_dim) if config.conditional else None
        self.map_shape = (widths[0], self.grid.rows, self.grid.columns)
        self.expand = spectral(nn.Linear(self.shares[0], widths[0] * self.grid.cells))
        joined = config.embedding_dim * config.conditional
        self.blocks = nn.ModuleList(
            SynthesisBlock(coarse, fine, joined + share)
            for (coarse, fine), share in zip(pairwise(widths), self.shares[1:], strict=True)
        )
        self.attention = SelfAttention2d(widths[-2], spectral) if config.attention and levels > 1 else nn.Identity()
        self.head = nn.Sequential(
            nn.BatchNorm2d(widths[-1]), nn.ReLU(), spectral(nn.Conv2d(widths[-1], spec.channels, 3, padding=1))
        )

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """See the base class."""
        first, *shares = z.split(self.shares, dim=1)
        x = self.expand(first).unflatten(1, self.map_shape)
        shared = [] if self.embedding is None else [self.embedding(labels)]
        for index, (block, share) in enumerate(zip(self.blocks, shares, strict=True), start=1):
            if index == len(self.blocks):
                x = self.attention(x)
            x = block(x, torch.cat([*shared, share], dim=1))
        return self.grid.crop(self.head(x).tanh())


class SynthesisBlock(nn.Module):
    """Doubles the size: two convolutions, each behind conditional batch norm and ReLU, added to a 1x1 of the input."""

    def __init__(self, coarse: int, fine: int, condition_dim: int) -> None:
        super().__init__()
        self.norm1 = ConditionalBatchNorm2d(coarse, condition_dim, spectral)
        self.up = spectral(nn.ConvTranspose2d(coarse, fine, 4, stride=2, padding=1, bias=False))
        self.norm2 = ConditionalBatchNorm2d(fine, condition_dim, spectral)
        self.refine = spectral(nn.Conv2d(fine, fine, 3, padding=1))
        self.skip = spectral(nn.Conv2d(coarse, fine, 1))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """``(n, coarse, h, w)`` to ``(n, fine, 2h, 2w)``."""
        h = self.up(F.relu(self.norm1(x, condition)))
        h = self.refine(F.relu(self.norm2(h, condition)))
        return h + F.interpolate(self.skip(x), scale_factor=2.0)  # type: ignore[no-any-return]


class BigGANDiscriminator(adversarial.DiscriminatorBase):
    """Residual blocks past the grid, summed over positions; the class enters by a projection."""

    def __init__(self, config: BigGANConfig, spec: ImageSpec) -> None:
        super().__init__()
        self.grid = Grid.of(spec)
        levels = self.grid.cell.bit_length() - 1
        widths = [spec.channels, *(config.width * min(2**level, 4) for level in range(levels + 1))]
        self.blocks = nn.ModuleList(
            DiscriminatorBlock(fine, coarse, first=index == 0) for index, (fine, coarse) in enumerate(pairwise(widths))
        )
        self.attention = SelfAttention2d(config.width, spectral) if config.attention and levels > 1 else nn.Identity()
        self.score = spectral(nn.Linear(widths[-1], 1))
        self.projection = spectral(nn.Embedding(spec.num_classes, widths[-1])) if config.conditional else None

    def feature_maps(self, images: Tensor) -> Iterator[Tensor]:
        """See the base class."""
        x = self.grid.pad(images)
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index == 0:
                x = self.attention(x)
            yield F.relu(x)


class DiscriminatorBlock(nn.Module):
    """Halves the size, rounding up: a strided and a plain convolution added to a 1x1 of the pooled input."""

    def __init__(self, fine: int, coarse: int, *, first: bool) -> None:
        super().__init__()
        self.first = first
        self.down = spectral(nn.Conv2d(fine, coarse, 4, stride=2, padding=1))
        self.refine = spectral(nn.Conv2d(coarse, coarse, 3, padding=1))
        self.skip = spectral(nn.Conv2d(fine, coarse, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``(n, fine, h, w)`` to ``(n, coarse, h / 2, w / 2)``; before the first block are pixels, not activations."""
        x = F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2))
        h = self.down(x if self.first else F.relu(x))
        return self.refine(F.relu(h)) + self.skip(F.avg_pool2d(x, 2))  # type: ignore[no-any-return]


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
