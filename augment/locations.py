"""Where this program keeps what it has fetched or computed for a person."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """The cache: ``AUGMENT_HOME`` when it is set, else the user's cache folder (XDG). It need not exist yet."""
    home = os.environ.get("AUGMENT_HOME")
    if home:
        return Path(home).expanduser().absolute()
    import platformdirs

    return platformdirs.user_cache_path("augment")
