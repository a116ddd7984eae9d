"""Inception v3 as torch-fidelity ports it, for scores that others can compare with.

Its 95 MB of weights are looked for, never downloaded. They are a pickle, so only the published file, known by its hash,
is ever opened.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from augment.errors import DataError, MissingDataError
from augment.metrics.extractor import Extractor
from augment.storage.hashing import file_hash
from augment.storage.locations import cache_folder

NAME = "inception-v3-compat"
FILE = "weights-inception-2015-12-05-6726825d.pth"
URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{FILE}"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
FEATURES = 2048


class InceptionNetwork(nn.Module):
    """uint8 images of any size -> pooled features ``(N, 2048)`` and unbiased logits ``(N, 1008)``, float32.

    Grey images are repeated to RGB; torch-fidelity resizes to 299 x 299 as TensorFlow 1 did.
    """

    def __init__(self, weights: Path) -> None:
        super().__init__()
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        layers = ["2048", "logits_unbiased"]
        with torch.random.fork_rng(devices=[]):  # it draws initial values before it reads the weights
            self.body = FeatureExtractorInceptionV3(NAME, layers, feature_extractor_weights_path=str(weights))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features and logits of uint8 images ``(N, 1 or 3, H, W)``."""
        features, logits = self.body(images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images)
        return features, logits


def find_weights() -> Path:
    """Inception's weights in our cache folder or in PyTorch's (``TORCH_HOME``).

    Raises MissingDataError (exit 4) that says where to get the file and where to put it.
    """
    paths = [cache_folder() / "inception" / FILE, Path(torch.hub.get_dir()) / "checkpoints" / FILE]
    for path in paths:
        if path.is_file():
            return path
    raise _missing(f"Inception's weights are not at {' nor at '.join(map(str, paths))}.", paths[0])


def load_inception(weights: Path) -> Extractor:
    """The extractor from the published weights file.

    Raises MissingDataError (exit 4) when there is no such file, DataError when it is another one.
    """
    if not weights.is_file():
        raise _missing(f"Inception's weights are not at {weights}.", weights)
    digest = file_hash(weights)
    if digest != SHA256:
        raise DataError(
            f"{weights} has SHA-256 {digest[:12]}..., Inception's published weights have {SHA256[:12]}...: it is "
            f"damaged or another file, and is not opened. Download it again from {URL}."
        )
    return Extractor(NAME, digest, FEATURES, None, InceptionNetwork(weights).eval())


def _missing(what: str, path: Path) -> MissingDataError:
    return MissingDataError(
        f"{what} They are never downloaded silently: fetch {URL} (95 MB) to {path}, or leave Inception out to score "
        "with the extractor of the data set's own domain."
    )
