"""Launcher for a checkout, as Django's manage.py: ``python cli.py run ...`` is ``augment run ...``."""

from augment.cli import main

if __name__ == "__main__":
    main()
