"""docs/generators.md from the results that :mod:`generator_rows` keeps: two tables, pictures, how to read them."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from generator_rows import slug
from generator_setup import MODELS, SAMPLES, SETS

from augment.classifiers import default_updates
from augment.storage.files import read_json, write_text

Row = Mapping[str, Any]

WIDTH = 120

COLUMNS = (
    *("model", "KID x 1000", "FID", "precision", "recall", "CAS %", "label consistency %", "nearer than held-out"),
    *("near copies %", "training images/s", "samples/s", "minutes", "CPU minutes"),
)


def read_results(out: Path) -> dict[str, dict[str, Any]]:
    """What lies in ``out``, by set: ``real`` and ``rows`` in the order of the table; sets without either are left out.

    Rows that were measured with other settings than the real images do not belong into one table and are left out.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in SETS:
        real = read_json(out / f"{name}-real.json") or {}
        kept = [read_json(out / f"{name}-{slug(title)}.json") for title in MODELS]
        rows = [row for row in kept if row is not None and row["settings"] == real.get("settings")]
        if rows:
            found[name] = {"real": real, "rows": rows}
    return found


def write_page(
    results: Mapping[str, Mapping[str, Any]], out: Path, page: Path, is_stale: Callable[[Row], bool]
) -> None:
    """Write ``page`` from ``results`` and its pictures from ``out``; rows that ``is_stale`` are marked."""
    prefix = "samples" if page.stem == "generators" else page.stem
    pictures = {
        (name, row["title"]): _copied(out, page, prefix, name, row["title"])
        for name, result in results.items()
        for row in result["rows"]
    }
    write_text(page, render(results, pictures, is_stale))


def _copied(out: Path, page: Path, prefix: str, name: str, title: str) -> str:
    """Copy one picture beside the page; returns its address there."""
    part = "" if name == "all" else f"{name}-"
    target = page.parent / "img" / f"{prefix}-{part}{slug(title)}.png"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(out / f"{name}-{slug(title)}.png", target)
    return f"img/{target.name}"


def render(
    results: Mapping[str, Mapping[str, Any]],
    pictures: Mapping[tuple[str, str], str],
    is_stale: Callable[[Row], bool] = lambda row: False,
) -> str:
    """The page as Markdown."""
    first = next(iter(results.values()))
    sections = [f"# Generators compared\n\nWritten by `{_command(first['real'])}`.", _what(first)]
    for name, result in results.items():
        sections += [f"## {_heading(name, result['real'])}", _table(result, is_stale), _notes(result["rows"])]
    sections += [_reading(results), _settings(results), _gallery(results, pictures)]
    return "\n\n".join(section for section in sections if section) + "\n"


def _command(real: Row) -> str:
    """What a person types to get the same page."""
    settings, words = real["settings"], ["python benchmarks/generators.py --dataset", real["dataset"]]
    for name in ("steps", "minutes"):
        words += [] if settings[name] is None else [f"--{name}", f"{settings[name]:g}"]
    if settings["updates"] != default_updates(settings["samples"]):
        words += ["--updates", str(settings["updates"])]
    words += [] if settings["samples"] == SAMPLES else ["--samples", str(settings["samples"])]
    words += [] if settings["device"] == "cpu" else ["--device", settings["device"]]
    return " ".join(words)


def _what(result: Mapping[str, Any]) -> str:
    real, fidelity = result["real"], result["rows"][0]["fidelity"]
    settings = real["settings"]
    budget = "its own default steps and batch size" if settings["steps"] is None else f"{settings['steps']:,} steps"
    limit = "" if settings["minutes"] is None else f", {settings['minutes']:g} minutes at most"
    size = " x ".join(map(str, real["shape"]))
    return _filled(
        f"""Images of `{real["dataset"]}` ({size}, {len(real["classes"])} classes), one seed, {budget}{limit} for every
        model. {settings["samples"]:,} samples of each, classes in equal shares, are scored against
        {fidelity["n_reference"]:,} test images that no model saw; {fidelity["n"]:,} other test images, scored in the
        same way, are the row of real images. Extractor: `{fidelity["extractor"]}`
        (`{fidelity["extractor_sha256"][:12]}`). Every image scored was drawn from a model's prior; reconstructions play
        no part."""
    )


def _filled(text: str, indent: str = "") -> str:
    return textwrap.fill(" ".join(text.split()), WIDTH, subsequent_indent=indent, break_on_hyphens=False)


def _heading(name: str, real: Mapping[str, Any]) -> str:
    total = f"{sum(real['counts']):,}"
    return f"All {total} training images" if name == "all" else f"A long tail of {total} training images"


def _table(result: Mapping[str, Any], is_stale: Callable[[Row], bool]) -> str:
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" + "|---:" * (len(COLUMNS) - 1) + "|"]
    lines += [_line(row, "\\*" if is_stale(row) else "") for row in result["rows"]]
    lines.append(_real_line(result["real"], result["rows"][0]))
    if any(is_stale(row) for row in result["rows"]):
        lines.append("\n\\* measured before the last change of its code.")
    return "\n".join(lines)


def _line(row: Row, mark: str) -> str:
    f, training, sampling, copied = row["fidelity"], row["training"], row["sampling"], row["memorisation"]
    speeds = (training["images_per_cpu_second"], sampling["per_cpu_second"])
    if not _on_cpu(row):
        speeds = (training["images_per_second"], sampling["per_second"])
    cells = (
        row["title"] + mark,
        _number(f["kid"], 2, 1000),
        _number(f["fid"], 2),
        _number(f["precision"], 3),
        _number(f["recall"], 3),
        _number(row["cas"], 1, 100),
        _number(row["label_consistency"], 1, 100),
        _number(copied["share"], 2),
        _number(copied["near_copies"] / copied["n"], 1, 100),
        *(f"{speed:,.0f}" if speed >= 10 else f"{speed:.1f}" for speed in speeds),
        _number(training["seconds"] / 60, 1),
        _number(training["cpu_seconds"] / 60, 1),
    )
    return f"| {' | '.join(cells)} |"


def _real_line(real: Row, row: Row) -> str:
    f = row["fidelity"]
    cells = (
        "real images",
        _number(f["kid_floor"], 2, 1000),
        _number(f["fid_floor"], 2),
        _number(f["precision_floor"], 3),
        _number(f["recall_floor"], 3),
        _number(real["cas"], 1, 100),
        _number(real["label_consistency"], 1, 100),
        "0.50",
        _number(row["memorisation"]["near_copies_held_out"], 1, 100),
        *("",) * 4,
    )
    return f"| {' | '.join(cells)} |"


def _number(value: float | None, digits: int, scale: float = 1) -> str:
    """A figure, or a dash where there is none."""
    return "-" if value is None else f"{value * scale:.{digits}f}"


def _on_cpu(row: Row) -> bool:
    return bool(row["settings"]["device"] == "cpu")


def _notes(rows: Sequence[Row]) -> str:
    """Trainings that did not run to their end."""
    ended = [row for row in rows if row["training"]["stopped"] != "finished"]
    texts = (f"{row['title']} after {row['training']['steps']:,} steps: {row['training']['stopped']}" for row in ended)
    return _filled(f"Stopped early: {'; '.join(texts)}.") if ended else ""


READING = (
    """**KID, FID**: distance of the samples to real images in the extractor's features; lower is closer, the last row
    is what other real images get. KID does not depend on the number of images; FIDs of other extractors or other
    numbers of images are not comparable.""",
    """**Precision**: share of samples that look real. **Recall**: share of real images that samples come near to. High
    precision with low recall is a model that draws the typical and leaves out the rest.""",
    """**CAS** (classification accuracy score): balanced accuracy on all real test images of the CNN of `augment run`,
    trained for {updates:,} updates on these samples and nothing else. In the row of real images the same CNN was
    trained as long, with classes drawn equally often, on the real images that the generators were trained on.""",
    """**Label consistency**: share of samples that the extractor's classifier assigns to the class that was asked for;
    in the last row, of real test images. It rewards typical images, so it can exceed that of real ones.""",
    """**Nearer than held-out**: probability that a sample lies nearer to its nearest training image than a held-out
    image does; 0.5 is as far away as unseen images. Smooth images lie near to everything, so a high value without near
    copies means blur, not copying. **Near copies**: samples three times nearer to one training image than to any
    other.""",
    """"Plain VAE" is `vae` with `conditional=false prior=normal beta=1`: the same network, sampled from N(0, I). It
    knows no classes, hence the dashes.""",
)
ON_CPU = """Speeds are per second of processor time, as the machine had other work; minutes are of wall clock, with that
    other work, and of processor time."""
ON_DEVICE = "Speeds and minutes are of wall clock; CPU minutes are of the process that fed the device."


def _reading(results: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [row for result in results.values() for row in result["rows"]]
    updates = rows[0]["settings"]["updates"]
    clock = ON_CPU if all(_on_cpu(row) for row in rows) else ON_DEVICE
    machines = "; ".join(sorted({row["machine"] for row in rows}))
    items = [*(text.format(updates=updates) for text in READING), f"{clock} Measured on {machines}."]
    return "\n".join(["## How to read it", "", *(_filled(f"- {item}", "  ") for item in items)])


def _settings(results: Mapping[str, Mapping[str, Any]]) -> str:
    lines = ["## What was trained", "", "| model | parameters | steps x batch |", "|---|---:|---:|"]
    seen: dict[str, Row] = {}
    for result in results.values():
        seen = {**{row["title"]: row for row in result["rows"]}, **seen}
    for title in (title for title in MODELS if title in seen):
        row = seen[title]
        steps, batch = row["training"]["steps"], row["config"]["batch_size"]
        lines.append(f"| {title} | {row['parameters'] / 1e6:.2f} M | {steps:,} x {batch} |")
    return "\n".join(lines)


def _gallery(results: Mapping[str, Mapping[str, Any]], pictures: Mapping[tuple[str, str], str]) -> str:
    """Pictures by model, the sets side by side; in brackets stands how many training images each class had."""
    parts = ["## Samples\n\nThe first samples of each class; in brackets, its training images."]
    for title in (title for title in MODELS if any((name, title) in pictures for name in results)):
        names = [name for name in results if (name, title) in pictures]
        heads = " | ".join(_heading(name, results[name]["real"]) for name in names)
        images = " | ".join(f"![{title}, {name}]({pictures[name, title]})" for name in names)
        parts.append(f"### {title}\n\n| {heads} |\n{'|---' * len(names)}|\n| {images} |")
    return "\n\n".join(parts)
