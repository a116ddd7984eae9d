"""Plain autoencoder that samples from a class-conditional mixture fitted over its codes.

Hinton and Salakhutdinov 2006, "Reducing the Dimensionality of Data with Neural Networks", Science 313; sampling by a
density fitted afterwards, and the penalty on the codes' size: Ghosh et al. 2019, arXiv 1903.12436.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from augment.generator import ImageSpec

from ._layers import reconstruction_loss
from .vae import VAE, VAEConfig


class AEConfig(VAEConfig):
    """Options of ``ae``; ``beta`` weighs the squared size of the codes."""

    beta: float = Field(0.05, ge=0, description="weight of half the squared length of the codes")
    conditional: bool = Field(False, description="give the decoder the class")


class AE(VAE):
    """Autoencoder: a VAE without posterior noise; its codes are kept small instead of close to N(0, I).

    ``prior="normal"`` is allowed and samples poorly, since nothing draws the codes towards N(0, I).
    """

    Config = AEConfig
    config: AEConfig

    def __init__(self, config: AEConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        self.posterior = nn.Linear(self.posterior.in_features, config.latent_dim)

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Reconstruction loss and code penalty per pixel; the terms are sums per image."""
        z = self._posterior(self.encoder(images))[0]
        reconstruction = reconstruction_loss(self._logits(z, self._visible(labels)), images, self.config.reconstruction)
        size = 0.5 * (z**2).sum(1).mean()
        loss = (reconstruction + self._beta() * size) / images[0].numel()
        terms = {"loss": loss, f"reconstruction_{self.config.reconstruction}": reconstruction, "code_size": size}
        return self.latent_classes.add_to(terms, z, labels)

    def _posterior(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """The code and a log-variance of (nearly) none."""
        z = self.posterior(maps.flatten(1)).float()
        return z, z.new_full(z.shape, -20.0)
