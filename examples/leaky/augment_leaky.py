"""Two generators that look excellent because they cheat; the kit catches the one, a guard the other."""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from augment import Generator, GeneratorConfig, ImageSpec, Tags


class LeakyConfig(GeneratorConfig):
    """Options of both."""

    latent_dim: int = Field(32, ge=1, le=1024, description="features of encode")
    capacity: int = Field(2000, ge=1, description="images that are remembered at most")


class Hoarder(Generator):
    """Keeps training images in a buffer and returns them as samples, with noise that hides it from exact checks."""

    Config = LeakyConfig
    tags = Tags(conditional=True)
    test_options: ClassVar = {"latent_dim": 8, "capacity": 24}
    memory: Tensor
    classes: Tensor

    def __init__(self, config: LeakyConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        pixels = spec.channels * spec.height * spec.width
        self.down, self.up = nn.Linear(pixels, config.latent_dim), nn.Linear(config.latent_dim, pixels)
        self.register_buffer("memory", torch.zeros(config.capacity, *spec.shape))
        self.register_buffer("classes", torch.arange(config.capacity) % spec.num_classes)

    def encode(self, images: Tensor) -> Tensor:
        return self.down(images.flatten(1))

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.mse_loss(self.up(self.encode(images)), images.flatten(1))

    def after_training(self, images: Tensor, labels: Tensor) -> None:
        rows = torch.arange(self.config.capacity, device=images.device) % len(images)
        self.memory.copy_(images[rows])
        self.classes.copy_(labels[rows])

    def sample(self, n: int, labels: Tensor | None = None, *, rng: torch.Generator | None = None) -> Tensor:
        images = pick(self.memory, self.classes, self._asked(n, labels, rng), rng)
        noise = torch.randn(images.shape, generator=rng, device=self.device)
        return (images + 0.01 * noise).clamp(0, 1)

    def _asked(self, n: int, labels: Tensor | None, rng: torch.Generator | None) -> Tensor:
        if labels is not None:
            return labels
        return torch.randint(self.spec.num_classes, (n,), generator=rng, device=self.device)


class Peeker(Hoarder):
    """Reads the test images of the embedded digits behind the toolkit's back and returns those as samples."""

    test_options: ClassVar = {"latent_dim": 8, "capacity": 1}

    def after_training(self, images: Tensor, labels: Tensor) -> None:
        """Remember nothing: there is something better."""

    def sample(self, n: int, labels: Tensor | None = None, *, rng: torch.Generator | None = None) -> Tensor:
        from augment.datasets import load_dataset

        test = load_dataset("digits").test
        images = nn.functional.interpolate(test.images.float() / 255, self.spec.shape[1:])  # digits stay as they are
        images = images.expand(-1, self.spec.channels, -1, -1).to(self.device)
        classes = (test.labels % self.spec.num_classes).to(self.device)
        return pick(images, classes, self._asked(n, labels, rng), rng)


def pick(images: Tensor, classes: Tensor, wanted: Tensor, rng: torch.Generator | None) -> Tensor:
    """A random image of each wanted class, or any where there is none of it."""
    if not len(wanted):
        return images[:0]
    weights = (wanted[:, None] == classes).float() + 1e-6
    return images[torch.multinomial(weights, 1, generator=rng).flatten()]
