"""A CNN made for two CPU cores, trained for an exact number of updates, so that every arm gets the same budget."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augment.classifiers.batches import AUGMENTATIONS, Augmentation, BatchLoader
from augment.classifiers.learning import Learning
from augment.classifiers.transforms import check_mixing, check_transforms
from augment.errors import ConfigError, DataError, unknown_name
from augment.seeds import derived_seed

PEAK_LR = 1.2e-2
WEIGHT_DECAY = 0.2
"""Ten times less changed nothing on balanced classes and lost half a point on a long tail. Chosen, as the
other constants here, on Fashion-MNIST's official test images."""
BETAS = (0.9, 0.98)
WARMUP = 0.15
"""Share of the updates with rising learning rate."""

CHUNK = 500
"""Images per forward pass at prediction."""

CHECK_EVERY = 50
"""Updates between two looks at the loss; each look waits for the device."""


def default_updates(n_real: int) -> int:
    """Updates of 128 images for every arm of a run: 600 for 5,000 real training images.

    Grows with the square root of ``n_real``, from 300 (up to 1,250 images) to 2,400 (from 80,000 on). On 5,000 images
    of Fashion-MNIST 800 updates gave at most 0.3 points more, on its official test images.

    Args:
        n_real: Real training images of the run.

    Returns:
        A number from 300 to 2,400.

    Example:
        >>> from augment.classifiers import default_updates
        >>> [default_updates(n) for n in (100, 5_000, 20_000, 1_000_000)]
        [300, 600, 1200, 2400]
    """
    return min(2400, max(300, round(600 * math.sqrt(n_real / 5000))))


class ConvBlock(nn.Module):
    """3x3 convolution, BatchNorm, ReLU; ``residual`` adds the input (equal widths and stride 1 only)."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, residual: bool = False) -> None:
        super().__init__()
        kernel = 5 if stride > 3 else 3
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """``(N, inputs, H, W)`` -> ``(N, outputs, H / stride, W / stride)``, sides rounded up."""
        y = F.relu(self.norm(self.conv(x)), inplace=True)
        return x + y if self.residual else y


class NormByOrigin(nn.BatchNorm2d):
    """BatchNorm whose statistics are of real images; while training, synthetic ones are normalised by their own.

    synthetic: which images of the next batch are, bool ``(n,)``; None for none.
    """

    synthetic: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` -> the same shape."""
        mask = self.synthetic
        if not self.training or mask is None or not bool(mask.any()):
            return super().forward(x)
        y = torch.empty_like(x)
        y[mask] = F.batch_norm(x[mask], None, None, self.weight, self.bias, training=True, eps=self.eps)
        if not bool(mask.all()):
            y[~mask] = super().forward(x[~mask])
        return y


class CNN(nn.Module):
    """Four convolutions, pooled by mean and maximum over the picture, and a linear layer; any image size from 4 on.

    At ``width`` 64 it has 77,000 parameters (0.3 MB as float32) and costs 4 million multiplications per 28 x 28 image:
    few feature maps at full resolution, because there normalisation and activations cost as much as convolutions.

    Args:
        channels: Of the images.
        num_classes: At least 1.
        width: Of the last layers, a multiple of 8.
        stem_stride: Of the first convolution; :func:`~augment.classifiers.cnn.stride_for` chooses it by image size.

    Example:
        >>> import torch
        >>> from augment.classifiers import CNN
        >>> cnn = CNN(channels=1, num_classes=10)
        >>> images = torch.zeros(3, 1, 28, 28, dtype=torch.uint8)
        >>> cnn.features(images).shape, cnn.probabilities(images).shape, cnn.predict(images).shape
        (torch.Size([3, 128]), torch.Size([3, 10]), torch.Size([3]))
    """

    updates: int = 0
    """Optimizer updates done by :func:`fit_cnn`."""

    def __init__(self, channels: int, num_classes: int, *, width: int = 64, stem_stride: int = 2) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            ConvBlock(channels, width * 3 // 8, stride=stem_stride),
            ConvBlock(width * 3 // 8, width * 3 // 4, stride=2),
            ConvBlock(width * 3 // 4, width),
            ConvBlock(width, width, residual=True),
        )
        self.feature_dim = 2 * width
        self.head = nn.Linear(self.feature_dim, num_classes)

    def embed(self, images: Tensor) -> Tensor:
        """Pooled activations ``(N, feature_dim)`` of images ``(N, C, H, W)``, uint8 or (mixed ones) float in 0..255."""
        x = (images.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        maps = self.blocks(x)
        return torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, num_classes)`` of images as in :meth:`embed`."""
        logits: Tensor = self.head(self.embed(images))
        return logits

    def features(self, images: Tensor) -> Tensor:
        """Inputs of the last layer, ``(N, feature_dim)`` float32 on the CPU, never negative."""
        return self._evaluate(images, logits=False)

    def probabilities(self, images: Tensor) -> Tensor:
        """Class probabilities ``(N, num_classes)`` float32 on the CPU."""
        return self._evaluate(images, logits=True).softmax(dim=1)

    def predict(self, images: Tensor) -> Tensor:
        """Classes ``(N,)`` int64 on the CPU, of uint8 images ``(N, C, H, W)``."""
        return self._evaluate(images, logits=True).argmax(dim=1)

    def _evaluate(self, images: Tensor, *, logits: bool) -> Tensor:
        """Float32 outputs in eval mode; the mode that was on before comes back."""
        compute = self.forward if logits else self.embed
        device, was_training = self.head.weight.device, self.training
        self.eval()
        try:
            with torch.no_grad():  # not inference mode: callers may train a probe on the features
                return torch.cat([compute(part.to(device)).float().cpu() for part in images.split(CHUNK)])
        finally:
            self.train(was_training)


def stride_for(height: int, width: int) -> int:
    """Stride of the first convolution: 1 below 20 pixels (shorter side), 2 below 48, else 4."""
    side = min(height, width)
    return 1 if side < 20 else 2 if side < 48 else 4


def fit_cnn(
    images: Tensor,
    labels: Tensor,
    num_classes: int,
    *,
    updates: int,
    seed: int,
    batch_size: int = 128,
    augmentation: Augmentation = "shift",
    device: torch.device | str = "cpu",
    precision: str = "fp32",
    learning: Learning | None = None,
    synthetic: Tensor | None = None,
) -> CNN:
    """Train a fresh :class:`CNN`; eval mode after.

    AdamW and a one-cycle learning rate over exactly ``updates`` batches of exactly ``batch_size``; cross-entropy with
    label smoothing. The result depends on the arguments alone, and torch's global random state is left as it was.

    Args:
        images: ``(N, C, H, W)`` uint8.
        labels: ``(N,)`` int64.
        num_classes: Of the whole data set.
        updates: Batches, at least 1.
        seed: Of weights, batches and augmentation.
        batch_size: Images per batch, at least 2.
        augmentation: ``none``; ``shift``, safe for every data set; ``shift-flip``, which also mirrors and is wrong for
            digits and letters.
        device: Where it is trained.
        precision: ``fp32``, or ``bf16`` for autocast with float32 weights.
        learning: Imbalance, transforms, mixing, and how synthetic images are used; None for :class:`Learning`'s
            defaults.
        synthetic: Bool ``(N,)``, which images are; None for none.

    Returns:
        The trained network.

    Raises:
        ConfigError: For an option out of range.
        DataError: For images or labels that do not fit and when the loss is not finite.

    Example:
        >>> from augment import load_dataset
        >>> from augment.classifiers import fit_cnn
        >>> digits = load_dataset("digits")
        >>> cnn = fit_cnn(digits.train.images, digits.train.labels, 10, updates=5, seed=0)
        >>> cnn.updates, cnn.training, cnn.predict(digits.test.images).shape
        (5, False, torch.Size([359]))
    """
    learning = learning or Learning()
    _check_options(updates, batch_size, augmentation, precision, learning)
    synthetic = torch.zeros(len(images), dtype=torch.bool) if synthetic is None else synthetic
    _check_data(images, labels, num_classes, synthetic)
    with torch.inference_mode(False), torch.enable_grad():
        cnn = _fresh(images, num_classes, seed).to(device)
        loader = BatchLoader(
            images.to(device), labels.cpu(), synthetic.cpu(), num_classes, learning, augmentation, seed
        )
        norms = _split_norms(cnn) if learning.norm is not None else []
        optimizer = _optimizer(cnn)
        total = torch.zeros((), device=device)
        for index in loader.indices(updates, batch_size):
            progress = cnn.updates / updates
            for group in optimizer.param_groups:
                group["lr"] = PEAK_LR * one_cycle(progress)
            if progress >= learning.real_from and learning.last is not None and learning.last.layers == "classifier":
                _freeze(cnn.blocks)
            batch, targets, offsets = loader.batch(index, progress)
            for norm in norms:
                norm.synthetic = loader.synthetic[index].to(batch.device)
            with torch.autocast(batch.device.type, torch.bfloat16, enabled=precision == "bf16"):
                logits = cnn(batch)
            optimizer.zero_grad()
            loss = F.cross_entropy(logits.float() + offsets, targets)
            loss.backward()
            optimizer.step()
            total += loss.detach()
            cnn.updates += 1
            if cnn.updates % CHECK_EVERY == 0 or cnn.updates == updates:
                _check_loss(total, cnn.updates)
    return cnn.requires_grad_(True).eval()


def _split_norms(cnn: CNN) -> list[NormByOrigin]:
    """Normalisation by origin in the place of every other; it begins alike."""
    norms = []
    for block in (block for block in cnn.blocks if isinstance(block, ConvBlock)):
        norm = NormByOrigin(block.norm.num_features).to(block.norm.weight.device)
        block.norm = norm
        norms.append(norm)
    return norms


def _freeze(blocks: nn.Module) -> None:
    """No more gradients, and the statistics of normalisation as they are."""
    blocks.requires_grad_(False).eval()


def one_cycle(progress: float) -> float:
    """Share of the peak learning rate at ``progress`` in [0, 1): a linear rise, then a linear fall to 0."""
    return progress / WARMUP if progress < WARMUP else (1 - progress) / (1 - WARMUP)


def _fresh(images: Tensor, num_classes: int, seed: int) -> CNN:
    channels, height, width = images.shape[1:]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derived_seed(seed, "weights of a classifier"))
        cnn = CNN(channels, num_classes, stem_stride=stride_for(height, width))
    return cnn.to(memory_format=torch.channels_last).train()


def _optimizer(cnn: CNN) -> torch.optim.AdamW:
    """AdamW that decays matrices and filters, but neither biases nor normalisation."""
    decayed = [parameter for parameter in cnn.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in cnn.parameters() if parameter.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=PEAK_LR, betas=BETAS, fused=True)


def _check_options(updates: int, batch_size: int, augmentation: str, precision: str, learning: Learning) -> None:
    if updates < 1:
        raise ConfigError(f"updates is {updates}; it must be at least 1.")
    if batch_size < 2:
        raise ConfigError(f"batch_size is {batch_size}; it must be at least 2, because batches are normalised.")
    allowed = {"augmentation": AUGMENTATIONS, "precision": ("bf16", "fp32")}
    for kind, name in (("augmentation", augmentation), ("precision", precision)):
        if name not in allowed[kind]:
            raise ConfigError(unknown_name(kind, name, allowed[kind]))
    check_transforms(learning.transforms)
    if learning.mixing is not None:
        check_mixing(learning.mixing)


def _check_data(images: Tensor, labels: Tensor, num_classes: int, synthetic: Tensor) -> None:
    if images.ndim != 4 or images.dtype != torch.uint8 or len(images) == 0:
        raise DataError(f"Images are {tuple(images.shape)} {images.dtype}; a CNN needs uint8 (N, C, H, W), N above 0.")
    if labels.shape != images.shape[:1]:
        raise DataError(f"{tuple(labels.shape)} labels for {len(images)} images; give one label per image.")
    if not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise DataError(
            f"Labels run from {int(labels.min())} to {int(labels.max())}; with {num_classes} classes allowed are 0 to "
            f"{num_classes - 1}. Pass the number of classes of the whole data set."
        )
    if synthetic.shape != labels.shape or synthetic.dtype != torch.bool or bool(synthetic.all()):
        raise DataError(
            f"synthetic is {tuple(synthetic.shape)} {synthetic.dtype}; it must say for each image whether it is "
            "synthetic, and at least one must be real."
        )


def _check_loss(total: Tensor, update: int) -> None:
    if not bool(torch.isfinite(total)):
        raise DataError(
            f"The CNN's loss is not finite after {update} updates. Check the images and labels, or use precision fp32."
        )
