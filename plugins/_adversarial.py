"""What the adversarial generators share: hinge losses, the two updates of a step, sampling, features, final statistics.

Hinge losses: Lim and Ye 2017, "Geometric GAN", arXiv 1705.02894; Miyato et al. 2018, arXiv 1802.05957.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from augment.generator import GeneratorConfig, ImageSpec, Tags

from ._collapse import CollapseAlarm, lacking_diversity, relative_diversity
from ._diffaugment import DiffAugmentation, diff_augment
from ._layered import ALL, LayeredGenerator
from ._layers import draw_labels, eval_mode, settle_spectral_norms, standing_statistics

STANDING_BATCHES, STANDING_SIZE = 16, 64
"""Samples from which batch normalisation takes its statistics after training."""


class AdversarialConfig(GeneratorConfig):
    """Options of every adversarial generator; ``lr`` is the synthesis net's."""

    lr_d: float = Field(1e-3, gt=0, description="peak learning rate of the discriminator")
    betas: tuple[float, float] = Field((0.5, 0.99), description="decay of Adam's first and second moments")
    d_steps: int = Field(1, ge=1, description="discriminator updates per update of the synthesis net")
    grad_clip: float = Field(0.0, ge=0, description="largest gradient norm; 0 switches clipping off")
    class_balanced: bool = Field(True, description="draw training labels uniformly instead of as they come")
    conditional: bool = Field(True, description="give both nets the class")
    latent_dim: int = Field(64, ge=1, le=1024, description="size of the noise vector")
    diffaugment: tuple[DiffAugmentation, ...] = Field(
        ("translation", "cutout"), description="augmentation of all that the discriminator sees; [] for none"
    )
    diversity: float = Field(
        1.0, ge=0, description="weight of what samples of a class differ less than its real images; 0 for none"
    )
    collapse_patience: int = Field(
        200, ge=0, description="steps in a row with collapsed samples, or a won game, that end training; 0 for no alarm"
    )


class SynthesisBase(nn.Module):
    """Noise ``(n, latent_dim)`` and labels ``(n,)`` (None: unconditional) to images ``(n, C, H, W)`` in [-1, 1]."""


class DiscriminatorBase(nn.Module):
    """Images ``(n, C, H, W)`` in [-1, 1] and labels ``(n,)`` (None: unconditional) to logits ``(n,)``, real is high."""

    blocks: nn.ModuleList
    score: nn.Module
    projection: nn.Module | None
    """What the labels enter by, arXiv 1802.05637; None in an unconditional net."""

    def feature_maps(self, images: Tensor) -> Iterator[Tensor]:
        """One map ``(n, width, h, w)`` for each of ``blocks``, from fine to coarse, made without labels."""
        raise NotImplementedError

    def forward(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """Logits ``(n,)``; see the class."""
        *_, last = self.feature_maps(images)
        features = last.sum((2, 3))
        logits: Tensor = self.score(features).squeeze(1)
        return logits if self.projection is None else logits + (features * self.projection(labels)).sum(1)


def hinge_d(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's hinge loss: mean of max(0, 1 - D(x)) plus mean of max(0, 1 + D(G(z)))."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def hinge_g(fake: Tensor) -> Tensor:
    """The synthesis net's loss against it: minus the mean of D(G(z))."""
    return -fake.mean()


class AdversarialGenerator(LayeredGenerator):
    """A synthesis net and a discriminator; a subclass builds both in its constructor.

    ``encode`` gives pooled feature maps of the discriminator, which are made before it sees a class.
    """

    Config: ClassVar[type[AdversarialConfig]] = AdversarialConfig
    config: AdversarialConfig
    family = "GAN"
    tags = Tags(conditional=True)
    synthesis: SynthesisBase
    discriminator: DiscriminatorBase

    def __init__(self, config: AdversarialConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        if not config.conditional:
            self.tags = Tags(conditional=False)
        self.alarm = CollapseAlarm(config.collapse_patience)

    def training_step(self, images: Tensor, labels: Tensor, optimizers: Sequence[Optimizer]) -> dict[str, Tensor]:
        """``d_steps`` updates of the discriminator on this batch, each with new samples, and one of the synthesis net.

        The samples have the labels of the batch; the last ones serve both nets. ``"loss"`` is the sum of both losses,
        ``d_accuracy`` the share of images, real and drawn, on the right side of 0, ``diversity`` that of the samples
        relative to the real images. Raises StopTraining when the collapse alarm goes off.
        """
        self.alarm.check()
        optimizer_g, optimizer_d = optimizers
        x, shown = 2 * images - 1, self._shown(labels)
        for _ in range(self.config.d_steps):
            drawn = self.synthesis(self.noise(len(x)), shown)
            terms = self._update_discriminator(x, drawn.detach(), shown, optimizer_d)
        terms |= self._update_synthesis(drawn, x, shown, optimizer_g)
        with torch.no_grad():
            diversity = relative_diversity(drawn, x, shown)
        self.alarm.watch(diversity, terms.pop("settled"), terms["loss_g"])
        terms["diversity"] = self.alarm.diversity.clone()
        return {"loss": terms["loss_d"] + terms["loss_g"], **terms}

    def _update_discriminator(
        self, x: Tensor, drawn: Tensor, labels: Tensor | None, optimizer: Optimizer
    ) -> dict[str, Tensor]:
        both = diff_augment(torch.cat([x, drawn]), self.config.diffaugment)
        twice = None if labels is None else torch.cat([labels, labels])
        real, fake = self.discriminator(both, twice).float().chunk(2)
        loss = hinge_d(real, fake)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        margins = torch.cat([real, -fake]).detach()
        accuracy, settled = ((margins > least).float().mean() for least in (0, 1))
        return {"loss_d": loss.detach(), "d_accuracy": accuracy, "settled": settled}

    def _update_synthesis(
        self, drawn: Tensor, x: Tensor, labels: Tensor | None, optimizer: Optimizer
    ) -> dict[str, Tensor]:
        fake = self.discriminator(diff_augment(drawn, self.config.diffaugment), labels).float()
        loss = hinge_g(fake)
        optimizer.zero_grad(set_to_none=True)
        mine = list(self.synthesis.parameters())  # gradients of the opponent's weights would cost time
        variety = self.config.diversity * lacking_diversity(drawn, x, labels) if self.config.diversity else 0.0
        torch.autograd.backward(loss + variety + self.regularisation(), inputs=mine)
        optimizer.step()
        return {"loss_g": loss.detach()}

    def regularisation(self) -> Tensor | float:
        """What a subclass adds to the synthesis net's loss."""
        return 0.0

    def configure_optimizers(self) -> list[Optimizer]:
        """AdamW for the synthesis net with ``lr``, and for the discriminator with ``lr_d``."""
        config = self.config
        shared: dict[str, Any] = {"betas": config.betas, "weight_decay": config.weight_decay}
        shared["fused"] = self.device.type in ("cpu", "cuda")
        return [
            torch.optim.AdamW(self.synthesis.parameters(), lr=config.lr, **shared),
            torch.optim.AdamW(self.discriminator.parameters(), lr=config.lr_d, **shared),
        ]

    def noise(self, n: int, rng: torch.Generator | None = None) -> Tensor:
        """Noise z ``(n, latent_dim)`` from N(0, I)."""
        return torch.randn(n, self.config.latent_dim, generator=rng, device=self.device)

    def sampling_noise(self, n: int, rng: torch.Generator | None) -> Tensor:
        """What ``sample`` draws z from; a subclass may cut it off."""
        return self.noise(n, rng)

    def sample(self, n: int, labels: Tensor | None = None, *, rng: torch.Generator | None = None) -> Tensor:
        """One pass of the synthesis net; see :meth:`Generator.sample`."""
        labels = draw_labels(n, labels, self.spec.num_classes, rng, self.device)
        with eval_mode(self):
            x = self.synthesis(self.sampling_noise(n, rng), self._shown(labels))
        return (0.5 * x.float() + 0.5).clamp(0, 1)  # type: ignore[no-any-return]

    @property
    def layers(self) -> tuple[str, ...]:
        """``block1`` .. of the discriminator."""
        return tuple(f"block{index}" for index, _ in enumerate(self.discriminator.blocks, start=1))

    def encode(self, images: Tensor, *, layer: str = ALL, pool: int = 2) -> Tensor:
        """The discriminator's feature maps, averaged over parts of the image: ``(n, D)``.

        layer: ``block1`` .. , several joined by commas, or ``all``.  pool: the parts are a grid of pool x pool; 1 is
        the mean over all positions. Raises ConfigError for an unknown layer.
        """
        return self.encode_layer(images, layer, pool=pool)

    def activations(self, images: Tensor, layers: Sequence[str], **options: Any) -> dict[str, Tensor]:
        """See the base class."""
        maps = self.discriminator.feature_maps(2 * images - 1)
        last = max(map(self.layers.index, layers), default=-1)
        found = dict(zip(self.layers[: last + 1], maps, strict=False))
        return {name: found[name] for name in layers}

    def after_training(self, images: Tensor, labels: Tensor) -> None:
        """Make spectral norms and batch statistics those of the averaged weights; reset the alarm."""
        self.alarm.reset()
        settle_spectral_norms(self)
        classes = labels.unique() if self.config.class_balanced else labels
        draws = torch.randint(len(classes), (STANDING_BATCHES, STANDING_SIZE), device=self.device)
        with standing_statistics(self.synthesis):
            for rows in draws:
                self.synthesis(self.noise(len(rows)), self._shown(classes[rows]))

    def _shown(self, labels: Tensor) -> Tensor | None:
        return labels if self.config.conditional else None
