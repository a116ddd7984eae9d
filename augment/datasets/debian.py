"""Fashion-MNIST out of Debian's package, fetched and unpacked without root and without installing anything."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from augment.datasets.catalogue import FASHION_MNIST_PACKAGE, FASHION_MNIST_SYSTEM_FOLDER
from augment.datasets.search import Log, Unusable

SECONDS = 300
"""The longest that one command may take: the package has 31 MB."""

NO_WAITING = ("-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=10", "-o", "Acquire::https::Timeout=10")


def run_command(command: Sequence[str], folder: Path) -> None:
    """Run ``command`` in ``folder``; raises Unusable with its last error line, or when it is missing or too slow."""
    if shutil.which(command[0]) is None:
        raise Unusable(f"there is no {command[0]} on this machine")
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise Unusable(f"{command[0]} took more than {SECONDS} s") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("E:")] or done.stderr.splitlines()
        raise Unusable(f"{command[0]}: {lines[0].removeprefix('E: ') if lines else f'status {done.returncode}'}")


def _download(folder: Path, log: Log) -> None:
    """``apt-get download``; where the machine has no package lists, with lists of our own that go with ``folder``."""
    download = ("apt-get", *NO_WAITING, "download", FASHION_MNIST_PACKAGE)
    try:
        run_command(download, folder)
    except Unusable as error:
        if "Unable to locate" not in str(error) and "No packages found" not in str(error):
            raise
        log("this machine has no apt package lists; fetching lists into a temporary folder")
        lists = folder / "lists"
        (lists / "partial").mkdir(parents=True)
        own = ("-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={folder}", "-o", "Debug::NoLocking=1")
        run_command(("apt-get", *NO_WAITING, *own, "update"), folder)
        run_command((*download, *own), folder)


def fetch_debian_package(folder: Path, log: Log) -> None:
    """Put the four gzipped files of Debian's package into ``folder``; raises Unusable with the reason.

    Needs apt's sources and a network, no root.
    """
    with tempfile.TemporaryDirectory(prefix="package-", dir=folder) as workspace:
        place = Path(workspace)
        log(f"fetching Debian's package {FASHION_MNIST_PACKAGE} (31 MB)")
        _download(place, log)
        packages = sorted(place.glob("*.deb"))
        if not packages:
            raise Unusable("apt-get brought no package")
        run_command(("dpkg-deb", "-x", str(packages[0]), "tree"), place)
        unpacked = place / "tree" / FASHION_MNIST_SYSTEM_FOLDER.relative_to("/")
        for file in sorted(unpacked.glob("*.gz")):
            shutil.move(file, folder / file.name)
