"""docs/features.md from the results that :mod:`few_labels` keeps: tables, curves, how to read them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augment.report.features_charts import accuracy_lines
from augment.report.static_charts import begin_static
from augment.results.features_result import FewLabelScores
from augment.storage.files import write_text
from augment.storage.typed_json import from_json

Document = Mapping[str, Any]

PUBLISHED = {
    "mnist": {
        "GAN features": {2: 81.8, 4: 87.8, 8: 90.7, 16: 95.7, 32: 96.3, 64: 97.3, 128: 97.8, 256: 98.5, 512: 99.4},
        "diffusion features": {
            2: 61.1,
            4: 80.8,
            8: 87.6,
            16: 93.3,
            32: 95.4,
            64: 96.8,
            128: 97.4,
            256: 97.9,
            512: 97.8,
        },
        "supervised": {2: 56.0, 4: 72.0, 8: 81.0, 16: 91.0, 32: 95.0, 64: 97.0, 128: 97.0, 256: 98.0, 512: 99.0},
    }
}
"""Of the study this page is compared with, in percent: one draw of the labels, and t = 100 chosen by a text whose own
sweep peaks at 350."""

SHOWN_LABELS = " (k labels)"
"""Ends the titles of generators that see the k labels of an episode, and of those beside them that do not."""

CAUTION = """## What to keep in mind

- Choosing t and layer took labels beyond the k: up to 100 per class to compare on and 16 to fit on. Where these are
  missing, name both (`--t`, `--layer`).
- The grids and defaults of the probes and the constants of the propagation were set while looking at MNIST, and at its
  test images, too. So these figures may be slightly optimistic, for the pixels as for the generators.
- Propagation takes the classes to be equally frequent in the pool, as they are here. On a pool of which that is not
  true it will do worse.
- Rows with a chosen layer share their episodes, and with them pixels and the CNN, which are scored once. Rows whose
  layer was given (`latent_dim`, the k labels) have draws of their own, `vae latent_dim=32` three of them; to it belong
  the pixels under pseudo-labels and the CNN on them.
- Minutes of training are wall clock on one thread of a machine that had other work.
- `few_labels.py` knows further rows (larger latents, the shaped `vae`); those that are not here were not run."""

AIMS = {"mnist": {2: 93.0, 8: 97.5, 32: 98.8}}


@dataclass(frozen=True)
class Page:
    """The page of one data set. results: by title, in the order of the rows; the first has the common baselines."""

    results: Mapping[str, Document]
    dataset: str
    out: Path

    def write(self, page: Path) -> None:
        """Write the page, and its pictures into ``img`` beside it."""
        sections = [
            f"# Features when labels are few\n\nWritten by `python benchmarks/few_labels.py --dataset {self.dataset}`.",
            self._protocol(),
            f"## Linear probe\n\n{self._table('linear')}\n\n{self._published()}",
            f"## Other probes\n\n{self._table('mlp', title='MLP of one hidden layer')}",
            self._second_stages(),
            f"## What was chosen\n\n{self._chosen()}",
            self._shaped(),
            CAUTION,
            self._pictures(page),
        ]
        write_text(page, "\n\n".join(section for section in sections if section) + "\n")

    @property
    def _main(self) -> dict[str, Document]:
        """The rows of the main tables: one generator for all k."""
        return {title: found for title, found in self.results.items() if not title.endswith(SHOWN_LABELS)}

    @property
    def _ks(self) -> list[int]:
        return sorted({row["k"] for found in self._main.values() for row in found["rows"]})

    def _protocol(self) -> str:
        first = next(iter(self._main.values()), None) or next(iter(self.results.values()))
        data, protocol, generator = first["dataset"], first["protocol"], first["generator"]
        return (
            f"`{data['name']}`, {data['channels']} x {data['height']} x {data['width']}: every generator was trained "
            f"on the {protocol['pool_images']:,} training images without labels at its own defaults; probes are fitted "
            f"on exactly k labels per class and scored once on the {protocol['test_images']:,} test images. Means over "
            f"{protocol['episodes']} draws of the labels with 95% t intervals. Timestep and layer: "
            f"{protocol['choice'] or 'given'}; regularisation: {protocol['regularisation']}; features standardised by "
            f"{protocol['standardised_by']}. Trained in {generator['precision']} on {generator['device']}."
        )

    def _table(self, probe: str, title: str = "") -> str:
        """Accuracy of every model and baseline under one probe."""
        rows = [self._line(name, name, found, probe) for name, found in self._main.items()]
        first = next(iter(self._main.values()), None)
        if first is not None:
            rows += [
                self._line(_NAMES[name], name, first, probe) for name in ("pixels", "cnn") if name in first["baselines"]
            ]
            rows += [
                self._line(f"untrained {name}", "untrained", found, probe)
                for name, found in self._main.items()
                if "untrained" in found["baselines"]
            ]
        found = [row for row in rows if any(row[1:])]
        lead = f"{title}:\n\n" if title else ""
        return lead + _markdown(["features", *(f"k = {k}" for k in self._ks)], found)

    def _line(self, label: str, method: str, found: Document, probe: str) -> list[str]:
        method = found["generator"]["name"] if method in self.results else method
        cells = {row["k"]: row for row in found["rows"] if row["method"] == method and row["probe"] in (probe, None)}
        return [label, *(_cell(cells.get(k)) for k in self._ks)]

    def _published(self) -> str:
        """The best generator beside the figures of the study and the aims."""
        known = PUBLISHED.get(self.dataset)
        if known is None or not self._main:
            return ""
        rows = [
            [f"study: {name}", *(f"{values[k]:.1f}" if k in values else "" for k in self._ks)]
            for name, values in known.items()
        ]
        best: dict[int, tuple[float, str]] = {}
        for title, found in self._main.items():
            for row in found["rows"]:
                if row["method"] == found["generator"]["name"]:
                    best[row["k"]] = max(best.get(row["k"], (0.0, "")), (row["accuracy"], f"{title}, {row['probe']}"))
        shown = [f"{100 * best[k][0]:.1f} ({best[k][1]})" if k in best else "" for k in self._ks]
        rows.append(["best here, any probe", *shown])
        aims = AIMS[self.dataset]
        rows.append(["aim", *(f"{aims[k]:.1f}" if k in aims else "" for k in self._ks)])
        table = _markdown(["", *(f"k = {k}" for k in self._ks)], rows)
        return (
            f"Beside the study that asked this question before:\n\n{table}\n\nThe best of several methods is picked by "
            "these very test scores: read it as an upper end, not as a forecast."
        )

    def _second_stages(self) -> str:
        parts = []
        for stage, text in (
            (
                "propagation",
                "Labels spread over the unlabelled pool in feature space, test images by their neighbours there",
            ),
            ("pseudo-labels", "A linear probe on the k labels and confident pseudo-labels from the pool"),
            ("pseudo-cnn", "A CNN from scratch on the k labels and confident pseudo-labels from the pool"),
        ):
            rows = [self._line(name, name, found, stage) for name, found in self._main.items()]
            pixels = [self._line("pixels", "pixels", found, stage) for found in self._main.values()]
            rows += [row for row in pixels if any(row[1:])][:1]
            if any(any(row[1:]) for row in rows):
                found = _markdown(["features", *(f"k = {k}" for k in self._ks)], [row for row in rows if any(row[1:])])
                parts.append(f"{text}:\n\n{found}")
        return "## Second stage\n\n" + "\n\n".join(parts) if parts else ""

    def _chosen(self) -> str:
        rows = []
        for title, found in self._main.items():
            chosen, generator = found["chosen"], found["generator"]
            where = [_text(chosen["t"]), _text(chosen["layer"]), f"{chosen['dimensions']:,}"]
            stopped = "" if generator["stopped"] == "finished" else f" ({generator['stopped']})"
            rows.append([title, *where, f"{generator['steps']:,}{stopped}", f"{generator['seconds'] / 60:.1f}"])
        return _markdown(["model", "t", "layer", "numbers per image", "steps", "minutes of training"], rows)

    def _shaped(self) -> str:
        """Autoencoders that were shown the k labels of each episode."""
        found = {title: document for title, document in self.results.items() if title not in self._main}
        if not found:
            return ""
        ks = sorted({row["k"] for document in found.values() for row in document["rows"]})
        rows = []
        for title in (title for title in self.results if title in found):
            cells = {(row["probe"], row["k"]): row for row in found[title]["rows"]}
            rows.append([title.removesuffix(SHOWN_LABELS), *(_cell(cells.get(("linear", k))) for k in ks)])
        episodes = next(iter(found.values()))["protocol"]["episodes"]
        return (
            "## Options that shape the latent space\n\nA cross-entropy term on the labels there are (`supervision`) "
            "and a term that aligns the latents of a class and decorrelates classes (`decorrelation`). With either, "
            "one generator is trained for every k and episode, on the pool with these k labels per class alone. Linear "
            f"probe on the latents, {episodes} episodes:\n\n" + _markdown(["model", *(f"k = {k}" for k in ks)], rows)
        )

    def _pictures(self, page: Path) -> str:
        folder = page.parent / "img"
        folder.mkdir(parents=True, exist_ok=True)
        rows = [
            {**row, "method": title if row["method"] == found["generator"]["name"] else row["method"]}
            for index, (title, found) in enumerate(self._main.items())
            for row in found["rows"]
            if row["probe"] in ("linear", None) and (row["method"] == found["generator"]["name"] or index == 0)
        ]
        parts = []
        if rows:
            scores = [from_json(FewLabelScores, row, "a result") for row in rows]
            title = f"{self.dataset}, linear probe"
            chart = accuracy_lines(scores, BASELINES, name="features-accuracy", title=title, facets={})
            begin_static([chart], folder, workers=0)()
            (folder / "features-accuracy.svg").unlink()
            parts.append("![accuracy over labels per class](img/features-accuracy.png)")
        first = next(iter(self._main), None)
        for name, text in (
            ("timesteps.png", "accuracy over t"),
            ("layers.png", "timesteps and layers"),
            ("embedding-tsne-2d.png", "t-SNE map of features"),
        ):
            source = self.out / f"{first}-{name}"
            if source.exists():
                shutil.copyfile(source, folder / f"features-{name}")
                parts.append(f"![{first}: {text}](img/features-{name})")
        return "## Pictures\n\n" + "\n\n".join(parts) if parts else ""


BASELINES = ("pixels", "cnn", "untrained")

_NAMES = {"pixels": "pixels", "cnn": "CNN from scratch"}


def _text(value: Any) -> str:
    return "-" if value is None else str(value)


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return ""
    half = "" if row["ci95"] is None else f" ± {50 * (row['ci95'][1] - row['ci95'][0]):.1f}"
    return f"{100 * row['accuracy']:.1f}{half}"


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
