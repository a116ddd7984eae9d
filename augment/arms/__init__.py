"""What is compared: classifiers on real images alone, with the cheap tricks, and with synthetic images added."""

from augment.arms.evaluate import (
    CLASSIFIERS,
    DEFAULT_CLASSIFIERS,
    ArmResult,
    Budget,
    evaluate,
    from_record,
    resolve_classifier,
)
from augment.arms.grammar import FULL, QUICK, SETS, ArmSpec, arms_of, components, parse_arm
from augment.arms.images import Arm, duplicates

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
    "components",
    "duplicates",
    "evaluate",
    "from_record",
    "parse_arm",
    "resolve_classifier",
]
