"""What the page says, section by section, down to how every number was made, put into its template with its scripts."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from augment.report import page_parts as parts
from augment.report.chart import Chart, HeatMap, Scatter, Sheet
from augment.report.figures import script_json
from augment.report.page_pictures import galleries
from augment.report.sections import (
    CONFUSION,
    COUNTS,
    CURVES,
    FIDELITY,
    ORIGIN,
    RECONSTRUCTIONS,
    SAMPLES,
    SECTIONS,
    VERDICTS,
)
from augment.results.experiments import Experiment
from augment.results.records import AnyRecord, FeaturesRecord, Found, RunRecord
from augment.studies.lifecycle import config_of

Pairs = list[tuple[str, str]]

FOLDER = Path(__file__).parent

MOST_CARDS = 6
"""Verdicts up to which each has a card with its sentence; more make a table."""

MOST_DETAILED = 48
"""Studies whose own charts and images a page holds; the overview and the table have all."""

IDS = {VERDICTS: "verdicts", FIDELITY: "fidelity", ORIGIN: "origin"}
"""Sections that the template fills in its own way."""


def render(
    found: Found,
    joined: Sequence[Experiment],
    charts: Sequence[Chart],
    rows: Sequence[parts.VerdictRow],
    alarms: Sequence[parts.Alarm],
    title: str | None,
) -> str:
    """The whole page as text.

    joined: the experiments of ``found``; rows: their verdicts.  alarms: the worst first.  title: None for a
    question with the names of the data sets.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.from_string((FOLDER / "report_page.html").read_text("utf-8"))
    scripts = _scripts()
    features = [_feature_row(run) for run in found.features]
    images = _galleries(joined, found.features)
    fidelity = parts.fidelity_tables(joined)
    sheets = list(dict.fromkeys(chart.sheet for chart in charts if isinstance(chart, Scatter) and chart.sheet))
    filtered = [row.facets for row in rows] + [row["facets"] for row in features]
    return template.render(
        title=title or _title(found),
        subtitle=_subtitle(found, joined),
        footer=_footer(found),
        policy=_policy(scripts),
        css=Markup(
            (FOLDER / "report_page.css").read_text("utf-8") + "".join(map(_sheet_style, range(len(sheets)), sheets))
        ),
        sheets=sheets,
        plotly=Markup(scripts[0]),
        script=Markup(scripts[1]),
        alarms=alarms,
        verdicts=rows,
        features=features,
        tallies=parts.tallies(rows),
        by_luck=parts.by_luck(rows),
        order={decision: rank for rank, decision in enumerate(parts.DECISIONS)},
        most_cards=MOST_CARDS,
        fidelity=fidelity,
        filters=parts.filters(charts, filtered),
        origins=_origins(joined, found.features),
        sections=_sections(charts, images, bool(fidelity), _left_out(joined)),
    )


def _sheet_style(number: int, sheet: Sheet) -> str:
    """The pictures behind a map's points, each on 84 pixels; maps of the same images share them."""
    size = f"{84 * sheet.columns}px {84 * sheet.rows}px"
    return f".sheet-{number} {{ background: url({sheet.url}) 0 0 / {size}; }}\n"


def detailed(found: Sequence[Experiment]) -> list[Experiment]:
    """Studies whose own charts a page shows: of each data set, regime and model the largest size, 48 at most."""
    largest: dict[tuple[str, str, str], Experiment] = {}
    for experiment in found:
        key = (experiment.dataset, experiment.regime, experiment.label)
        if key not in largest or experiment.size > largest[key].size:
            largest[key] = experiment
    return list(largest.values())[:MOST_DETAILED]


def _scripts() -> tuple[str, str]:
    """plotly.js and the page's own script, as they stand between their tags."""
    from plotly.offline import get_plotlyjs

    return get_plotlyjs(), (FOLDER / "report_page.js").read_text("utf-8")


def _policy(scripts: Sequence[str]) -> str:
    """Nothing is loaded, and no script runs but these: what slips in with a name is text to the browser, too.

    plotly.js compiles the shaders of its maps in space with ``new Function``, hence ``unsafe-eval``.
    """
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return (
        f"default-src 'none'; script-src {allowed} 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; "
        "form-action 'none'; base-uri 'none'"
    )


def _sections(
    charts: Sequence[Chart], images: Sequence[Mapping[str, Any]], scored: bool, left_out: str
) -> list[dict[str, Any]]:
    """Sections that have something in them, in the order of reading; unknown headings come before the origin."""
    headings = dict.fromkeys([*SECTIONS[:-1], *(chart.section for chart in charts), ORIGIN])
    found = []
    for number, heading in enumerate(headings):
        own = [_figure(chart) for chart in charts if chart.section == heading]
        shown = [gallery for gallery in images if gallery["section"] == heading]
        if own or shown or heading in (VERDICTS, ORIGIN) or (heading == FIDELITY and scored):
            note = left_out if heading in (CONFUSION, COUNTS, SAMPLES, RECONSTRUCTIONS, CURVES) else ""
            section = {"id": IDS.get(heading, f"part-{number}"), "title": heading, "note": note}
            found.append({**section, "charts": own, "galleries": shown})
    return found


def _figure(chart: Chart) -> dict[str, Any]:
    from markupsafe import Markup

    from augment.report.plotly_charts import figure

    drawing = figure(chart)
    keys = [(trace.get("meta") or {}).get("key") for trace in drawing["data"]]
    deep = isinstance(chart, Scatter) and any(len(group.points[0]) == 3 for group in chart.groups if group.points)
    return {
        "name": chart.name,
        "title": chart.title,
        "caption": chart.caption,
        "facets": dict(chart.facets),
        "table": chart.table,
        "keys": list(dict.fromkeys(key for key in keys if key is not None)),
        "deep": deep,
        "sheet": chart.sheet if isinstance(chart, Scatter) else None,
        "wide": isinstance(chart, HeatMap) and len(chart.x) > 16,
        "height": drawing["layout"].get("height", 400),
        "data": Markup(script_json(drawing)),  # escaped for a script element, where markup's escapes mean nothing
    }


def _galleries(joined: Sequence[Experiment], features: Sequence[FeaturesRecord]) -> list[dict[str, Any]]:
    found = []
    for experiment in detailed(joined):
        facets = parts.facets_of(experiment)
        found += galleries(parts.named(experiment), experiment.runs[0].folder, facets, experiment.class_counts)
    for run in features[:MOST_DETAILED]:
        found += galleries(run.name, run.folder, parts.feature_facets(run))
    return found


def _feature_row(run: FeaturesRecord) -> dict[str, Any]:
    return {
        "title": run.name,
        "facets": parts.feature_facets(run),
        "text": run.result.verdict,
        "failed": bool(run.failed_guards),
    }


def _origins(joined: Sequence[Experiment], features: Sequence[FeaturesRecord]) -> list[dict[str, Any]]:
    found = [
        {
            "title": parts.named(experiment),
            "about": _plural(len(experiment.runs), "run") + ", seeds " + ", ".join(map(str, experiment.seeds)),
            "facets": parts.facets_of(experiment),
            "notes": experiment.notes,
            "runs": [_origin(run) for run in experiment.runs],
        }
        for experiment in joined
    ]
    return found + [
        {
            "title": run.name,
            "about": _plural(len(run.seeds), "episode"),
            "facets": parts.feature_facets(run),
            "notes": (),
            "runs": [_origin(run)],
        }
        for run in features
    ]


def _origin(record: AnyRecord) -> dict[str, Any]:
    """Everything about one run folder, as texts for the template."""
    result = record.result
    environment = {} if result.environment is None else vars(result.environment)
    return {
        "folder": str(record.folder),
        "command": [shlex.join(words) for words in _words(record)],
        "guards": result.guards,
        "notes": result.dataset.notes,
        "groups": [
            (title, pairs)
            for title, pairs in (
                ("Settings", _settings(record)),
                *_generators(record),
                ("Seeds", _seeds(record)),
                ("Hashes", _hashes(record)),
                ("Versions", [(name, _text(value)) for name, value in environment.items()]),
                ("Cost", _costs(record)),
            )
            if pairs
        ],
    }


def command(record: AnyRecord) -> str:
    """The command line that repeats a run, with every setting spelled out so that later defaults do not change it.

    Empty where ``config.json`` is missing. ``--data-dir`` is not kept in a result: add it where it was used.
    """
    return " ".join(shlex.join(words) for words in _words(record))


def _words(record: AnyRecord) -> list[list[str]]:
    """The command, then each option with its value."""
    if record.identity is None:
        return []
    asked = config_of(record.kind).model_construct(**record.identity.settings)
    return [["augment", record.kind], *asked.words()]


def _settings(record: AnyRecord) -> Pairs:
    told = {name: value for name, value in record.settings.items() if name != "options" and value is not None}
    pairs = [(name.replace("_", " "), _text(value)) for name, value in told.items()]
    if isinstance(record, RunRecord):
        scored = record.result.scored_on
        pairs.append(("scored on", f"{scored.images:,} {scored.part} images"))
    return pairs


def _generators(record: AnyRecord) -> list[tuple[str, Pairs]]:
    """A group for each generator: how it was trained, then its options."""
    found = []
    for row in record.generators:
        trained = f"{row.steps:,} steps{row.cut_short}, {row.precision} on {row.device}"
        options = [(name.replace("_", " "), _text(value)) for name, value in row.config.items() if name != "steps"]
        found.append((f"Generator {row.name}", [("training", trained), *options]))
    return found


def _seeds(record: AnyRecord) -> Pairs:
    return [("episodes" if isinstance(record, FeaturesRecord) else "repetitions", ", ".join(map(str, record.seeds)))]


def _hashes(record: AnyRecord) -> Pairs:
    result, generators = record.result, {} if record.identity is None else record.identity.generators
    found = [
        ("result", result.identity),
        ("data", result.dataset.sha256),
        ("code", record.code),
        *((f"code of {name}", generator.code or generator.weights) for name, generator in generators.items()),
        ("schema", result.schema),
    ]
    if isinstance(record, RunRecord):
        run = record.result
        found += [("split", run.regime.manifest_sha256), ("extractor of fidelity", run.fidelity.extractor_sha256)]
    return [(name, str(value)) for name, value in found if value]


def _costs(record: AnyRecord) -> Pairs:
    cost = record.result.cost
    told = (
        ()
        if cost is None
        else (
            ("this attempt, wall clock", cost.seconds),
            ("generators, whenever they were trained", cost.generator_seconds),
            ("classifiers, whenever they were trained", cost.classifier_seconds),
        )
    )
    pairs = [(name, f"{value:,.1f} s") for name, value in told if value]
    return [*pairs, ("finished", record.finished_at)]


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(each)}" for name, each in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_text, value))
    words = {True: "yes", False: "no"}
    return "none" if value is None else words[value] if isinstance(value, bool) else str(value)


def _left_out(joined: Sequence[Experiment]) -> str:
    shown = len(detailed(joined))
    if shown == len(joined):
        return ""
    return (
        f"Shown for {shown} of {len(joined)} experiments: of each data set, regime and model the one with the largest "
        "size. A report of the run folders of another experiment shows its own."
    )


def _title(found: Found) -> str:
    names = list(dict.fromkeys(record.dataset for record in found.records))
    about = ", ".join(names[:3]) + (" and more" if len(names) > 3 else "")
    question = "Does synthetic data help?" if found.runs else "Are the features worth more than pixels?"
    return f"{question} {about}".strip()


def _subtitle(found: Found, joined: Sequence[Experiment]) -> str:
    counts = [(len(joined), "experiment", "experiments"), (len(found.runs), "run", "runs")]
    counts.append((len(found.features), "feature study", "feature studies"))
    return ", ".join(_plural(count, *names) for count, *names in counts if count)


def _plural(count: int, name: str, several: str = "") -> str:
    return f"1 {name}" if count == 1 else f"{count:,} {several or name + 's'}"


def _footer(found: Found) -> str:
    import augment

    folders = list(dict.fromkeys(str(record.folder.parent) for record in found.records))
    where = ", ".join(folders[:3]) + (f" and {len(folders) - 3} more folders" if len(folders) > 3 else "")
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    version = getattr(augment, "__version__", "")
    return f"Written by augment {version}".rstrip() + f" on {now} from {where or 'no finished run'}."
