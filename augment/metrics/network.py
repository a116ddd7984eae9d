"""The small network behind the domain extractor, and how it is trained.

The architecture is frozen: classifiers may evolve, but two fidelity scores are comparable only if they come from the
same extractor. A change here needs a new :data:`ARCHITECTURE` number and new shipped weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

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
        batch = _moved(images[index], rng, flip=flip)
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


def _moved(images: Tensor, rng: torch.Generator, *, flip: bool) -> Tensor:
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
