"""Denoising diffusion model: a U-Net with classifier-free guidance, and its activations as features.

Ho, Jain and Abbeel 2020, "Denoising Diffusion Probabilistic Models", arXiv 2006.11239; guidance: Ho and Salimans 2022,
arXiv 2207.12598; features: Baranchuk et al. 2021, arXiv 2112.03126, and Xiang et al. 2023, arXiv 2303.09769.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from augment.errors import ConfigError
from augment.generator import GeneratorConfig, ImageSpec, Tags, evaluating
from augment.seeds import derived_seed, torch_rng

from ._diffusion import SAMPLERS, TIMESTEPS, Diffusion, Prediction, SamplerName, Schedule, timesteps
from ._layers import Grid, LayeredGenerator, content_noise, draw_labels, recorded

CALIBRATED = 128
"""Images drawn after training to see how noisy areas of black and white are."""
GUIDANCE = 2.0
"""Guidance where none is given: samples that look like their class, at a small price in variety."""
SNAPPED = 0.1
"""Largest distance from black or white that is taken for noise."""


class DDPMConfig(GeneratorConfig):
    """Options of ``ddpm``."""

    steps: int = Field(3000, ge=1, description="optimizer updates")
    batch_size: int = Field(32, ge=1, description="images per update")
    lr: float = Field(4e-3, gt=0, description="peak learning rate; lower it for wider networks")
    ema_decay: float = Field(0.995, ge=0, lt=1, description="decay of the averaged weights; 0 switches averaging off")
    class_balanced: bool = Field(True, description="draw training labels uniformly instead of as they come")
    channels: tuple[int, ...] = Field((32, 64), min_length=1, description="channels per resolution, finest first")
    layers: int = Field(1, ge=1, description="residual blocks per resolution")
    attention: bool = Field(False, description="self-attention at the coarsest resolution")
    patch: int | None = Field(None, ge=1, le=8, description="side of the pixel blocks that become channels; by size")
    conditional: bool = Field(True, description="give the network the class")
    label_dropout: float = Field(0.1, ge=0, lt=1, description="share of training images whose class is withheld")
    prediction: Prediction = Field("v", description="what the network predicts")
    schedule: Schedule = Field("cosine", description="noise schedule")
    min_snr: float = Field(20.0, gt=0, description="largest weight of a timestep, as a signal-to-noise ratio")
    sampler: SamplerName = Field("dpm-solver++", description="sampling algorithm")
    sampling_steps: int = Field(16, ge=1, le=TIMESTEPS, description="network evaluations per image")
    guidance: float | None = Field(
        None, ge=0, description="weight of the class against none; 1 is plain sampling, left out means 2"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if any(width < 8 or width % 8 for width in self.channels):
            raise ValueError(f"channels are multiples of 8, as in 64,128; got {','.join(map(str, self.channels))}")
        if not self.conditional and self.guidance not in (None, 1):
            raise ValueError(
                f"guidance={self.guidance:g} weighs a class against none, and conditional=false has no classes; "
                "leave guidance out, or use conditional=true"
            )
        if self.guided != 1 and self.label_dropout == 0:
            raise ValueError(
                f"guidance={self.guided:g} needs a network that also learned without classes; set label_dropout to "
                "0.1, or guidance to 1"
            )
        return self

    @property
    def guided(self) -> float:
        """The guidance in force."""
        if not self.conditional:
            return 1.0
        return GUIDANCE if self.guidance is None else self.guidance


class DDPM(LayeredGenerator):
    """Diffusion model on pixels: ``sample`` denoises noise, ``encode`` pools U-Net activations of a noised image.

    Large pixels: blocks of ``patch`` x ``patch`` pixels enter the U-Net as channels, so that a CPU works where its
    convolutions are fast. Class ``num_classes`` is the null class: trained on images whose label was withheld, used by
    guidance and by ``encode``.
    """

    Config: ClassVar[type[DDPMConfig]] = DDPMConfig
    config: DDPMConfig
    family = "diffusion"
    test_options: ClassVar[dict[str, Any]] = {"channels": (8, 16), "sampling_steps": 3}
    tags = Tags(conditional=True, edits=True)
    timesteps = TIMESTEPS
    saturated: Tensor

    def __init__(self, config: DDPMConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        self.grid, self.patch = _canvas(config, spec)
        self.diffusion = Diffusion(config.schedule, config.prediction)
        self.unet = self._build_unet()
        self.register_buffer("saturated", torch.tensor([0.0, 1.0]))
        if not config.conditional:
            self.tags = replace(self.tags, conditional=False)

    def _build_unet(self, **options: Any) -> nn.Module:
        from diffusers.models.unets.unet_2d import UNet2DModel

        config, depth = self.config, len(self.config.channels)
        attention = [config.attention and level == depth - 1 for level in range(depth)]
        blocks = self.spec.channels * self.patch**2
        unet: nn.Module = UNet2DModel(
            in_channels=blocks,
            out_channels=blocks,
            block_out_channels=config.channels,
            layers_per_block=config.layers,
            down_block_types=["AttnDownBlock2D" if attends else "DownBlock2D" for attends in attention],
            up_block_types=["AttnUpBlock2D" if attends else "UpBlock2D" for attends in reversed(attention)],
            norm_num_groups=8,
            attention_head_dim=min(32, config.channels[-1]),
            add_attention=config.attention,
            **(options or {"num_class_embeds": self.spec.num_classes + 1 if config.conditional else None}),
        )
        return unet

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Weighted squared error of the prediction at a random timestep per image, a mean over pixels."""
        x = 2 * self.grid.pad(images) - 1
        n = len(x)
        # evenly spread over the timesteps, with one random shift: less variance than independent draws (2107.00630)
        u = (torch.rand((), device=x.device) + torch.randperm(n, device=x.device) / n) % 1
        t = (u * TIMESTEPS).long().clamp(max=TIMESTEPS - 1)
        eps = torch.randn_like(x)
        output = self._network(self.diffusion.add_noise(x, eps, t), t, self.condition(self._visible(labels)))
        error = (output - self.diffusion.target(x, eps, t)).square().mean((1, 2, 3))
        return (self.diffusion.weight(t, self.config.min_snr) * error).mean()

    def sample(self, n: int, labels: Tensor | None = None, *, rng: torch.Generator | None = None) -> Tensor:
        """Denoise noise; see :meth:`Generator.sample`."""
        labels = draw_labels(n, labels, self.spec.num_classes, rng, self.device)
        shape = (n, self.spec.channels, self.grid.rows * self.grid.cell, self.grid.columns * self.grid.cell)
        return self._denoise(torch.randn(shape, generator=rng, device=self.device), labels, rng)

    def sample_from(
        self, images: Tensor, labels: Tensor, strength: float, *, rng: torch.Generator | None = None
    ) -> Tensor:
        """New images that start from given ones: noised up to ``strength``, then denoised as ``labels``.

        images: ``(n, C, H, W)`` in [0, 1], of the same class for variations of few images, or of another to lend a rare
        class what a frequent one has.  strength: share of the noise levels in (0, 1]; 1 forgets the image, 0.3
        keeps its outline. Source: SDEdit, Meng et al. 2021, arXiv 2108.01073. Returns ``(n, C, H, W)`` in [0, 1].
        """
        if not 0 < strength <= 1:
            raise ConfigError(f"strength is {strength}; it lies in (0, 1], 0.5 being half of the noise levels.")
        steps = self.config.sampling_steps
        first = min(round((1 - strength) * steps), steps - 1)
        x = 2 * self.grid.pad(images.to(self.device)) - 1
        eps = torch.randn(x.shape, generator=rng, device=self.device)
        t = torch.full((len(x),), timesteps(steps)[first], device=self.device)
        return self._denoise(self.diffusion.add_noise(x, eps, t), labels.to(self.device), rng, first=first)

    @property
    def layers(self) -> tuple[str, ...]:
        """``down0`` .., ``mid``, ``up0`` .. of the U-Net, in the order of the pass."""
        return tuple(self._blocks())

    def encode(
        self, images: Tensor, *, t: int = 150, layer: str = "up0", pool: int = 4, noise_draws: int = 1, seed: int = 0
    ) -> Tensor:
        """Activations of U-Net blocks for images noised to ``t``, averaged over parts of the image: ``(n, D)``.

        t: timestep in 0..999.  layer: ``down0`` .. , ``mid``, ``up0`` .., several joined by commas, or ``all``.  pool:
        the parts are a grid of pool x pool; 1 is the mean over all positions.  noise_draws: passes with different noise
        whose activations are averaged.  seed: of the noise, which depends on the image's content besides, so that it
        is independent between images. The class is withheld. Raises ConfigError for a timestep, layer or number that is
        not there.
        """
        return self.encode_layer(images, layer, t=t, pool=pool, noise_draws=noise_draws, seed=seed)

    def activations(self, images: Tensor, layers: Sequence[str], **options: Any) -> dict[str, Tensor]:
        """See the base class."""
        t, draws, seed = (int(options[name]) for name in ("t", "noise_draws", "seed"))
        if not 0 <= t < TIMESTEPS or draws < 1:
            raise ConfigError(
                f"t is {t} and noise_draws is {draws}; t lies in 0..{TIMESTEPS - 1}, noise_draws is at least 1."
            )
        if not layers:
            return {}
        passes = [self._pass(images, layers, t, derived_seed(seed, "noise", draw)) for draw in range(draws)]
        return {name: torch.stack([outputs[name].float() for outputs in passes]).mean(0) for name in layers}

    def _pass(self, images: Tensor, layers: Sequence[str], t: int, seed: int) -> dict[str, Tensor]:
        """Outputs of blocks for images noised to ``t`` without their class.

        The noise is each image's own: what all share is a constant that features lose when they are standardised, and
        the smallest trace of the image, as at t = 999, is then all they hold.
        """
        blocks, padded = self._blocks(), self.grid.pad(images)
        at, null = (torch.full((len(images),), value, device=images.device) for value in (t, self.spec.num_classes))
        x_t = self.diffusion.add_noise(2 * padded - 1, content_noise(padded, seed, torch.randn), at)
        with recorded({name: blocks[name] for name in layers}) as outputs:
            self._network(x_t, at, self.condition(null))
        return outputs

    def after_training(self, images: Tensor, labels: Tensor) -> None:
        """Fit which values count as black and white: see :func:`saturation`."""
        rows = torch.linspace(0, len(images) - 1, min(len(images), CALIBRATED)).long()
        own = torch_rng(0, "saturation", device=self.device)
        self.saturated.copy_(saturation(images[rows], self.sample(len(rows), labels[rows.to(labels.device)], rng=own)))

    def condition(self, labels: Tensor) -> Tensor | None:
        """What the U-Net is told of classes ``(n,)``, of which ``num_classes`` is the null class."""
        return labels if self.config.conditional else None

    def predict(self, x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """The clean image ``(n, C, H, W)`` in [-1, 1] behind x_t, guided towards ``labels``; called by samplers."""
        guidance = self.config.guided
        output = self._network(x_t, t, self.condition(labels))
        if guidance != 1:
            free = self._network(x_t, t, self.condition(torch.full_like(labels, self.spec.num_classes)))
            output = free + guidance * (output - free)
        return self.diffusion.to_x0(output, x_t, t).clamp(-1, 1)

    def _denoise(self, x: Tensor, labels: Tensor, rng: torch.Generator | None, *, first: int = 0) -> Tensor:
        if not len(x):
            return self.grid.crop(x)
        config = self.config

        def predict(x_t: Tensor, t: int) -> Tensor:
            return self.predict(x_t, torch.full((len(x_t),), t, device=x_t.device), labels)

        with evaluating(self):
            x = SAMPLERS[config.sampler](
                x, predict, schedule=config.schedule, steps=config.sampling_steps, first=first, rng=rng
            )
        x = self.grid.crop((x.clamp(-1, 1) + 1) / 2)
        black, white = self.saturated
        return x.masked_fill(x <= black, 0.0).masked_fill(x >= white, 1.0)

    def _network(self, x_t: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
        """The U-Net on pixel blocks, in float32 outside."""
        output = self.unet(F.pixel_unshuffle(x_t, self.patch), t, class_labels=condition).sample
        return F.pixel_shuffle(output.float(), self.patch)

    def _visible(self, labels: Tensor) -> Tensor:
        """Labels, some of them withheld while training."""
        hidden = torch.rand(len(labels), device=labels.device) < self.config.label_dropout * self.training
        return labels.masked_fill(hidden, self.spec.num_classes)

    def _blocks(self) -> dict[str, nn.Module]:
        unet: Any = self.unet
        return {
            **{f"down{index}": block for index, block in enumerate(unet.down_blocks)},
            "mid": unet.mid_block,
            **{f"up{index}": block for index, block in enumerate(unet.up_blocks)},
        }


def _canvas(config: DDPMConfig, spec: ImageSpec) -> tuple[Grid, int]:
    """The grid of the coarsest resolution, to whose multiples images are padded, and the side of a pixel block."""
    patch = config.patch or Grid.of(spec).cell // 2
    return Grid.of(spec, cell=patch * 2 ** (len(config.channels) - 1)), patch


def saturation(images: Tensor, drawn: Tensor) -> Tensor:
    """Values up to which, and from which on, drawn pixels are black and white: ``(2,)``, at most 0.1 from 0 and 1.

    Real pictures have areas of exactly black or white; what a sampler draws there keeps the last step's noise. The
    values are those that give drawn pixels as large a share of black and white as the pixels of real ``images`` have.
    """
    level = 0.5 / 255
    pixels = drawn.float().flatten()
    black, white = (images <= level).float().mean(), (images >= 1 - level).float().mean()
    low = pixels.quantile(black) if black > 0 else pixels.new_zeros(())
    high = pixels.quantile(1 - white) if white > 0 else pixels.new_ones(())
    return torch.stack([low.clamp(max=SNAPPED), high.clamp(min=1 - SNAPPED)])
