"""Carry out the steps of ``same_numbers.py`` with the checkout that is first on the path: ``python ... PLAN.json``.

Libraries are imported once; each step is a fork of this process, in which the checkout itself is imported anew. A fork
saves the ten seconds that PyTorch and its friends need, and shares nothing else.
"""

from __future__ import annotations

import glob
import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any


def main() -> None:
    """All steps of the plan, one after the other; ends with 3 where one fails."""
    plan = json.loads(Path(sys.argv[1]).read_text())
    for name in plan["libraries"]:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    told = Path(plan["folder"]) / "checkout"
    if _forked(lambda: prove(Path(plan["site"])), told, "standard.json"):
        raise SystemExit((told / "standard.log").read_text())
    begun, cpu = time.monotonic(), _cpu()
    for number, step in enumerate(plan["steps"], start=1):
        start = time.monotonic()
        folder = Path(plan["folder"]) / step["name"]
        output = "standard.csv" if "csv" in step["words"] else "standard.json"
        code = _forked(lambda step=step: carry_out(step), folder, output)
        now = time.monotonic()
        done = f"{plan['label']} {number}/{len(plan['steps'])} {step['name']} {now - start:.1f} s"
        sys.stderr.write(f"{done}, {now - begun:.0f} s in all, {_cpu() - cpu:.0f} s of CPU\n")
        if code:
            told = (folder / "standard.log").read_text()[-2000:]
            sys.stderr.write(f"{plan['label']}: augment {' '.join(step['words'])} ended with {code}:\n{told}\n")
            raise SystemExit(3)


def _cpu() -> float:
    """Seconds of processor time of all steps so far: what counts on a machine that others use, too."""
    return sum(os.times()[:4])


def _forked(call: Callable[[], None], folder: Path, output: str) -> int:
    """Exit code of ``call`` in a fork that is in ``folder``; what it prints is in ``output`` and ``standard.log``."""
    folder.mkdir(parents=True, exist_ok=True)
    process = os.fork()
    if process:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    os.chdir(folder)
    for stream, name in ((1, output), (2, "standard.log")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    code = 1
    try:
        call()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def carry_out(step: dict[str, Any]) -> None:
    """One command of ``augment``, or a function of ``same_numbers_python.py``; a * in a word is a path that exists."""
    if step["kind"] == "python":
        importlib.import_module("same_numbers_python").main(*step["words"])
        return
    sys.argv = ["augment", *(path for word in step["words"] for path in _paths(word))]
    importlib.import_module("augment.cli").main()


def _paths(word: str) -> list[str]:
    return sorted(glob.glob(word)) or [word] if "*" in word else [word]


def prove(site: Path) -> None:
    """End with an error unless the package and each of its generators come from ``site``; prints the generators."""
    import augment

    modules = [augment.__file__]
    found = {entry.name: entry for entry in entry_points(group="augment.generators")}
    modules += [importlib.import_module(entry.module).__file__ for entry in found.values()]
    strangers = [file for file in modules if file is None or site not in Path(file).parents]
    if strangers:
        raise SystemExit(f"Not the checkout that is compared: {strangers}")
    print(json.dumps({"generators": sorted(found)}))


if __name__ == "__main__":
    main()
