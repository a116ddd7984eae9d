"""Feature extractors: the eyes through which fidelity is measured, each known by name and by the hash of its weights.

A network trained on the domain itself sees what matters there; ImageNet's Inception on grey 28 x 28 pictures does not
(Naeem et al. 2020, arXiv:2002.09797). Extractors of four data sets are shipped, others are trained once and cached.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from augment.errors import DataError, MissingDataError
from augment.metrics.extractor import Extractor
from augment.metrics.network import ARCHITECTURE, BATCH, FEATURES, DomainNetwork, train_network
from augment.storage.cache import kept
from augment.storage.files import write_bytes
from augment.storage.hashing import file_hash, tensors_hash
from augment.storage.locations import cache_folder

SHIPPED: dict[str, str] = {
    "digits": "97f6588daf95b460a209b77b40db9e2f27abb46db1172428e290614891d04a66",
    "mnist": "ecc0e646d7eae1d814b570667e4a39a4f12360d04ed7adf5ec2f7f8fa0536f7d",
    "fashionmnist": "01a4615a6ec80b4a8e7083b4c428a25f3c4a114e5680f4a868323d44b5fd6b1c",
    "cifar10": "e8a0f0dced410f9b8df51ffdc2baff7c0f54738318ce4e7b0a8860a621d43627",
}
"""SHA-256 of the shipped weights by data set; ``benchmarks/train_extractors.py`` prints this table."""

WEIGHTS = Path(__file__).parent / "weights"

PASSES = 10
MOST_UPDATES = 800
FEWEST_UPDATES = 100
REFERENCE_PIXELS = 32 * 32
"""Budget of a cached extractor: ten passes, at least 100 and at most 800 updates, fewer for images above 32 x 32."""


def load_extractor(
    dataset_name: str,
    channels: int,
    *,
    images: Tensor | None = None,
    labels: Tensor | None = None,
    num_classes: int | None = None,
    cache: Path | None = None,
    inception: Path | None = None,
) -> Extractor:
    """The extractor for a data set: Inception if its file is given, else a shipped one, else a trained and cached one.

    channels: of the images to score.  images, labels, num_classes: the training pool (uint8 ``(N, C, H, W)``, int64),
    needed where no extractor is shipped for this set, or for its images at another size.  cache: where trained
    extractors are kept; the program's cache folder by default.  inception: Inception's weights file
    (:func:`augment.metrics.network.find_weights` looks for it).

    Raises MissingDataError (exit 4) when Inception's file is not there or there is nothing to train on, and DataError
    when a weights file is not the one that was published.
    """
    if inception is not None:
        from augment.metrics.network import load_inception

        return load_inception(inception)
    shipped = _shipped(dataset_name, channels, images)
    if shipped is not None:
        return shipped
    if images is None or labels is None or num_classes is None:
        raise MissingDataError(
            f"No extractor is shipped for {dataset_name!r} with {channels} channel(s) (shipped: {', '.join(SHIPPED)}). "
            "Pass training images, labels and num_classes to train one, or Inception's weights."
        )
    return _trained(dataset_name, images, labels, num_classes, (cache or cache_folder()) / "extractors")


def _shipped(dataset_name: str, channels: int, images: Tensor | None) -> Extractor | None:
    if dataset_name not in SHIPPED:
        return None
    file = WEIGHTS / f"{dataset_name}.safetensors"
    if not file.is_file():
        raise DataError(f"{file} is missing from the installation. Install the package again.")
    shape, extractor = read_extractor(file, dataset_name, expected_sha256=SHIPPED[dataset_name])
    same = shape[0] == channels and (images is None or tuple(images.shape[1:]) == shape)
    return extractor if same else None


def read_extractor(
    file: Path, name: str, *, expected_sha256: str | None = None
) -> tuple[tuple[int, int, int], Extractor]:
    """The ``(C, H, W)`` an extractor was trained on, and the extractor, from a file of :func:`write_network`.

    Raises DataError when the file's hash is not ``expected_sha256``, or it is damaged or of another version.
    """
    from safetensors import SafetensorError, safe_open

    digest = file_hash(file)
    if expected_sha256 is not None and digest != expected_sha256:
        raise DataError(
            f"{file} has SHA-256 {digest[:12]}..., expected {expected_sha256[:12]}...: it was changed or damaged, and "
            "scores made with it would mislead. Install the package again."
        )
    try:
        with safe_open(file, framework="pt") as reader:
            description = json.loads((reader.metadata() or {})["augment"])
            weights = {key: reader.get_tensor(key) for key in reader.keys()}  # noqa: SIM118 - not a dictionary
        if description["architecture"] != ARCHITECTURE:
            raise DataError(
                f"{file} has extractor architecture {description['architecture']}, this version reads {ARCHITECTURE}."
            )
        channels, height, width = description["shape"]
        with torch.device("meta"):  # no initial values to draw, so the global random state stays as it was
            network = DomainNetwork(channels, description["num_classes"])
        network.load_state_dict(weights, assign=True)
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise DataError(f"{file} is not an extractor of ours, or is damaged ({error}). Remove it.") from None
    return (channels, height, width), Extractor(name, digest, FEATURES, channels, network.for_inference())


def write_network(file: Path, network: DomainNetwork, shape: tuple[int, int, int], **facts: Any) -> str:
    """Save a trained network with its ``(C, H, W)`` and further ``facts``; returns the file's SHA-256."""
    write_bytes(file, _content(network, shape, **facts))
    return file_hash(file)


def _content(network: DomainNetwork, shape: tuple[int, int, int], **facts: Any) -> bytes:
    from safetensors.torch import save

    description = {
        "architecture": ARCHITECTURE,
        "shape": list(shape),
        "num_classes": network.head.out_features,
        **facts,
    }
    weights = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
    # one metadata key, so that the bytes do not depend on the order of a hash map
    return save(weights, metadata={"augment": json.dumps(description, sort_keys=True)})


def _trained(dataset_name: str, images: Tensor, labels: Tensor, num_classes: int, cache: Path) -> Extractor:
    """The cached extractor for exactly these images and labels; trained first where there is none."""
    key = _pool_hash(images, labels, num_classes)
    file, name = cache / key / "extractor.safetensors", f"{Path(dataset_name).name}-trained-{key[:8]}"

    def unwritable(error: OSError) -> None:  # results know it by the hash of its file
        raise DataError(
            f"Cannot keep the trained extractor in {file.parent}: {error.strerror or error}. "
            "Set AUGMENT_HOME to a folder that can be written."
        ) from None

    kept(
        file,
        lambda: _train(images, labels, num_classes),
        read=lambda path: path.read_bytes() if _usable(path) else None,
        write=write_bytes,
        unwritable=unwritable,
    )
    return read_extractor(file, name)[1]


def _usable(file: Path) -> bool:
    """Whether a cached file can be read; one that was cut off is trained anew."""
    if not file.is_file():
        return False
    try:
        read_extractor(file, file.stem)
    except DataError:
        return False
    return True


def _train(images: Tensor, labels: Tensor, num_classes: int) -> bytes:
    """The file of a network that was trained on these images."""
    from augment.compute.device import choose_precision

    precision = choose_precision("auto", torch.device("cpu"))
    updates = planned_updates(len(images), images.shape[2] * images.shape[3])
    network = train_network(images, labels, num_classes, updates=updates, seed=0, precision=precision)
    return _content(network, _shape(images), updates=updates, images=len(images), precision=precision)


def planned_updates(n: int, pixels: int) -> int:
    """Updates for a cached extractor of ``n`` images of ``pixels`` each; costs at most what 800 at 32 x 32 cost."""
    most = round(MOST_UPDATES * min(1.0, REFERENCE_PIXELS / pixels))
    return max(FEWEST_UPDATES, min(most, round(PASSES * n / BATCH)))


def _shape(images: Tensor) -> tuple[int, int, int]:
    return images.shape[1], images.shape[2], images.shape[3]


def _pool_hash(images: Tensor, labels: Tensor, num_classes: int) -> str:
    recipe = [ARCHITECTURE, planned_updates(len(images), images.shape[2] * images.shape[3]), num_classes]
    return tensors_hash(json.dumps(recipe), images, labels)[:16]
