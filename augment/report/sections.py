"""Headings of the report, in the order in which a reader meets them; a chart's ``section`` is one of these."""

from __future__ import annotations

VERDICTS = "Verdicts"
ACCURACY = "Accuracy over data-set size"
ARMS = "Arms against the best classical one"
CLASSES = "Precision and recall by class"
CONFUSION = "Confusion matrices"
COUNTS = "Class counts before and after"
SAMPLES = "Samples beside their nearest training images"
RECONSTRUCTIONS = "Reconstructions"
CURVES = "Training curves"
FEATURES = "Features"
FIDELITY = "Fidelity with its floors"
ORIGIN = "How every number was made"

SECTIONS = (
    *(VERDICTS, ACCURACY, ARMS, CLASSES, CONFUSION, COUNTS, SAMPLES, RECONSTRUCTIONS, CURVES, FEATURES, FIDELITY),
    ORIGIN,
)
