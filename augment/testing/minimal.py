"""A generator with every capability that is as small as it can be, for tests of code that works with generators."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from augment.generator import Generator, GeneratorConfig, ImageSpec, Tags, evaluating


class MinimalGenerator(Generator):
    """Conditional linear autoencoder with four latents and a Gaussian of its own around each class.

    Not registered: pass the class itself. It passes every check; tests break one method of it at a time.

    Args:
        config: Options, of which it has only those that every generator has.
        spec: Shape and classes of the images.

    Example:
        >>> from augment import GeneratorConfig, ImageSpec
        >>> from augment.testing import MinimalGenerator
        >>> generator = MinimalGenerator(GeneratorConfig(), ImageSpec(3, 32, 32, num_classes=3))
        >>> images = generator.sample(5)
        >>> images.shape, generator.encode(images).shape, generator.log_prob(images).shape
        (torch.Size([5, 3, 32, 32]), torch.Size([5, 4]), torch.Size([5]))
    """

    tags = Tags(conditional=True, reconstructs=True, decodes=True, likelihood=True)
    spread: Tensor

    def __init__(self, config: GeneratorConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        pixels = spec.channels * spec.height * spec.width
        self.down = nn.Linear(pixels, 4)
        self.classes = nn.Embedding(spec.num_classes, 4)
        self.up = nn.Linear(4, pixels)
        self.register_buffer("spread", torch.ones(4))

    def features(self, images: Tensor) -> Tensor:
        """Latents ``(n, 4)``."""
        return torch.as_tensor(self.down(images.flatten(1)))

    def paint(self, z: Tensor) -> Tensor:
        """Images ``(n, C, H, W)`` of latents ``(n, 4)``."""
        return torch.sigmoid(self.up(z)).view(-1, *self.spec.shape)

    def encode(self, images: Tensor) -> Tensor:
        """The latents."""
        return self.features(images)

    def decode(self, latents: Tensor) -> Tensor:
        """Images of latents."""
        return self.paint(latents)

    def reconstruct(self, images: Tensor) -> Tensor:
        """Images through the bottleneck."""
        return self.paint(self.features(images))

    def log_prob(self, images: Tensor) -> Tensor:
        """Log-density ``(n,)`` of a unit Gaussian around the reconstruction, up to a constant."""
        return -(images - self.paint(self.features(images))).square().flatten(1).sum(1)

    def sample(self, n: int, labels: Tensor | None = None, *, rng: torch.Generator | None = None) -> Tensor:
        """Images of noise around the latents of each class."""
        if labels is None:
            labels = torch.randint(self.spec.num_classes, (n,), generator=rng)
        return self.paint(self.classes(labels) + self.spread * torch.randn(n, 4, generator=rng))

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Squared error of a noisy reconstruction, and distance of the latents from those of their class."""
        z = self.features(images)
        mse = (self.paint(z + 0.1 * torch.randn_like(z)) - images).square().mean()
        return {"loss": mse + (z.detach() - self.classes(labels)).square().mean(), "mse": mse}

    def after_training(self, images: Tensor, labels: Tensor) -> None:
        """Measure the spread of the latents."""
        with evaluating(self):
            self.spread.copy_((self.features(images) - self.classes(labels)).std(0) + 0.1)
