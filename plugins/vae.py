"""Variational autoencoder with a class-conditional mixture prior fitted over its latents.

Kingma and Welling 2013, "Auto-Encoding Variational Bayes", arXiv 1312.6114; weight of the KL term: Higgins et al. 2017
(beta-VAE); fitted prior: Ghosh et al. 2019, arXiv 1903.12436.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from augment.generator import Generator, GeneratorConfig, ImageSpec, Tags

from ._layers import Backbone, ImageDecoder, ImageEncoder, draw_labels, eval_mode, reconstruction_loss
from ._priors import MixturePrior, PriorName


class VAEConfig(GeneratorConfig):
    """Options of ``vae``."""

    steps: int = Field(750, ge=1, description="optimizer updates")
    batch_size: int = Field(32, ge=1, description="images per update")
    lr: float = Field(3e-3, gt=0, description="peak learning rate")
    class_balanced: bool = Field(True, description="draw training labels uniformly instead of as they come")
    latent_dim: int = Field(32, ge=2, le=2048, description="size of the latent vector")
    width: int = Field(64, ge=8, multiple_of=4, description="channels of the coarse feature maps")
    backbone: Backbone = Field("resnet", description="residual blocks, or plain convolutions")
    reconstruction: Literal["bce", "mse"] = Field("bce", description="reconstruction loss, summed over pixels")
    beta: float = Field(0.1, ge=0, description="weight of the KL divergence")
    kl_warmup: float = Field(0.0, ge=0, le=1, description="share of the steps in which beta rises from 0")
    conditional: bool = Field(True, description="give the decoder the class")
    label_dropout: float = Field(0.1, ge=0, le=1, description="share of training images whose class is withheld")
    prior: PriorName = Field("mixture", description="mixture per class fitted after training, or N(0, I)")
    components: int = Field(8, ge=1, description="largest number of mixture components per class")


class VAE(Generator):
    """Variational autoencoder: ``encode`` gives posterior means, ``sample`` draws latents from the prior.

    The encoder never sees labels; the decoder of a conditional one does, with a withheld class (all zeros) for
    ``decode`` and ``reconstruct``.
    """

    Config: ClassVar[type[VAEConfig]] = VAEConfig
    config: VAEConfig
    test_options: ClassVar[dict[str, Any]] = {"width": 16, "latent_dim": 4}
    family = "autoencoder"
    tags = Tags(conditional=True, reconstructs=True, decodes=True)
    updates: Tensor

    def __init__(self, config: VAEConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        self.encoder = ImageEncoder(spec, config.width, config.backbone)
        self.decoder = ImageDecoder(spec, config.width, config.backbone)
        grid = self.encoder.grid
        self.map_shape = (config.width, grid.rows, grid.columns)
        features = config.width * grid.cells
        self.posterior = nn.Linear(features, 2 * config.latent_dim)
        self.expand = nn.Linear(config.latent_dim + config.conditional * spec.num_classes, features)
        self.prior = MixturePrior(config.latent_dim, spec.num_classes, config.components)
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        if not config.conditional and config.prior == "normal":
            self.tags = Tags(conditional=False, reconstructs=True, decodes=True)

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Negative evidence lower bound per pixel; the terms are sums per image, in nats for BCE and KL."""
        mu, log_var = self._posterior(self._corrupt(images) if self.training else images)
        z = mu + torch.randn_like(mu) * (0.5 * log_var).exp()
        reconstruction = reconstruction_loss(self._logits(z, self._visible(labels)), images, self.config.reconstruction)
        kl = 0.5 * (mu**2 + log_var.exp() - 1 - log_var).sum(1).mean()
        loss = (reconstruction + self._beta() * kl) / images[0].numel()
        return {"loss": loss, f"reconstruction_{self.config.reconstruction}": reconstruction, "kl": kl}

    def sample(self, n: int, labels: Tensor | None = None, *, rng: torch.Generator | None = None) -> Tensor:
        """Decode latents drawn from the prior; see :meth:`Generator.sample`."""
        labels = draw_labels(n, labels, self.spec.num_classes, rng, self.device)
        if self.config.prior == "mixture":
            z = self.prior.sample(labels, rng)
        else:
            z = torch.randn(n, self.config.latent_dim, generator=rng, device=self.device)
        with eval_mode(self):
            return self._logits(z, self._one_hot(labels)).float().sigmoid()

    def encode(self, images: Tensor) -> Tensor:
        """Posterior means ``(n, latent_dim)``."""
        with eval_mode(self):
            return self._posterior(images)[0]

    def decode(self, latents: Tensor) -> Tensor:
        """Images ``(n, C, H, W)`` of latents ``(n, latent_dim)``, class withheld."""
        with eval_mode(self):
            return self._logits(latents, None).float().sigmoid()

    def reconstruct(self, images: Tensor) -> Tensor:
        """``decode(encode(images))``; not samples."""
        return self.decode(self.encode(images))

    def after_training(self, images: Tensor, labels: Tensor) -> None:
        """Fit the mixture to the posteriors of training images."""
        posteriors = [self._posterior(part) for part in images.split(256)]
        mu, log_var = (torch.cat(parts) for parts in zip(*posteriors, strict=True))
        self.prior.fit(mu, log_var.exp(), labels)

    def _corrupt(self, images: Tensor) -> Tensor:
        """What the encoder sees in training; a denoising subclass changes it."""
        return images

    def _posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        mu, log_var = self.posterior(self.encoder(images).flatten(1)).float().chunk(2, dim=1)
        return mu, log_var.clamp(-12, 6)

    def _one_hot(self, labels: Tensor) -> Tensor:
        return F.one_hot(labels, self.spec.num_classes).float()

    def _visible(self, labels: Tensor) -> Tensor:
        """One-hot classes, some of them withheld while training."""
        kept = torch.rand(len(labels), 1, device=labels.device) >= self.config.label_dropout * self.training
        return self._one_hot(labels) * kept

    def _logits(self, z: Tensor, one_hot: Tensor | None) -> Tensor:
        if self.config.conditional:
            withheld = z.new_zeros(len(z), self.spec.num_classes)
            z = torch.cat([z, withheld if one_hot is None else one_hot], dim=1)
        return self.decoder(self.expand(z).unflatten(1, self.map_shape))  # type: ignore[no-any-return]

    def _beta(self) -> float:
        """Weight of the KL term now; the warm-up counts this module's own training batches."""
        rising = self.config.kl_warmup * self.config.steps
        if not self.training or rising == 0:
            return self.config.beta
        self.updates += 1
        return self.config.beta * min(1.0, float(self.updates) / rising)
