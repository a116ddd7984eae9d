"""What the cells of a sweep have in common: their kind of study and their data, loaded once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from augment.progress import Reporter
from augment.studies.config import StudyConfig
from augment.studies.identity import DataFacts
from augment.studies.lifecycle import StudyKind


@dataclass
class Facts:
    """What cells have in common, found once."""

    study: StudyKind[Any, Any, Any]
    reporter: Reporter
    data: dict[tuple[Any, ...], DataFacts] = field(default_factory=dict)

    def data_of(self, config: StudyConfig) -> DataFacts:
        """Load a data set as the study does."""
        key = (config.dataset, config.data_dir, config.image_size, config.strict)
        if key not in self.data:
            self.data[key] = DataFacts.of(self.study.data_of(config, self.reporter))
        return self.data[key]
