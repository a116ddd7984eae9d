"""Where a sweep keeps itself: a folder of this machine or one that machines share, or an object store by its URL.

``sweep.json`` says what was asked, ``cells/<key>.json`` how a cell ended, ``events.jsonl`` what happened when, and the
run folders lie beside them. A record is written after the run's ``result.json``, so that it never promises too much.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from augment.storage import files, hashing, locks
from augment.storage.locations import cache_folder
from augment.studies.sweep.cell import Outcome
from augment.studies.sweep.stores import LocalStore, Store, UrlStore, path_of

_TAIL = 4096
"""Bytes at the end of a ``result.json`` that are read for its identity; the fields of a run itself come last."""

_FIELDS = {field.name for field in fields(Outcome)}


class SweepFolder:
    """The folder of one sweep.

    location: a path, or a URL that fsspec knows (``s3://bucket/name``, ``file:///shared/name``). Raises UsageError for
    a URL whose package is not installed. On a URL, cells write into a folder of their own machine and are copied when
    they are finished; events and logs stay on the machine that runs the sweep.
    """

    def __init__(self, location: str | Path) -> None:
        self.location = str(location)
        path = path_of(self.location)
        self._remote = UrlStore(self.location) if path is None else None
        self._here = _staging(self.location) if path is None else path
        self._store: Store = self._remote or LocalStore(self._here)

    def run_root(self) -> Path:
        """Where a cell writes its run folder: here, or for a URL on this machine until it is finished."""
        return self._here

    def publish(self, outcome: Outcome) -> Outcome:
        """Make a finished cell's run folder visible to all; needed on the machine that carried the cell out.

        On a path it is so already. To a URL the run folder is copied, ``result.json`` last, then the record, and the
        copy of this machine is removed; when that fails the outcome is a failed one, and the copy is kept: the next
        attempt sends it without running anything.
        """
        if self._remote is None or outcome.folder is None:
            return outcome
        try:
            _send(self._here / outcome.folder, self._remote)
            self.record(outcome)
        except Exception as error:  # every store has errors of its own
            message = (
                f"The run is finished, but {self.location} could not take it ({type(error).__name__}: {error}). It is "
                f"kept in {self._here / outcome.folder} of this machine; run the same sweep again to send it."
            )
            return replace(outcome, status="failed", folder=None, identity=None, error=message)
        shutil.rmtree(self._here / outcome.folder, ignore_errors=True)
        return outcome

    def records(self) -> dict[str, Outcome]:
        """How cells ended, by key: failed ones, and finished ones whose result is there with the recorded identity.

        A record that is damaged, or whose run folder is gone or holds another result, is left out: such a cell is to
        be carried out again.
        """
        found: dict[str, Outcome] = {}
        names = [name for name in self._store.names("cells") if name.endswith(".json") and not name.startswith(".")]
        contents = self._store.read([f"cells/{name}" for name in names])
        for name, content in zip(names, contents, strict=True):
            outcome = _outcome(name.removesuffix(".json"), content)
            if outcome is not None:
                found[outcome.key] = outcome
        finished = [outcome for outcome in found.values() if outcome.status == "finished"]
        ends = self._store.tails([f"{outcome.folder}/result.json" for outcome in finished], _TAIL)
        for outcome, end in zip(finished, ends, strict=True):
            if not self._holds(outcome, end):
                del found[outcome.key]
        return found

    def finished(self, key: str) -> Outcome | None:
        """How one cell finished, under the same conditions; None where it did not."""
        outcome = _outcome(key, self._store.read([f"cells/{key}.json"])[0])
        if outcome is None or outcome.status != "finished":
            return None
        (end,) = self._store.tails([f"{outcome.folder}/result.json"], _TAIL)
        return outcome if self._holds(outcome, end) else None

    def _holds(self, outcome: Outcome, end: bytes | None) -> bool:
        """Does a result that ends so have the recorded identity? A field in the margin is one of the run itself.

        The whole file is read only where its end does not tell.
        """
        if end is None:
            return False
        if end.rstrip().endswith(b"}") and f'\n  "identity": "{outcome.identity}"'.encode() in end:
            return True
        (content,) = self._store.read([f"{outcome.folder}/result.json"])
        result = _json(content)
        return result is not None and result.get("identity") == outcome.identity

    def record(self, outcome: Outcome) -> None:
        """Keep how a cell ended; readers see the old record or the new one. Raises DataError when it cannot."""
        self._write(f"cells/{outcome.key}.json", outcome.to_json())

    def save_grid(self, document: dict[str, Any]) -> None:
        """Keep what was asked, as ``sweep.json``. Raises DataError when it cannot."""
        self._write("sweep.json", document)

    def grid(self) -> dict[str, Any] | None:
        """What was asked of the sweep, or None where there is no readable ``sweep.json``."""
        return _json(self._store.read(["sweep.json"])[0])

    def _write(self, name: str, document: dict[str, Any]) -> None:
        content = (json.dumps(document, indent=2, allow_nan=False) + "\n").encode()
        with files.writing(self._here):
            self._store.write(name, content)

    def event(self, kind: str, key: str, **more: Any) -> None:
        """Add a line to ``events.jsonl``: when, what, of which cell. Lines of several processes never mix."""
        row = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": kind, "key": key, **more}
        with files.writing(self._here):
            self._here.mkdir(parents=True, exist_ok=True)
            file = os.open(self._here / "events.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(file, (json.dumps(row) + "\n").encode())
            finally:
                os.close(file)

    def logs(self) -> Path:
        """The folder for what workers print, on this machine."""
        folder = self._here / "logs"
        with files.writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for one sweep; raises BusyError when another one of this machine has it.

        The lock ends with its process, however that ends. Two machines are kept apart only where the folder's file
        system has locks, and never on a URL.
        """
        busy = (
            f"Another sweep is at work in {self.location}. Wait for it or stop it (nothing finished is lost), "
            "or choose another folder with --out or another name with --name."
        )
        with locks.try_lock(self._here, ".sweep.lock", busy):
            yield


def _staging(location: str) -> Path:
    """The folder of this machine for a sweep that is kept at a URL."""
    name = files.safe_name(location.rstrip("/").rpartition("/")[2])
    return cache_folder() / "sweeps" / f"{name}-{hashing.content_hash(location.rstrip('/'))}"


def _send(folder: Path, target: UrlStore) -> None:
    """Copy a run folder, ``result.json`` last: without it nobody takes the folder for a result."""
    last = folder / "result.json"
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and file not in (last, folder / ".lock")]
    for batch in (files, [last]):
        target.send([(file, f"{folder.name}/{file.relative_to(folder).as_posix()}") for file in batch])


def _json(content: bytes | None) -> dict[str, Any] | None:
    try:
        document = json.loads(content or b"")
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _outcome(key: str, content: bytes | None) -> Outcome | None:
    """A record, or None where it is damaged, of another cell, or promises a result without naming it."""
    document = _json(content)
    if document is None or not _FIELDS.issuperset(document) or document.get("key") != key:
        return None
    status, named = document.get("status"), document.get("folder") and document.get("identity")
    if status not in ("finished", "failed") or (status == "finished" and not named):
        return None
    return Outcome(**document)
