"""Normalising flow (Real NVP) with exact likelihoods and a Gaussian per class over its latents.

Dinh, Sohl-Dickstein and Bengio 2016, "Density estimation using Real NVP", arXiv 1605.08803; actnorm: Kingma and
Dhariwal 2018 (Glow), arXiv 1807.03039; class-conditional latents: Izmailov et al. 2019 (FlowGMM), arXiv 1912.13025.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from augment.errors import ImageSizeError
from augment.generator import GeneratorConfig, ImageSpec, Tags

from ._flows import (
    LEVELS,
    MASKS,
    ActNorm,
    AffineCoupling,
    ClassGaussians,
    Logit,
    dequantise,
    requantise,
    squeeze,
    unsqueeze,
)
from ._layers import LayeredGenerator, content_noise, draw_labels, eval_mode, recorded

SMALLEST, LARGEST = 8, 64
COARSEST = 4
"""Pixels a side, at least, at the coarsest scale."""

LATENT = "latent"


class RealNVPConfig(GeneratorConfig):
    """Options of ``realnvp``."""

    steps: int = Field(2000, ge=1, description="optimizer updates")
    batch_size: int = Field(32, ge=1, description="images per update")
    lr: float = Field(4e-3, gt=0, description="peak learning rate")
    ema_decay: float = Field(0.995, ge=0, lt=1, description="decay of the averaged weights; 0 switches averaging off")
    scales: int = Field(3, ge=1, le=4, description="largest number of scales; fewer where the sides halve less often")
    couplings: int = Field(8, ge=2, le=64, description="affine couplings per scale")
    width: int = Field(32, ge=4, description="channels of the coupling nets at the finest scale, doubled at each other")
    blocks: int = Field(1, ge=0, le=16, description="residual blocks per coupling net")
    alpha: float = Field(1e-5, ge=1e-6, lt=0.5, description="distance of the logit's argument from 0 and 1")
    conditional: bool = Field(True, description="a Gaussian over the latents for each class, or one for all")
    rank: int = Field(32, ge=0, le=512, description="rank of the covariances fitted after training; 0: none is fitted")
    temperature: float = Field(1.0, gt=0, le=1, description="factor of the latents' standard deviations in sampling")


class RealNVP(LayeredGenerator):
    """Real NVP: ``encode`` gives all latents, ``log_prob`` the exact log-density; neither the flow nor they see labels.

    Classes are Gaussians over the latents, so that one pass of the flow gives the density under each of them.
    """

    Config: ClassVar[type[RealNVPConfig]] = RealNVPConfig
    config: RealNVPConfig
    test_options: ClassVar[dict[str, Any]] = {"couplings": 2, "width": 8, "rank": 2}
    family = "flow"
    tags = Tags(conditional=True, reconstructs=True, decodes=True, likelihood=True)
    initialised: Tensor

    def __init__(self, config: RealNVPConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        self.logit = Logit(config.alpha)
        self.flow = MultiScaleFlow(config, spec)
        self.base = ClassGaussians(math.prod(spec.shape), spec.num_classes if config.conditional else 1, config.rank)
        self.register_buffer("initialised", torch.zeros((), dtype=torch.int64))
        if not config.conditional:
            self.tags = Tags(conditional=False, reconstructs=True, decodes=True, likelihood=True)

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Bits per dimension of uniformly dequantised images, given their classes where the model has classes."""
        v = dequantise(images, torch.rand_like(images))
        if self.training and not bool(self.initialised):
            self._initialise(v)
        z, log_det = self._latents(v)
        if self.training:  # the low-rank part does not exist yet
            log_p_z = self.base.diagonal_log_prob(z, self._components(labels))
        else:
            log_p_z = self.base.log_prob(z).gather(1, self._components(labels)[:, None]).squeeze(1)
        bits = self._bits(log_p_z + log_det).mean()
        return {"loss": bits, "bits_per_dim": bits}

    def sample(self, n: int, labels: Tensor | None = None, *, rng: torch.Generator | None = None) -> Tensor:
        """Decode latents drawn from the Gaussians of the classes; see :meth:`Generator.sample`."""
        labels = draw_labels(n, labels, self.spec.num_classes, rng, self.device)
        return self.decode(self.base.sample(self._components(labels), self.config.temperature, rng))

    @property
    def layers(self) -> tuple[str, ...]:
        """``coupling1`` .. , the last features of the coupling nets in the order of the pass, and ``latent``."""
        return tuple(self._blocks())

    def encode(self, images: Tensor, *, layer: str = LATENT, pool: int = 2) -> Tensor:
        """Latents ``(n, C * H * W)`` of images dequantised at the middle, the finest scale's first; or other features.

        layer: ``latent``, ``coupling1`` .. , several joined by commas, or ``all``.  pool: coupling features are
        averaged over a grid of pool x pool parts of the image, 1 being all of it; latents are as they are. Raises
        ConfigError for an unknown layer.
        """
        return self.encode_layer(images, layer, pool=pool)

    def activations(self, images: Tensor, layers: Sequence[str], **options: Any) -> dict[str, Tensor]:
        """See the base class."""
        blocks = self._blocks()
        with recorded({name: blocks[name] for name in layers}) as outputs:
            self._latents(dequantise(images, 0.5))
        return outputs

    def _blocks(self) -> dict[str, nn.Module]:
        couplings = [coupling.net.blocks for scale in self.flow.scales for coupling in scale.couplings]
        return {**{f"coupling{index}": block for index, block in enumerate(couplings, start=1)}, LATENT: self.flow}

    def decode(self, latents: Tensor) -> Tensor:
        """Images ``(n, C, H, W)`` of latents ``(n, C * H * W)``: the inverse of :meth:`encode` without options."""
        with eval_mode(self):
            return requantise(self.logit.inverse(self.flow.inverse(latents)))

    def reconstruct(self, images: Tensor) -> Tensor:
        """``decode(encode(images))``: the images themselves, up to rounding."""
        return self.decode(self.encode(images))

    def log_prob(self, images: Tensor, *, draws: int = 1) -> Tensor:
        """Log-density in nats, ``(n,)``, of images ``(n, C, H, W)`` as dequantised 8-bit images, classes withheld.

        Of ``v = (k + u) / 256`` on the unit cube, with the pixel values k = 255 * image and u uniform in [0, 1): the
        mean of ``log p(v)`` over ``draws`` values of u, seeded by the pixels themselves, so that an image has one value
        always. ``log_prob - C * H * W * log(256)`` is a lower bound of the 8-bit image's log-probability (Theis et al.
        2015, arXiv 1511.01844). p is the mixture of the classes in equal shares.
        """
        with eval_mode(self):
            noises = (content_noise(images, draw) for draw in range(draws))
            return torch.stack([self._log_density(dequantise(images, noise)) for noise in noises]).mean(0)

    def bits_per_dimension(self, images: Tensor, *, draws: int = 1) -> Tensor:
        """:meth:`log_prob` as bits per pixel and channel ``(n,)`` of the 8-bit image; less is better, noise has 8."""
        return self._bits(self.log_prob(images, draws=draws))

    def after_training(self, images: Tensor, labels: Tensor) -> None:
        """Fit the Gaussians to the latents of training images."""
        if self.config.rank:
            parts = [self._latents(dequantise(part, torch.rand_like(part)))[0] for part in images.split(256)]
            self.base.fit(torch.cat(parts), self._components(labels))

    def _components(self, labels: Tensor) -> Tensor:
        return labels if self.config.conditional else torch.zeros_like(labels)

    def _latents(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Latents ``(n, D)`` of dequantised images, and the log-determinants ``(n,)`` on the way."""
        y, log_det = self.logit(v)
        z, further = self.flow(y)
        return z, log_det + further

    def _log_density(self, v: Tensor) -> Tensor:
        z, log_det = self._latents(v)
        log_p = self.base.log_prob(z)
        return log_p.logsumexp(1) - math.log(log_p.shape[1]) + log_det

    def _bits(self, log_density: Tensor) -> Tensor:
        return math.log2(LEVELS) - log_density / (math.prod(self.spec.shape) * math.log(2))

    @torch.no_grad()
    def _initialise(self, v: Tensor) -> None:
        self.flow(self.logit(v)[0], fit_actnorm=True)
        self.initialised.fill_(1)


class Scale(nn.Module):
    """Actnorms and couplings in turn, under each mask both ways round; the last ones predict the half that leaves."""

    norms: Sequence[ActNorm]
    couplings: Sequence[AffineCoupling]

    def __init__(self, config: RealNVPConfig, channels: int, size: tuple[int, int], width: int) -> None:
        super().__init__()
        couplings = [
            AffineCoupling(MASKS[k // 2 % len(MASKS)], k % 2 == 1, channels, size, width, config.blocks)
            for k in reversed(range(config.couplings))
        ]
        self.norms = nn.ModuleList(ActNorm(channels) for _ in couplings)  # type: ignore[assignment]
        self.couplings = nn.ModuleList(couplings)  # type: ignore[assignment]

    def forward(self, x: Tensor, *, fit_actnorm: bool) -> tuple[Tensor, Tensor]:
        """See the module; ``fit_actnorm`` takes the batch's statistics first."""
        log_det = x.new_zeros(len(x))
        for norm, coupling in zip(self.norms, self.couplings, strict=True):
            if fit_actnorm:
                norm.fit(x)
            x, scaled = norm(x)
            x, transformed = coupling(x)
            log_det = log_det + scaled + transformed
        return x, log_det

    def inverse(self, y: Tensor) -> Tensor:
        """Undo :meth:`forward`."""
        for norm, coupling in zip(reversed(self.norms), reversed(self.couplings), strict=True):
            y = norm.inverse(coupling.inverse(y))
        return y


class MultiScaleFlow(nn.Module):
    """Scales, each of squeezed channels; half of the channels leave as latents before each further scale."""

    scales: Sequence[Scale]

    def __init__(self, config: RealNVPConfig, spec: ImageSpec) -> None:
        super().__init__()
        channels, height, width = spec.shape
        count = min(config.scales, halvings(spec))
        scales = []
        self.shapes: list[tuple[int, int, int]] = []
        for index in range(count):
            channels, height, width = 4 * channels, height // 2, width // 2
            scales.append(Scale(config, channels, (height, width), config.width * 2**index))
            leaving = channels if index == count - 1 else channels // 2
            self.shapes.append((leaving, height, width))
            channels -= leaving
        self.scales = nn.ModuleList(scales)  # type: ignore[assignment]

    def forward(self, x: Tensor, *, fit_actnorm: bool = False) -> tuple[Tensor, Tensor]:
        """``(n, C, H, W)`` to latents ``(n, C * H * W)`` and log-determinants ``(n,)``."""
        latents, log_det = [], x.new_zeros(len(x))
        for scale, shape in zip(self.scales, self.shapes, strict=True):
            x, further = scale(squeeze(x), fit_actnorm=fit_actnorm)
            x, out = x.split([x.shape[1] - shape[0], shape[0]], dim=1)
            latents.append(out.flatten(1))
            log_det = log_det + further
        return torch.cat(latents, dim=1), log_det

    def inverse(self, z: Tensor) -> Tensor:
        """Undo :meth:`forward`."""
        parts = z.split([math.prod(shape) for shape in self.shapes], dim=1)
        x = z.new_zeros(len(z), 0, *self.shapes[-1][1:])
        for scale, shape, part in zip(reversed(self.scales), self.shapes[::-1], parts[::-1], strict=True):
            x = unsqueeze(scale.inverse(torch.cat([x, part.unflatten(1, shape)], dim=1)))
        return x


def halvings(spec: ImageSpec) -> int:
    """How often both sides halve, down to 4 pixels; raises ConfigError where they do not, or outside 8..64 pixels."""
    sides = (spec.height, spec.width)
    if any(not SMALLEST <= side <= LARGEST or side % 2 for side in sides):
        works = min(max(4 * round(max(sides) / 4), SMALLEST), LARGEST)
        raise ImageSizeError(
            f"Images are {spec.height} x {spec.width} pixels; a flow halves the sides, so this model takes even ones "
            f"of {SMALLEST}..{LARGEST}.",
            works,
        )
    count = 1
    while all(side % 2 ** (count + 1) == 0 and side >> (count + 1) >= COARSEST for side in sides):
        count += 1
    return count
