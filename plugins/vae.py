"""Variational autoencoder with a class-conditional mixture prior fitted over its latents.

Kingma and Welling 2013, "Auto-Encoding Variational Bayes", arXiv 1312.6114; weight of the KL term: Higgins et al. 2017
(beta-VAE); fitted prior: Ghosh et al. 2019, arXiv 1903.12436.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from augment.generator import ImageSpec

from ._autoencoders import reconstruction_loss
from .ae import AE, AEConfig


class VAEConfig(AEConfig):
    """Options of ``vae``."""

    beta: float = Field(0.1, ge=0, description="weight of the KL divergence")
    conditional: bool = Field(True, description="give the decoder the class")


class VAE(AE):
    """Variational autoencoder: an autoencoder with noise in its codes, which are posterior means for ``encode``."""

    Config: ClassVar[type[VAEConfig]] = VAEConfig
    config: VAEConfig

    def __init__(self, config: VAEConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        self.log_variance = nn.Linear(self.code.in_features, config.latent_dim)

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Negative evidence lower bound per pixel; the terms are sums per image, in nats for BCE and KL."""
        maps = self.encoder(self._corrupt(images) if self.training else images)
        mu, log_var = self._code(maps), self._log_variance(maps)
        z = mu + torch.randn_like(mu) * (0.5 * log_var).exp()
        reconstruction = reconstruction_loss(self._logits(z, self._visible(labels)), images, self.config.reconstruction)
        kl = 0.5 * (mu**2 + log_var.exp() - 1 - log_var).sum(1).mean()
        loss = (reconstruction + self._beta() * kl) / images[0].numel()
        terms = {"loss": loss, f"reconstruction_{self.config.reconstruction}": reconstruction, "kl": kl}
        return self.latent_classes.add_to(terms, mu, labels)

    def _corrupt(self, images: Tensor) -> Tensor:
        """What the encoder sees in training; a denoising subclass changes it."""
        return images

    def _log_variance(self, maps: Tensor) -> Tensor:
        return self.log_variance(maps.flatten(1)).float().clamp(-12, 6)  # type: ignore[no-any-return]

    def _posterior(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        return self._code(maps), self._log_variance(maps).exp()
