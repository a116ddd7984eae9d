"""The networks behind the extractors: the small one of a data set's own domain, how it is trained, and Inception v3.

The small one's architecture is frozen: classifiers may evolve, but two fidelity scores are comparable only if they come
from the same extractor. A change here needs a new :data:`ARCHITECTURE` number and new shipped weights.

Inception is as torch-fidelity ports it, for scores that others can compare with. Its 95 MB of weights are looked for,
never downloaded. They are a pickle, so only the published file, known by its hash, is ever opened.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from augment.errors import DataError, MissingDataError
from augment.metrics.extractor import Extractor
from augment.storage.hashing import file_hash
from augment.storage.locations import cache_folder

ARCHITECTURE = 1
"""Version of the layers and of the preprocessing; part of every saved file."""

FEATURES = 64
BATCH = 128
PEAK_LR = 4e-3
WEIGHT_DECAY = 0.05
WARMUP = 0.2
LARGEST_SHIFT = 1 / 14
"""Training images move by up to this share of their side (2 pixels of 28)."""


class FoldableConv(nn.Module):
    """3x3 convolution, BatchNorm, optional 2x2 max pooling, ReLU.

    Pooling comes before the ReLU: the two commute and the ReLU then sees a quarter of the values.
    """

    def __init__(self, inputs: int, outputs: int, *, pool: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs)
        # ceil_mode keeps a side of one pixel, so that every image size passes
        self.pool: nn.Module = nn.MaxPool2d(2, ceil_mode=True) if pool else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """``(N, inputs, H, W)`` -> ``(N, outputs, H, W)``, sides halved (rounded up) with ``pool``."""
        return F.relu(self.pool(self.norm(self.conv(x))))

    def fold(self) -> None:
        """Merge the normalisation into the convolution; only for inference."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


class DomainNetwork(nn.Module):
    """Classifier of 135,000 parameters whose pooled last layer is the feature space; any image size.

    The features are averages over the picture of ReLU outputs, so never negative.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            FoldableConv(channels, 16, pool=True),
            FoldableConv(16, 32, pool=True),
            FoldableConv(32, 64, pool=False),
            FoldableConv(64, 96, pool=False),
            FoldableConv(96, FEATURES, pool=False),
        )
        self.head = nn.Linear(FEATURES, num_classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features ``(N, 64)`` and class logits ``(N, num_classes)``, float32, of uint8 images ``(N, C, H, W)``."""
        x = (images.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        features = self.blocks(x).float().mean(dim=(2, 3))
        return features, self.head(features).float()

    def for_inference(self) -> DomainNetwork:
        """Eval mode with normalisation folded away, about a third faster; cannot be trained afterwards."""
        self.eval().requires_grad_(False)
        for block in self.blocks:
            if isinstance(block, FoldableConv):
                block.fold()
        return self.to(memory_format=torch.channels_last)


def train_network(
    images: Tensor,
    labels: Tensor,
    num_classes: int,
    *,
    updates: int,
    seed: int,
    flip: bool = False,
    precision: str = "fp32",
) -> DomainNetwork:
    """Train a network to classify ``images`` (uint8, ``(N, C, H, W)``) into ``labels`` (int64); eval mode on return.

    Cross-entropy, AdamW, a rise and cosine fall of the learning rate, random shifts and, with ``flip``, mirror images.
    The result depends on the arguments alone; torch's global random state is left as it was.
    """
    rng = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = DomainNetwork(images.shape[1], num_classes).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=PEAK_LR, weight_decay=WEIGHT_DECAY, fused=True)
    network.train()
    for update, index in enumerate(_batches(len(images), updates, rng)):
        optimizer.param_groups[0]["lr"] = PEAK_LR * _rate(update / updates)
        batch = _random_shift(images[index], rng, flip=flip)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            logits = network(batch)[1]
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(logits, labels[index]).backward()
        optimizer.step()
    return network.eval()


def _rate(progress: float) -> float:
    """Share of the peak learning rate at ``progress`` in [0, 1): linear rise, then half a cosine."""
    if progress < WARMUP:
        return progress / WARMUP + 0.01
    return 0.5 * (1 + math.cos(math.pi * (progress - WARMUP) / (1 - WARMUP)))


def _batches(n: int, updates: int, rng: torch.Generator) -> Iterator[Tensor]:
    """Indices of full batches from endless reshuffled passes; small sets repeat within a batch."""
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(updates):
        while len(order) < BATCH:
            order = torch.cat([order, torch.randperm(n, generator=rng)])
        yield order[:BATCH]
        order = order[BATCH:]


def _random_shift(images: Tensor, rng: torch.Generator, *, flip: bool) -> Tensor:
    """Each image shifted by its own offset, edges repeated; half of them mirrored if ``flip``."""
    n, _, height, width = images.shape
    reach = max(1, round(LARGEST_SHIFT * min(height, width)))
    dy, dx = torch.randint(-reach, reach + 1, (2, n, 1), generator=rng)
    rows = (torch.arange(height) + dy).clamp(0, height - 1)
    columns = (torch.arange(width) + dx).clamp(0, width - 1)
    if flip:
        mirrored = torch.rand(n, 1, generator=rng) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    picked = images[torch.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2)


INCEPTION_NAME = "inception-v3-compat"
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION_URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{INCEPTION_FILE}"
INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
INCEPTION_FEATURES = 2048


class InceptionNetwork(nn.Module):
    """uint8 images of any size -> pooled features ``(N, 2048)`` and unbiased logits ``(N, 1008)``, float32.

    Grey images are repeated to RGB; torch-fidelity resizes to 299 x 299 as TensorFlow 1 did.
    """

    def __init__(self, weights: Path) -> None:
        super().__init__()
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        layers = ["2048", "logits_unbiased"]
        with torch.random.fork_rng(devices=[]):  # it draws initial values before it reads the weights
            self.body = FeatureExtractorInceptionV3(INCEPTION_NAME, layers, feature_extractor_weights_path=str(weights))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features and logits of uint8 images ``(N, 1 or 3, H, W)``."""
        features, logits = self.body(images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images)
        return features, logits


def find_weights() -> Path:
    """Inception's weights in our cache folder or in PyTorch's (``TORCH_HOME``).

    Raises MissingDataError (exit 4) that says where to get the file and where to put it.
    """
    paths = [cache_folder() / "inception" / INCEPTION_FILE, Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_FILE]
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
    if digest != INCEPTION_SHA256:
        raise DataError(
            f"{weights} has SHA-256 {digest[:12]}..., Inception's published weights have {INCEPTION_SHA256[:12]}...: "
            f"it is damaged or another file, and is not opened. Download it again from {INCEPTION_URL}."
        )
    return Extractor(INCEPTION_NAME, digest, INCEPTION_FEATURES, None, InceptionNetwork(weights).eval())


def _missing(what: str, path: Path) -> MissingDataError:
    return MissingDataError(
        f"{what} They are never downloaded silently: fetch {INCEPTION_URL} (95 MB) to {path}, or leave Inception out "
        "to score with the extractor of the data set's own domain."
    )
