"""Fetching files over HTTP: a closed network fails in seconds, a slow one reports progress.

Fashion-MNIST also comes out of Debian's package, fetched and unpacked without root and without installing anything.
"""

from __future__ import annotations

import hashlib
import os
import queue
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from augment.datasets.catalogue import FASHION_MNIST_PACKAGE, FASHION_MNIST_SYSTEM_FOLDER
from augment.datasets.search import Log, Unusable

ANSWER_WITHIN = 10.0
"""Seconds until a server's first answer, names and all its addresses included."""

STALLED_AFTER = 20.0
"""Seconds without a byte after which a transfer is given up."""

PROGRESS_EVERY = 3.0
BLOCK = 1 << 18


def _open(url: str, answers: queue.Queue[HTTPResponse | Exception]) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": "augment-toolkit"})
    try:
        answers.put(urllib.request.urlopen(request, timeout=STALLED_AFTER))
    except (OSError, HTTPException, ValueError) as error:
        answers.put(error)


def open_url(url: str, *, within: float = ANSWER_WITHIN) -> HTTPResponse:
    """The response of ``url``; raises Unusable with the reason when there is none ``within`` so many seconds.

    The wait is in a thread of its own: urllib's timeout counts per address and leaves name look-ups out.
    """
    answers: queue.Queue[HTTPResponse | Exception] = queue.Queue()
    threading.Thread(target=_open, args=(url, answers), daemon=True).start()
    try:
        answer = answers.get(timeout=within)
    except queue.Empty:
        raise Unusable(f"{url}: no answer within {within:.0f} s") from None
    if isinstance(answer, Exception):
        raise Unusable(f"{url}: {getattr(answer, 'reason', None) or answer}")
    return answer


def fetch_file(url: str, file: Path, md5: str, log: Log) -> None:
    """Download ``url`` into ``file``; raises Unusable when the network fails or the checksum is another."""
    digest = hashlib.md5(usedforsecurity=False)
    with open_url(url) as response, file.open("wb") as out:
        total = int(response.headers.get("Content-Length") or 0)
        done, told = 0, time.monotonic()
        while block := _read_block(response, url):
            out.write(block)
            digest.update(block)
            done += len(block)
            if time.monotonic() - told > PROGRESS_EVERY:
                log(f"{file.name}: {done / 1e6:.0f} of {total / 1e6:.0f} MB")
                told = time.monotonic()
    if digest.hexdigest() != md5:
        raise Unusable(f"{url}: what came has the MD5 {digest.hexdigest()}, not {md5}; the transfer is damaged")


def _read_block(response: HTTPResponse, url: str) -> bytes:
    try:
        return response.read(BLOCK)
    except (OSError, HTTPException) as error:
        raise Unusable(f"{url}: broke off ({error or type(error).__name__})") from None


def fetch_from_mirrors(mirrors: Sequence[str], files: Sequence[tuple[str, str]], folder: Path, log: Log) -> None:
    """Fetch ``(name, md5)`` files into ``folder`` from the first mirror that has them all; raises Unusable.

    The reason holds one entry per mirror.
    """
    reasons: list[str] = []
    for mirror in mirrors:
        try:
            for name, md5 in files:
                log(f"fetching {mirror}{name}")
                fetch_file(f"{mirror}{name}", folder / name, md5, log)
        except Unusable as error:
            reasons.append(str(error))
        else:
            return
    raise Unusable("; ".join(reasons))


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
