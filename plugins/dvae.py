"""Denoising variational autoencoder: noisy images in, clean images out, class-conditional.

Im, Ahn, Memisevic and Bengio 2015, "Denoising Criterion for Variational Auto-Encoding Framework", arXiv 1511.06406.
"""

from __future__ import annotations

from pydantic import Field, field_validator
from torch import Tensor

from augment.corruptions import STRENGTHS, NoiseName, corrupt

from .vae import VAE, VAEConfig


class DVAEConfig(VAEConfig):
    """Options of ``dvae``."""

    noise: NoiseName | tuple[NoiseName, ...] = Field(
        ("gaussian", "rotation"), description="a kind of noise, or several of which one is drawn per image"
    )
    noise_strength: float | dict[NoiseName, float] = Field(
        0.5, description="scale of the usual strengths, or a strength per kind"
    )

    @field_validator("noise")
    @classmethod
    def _some_noise(cls, noise: NoiseName | tuple[NoiseName, ...]) -> NoiseName | tuple[NoiseName, ...]:
        if not noise:
            raise ValueError("name at least one kind of noise, or use the model 'vae'")
        return noise

    @field_validator("noise_strength")
    @classmethod
    def _not_negative(cls, value: float | dict[NoiseName, float]) -> float | dict[NoiseName, float]:
        if min(value.values() if isinstance(value, dict) else [value], default=0.0) < 0:
            raise ValueError("strengths are 0 or more")
        return value

    @property
    def kinds(self) -> tuple[NoiseName, ...]:
        """The kinds of noise as a tuple."""
        return (self.noise,) if isinstance(self.noise, str) else self.noise

    @property
    def strengths(self) -> dict[NoiseName, float]:
        """Strength of every kind; kinds a dictionary leaves out keep their usual one."""
        if isinstance(self.noise_strength, dict):
            return {**STRENGTHS, **self.noise_strength}
        return {kind: self.noise_strength * strength for kind, strength in STRENGTHS.items()}


class DVAE(VAE):
    """Denoising VAE: the encoder sees a corrupted image in training, the target is the clean one."""

    Config = DVAEConfig
    config: DVAEConfig

    def _corrupt(self, images: Tensor) -> Tensor:
        return corrupt(images, self.config.kinds, self.config.strengths)
