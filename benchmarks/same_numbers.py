"""Do two checkouts give the same numbers? Every command with each of them, and every number compared, bit by bit.

    python benchmarks/same_numbers.py HEAD~3 [B] [--keep FOLDER] [--ignore cached,schema] [--skip 'accuracy.*']

A and B are folders with augment/, plugins/ and pyproject.toml, or git revisions; B is this checkout unless it is named.
Each is installed into a folder of its own, from a copy, and carries out all of same_numbers_steps.py in processes and a
cache of its own: one thread, cpu, fp32. Then run folders, exported features, tables, pictures and the documents of
--json are compared (same_numbers_files.py says which keys are ignored: times, paths, hashes and versions).

Exit code 0: equal. 1: not; the first difference of each file is named. 2: a checkout could not carry out a step.
--keep: results stay in FOLDER, and are taken from there when the same code has been measured on this machine before.
--ignore and --skip: keys and files that are meant to differ this time. One checkout twice shows what is undetermined.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from same_numbers_checkout import Checkout, Unmeasured, copied, measured
from same_numbers_compare import IGNORED, Comparison, compare
from same_numbers_steps import MODELS, steps

SHOWN = 40
"""Files with differences that are listed."""


def main() -> None:
    """Measure both checkouts and compare what they left."""
    options = _options()
    start = time.monotonic()
    try:
        if options.keep is not None:
            options.keep.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="same-numbers-", dir=options.keep) as work:
            a, b = copied("A", options.a, Path(work)), copied("B", options.b, Path(work))
            with ThreadPoolExecutor(options.jobs) as pool:
                left = pool.submit(measured, a, options.keep)
                right = pool.submit(measured, b, options.keep, again=a.key == b.key)
            ignored = IGNORED | set(filter(None, options.ignore.split(",")))
            order = [step.name for step in steps(list(MODELS))]
            found = compare(left.result(), right.result(), ignored, skip=options.skip, order=order)
    except Unmeasured as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from None
    _print((a, b), found, time.monotonic() - start)
    raise SystemExit(1 if found.differences else 0)


def _options() -> argparse.Namespace:
    here = str(Path(__file__).resolve().parents[1])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("a", metavar="A", help="a folder or a git revision")
    parser.add_argument("b", metavar="B", nargs="?", default=here, help="another; default: this checkout")
    parser.add_argument("--keep", type=Path, help="folder for results, which are reused")
    parser.add_argument("--ignore", default="", help="further keys that are not compared, by commas")
    parser.add_argument("--skip", action="append", default=[], help="files that are not compared, as in 'layers.*'")
    parser.add_argument("--jobs", type=int, choices=(1, 2), default=2, help="checkouts at once, a core each")
    return parser.parse_args()


def _print(sides: Sequence[Checkout], found: Comparison, seconds: float) -> None:
    lines = ["| kind | files | numbers |", "|---|---:|---:|"]
    lines += [f"| {kind} | {count:,} | {found.numbers[kind]:,} |" for kind, count in sorted(found.files.items())]
    lines.append(f"| in all | {sum(found.files.values()):,} | {sum(found.numbers.values()):,} |")
    lines.append(f"\n{found.left_out:,} files were left out: pages, drawings, logs. {seconds:.0f} s.")
    a, b = (f"{side.label} ({side.name})" for side in sides)
    if found.differences:
        first, *others = found.differences
        lines.append(f"\n{a} and {b} differ in {len(found.differences):,} files. The first difference:\n\n  {first}")
        lines += ["", *(f"  {each}" for each in others[:SHOWN])] if others else []
        lines += [f"  and {len(others) - SHOWN:,} files more"] if len(others) > SHOWN else []
    else:
        lines.append(f"\nEqual: {a} and {b}.")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
