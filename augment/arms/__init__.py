"""What is compared: classifiers on real images alone, with the cheap tricks, and with synthetic images added."""

from augment.arms.evaluation import (
    CLASSIFIERS,
    DEFAULT_CLASSIFIERS,
    Arm,
    ArmResult,
    Budget,
    averaged,
    evaluate,
    from_record,
    resolve_classifier,
)
from augment.arms.grammar import FULL, QUICK, SETS, ArmSpec, arms_of, components, parse_arm

__all__ = [
    "CLASSIFIERS",
    "DEFAULT_CLASSIFIERS",
    "FULL",
    "QUICK",
    "SETS",
    "Arm",
    "ArmResult",
    "ArmSpec",
    "Budget",
    "arms_of",
    "averaged",
    "components",
    "evaluate",
    "from_record",
    "parse_arm",
    "resolve_classifier",
]
