"""What ``augment features`` prints: accuracy over labels per class, what was chosen, the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape

from augment.cli.tables import new_table, terminal


def show_features(document: Mapping[str, Any]) -> None:
    """The whole answer: data, accuracy of every method, the choice, guards that failed, verdict, folder."""
    out = terminal()
    out.print(_headline(document))
    for note in document["dataset"]["notes"]:
        out.print(f"  {escape(note)}")
    ks = document["protocol"]["labels_per_class"]
    for part in [ks[start : start + 5] for start in range(0, len(ks), 5)]:
        out.print(_accuracy_table(document, part))
    out.print(_protocol(document), soft_wrap=True)
    for guard in document["guards"]:
        if not guard["passed"]:
            out.print(f"[bold]Guard failed[/]: {guard['name']} ({escape(guard['detail'])}).")
    out.print(f"\n[bold]{escape(document['verdict'])}[/]\n", soft_wrap=True)
    out.print(_costs(document), soft_wrap=True)


def _headline(document: Mapping[str, Any]) -> str:
    data, generator, chosen = document["dataset"], document["generator"], document["chosen"]
    stopped = "" if generator["stopped"] in ("finished", "unknown") else f", cut short: {generator['stopped']}"
    where = ", ".join(f"{name} {chosen[name]}" for name in ("t", "layer") if chosen[name] is not None)
    return (
        f"[bold]{escape(data['name'])}[/] {data['channels']} x {data['height']} x {data['width']}, "
        f"{len(data['classes'])} classes; "
        f"features of [bold]{generator['name']}[/] ({generator['steps']:,} steps{stopped}), "
        f"{chosen['dimensions']:,} numbers per image{', ' + escape(where) if where else ''}"
    )


def _accuracy_table(document: Mapping[str, Any], ks: Sequence[int]) -> Any:
    columns = [f"k = {k}" for k in ks]
    found = new_table("Accuracy % on the test images, k labels per class", "method", "head", *columns, right=columns)
    cells = {(row["method"], row["head"], row["k"]): row for row in document["rows"]}
    last = ""
    for method, head in dict.fromkeys((row["method"], row["head"]) for row in document["rows"]):
        values = [_cell(cells.get((method, head, k))) for k in ks]
        found.add_row(method if method != last else "", head or "-", *values)
        last = method
    return found


def _cell(row: Mapping[str, Any] | None) -> str:
    """Mean and half the width of the 95% interval."""
    if row is None:
        return ""
    half = "" if row["ci95"] is None else f"±{50 * (row['ci95'][1] - row['ci95'][0]):.1f}"
    return f"{100 * row['accuracy']:.1f}{half}"


def _protocol(document: Mapping[str, Any]) -> str:
    protocol, chosen = document["protocol"], document["chosen"]
    generator = document["generator"]
    lines = [
        f"{_draws(protocol['episodes'])}; {generator['name']} was trained on "
        f"{protocol['pool_images']:,} images, labels seen: {generator['labels_seen']}."
    ]
    if protocol["choice"] is not None:
        names = " and ".join(f"{name} {chosen[name]}" for name in ("t", "layer") if chosen[name] is not None)
        lines.append(f"Chosen on {protocol['choice']}: {names}.")
    return escape("\n".join(lines))


def _draws(episodes: int) -> str:
    if episodes == 1:
        return "One draw of the labels, which cannot tell a method from luck"
    return f"Means over {episodes} draws of the labels ± 95% interval"


def _costs(document: Mapping[str, Any]) -> str:
    generator = document["generator"]
    how = "cached" if generator["cached"] else f"{generator['images_per_second']:,.0f} images/s"
    reused = " (all of it cached)" if document["cached"] else ""
    return (
        f"{document['seconds']:.0f} s in all{reused}; generator {generator['seconds']:.0f} s ({how}).\n"
        f"Written to {escape(document['folder'])}: result.json, accuracy.png, embeddings.html"
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
