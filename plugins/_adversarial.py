"""Adversarial training: hinge losses, the two updates of a step, what the discriminator sees, the alarm of a lost game.

Hinge losses: Lim and Ye 2017, "Geometric GAN", arXiv 1705.02894; Miyato et al. 2018, arXiv 1802.05957. Augmentation:
Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training", arXiv 2006.10738.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from augment.generator import GeneratorConfig, ImageSpec, StopTraining, Tags

from ._layers import ALL, LayeredGenerator, draw_labels, eval_mode, settle_spectral_norms, standing_statistics

STANDING_BATCHES, STANDING_SIZE = 16, 64
"""Samples from which batch normalisation takes its statistics after training."""

DECAY = 0.95
"""Of the running means that the alarm reads its signs from: some twenty steps."""

LEAST_DIVERSITY = 0.1
"""Collapsed below this share of the real images' diversity; healthy nets are above a half."""

MOST_SETTLED = 0.9
"""The discriminator has won when it is past its hinge on more than this share of images."""

FAR_OUT = 1.5
"""A synthesis net's loss that no discriminator in balance causes: a draw is at 0, the hinge at 1."""

SHIFT = 1 / 8
"""Largest translation in augmentation, as a share of a side; the paper's."""

HOLE = 1 / 2
"""Side of the cut-out square, as a share of the image's; the paper's."""

DiffAugmentation = Literal["colour", "translation", "cutout"]


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
        outputs = dict(zip(self.layers[: last + 1], maps, strict=False))
        return {name: outputs[name] for name in layers}

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


class CollapseAlarm(nn.Module):
    """Running means of two signs, and how many steps in a row they have been bad; ``patience`` 0 switches it off.

    Of training that has failed and that more steps will not cure: samples of a class that hardly differ (mode
    collapse), and a discriminator that is past its hinge on every image while the synthesis net's loss is far out, so
    that neither learns from the other.

    All state is in floating-point buffers: a resumed training goes on where it was, and processes, which average such
    buffers, stop together.
    """

    diversity: Tensor
    settled: Tensor
    loss_g: Tensor
    collapsed: Tensor
    lost: Tensor

    def __init__(self, patience: int) -> None:
        super().__init__()
        self.patience = patience
        for name, start in (("diversity", 1.0), ("settled", 0.0), ("loss_g", 0.0), ("collapsed", 0.0), ("lost", 0.0)):
            self.register_buffer(name, torch.tensor(start))

    @torch.no_grad()
    def watch(self, diversity: Tensor, settled: Tensor, loss_g: Tensor) -> None:
        """Note one step: diversity relative to real images (not finite: unknown), share past the hinge, G's loss."""
        known = {"diversity": diversity, "settled": settled, "loss_g": loss_g}
        for name, value in known.items():
            mean = getattr(self, name)
            mean.copy_(torch.where(value.isfinite(), DECAY * mean + (1 - DECAY) * value, mean))
        self.collapsed.copy_((self.collapsed + 1) * (self.diversity < LEAST_DIVERSITY))
        self.lost.copy_((self.lost + 1) * ((self.settled > MOST_SETTLED) & (self.loss_g > FAR_OUT)))

    def check(self) -> None:
        """Raise StopTraining, with the figures, when a sign has been bad for ``patience`` steps in a row."""
        if not self.patience:
            return
        if self.collapsed >= self.patience:
            raise StopTraining(
                f"The samples have collapsed: within a class they differ {float(self.diversity):.1%} as much as real "
                f"images do, and have been below {LEAST_DIVERSITY:.0%} for {int(self.collapsed)} steps. "
                "Lower lr and lr_d, or train on more images."
            )
        if self.lost >= self.patience:
            raise StopTraining(
                f"The discriminator has won: it is past its hinge on {float(self.settled):.1%} of images while the "
                f"synthesis net's loss is {float(self.loss_g):.1f}, for {int(self.lost)} steps. "
                "Lower lr_d, raise lr, or add to diffaugment."
            )

    def reset(self) -> None:
        """Forget, as for a new training."""
        for name, buffer in self.named_buffers():
            buffer.fill_(1.0 if name == "diversity" else 0.0)


def relative_diversity(drawn: Tensor, real: Tensor, labels: Tensor | None) -> Tensor:
    """Mean distance of two samples of one class over that of two real images; both ``(n, C, H, W)``, same labels.

    labels None: of any two. Not finite where no two real images of a class differ. Pixel-wise Euclidean distances.
    """
    return _distances(drawn, labels) / _distances(real, labels)


def lacking_diversity(drawn: Tensor, real: Tensor, labels: Tensor | None) -> Tensor:
    """By what share samples of a class differ less than its real images, in [0, 1]; a loss for the synthesis net.

    After Mao et al. 2019 (mode seeking), arXiv 1903.05628, with the real images for the measure of how far to seek.
    """
    with torch.no_grad():
        real_distance = _distances(real, labels).clamp(min=1e-6)
    return (1 - _distances(drawn, labels) / real_distance).relu()


def _distances(images: Tensor, labels: Tensor | None) -> Tensor:
    """Sum of the distances of all pairs, or of all pairs of one class."""
    n = len(images)
    pairs = torch.ones(n, n, dtype=torch.bool, device=images.device).triu(1)
    if labels is not None:
        pairs &= labels[:, None] == labels
    first, second = pairs.nonzero(as_tuple=True)
    difference = images[first].float() - images[second].float()
    distances: Tensor = torch.linalg.vector_norm(difference.flatten(1), dim=1)
    return distances.sum()


def diff_augment(x: Tensor, kinds: Sequence[DiffAugmentation]) -> Tensor:
    """Augment images ``(n, C, H, W)`` in [-1, 1], each in its own way, with noise from torch's global RNG.

    Differentiable in ``x``; colours may leave [-1, 1]. No kinds: ``x`` itself. It does not leak into the samples,
    because it meets real and drawn images alike, gradients pass through it, and it shows: shifted-in and cut-out pixels
    are grey, which is 0 here, so that the discriminator sees how far an image was moved.
    """
    for kind in kinds:
        x = _KINDS[kind](x)
    return x


def _colour(x: Tensor) -> Tensor:
    """Brightness +-1/2, saturation of 0 to 2 (nothing where there is one channel), contrast of 1/2 to 3/2."""
    brightness, saturation, contrast = torch.rand(3, len(x), 1, 1, 1, device=x.device)
    x = x + brightness - 0.5
    if x.shape[1] > 1:
        grey = x.mean(1, keepdim=True)
        x = grey + (x - grey) * 2 * saturation
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (x - mean) * (contrast + 0.5)  # type: ignore[no-any-return]


def _translation(x: Tensor) -> Tensor:
    """Shift by up to an eighth of each side, in whole pixels; what comes in from outside is grey."""
    n, _, height, width = x.shape
    rows, columns = (_moved(n, side, x.device) for side in (height, width))
    canvas = F.pad(x, (1, 1, 1, 1))
    canvas = canvas.gather(2, rows[:, None, :, None].expand(-1, x.shape[1], -1, width + 2))
    return canvas.gather(3, columns[:, None, None, :].expand(-1, x.shape[1], height, -1))


def _moved(n: int, side: int, device: torch.device) -> Tensor:
    """Index ``(n, side)`` into a side padded by one pixel of grey at both ends."""
    reach = max(1, round(side * SHIFT))
    shift = torch.randint(-reach, reach + 1, (n, 1), device=device)
    return (torch.arange(1, side + 1, device=device) + shift).clamp(0, side + 1)


def _cutout(x: Tensor) -> Tensor:
    """Make a square of half the side grey; its centre lies anywhere, so part of it may fall outside."""
    n, _, height, width = x.shape
    rows, columns = (_hole(n, side, x.device) for side in (height, width))
    return x.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)


def _hole(n: int, side: int, device: torch.device) -> Tensor:
    """Mask ``(n, side)`` of the pixels inside the hole along one side."""
    length = max(1, round(side * HOLE))
    first = torch.randint(-(length // 2), side - length // 2 + 1, (n, 1), device=device)
    position = torch.arange(side, device=device)
    return (position >= first) & (position < first + length)


_KINDS = {"colour": _colour, "translation": _translation, "cutout": _cutout}
