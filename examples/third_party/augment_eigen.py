"""Eigen: a linear autoencoder with a Gaussian for each class (Baldi and Hornik, 1989: its span is that of PCA)."""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from augment import Generator, GeneratorConfig, ImageSpec, Tags


class EigenConfig(GeneratorConfig):
    """Options of Eigen."""

    latent_dim: int = Field(32, ge=1, le=1024, description="eigen-images kept")
    shrinkage: float = Field(0.2, ge=0, le=1, description="share of the pooled covariance in that of each class")


class Eigen(Generator):
    """Draws latents from each class's Gaussian; small classes lean on the covariance pooled over all of them."""

    Config = EigenConfig
    tags = Tags(conditional=True, reconstructs=True, decodes=True)
    test_options: ClassVar = {"latent_dim": 8}
    mean: Tensor
    factor: Tensor

    def __init__(self, config: EigenConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        pixels, latent_dim = spec.channels * spec.height * spec.width, config.latent_dim
        self.down, self.up = nn.Linear(pixels, latent_dim), nn.Linear(latent_dim, pixels)
        self.register_buffer("mean", torch.zeros(spec.num_classes, latent_dim))
        self.register_buffer("factor", torch.eye(latent_dim).repeat(spec.num_classes, 1, 1))

    def encode(self, images: Tensor) -> Tensor:
        return self.down(images.flatten(1))

    def decode(self, latents: Tensor) -> Tensor:
        return self.up(latents).view(-1, *self.spec.shape).clamp(0, 1)

    def reconstruct(self, images: Tensor) -> Tensor:
        return self.decode(self.encode(images))

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.mse_loss(self.up(self.encode(images)), images.flatten(1))

    def after_training(self, images: Tensor, labels: Tensor) -> None:
        z = self.encode(images)
        self.mean.copy_(z.mean(0))  # also what a class without images gets
        for k in labels.unique():
            self.mean[k] = z[labels == k].mean(0)
        centred = z - self.mean[labels]
        pooled = centred.T @ centred / len(z) + 1e-4 * torch.eye(z.shape[1], device=z.device)
        for k in range(self.spec.num_classes):
            own, n = centred[labels == k], int((labels == k).sum())
            share = self.config.shrinkage if n > z.shape[1] else 1.0  # too few images for a covariance of their own
            covariance = share * pooled + (1 - share) * own.T @ own / max(n, 1)
            self.factor[k] = torch.linalg.cholesky(covariance)

    def sample(self, n: int, labels: Tensor | None = None, *, rng: torch.Generator | None = None) -> Tensor:
        if labels is None:
            labels = torch.randint(self.spec.num_classes, (n,), generator=rng, device=self.device)
        noise = torch.randn(n, self.config.latent_dim, 1, generator=rng, device=self.device)
        return self.decode(self.mean[labels] + (self.factor[labels] @ noise).squeeze(-1))
