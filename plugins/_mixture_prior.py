"""A prior over latents: a class-conditional Gaussian mixture, fitted after training.

An autoencoder's aggregated posterior is far from N(0, I), and sampling from the latter draws latents the decoder never
saw; a density fitted afterwards repairs that at no training cost (Ghosh et al. 2019, "From Variational to Deterministic
Autoencoders", arXiv 1903.12436).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from augment.generator import UNLABELLED

FULL_COVARIANCE_UP_TO = 64
IMAGES_PER_COMPONENT = 50
SHRINKAGE = 5.0
"""Images at which a component's own covariance and the pooled one weigh the same."""
JITTER = 1e-4


class MixturePrior(nn.Module):
    """A Gaussian mixture per class, N(0, I) until :meth:`fit`.

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
