"""Plain autoencoder that samples from a class-conditional mixture fitted over its codes.

Hinton and Salakhutdinov 2006, "Reducing the Dimensionality of Data with Neural Networks", Science 313; sampling by a
density fitted afterwards, and the penalty on the codes' size: Ghosh et al. 2019, arXiv 1903.12436.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from augment.generator import UNLABELLED, ImageSpec, Tags

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


FULL_COVARIANCE_UP_TO = 64
IMAGES_PER_COMPONENT = 50
SHRINKAGE = 5.0
"""Images at which a component's own covariance and the pooled one weigh the same."""
JITTER = 1e-4


class MixturePrior(nn.Module):
    """A prior over latents, fitted after training: a Gaussian mixture per class, N(0, I) until :meth:`fit`.

    An autoencoder's aggregated posterior is far from N(0, I), and sampling from the latter draws latents the decoder
    never saw; a density fitted afterwards repairs that at no training cost (Ghosh et al. 2019, arXiv 1903.12436).

    Covariances are full up to 64 dimensions, diagonal above. Each is shrunk towards the covariance pooled within
    classes, the more so the fewer images stand behind it; a class with one image is that image with the pooled
    covariance, a class with none is one Gaussian over all images. Where images have no label, the pooled covariance is
    shrunk towards theirs, the more so the fewer have one. All results are buffers of fixed shape.
    """

    weights: Tensor
    means: Tensor
    scales: Tensor

    def __init__(self, latent_dim: int, num_classes: int, components: int) -> None:
        super().__init__()
        self.full = latent_dim <= FULL_COVARIANCE_UP_TO
        scale = torch.eye(latent_dim) if self.full else torch.ones(latent_dim)
        shape = (num_classes, components)
        self.register_buffer("weights", torch.ones(shape))
        self.register_buffer("means", torch.zeros(*shape, latent_dim))
        self.register_buffer("scales", scale.expand(*shape, *scale.shape).clone())

    def sample(self, labels: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Latents ``(n, latent_dim)`` float32 for classes ``(n,)``."""
        pick = torch.multinomial(self.weights[labels], 1, generator=rng).squeeze(1)
        mean, scale = self.means[labels, pick], self.scales[labels, pick]
        eps = torch.randn(mean.shape, generator=rng, device=mean.device)
        return mean + (torch.einsum("nij,nj->ni", scale, eps) if self.full else scale * eps)

    def fit(self, mu: Tensor, var: Tensor, labels: Tensor) -> None:
        """Fit to posterior means and variances ``(n, latent_dim)`` and classes ``(n,)``, -1 for none; reproducible.

        Raises FloatingPointError or LinAlgError for latents that are not finite or too large for any covariance.
        """
        x, noise, y = (tensor.detach().double().cpu().numpy() for tensor in (mu, var, labels))
        classes = [self._components(x[y == k], noise[y == k]) for k in range(len(self.means))]
        everything = [self._component(x, noise, np.ones(len(x)))]
        pooled = _pooled([c for components in classes for c in components], y, everything[0])
        self.weights.zero_()
        for k, components in enumerate(classes):
            for c, component in enumerate(components or everything):
                self._store(k, c, component, pooled)

    def _components(self, x: Any, noise: Any) -> list[_Component]:
        """The mixture of one class; empty for a class without images."""
        count = min(max(len(x) // IMAGES_PER_COMPONENT, 1), self.means.shape[1])
        soft = _responsibilities(x, count, "full" if self.full else "diag") if len(x) else np.empty((0, 0))
        return [self._component(x, noise, column) for column in soft.T]

    def _component(self, x: Any, noise: Any, responsibility: Any) -> _Component:
        mass = responsibility.sum() + 1e-12
        mean = responsibility @ x / mass
        weighted = (x - mean) * responsibility[:, None]
        covariance = weighted.T @ (x - mean) if self.full else (weighted * (x - mean)).sum(0)
        return _Component(mass, mean, covariance / mass, responsibility @ noise / mass)

    def _store(self, k: int, c: int, component: _Component, pooled: Any) -> None:
        share = SHRINKAGE / (SHRINKAGE + component.mass)
        covariance = (1 - share) * component.covariance + share * pooled
        noise = component.noise + JITTER
        scale = np.linalg.cholesky(covariance + np.diag(noise)) if self.full else np.sqrt(covariance + noise)
        self.weights[k, c] = component.mass
        self.means[k, c] = torch.as_tensor(component.mean)
        self.scales[k, c] = torch.as_tensor(scale)


@dataclass(frozen=True)
class _Component:
    """One Gaussian: images behind it, their mean and covariance (or its diagonal), their mean posterior variance."""

    mass: float
    mean: Any
    covariance: Any
    noise: Any


def _pooled(components: list[_Component], y: Any, everything: _Component) -> Any:
    """Covariance within the components; as the labelled images may be fewer than its rows, it leans on all images."""
    labelled = int((y != UNLABELLED).sum())
    if labelled == 0:
        return everything.covariance
    within = sum(c.mass * c.covariance for c in components) / labelled
    if labelled == len(y):
        return within
    freedom, rows = max(labelled - len(components), 0), len(everything.mean)
    return (freedom * within + rows * everything.covariance) / (freedom + rows)


def _responsibilities(x: Any, components: int, covariance: str) -> Any:
    """Soft assignment ``(n, components)`` of rows to mixture components."""
    if components == 1:
        return np.ones((len(x), 1))
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    mixture = GaussianMixture(components, covariance_type=covariance, reg_covar=JITTER, max_iter=30, random_state=0)
    # scikit-learn has threads of its own; beside a worker that needs the other core they would only wait for it
    with warnings.catch_warnings(), threadpool_limits(torch.get_num_threads()):
        warnings.simplefilter("ignore", ConvergenceWarning)  # thirty rounds are enough for a sampler
        try:
            return mixture.fit(x).predict_proba(x)
        except ValueError as error:
            raise FloatingPointError(f"No mixture can be fitted to these latents: {error}") from error
