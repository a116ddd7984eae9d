"""Which images a repetition trains on and which it is scored on: as the data bring them, or drawn anew each time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from augment.errors import ConfigError
from augment.seeds import numpy_rng

FORMS = "given, holdout:0.2 or kfold:5"


@dataclass(frozen=True)
class Split:
    """How images are divided into a training and a test part.

    ``given``: as the data bring them. ``holdout``: in every repetition another ``share`` of each class is for testing.
    ``kfold``: each image is tested once in ``folds`` repetitions, classes spread evenly over them.

    Attributes:
        kind: Which of them.
        share: Part of each class that is for testing, rounded, at least one image and not all; of ``holdout``.
        folds: Of ``kfold``.
    """

    kind: Literal["given", "holdout", "kfold"] = "given"
    share: float = 0.0
    folds: int = 0

    @classmethod
    def parse(cls, text: str) -> Split:
        """Read ``given``, ``holdout:0.2`` or ``kfold:5``; raises ConfigError for anything else."""
        kind, _, value = text.partition(":")
        try:
            if kind == "holdout" and 0 < float(value or 0.2) < 1:
                return cls("holdout", share=float(value or 0.2))
            if kind == "kfold" and int(value or 5) >= 2:
                return cls("kfold", folds=int(value or 5))
        except ValueError:
            pass
        if text == "given":
            return cls()
        raise ConfigError(f"--split {text}: write {FORMS}; a share lies between 0 and 1, folds are at least 2.")

    def __str__(self) -> str:
        if self.kind == "given":
            return "given"
        return f"holdout:{self.share:g}" if self.kind == "holdout" else f"kfold:{self.folds}"

    def tested(self, counts: Sequence[int], index: int) -> tuple[int, ...]:
        """Images of each class that repetition ``index`` is scored on, of ``counts`` in all; known without a draw."""
        if self.kind == "holdout":
            return tuple(min(count - 1, max(1, round(self.share * count))) for count in counts)
        begins = [sum(counts[:label]) for label in range(len(counts))]
        return tuple(
            sum((begin + place) % self.folds == index for place in range(count))
            for begin, count in zip(begins, counts, strict=True)
        )

    def test_rows(self, labels: Tensor, num_classes: int, seed: int, index: int) -> Tensor:
        """Rows that repetition ``index`` is scored on, ascending; all others are for training.

        Args:
            labels: Of all images ``(N,)``.
            num_classes: Of the data set.
            seed: Of the repetition; of the study for ``kfold``, whose folds are cut from one order.
            index: The repetition, from 0.
        """
        order = numpy_rng(seed, "split")
        rows: list[int] = []
        begin = 0
        wanted = self.tested(torch.bincount(labels, minlength=num_classes).tolist(), index)
        for label in range(num_classes):
            members = order.permutation(torch.nonzero(labels == label).flatten().numpy())
            if self.kind == "holdout":
                rows += members[: wanted[label]].tolist()
            else:
                rows += [int(row) for place, row in enumerate(members) if (begin + place) % self.folds == index]
            begin += len(members)
        return torch.tensor(sorted(rows), dtype=torch.int64)
