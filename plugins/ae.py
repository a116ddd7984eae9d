"""Plain autoencoder that samples from a class-conditional mixture fitted over its codes.

Hinton and Salakhutdinov 2006, "Reducing the Dimensionality of Data with Neural Networks", Science 313; sampling by a
density fitted afterwards, and the penalty on the codes' size: Ghosh et al. 2019, arXiv 1903.12436.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from augment.generator import ImageSpec, Tags

from ._autoencoders import (
    Backbone,
    ImageDecoder,
    ImageEncoder,
    LatentClassConfig,
    LatentClasses,
    one_hot,
    reconstruction_loss,
    unseen_classes,
)
from ._layers import LayeredGenerator, draw_labels, eval_mode
from ._mixture_prior import MixturePrior


class AEConfig(LatentClassConfig):
    """Options of ``ae``."""

    steps: int = Field(750, ge=1, description="optimizer updates")
    batch_size: int = Field(32, ge=1, description="images per update")
    lr: float = Field(3e-3, gt=0, description="peak learning rate")
    class_balanced: bool = Field(True, description="draw training labels uniformly instead of as they come")
    latent_dim: int = Field(32, ge=2, le=2048, description="size of the latent vector")
    width: int = Field(64, ge=8, multiple_of=4, description="channels of the coarse feature maps")
    backbone: Backbone = Field("resnet", description="residual blocks, or plain convolutions")
    reconstruction: Literal["bce", "mse"] = Field("bce", description="reconstruction loss, summed over pixels")
    beta: float = Field(0.05, ge=0, description="weight of half the squared length of the codes")
    kl_warmup: float = Field(0.0, ge=0, le=1, description="share of the steps in which beta rises from 0")
    conditional: bool = Field(False, description="give the decoder the class")
    label_dropout: float = Field(0.1, ge=0, le=1, description="share of training images whose class is withheld")
    prior: Literal["mixture", "normal"] = Field(
        "mixture", description="mixture per class fitted after training, or N(0, I)"
    )
    components: int = Field(8, ge=1, description="largest number of mixture components per class")


class AE(LayeredGenerator):
    """Autoencoder: ``encode`` gives codes, which are kept small, and ``sample`` draws some from the prior.

    The encoder never sees labels; the decoder of a conditional one does, with a withheld class (all zeros) for
    ``decode`` and ``reconstruct``. ``prior="normal"`` is allowed and samples poorly, since nothing draws the codes
    towards N(0, I).
    """

    Config: ClassVar[type[AEConfig]] = AEConfig
    config: AEConfig
    test_options: ClassVar[dict[str, Any]] = {"width": 16, "latent_dim": 4}
    family = "autoencoder"
    tags = Tags(conditional=True, reconstructs=True, decodes=True)
    updates: Tensor

    def __init__(self, config: AEConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        self.encoder = ImageEncoder(spec, config.width, config.backbone)
        self.decoder = ImageDecoder(spec, config.width, config.backbone)
        grid = self.encoder.grid
        self.map_shape = (config.width, grid.rows, grid.columns)
        features = config.width * grid.cells
        self.code = nn.Linear(features, config.latent_dim)
        self.expand = nn.Linear(config.latent_dim + config.conditional * spec.num_classes, features)
        self.prior = MixturePrior(config.latent_dim, spec.num_classes, config.components)
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.latent_classes = LatentClasses(config, config.latent_dim, spec.num_classes)
        conditional = config.conditional or config.prior == "mixture"
        self.tags = replace(self.tags, conditional=conditional, semi_supervised=config.semi_supervised)

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Reconstruction loss and code penalty per pixel; the terms are sums per image."""
        z = self._code(self.encoder(images))
        reconstruction = reconstruction_loss(self._logits(z, self._visible(labels)), images, self.config.reconstruction)
        size = 0.5 * (z**2).sum(1).mean()
        loss = (reconstruction + self._beta() * size) / images[0].numel()
        terms = {"loss": loss, f"reconstruction_{self.config.reconstruction}": reconstruction, "code_size": size}
        return self.latent_classes.add_to(terms, z, labels)

    def sample(self, n: int, labels: Tensor | None = None, *, rng: torch.Generator | None = None) -> Tensor:
        """Decode latents drawn from the prior; see :meth:`Generator.sample`."""
        labels = draw_labels(n, labels, self.spec.num_classes, rng, self.device)
        if self.config.prior == "mixture":
            z = self.prior.sample(labels, rng)
        else:
            z = torch.randn(n, self.config.latent_dim, generator=rng, device=self.device)
        with eval_mode(self):
            return self._logits(z, self._one_hot(labels)).float().sigmoid()

    @property
    def layers(self) -> tuple[str, ...]:
        """The encoder's feature maps, and the latent vector."""
        return "stem", "encoder", "latent"

    def encode(self, images: Tensor, *, layer: str = "latent", pool: int = 3) -> Tensor:
        """Codes ``(n, latent_dim)``, or features of another layer.

        layer: ``latent``; ``stem`` or ``encoder``, feature maps; several, joined by commas; or ``all``.  pool: feature
        maps are averaged over a grid of pool x pool parts of the image, 1 being all of it; latents are as they are. For
        a linear probe on MNIST ``encoder`` with pool=3 is better from 8 labels per class on. Raises ConfigError for an
        unknown layer.
        """
        return self.encode_layer(images, layer, pool=pool)

    def activations(self, images: Tensor, layers: Sequence[str], **options: Any) -> dict[str, Tensor]:
        """See the base class."""
        stages = self.encoder.stages(images)
        outputs = {**stages, "latent": self._code(stages["encoder"])}
        return {name: outputs[name] for name in layers}

    def decode(self, latents: Tensor) -> Tensor:
        """Images ``(n, C, H, W)`` of latents ``(n, latent_dim)``, class withheld."""
        with eval_mode(self):
            return self._logits(latents, None).float().sigmoid()

    def reconstruct(self, images: Tensor) -> Tensor:
        """``decode(encode(images))``; not samples."""
        return self.decode(self.encode(images))

    def after_training(self, images: Tensor, labels: Tensor) -> None:
        """Fit the mixture to training images; a class nobody was labelled as is a withheld one."""
        posteriors = [self._posterior(self.encoder(part)) for part in images.split(256)]
        mean, variance = (torch.cat(parts) for parts in zip(*posteriors, strict=True))
        self.prior.fit(mean, variance, labels)
        if self.config.conditional:
            self.expand.weight[:, self.config.latent_dim :][:, unseen_classes(labels, self.spec.num_classes)] = 0

    def _code(self, maps: Tensor) -> Tensor:
        """Latents for the encoder's feature maps."""
        return self.code(maps.flatten(1)).float()  # type: ignore[no-any-return]

    def _posterior(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of the latents for the encoder's feature maps; a code is a point."""
        code = self._code(maps)
        return code, torch.zeros_like(code)

    def _one_hot(self, labels: Tensor) -> Tensor:
        return one_hot(labels, self.spec.num_classes)

    def _visible(self, labels: Tensor) -> Tensor:
        """One-hot classes, some of them withheld while training."""
        mask = torch.rand(len(labels), 1, device=labels.device) >= self.config.label_dropout * self.training
        return self._one_hot(labels) * mask

    def _logits(self, z: Tensor, one_hot: Tensor | None) -> Tensor:
        if self.config.conditional:
            withheld = z.new_zeros(len(z), self.spec.num_classes)
            z = torch.cat([z, withheld if one_hot is None else one_hot], dim=1)
        return self.decoder(self.expand(z).unflatten(1, self.map_shape))  # type: ignore[no-any-return]

    def _beta(self) -> float:
        """Weight of the term on the codes now; the warm-up counts this module's own training batches."""
        rising = self.config.kl_warmup * self.config.steps
        if not self.training or rising == 0:
            return self.config.beta
        self.updates += 1
        return self.config.beta * min(1.0, float(self.updates) / rising)
