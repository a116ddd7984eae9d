"""``python -m augment.cli.sweep_worker FOLDER``: a worker of a local sweep, as the command line starts it."""

from __future__ import annotations

import sys

from augment.report.drawing import draw_study
from augment.studies.sweep.worker import main

if __name__ == "__main__":
    main(sys.argv[1], draw_study)
