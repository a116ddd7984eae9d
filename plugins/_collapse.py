"""Alarm for adversarial training that has failed and that more steps will not cure.

Two signs: samples of a class that hardly differ (mode collapse), and a discriminator that is past its hinge on every
image while the synthesis net's loss is far out, so that neither learns from the other.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from augment.generator import StopTraining

DECAY = 0.95
"""Of the running means that the signs are read from: some twenty steps."""

LEAST_DIVERSITY = 0.1
"""Collapsed below this share of the real images' diversity; healthy nets are above a half."""

MOST_SETTLED = 0.9
"""The discriminator has won when it is past its hinge on more than this share of images."""

FAR_OUT = 1.5
"""A synthesis net's loss that no discriminator in balance causes: a draw is at 0, the hinge at 1."""


class CollapseAlarm(nn.Module):
    """Running means of the signs, and how many steps in a row they have been bad; ``patience`` 0 switches it off.

    All state is in floating-point buffers: a resumed training goes on where it was, and processes, which average such
    buffers, stop together.
    """

    diversity: Tensor
    settled: Tensor
    loss_g: Tensor
    collapsed: Tensor
    lost: Tensor

    def __init__(self, patience: int) -> None:
        super().__init__()
        self.patience = patience
        for name, start in (("diversity", 1.0), ("settled", 0.0), ("loss_g", 0.0), ("collapsed", 0.0), ("lost", 0.0)):
            self.register_buffer(name, torch.tensor(start))

    @torch.no_grad()
    def watch(self, diversity: Tensor, settled: Tensor, loss_g: Tensor) -> None:
        """Note one step: diversity relative to real images (not finite: unknown), share past the hinge, G's loss."""
        known = {"diversity": diversity, "settled": settled, "loss_g": loss_g}
        for name, value in known.items():
            mean = getattr(self, name)
            mean.copy_(torch.where(value.isfinite(), DECAY * mean + (1 - DECAY) * value, mean))
        self.collapsed.copy_((self.collapsed + 1) * (self.diversity < LEAST_DIVERSITY))
        self.lost.copy_((self.lost + 1) * ((self.settled > MOST_SETTLED) & (self.loss_g > FAR_OUT)))

    def check(self) -> None:
        """Raise StopTraining, with the figures, when a sign has been bad for ``patience`` steps in a row."""
        if not self.patience:
            return
        if self.collapsed >= self.patience:
            raise StopTraining(
                f"The samples have collapsed: within a class they differ {float(self.diversity):.1%} as much as real "
                f"images do, and have been below {LEAST_DIVERSITY:.0%} for {int(self.collapsed)} steps. "
                "Lower lr and lr_d, or train on more images."
            )
        if self.lost >= self.patience:
            raise StopTraining(
                f"The discriminator has won: it is past its hinge on {float(self.settled):.1%} of images while the "
                f"synthesis net's loss is {float(self.loss_g):.1f}, for {int(self.lost)} steps. "
                "Lower lr_d, raise lr, or add to diffaugment."
            )

    def reset(self) -> None:
        """Forget, as for a new training."""
        for name, buffer in self.named_buffers():
            buffer.fill_(1.0 if name == "diversity" else 0.0)


def relative_diversity(drawn: Tensor, real: Tensor, labels: Tensor | None) -> Tensor:
    """Mean distance of two samples of one class over that of two real images; both ``(n, C, H, W)``, same labels.

    labels None: of any two. Not finite where no two real images of a class differ. Pixel-wise Euclidean distances.
    """
    return _distances(drawn, labels) / _distances(real, labels)


def lacking_diversity(drawn: Tensor, real: Tensor, labels: Tensor | None) -> Tensor:
    """By what share samples of a class differ less than its real images, in [0, 1]; a loss for the synthesis net.

    After Mao et al. 2019 (mode seeking), arXiv 1903.05628, with the real images for the measure of how far to seek.
    """
    with torch.no_grad():
        real_distance = _distances(real, labels).clamp(min=1e-6)
    return (1 - _distances(drawn, labels) / real_distance).relu()


def _distances(images: Tensor, labels: Tensor | None) -> Tensor:
    """Sum of the distances of all pairs, or of all pairs of one class."""
    n = len(images)
    pairs = torch.ones(n, n, dtype=torch.bool, device=images.device).triu(1)
    if labels is not None:
        pairs &= labels[:, None] == labels
    first, second = pairs.nonzero(as_tuple=True)
    difference = images[first].float() - images[second].float()
    distances: Tensor = torch.linalg.vector_norm(difference.flatten(1), dim=1)
    return distances.sum()
