"""What ``augment features`` prints: accuracy over labels per class, what was chosen, the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from augment.cli.tables import guard_text, new_table, terminal

if TYPE_CHECKING:
    from augment.results.features_result import FeaturesResult, FewLabelScores


def show_features(result: FeaturesResult) -> None:
    """The whole answer: data, accuracy of every method, the choice, guards that failed, verdict, folder."""
    out = terminal()
    out.print(_headline(result))
    for note in result.dataset.notes:
        out.print(f"  {escape(note)}")
    ks = result.protocol.labels_per_class
    for part in [ks[start : start + 5] for start in range(0, len(ks), 5)]:
        out.print(_accuracy_table(result, part))
    out.print(_protocol(result), soft_wrap=True)
    for guard in result.guards:
        if not guard.passed:
            out.print(guard_text(guard))
    out.print(f"\n[bold]{escape(result.verdict)}[/]\n", soft_wrap=True)
    out.print(_costs(result), soft_wrap=True)


def _headline(result: FeaturesResult) -> str:
    generator, chosen = result.generator, result.chosen
    return (
        f"[bold]{escape(result.dataset.name)}[/] {result.dataset.headline}; "
        f"features of [bold]{generator.name}[/] ({generator.steps:,} steps{generator.cut_short}), "
        f"{chosen.dimensions:,} numbers per image{', ' + escape(chosen.place) if chosen.place else ''}"
    )


def _accuracy_table(result: FeaturesResult, ks: Sequence[int]) -> Any:
    columns = [f"k = {k}" for k in ks]
    found = new_table("Accuracy % on the test images, k labels per class", "method", "probe", *columns, right=columns)
    cells = {(row.method, row.probe, row.k): row for row in result.rows}
    last = ""
    for method, probe in dict.fromkeys((row.method, row.probe) for row in result.rows):
        values = [_cell(cells.get((method, probe, k))) for k in ks]
        found.add_row(method if method != last else "", probe or "-", *values)
        last = method
    return found


def _cell(row: FewLabelScores | None) -> str:
    """Mean and half the width of the 95% interval."""
    if row is None:
        return ""
    half = "" if row.ci95 is None else f"±{50 * (row.ci95[1] - row.ci95[0]):.1f}"
    return f"{100 * row.accuracy:.1f}{half}"


def _protocol(result: FeaturesResult) -> str:
    protocol, generator = result.protocol, result.generator
    lines = [
        f"{_draws(protocol.episodes)}; {generator.name} was trained on "
        f"{protocol.pool_images:,} images, labels seen: {generator.labels_seen}."
    ]
    if protocol.choice is not None:
        lines.append(f"Chosen on {protocol.choice}: {result.chosen.place.replace(', ', ' and ', 1)}.")
    return escape("\n".join(lines))


def _draws(episodes: int) -> str:
    if episodes == 1:
        return "One draw of the labels, which cannot tell a method from luck"
    return f"Means over {episodes} draws of the labels ± 95% interval"


def _costs(result: FeaturesResult) -> str:
    generator = result.generator
    reused = " (all of it cached)" if result.cached else ""
    return (
        f"{result.seconds:.0f} s in all{reused}; generator {generator.seconds:.0f} s ({generator.speed}).\n"
        f"Written to {escape(str(result.folder))}: result.json, report.html, accuracy-*.png"
    )


def show_layers(document: Mapping[str, Any]) -> None:
    """Layers, timesteps and further options of a model's features."""
    out = terminal()
    layers = ", ".join(document["layers"])
    out.print(f"[bold]{document['model']}[/]: {f'layers {layers}' if layers else 'one kind of features, no layers'}")
    if document["default"]:
        out.print(f"default: {document['default']}; several are joined by commas")
    if document["timesteps"]:
        out.print(f"timesteps (--t): 0, hardly any noise, to {document['timesteps'] - 1}, noise alone")
    for name, value in document["options"].items():
        out.print(escape(f"option {name}, default {value}"))
