"""A feature extractor: a fixed network with the name and the hash by which results know it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from augment.errors import DataError

CHUNK = 500
"""Images per forward pass."""


@dataclass(frozen=True, eq=False)
class Extractor:
    """A fixed network that turns images into features and class logits.

    name: what results call it.  sha256: of its weights file.  dim: D, features per image.  channels: of the images it
    takes; None for any.  network: uint8 ``(N, C, H, W)`` -> features ``(N, D)``, logits ``(N, K)``, both float32.
    """

    name: str
    sha256: str
    dim: int
    channels: int | None
    network: nn.Module

    def extract(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features ``(N, D)`` and logits ``(N, K)``, float32, of uint8 images ``(N, C, H, W)``.

        Raises DataError for another type, rank or number of channels.
        """
        self._check(images)
        with torch.inference_mode():
            parts = [self.network(part) for part in images.split(CHUNK)]
        return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])

    def features(self, images: Tensor) -> Tensor:
        """Features ``(N, D)``, float32."""
        return self.extract(images)[0]

    def probabilities(self, images: Tensor) -> Tensor:
        """Class probabilities ``(N, K)``, float32; rows sum to 1."""
        return self.extract(images)[1].softmax(dim=1)

    def _check(self, images: Tensor) -> None:
        if images.dtype != torch.uint8 or images.dim() != 4 or len(images) == 0:
            raise DataError(
                f"Extractor {self.name!r} takes uint8 images (N, C, H, W) with N > 0; "
                f"got {str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}."
            )
        if self.channels is not None and images.shape[1] != self.channels:
            raise DataError(
                f"Extractor {self.name!r} takes images of {self.channels} channel(s); these have {images.shape[1]}. "
                "Load an extractor for this data set."
            )
