"""The one training loop: :func:`fit` trains any generator on images in memory.

Precision, averaging, clipping, validation, checkpoints, budget, signals and several processes are the loop's business,
so that a plugin is its loss and its networks.
"""

from augment.training.fitting import TrainingResult, fit
from augment.training.history import Progress
from augment.training.processes import Processes
from augment.training.state import Diverged

__all__ = ["Diverged", "Processes", "Progress", "TrainingResult", "fit"]
