"""Makes an extractor known to torch-fidelity by name, for those who call ``torch_fidelity.calculate_metrics``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from augment.errors import DataError
from augment.metrics.extractor import Extractor

if TYPE_CHECKING:
    from torch_fidelity import FeatureExtractorBase

LAYERS = ("features", "logits")


def register(extractor: Extractor) -> str:
    """Register an extractor with torch-fidelity, once however often it is called.

    The name holds the weights' hash, so the same extractor is registered once and two different ones never clash. To be
    used as ``calculate_metrics(feature_extractor=name, cuda=False, cache=False, verbose=False, ...)``; FID, KID and
    precision/recall use the layer ``features``, the inception score ``logits``.

    Args:
        extractor: A network with a name and the hash of its weights.

    Returns:
        Its name there, such as ``augment-mnist-1a2b3c4d``.

    Example:
        >>> from augment.metrics.extractors import load_extractor
        >>> from augment.metrics.registration import register
        >>> extractor = load_extractor("digits", channels=1)
        >>> register(extractor) == f"augment-digits-{extractor.sha256[:8]}"
        True
    """
    from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY, register_feature_extractor

    name = f"augment-{extractor.name}-{extractor.sha256[:8]}"
    if name not in FEATURE_EXTRACTORS_REGISTRY:
        register_feature_extractor(name, _adapter(extractor))
    return name


def _adapter(extractor: Extractor) -> type[FeatureExtractorBase]:
    from torch_fidelity import FeatureExtractorBase

    class RegisteredExtractor(FeatureExtractorBase):  # type: ignore[misc]
        """Our network in torch-fidelity's form."""

        def __init__(self, name: str, features_list: list[str], **_: Any) -> None:
            super().__init__(name, features_list)
            self.network = extractor.network

        def forward(self, images: Tensor) -> tuple[Tensor, ...]:
            outputs = dict(zip(LAYERS, self.network(_with_channels(images, extractor)), strict=True))
            return tuple(outputs[layer] for layer in self.features_list)

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return LAYERS

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return "logits" if metric == "isc" else "features"

        @staticmethod
        def can_be_compiled() -> bool:
            return False

    return RegisteredExtractor


def _with_channels(images: Tensor, extractor: Extractor) -> Tensor:
    """torch-fidelity reads every file as RGB: grey pictures come back as three equal planes."""
    if extractor.channels != 1 or images.shape[1] == 1:
        return images
    if not bool((images == images[:, :1]).all()):
        raise DataError(f"Extractor {extractor.name!r} takes grey images; these are in colour.")
    return images[:, :1]
