"""The kit's checks of generators that learn from few labels: what they catch, and that the autoencoders pass them."""

import pytest
import torch
from torch.nn import functional as F

from augment.generator import UNLABELLED, ImageSpec, Tags
from augment.testing import MinimalGenerator, check_generator

TINY = ImageSpec(1, 8, 8, 3)
BOTH = {"supervision": 0.5, "decorrelation": 2.0}


class FewLabels(MinimalGenerator):
    """Keeps the contract: a linear classifier on the latents that leaves images without a label out."""

    tags = Tags(conditional=True, reconstructs=True, decodes=True, likelihood=True, semi_supervised=True)

    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.classifier = torch.nn.Linear(4, spec.num_classes)

    def supervision(self, z, labels):
        known = labels != UNLABELLED
        summed = F.cross_entropy(self.classifier(z), labels, ignore_index=UNLABELLED, reduction="sum")
        return summed / known.sum().clamp(min=1)

    def loss(self, images, labels):
        z, known = self.features(images), labels != UNLABELLED
        apart = (z.detach() - self.classes(labels.clamp(min=0))).square().mean(1)
        mse = (self.paint(z) - images).square().mean()
        return {"loss": mse + (apart * known).mean() + self.supervision(z, labels), "mse": mse}

    def after_training(self, images, labels):
        self.spread.copy_(self.features(images).std(0) + 0.1)


class OneHots(FewLabels):
    def supervision(self, z, labels):
        return (self.classifier(z) - F.one_hot(labels, 3)).square().mean()


class MeanOfNothing(FewLabels):
    def supervision(self, z, labels):
        return F.cross_entropy(self.classifier(z), labels, ignore_index=UNLABELLED)


class PriorOfLabels(FewLabels):
    def after_training(self, images, labels):
        self.spread.copy_(self.features(images[labels >= 0]).std(0) + 0.1)


class LastClass(FewLabels):
    def loss(self, images, labels):
        return super().loss(images, labels % 3)


class IgnoresLabels(FewLabels):
    def supervision(self, z, labels):
        return super().supervision(z.detach(), labels)


@pytest.mark.parametrize(
    ("cls", "check", "message"),
    [
        (OneHots, "check_partial_labels", "Class values"),
        (MeanOfNothing, "check_partial_labels", "is nan for a batch in which all images have no label"),
        (PriorOfLabels, "check_partial_labels", "sample"),
        (LastClass, "check_labels_shape_features", "the last class"),
        (IgnoresLabels, "check_labels_shape_features", "left the same features"),
    ],
)
@pytest.mark.filterwarnings("ignore:std")  # of no images: what PriorOfLabels does
def test_the_kit_catches(cls, check, message, monkeypatch):
    monkeypatch.setattr("augment.testing.kit.SPECS", (TINY,))
    failed = {result.check: result.message for result in check_generator(cls) if result.outcome == "failed"}
    assert message in failed.pop(check)
    assert set(failed) <= {"check_labels_shape_features"}  # what crashes without labels crashes there, too


@pytest.mark.parametrize("cls", [FewLabels, "ae", "vae", "dvae", "vqvae"])
def test_the_kit_passes(cls, monkeypatch):
    monkeypatch.setattr("augment.testing.kit.SPECS", (TINY,))
    results = check_generator(cls, options=None if cls is FewLabels else BOTH)
    assert [result for result in results if result.outcome != "passed"] == []
    assert {"check_partial_labels", "check_labels_shape_features"} <= {result.check for result in results}
