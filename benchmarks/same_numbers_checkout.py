"""One checkout, copied, installed beside the others, and carried through all steps of ``same_numbers_steps.py``."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from same_numbers_steps import Step, steps, write_data

HERE = Path(__file__).resolve().parent
PACKAGES = ("augment", "plugins")
"""Folders that are copied, beside all files next to them, of which building the package needs some."""

DONE = "done.json"

LIBRARIES = (
    *("torch", "torch._dynamo", "torch.optim", "sklearn.base", "sklearn.tree", "scipy.stats", "accelerate"),
    *("diffusers.models.unets.unet_2d", "matplotlib.figure", "imblearn.base", "open_clip"),
)
"""Large ones that most steps need; one that is not there, or no longer used, costs nothing but time."""

SITE_CUSTOMIZE = '''\
"""Without the finder of an editable install, which would find what the checkout that is compared does not have."""
import sys

sys.meta_path[:] = [
    finder
    for finder in sys.meta_path
    if "augment" not in getattr(sys.modules.get(getattr(finder, "__module__", "")), "MAPPING", {})
]
'''

ONE_THREAD = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM", "BLIS")
"""One thread each: sums are then made in one order, and the product starts no workers beside itself."""


class Unmeasured(Exception):
    """A checkout that could not be read, installed or carried through."""


@dataclass(frozen=True)
class Checkout:
    """A copy of one side's sources.

    label: ``A`` or ``B``.  name: as it was given.  work: beside the copy, for what is made.  key: hash of the sources,
    of what is done with them, of this machine and its packages.
    """

    label: str
    name: str
    sources: Path
    work: Path
    key: str


def copied(label: str, name: str, folder: Path) -> Checkout:
    """A copy of a folder, or of a git revision: what is edited meanwhile is not what is measured.

    Raises Unmeasured for what is neither, or has no pyproject.toml.
    """
    given, sources = Path(name), folder / f"sources-{label}"
    if not given.is_dir():
        given = folder / f"revision-{label}"
        given.mkdir()
        command = ["git", "-C", HERE.parent, "archive", name]
        archive = subprocess.run(command, capture_output=True, check=False)
        if archive.returncode:
            raise Unmeasured(f"{name} is neither a folder nor a git revision: {archive.stderr.decode().strip()}")
        subprocess.run(["tar", "-x", "-C", given], input=archive.stdout, check=True)
    sources.mkdir()
    for entry in given.iterdir():
        if entry.is_file():
            shutil.copy(entry, sources)
        elif entry.name in PACKAGES:
            shutil.copytree(entry, sources / entry.name, ignore=shutil.ignore_patterns("__pycache__"))
    if not (sources / "pyproject.toml").exists():
        raise Unmeasured(f"{name} has no pyproject.toml; give a folder with augment/, plugins/ and pyproject.toml.")
    return Checkout(label, name, sources, folder / f"work-{label}", _key(sources))


def _key(sources: Path) -> str:
    digest = hashlib.sha256(f"{sys.version} {_processor()}".encode())
    digest.update("\n".join(sorted(f"{each.name} {each.version}" for each in distributions())).encode())
    ours = [HERE / f"same_numbers_{name}.py" for name in ("checkout", "launcher", "python", "steps")]
    theirs = (file for name in PACKAGES for file in (sources / name).rglob("*") if file.is_file())
    for folder, files in ((HERE, ours), (sources, (*theirs, sources / "pyproject.toml"))):
        for file in sorted(files):
            digest.update(f"\n{file.relative_to(folder)}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _processor() -> str:
    """Its name and instruction sets, where Linux tells them."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    return " ".join(sorted({line for line in lines if line.startswith(("model name", "flags"))}))


def measured(checkout: Checkout, keep: Path | None, *, again: bool = False) -> Path:
    """The folder with the results of a checkout, made now or, in ``keep``, before; one that is made goes there.

    again: a second time, to compare a checkout with itself. Raises Unmeasured where it cannot be installed or a step
    fails.
    """
    kept = None if keep is None else keep / f"{checkout.key}{'-again' if again else ''}"
    if kept is not None and (kept / DONE).exists():
        sys.stderr.write(f"{checkout.label}: {checkout.name} was measured before, in {kept}\n")
        return kept / "steps"
    site, models = _installed(checkout)
    write_data(checkout.work / "steps" / "data")
    start = time.monotonic()
    _launch(checkout, site, steps(models))
    facts = {"checkout": checkout.name, "seconds": round(time.monotonic() - start, 1)}
    (checkout.work / DONE).write_text(json.dumps(facts))
    if kept is None:
        return checkout.work / "steps"
    shutil.rmtree(kept, ignore_errors=True)
    checkout.work.rename(kept)
    return kept / "steps"


def _installed(checkout: Checkout) -> tuple[Path, list[str]]:
    """Install the copy by its own pyproject.toml into a folder; returns that, and the names of its generators."""
    site = checkout.work.resolve() / "site"
    alone = ("--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check")
    command = [sys.executable, "-m", "pip", "install", "-q", *alone, "--target", site, checkout.sources]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unmeasured(f"{checkout.label}: {checkout.name} cannot be installed:\n{done.stderr[-2000:]}")
    (site / "sitecustomize.py").write_text(SITE_CUSTOMIZE)
    shutil.copy(HERE / "same_numbers_python.py", site)
    points = [point for each in distributions(path=[str(site)]) for point in each.entry_points]
    return site, sorted(point.name for point in points if point.group == "augment.generators")


def _launch(checkout: Checkout, site: Path, todo: Sequence[Step]) -> None:
    work = checkout.work.resolve()
    plan = {
        "label": checkout.label,
        "site": str(site),
        "folder": str(work / "steps"),
        "libraries": LIBRARIES,
        "steps": [step.to_json() for step in todo],
    }
    (work / "plan.json").write_text(json.dumps(plan))
    command = [sys.executable, "-P", str(HERE / "same_numbers_launcher.py"), str(work / "plan.json")]
    if subprocess.run(command, env=_environment(work, site), cwd=work, check=False).returncode:
        raise Unmeasured(f"{checkout.label}: {checkout.name} was not carried through; see above.")


def _environment(work: Path, site: Path) -> dict[str, str]:
    """Little of this one: options that a person has set for torch or the product would decide numbers."""
    names = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    fixed = {"PYTHONPATH": str(site), "PYTHONHASHSEED": "0", "AUGMENT_HOME": str(work / "home"), "COLUMNS": "100"}
    offline = {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "TZ": "UTC", "NO_COLOR": "1"}
    return {**kept, **fixed, **offline, **{f"{name}_NUM_THREADS": "1" for name in ONE_THREAD}}
