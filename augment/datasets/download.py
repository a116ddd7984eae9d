"""Fetching files over HTTP: a closed network fails in seconds, a slow one reports progress."""

from __future__ import annotations

import hashlib
import queue
import threading
import time
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException, HTTPResponse
from pathlib import Path

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
