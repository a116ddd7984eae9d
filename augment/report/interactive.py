"""One HTML page with all maps of a feature space: it turns, filters by class and needs no network."""

from __future__ import annotations

import base64
import html
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from augment.errors import DataError
from augment.report.figures import MARKERS, class_colour, class_marker, script_json
from augment.report.maps import check_map, class_rows
from augment.report.projection import Points

TEMPLATE = Path(__file__).with_name("map_page.html")

THUMBNAIL = 32
"""Pixels of the longer side of a picture that the page shows, at most; larger images are reduced."""

SHAPES = {
    "circle": "M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0",
    "square": "M-4,-4h8v8h-8z",
    "diamond": "M0,-5.5l5.5,5.5l-5.5,5.5l-5.5,-5.5z",
    "cross": "M-2,-5h4v3h3v4h-3v3h-4v-3h-3v-4h3z",
    "x": "M-5,-3l2,-2l3,3l3,-3l2,2l-3,3l3,3l-2,2l-3,-3l-3,3l-2,-2l3,-3z",
}
"""The markers as SVG paths, for the list of classes."""

FeatureMap = tuple[str, Points, Tensor]
"""Title, points ``(N, 2)`` or ``(N, 3)``, labels ``(N,)``."""


def save_page(
    maps: Sequence[FeatureMap],
    classes: Sequence[str],
    path: str | Path,
    *,
    title: str,
    images: Tensor | None = None,
    axes: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Write one self-contained HTML page with a choice between the maps.

    Maps in three dimensions turn by themselves until touched, unless the reader's system asks for less motion. Classes
    can be hidden; pointing at an image names its class and index. The page holds plotly.js (5 MB) and loads nothing.

    maps: title, points and labels as of :func:`augment.report.maps.save_map`, in the order of the choice.  images:
    ``(N, 1 or 3, H, W)`` uint8, the pictures behind the points of every map; pointing at a point then shows its
    picture.  axes: names of the dimensions by the title of the map.

    Raises DataError when there is no map, or points, labels, classes and images do not fit.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    data = page_data(maps, classes, images=images, axes=axes or {})
    counts = Counter(maps[0][2].tolist())
    listed = [{**look, "label": label, "count": counts[label]} for label, look in _looks(maps, classes).items()]
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(TEMPLATE.read_text("utf-8"))
    page = template.render(
        title=title,
        maps=data["maps"],
        classes=listed,
        data=Markup(script_json(data)),
        plotly=Markup(get_plotlyjs()),
    )
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(page, encoding="utf-8")


def page_data(
    maps: Sequence[FeatureMap], classes: Sequence[str], *, images: Tensor | None, axes: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """What the page's script draws from: per map one trace for each class that has points, and the classes' looks."""
    if not maps:
        raise DataError("A page needs at least one map.")
    for _, points, labels in maps:
        check_map(points, labels, classes)
        if images is not None and len(images) != len(points):
            raise DataError(f"There are {len(images)} pictures for {len(points)} points; give one for each.")
    return {
        "classes": _looks(maps, classes),
        "maps": [
            {
                "title": title,
                "dimensions": points.shape[1],
                "axes": list(axes.get(title, ())),
                "traces": _traces(points, labels),
            }
            for title, points, labels in maps
        ],
        "sprite": None if images is None or not len(images) else _sprite(images),
    }


def _looks(maps: Sequence[FeatureMap], classes: Sequence[str]) -> dict[int, dict[str, Any]]:
    """Name, colour and marker of every label that occurs, unlabelled images last."""
    found = {label for _, _, labels in maps for label in set(labels.tolist())}
    return {label: _look(label, classes) for label in sorted(found, key=lambda label: (label < 0, label))}


def _look(label: int, classes: Sequence[str]) -> dict[str, Any]:
    name = "unlabelled" if label < 0 else classes[label]
    symbol = MARKERS[class_marker(label)]
    return {
        "name": name,
        "hover": html.escape(name),  # plotly reads tags in hover texts
        "colour": class_colour(label),
        "symbol": symbol,
        "path": SHAPES[symbol],
        "opacity": 0.4 if label < 0 else 0.85,
    }


def _traces(points: Points, labels: Tensor) -> list[dict[str, Any]]:
    rounded = _rounded(points)
    names = "xyz"[: points.shape[1]]
    return [
        {"label": label, "index": rows} | {name: rounded[rows, axis].tolist() for axis, name in enumerate(names)}
        for label, rows in class_rows(labels).items()
    ]


def _rounded(points: Points) -> Any:
    """To a ten-thousandth of the map's extent: finer than a pixel, and a third of the bytes."""
    extent = float(np.ptp(points)) if points.size else 0.0
    decimals = 4 - math.floor(math.log10(extent)) if extent > 0 else 0
    return np.round(points.astype(np.float64), decimals)


def _sprite(images: Tensor) -> dict[str, Any]:
    """All pictures in one square sheet, row by row, as a data URL with its numbers of columns and rows."""
    from PIL import Image

    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise DataError(f"Pictures are {images.dtype} {tuple(images.shape)}; a page takes uint8 (N, 1 or 3, H, W).")
    grey = images.shape[1] == 1
    side = min(THUMBNAIL, max(images.shape[2:]))
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    sheet = Image.new("L" if grey else "RGB", (columns * side, rows * side))
    for index, pixels in enumerate(images.cpu().permute(0, 2, 3, 1).numpy()):
        picture = Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if grey else pixels))
        picture.thumbnail((side, side))
        room = (side - picture.width) // 2, (side - picture.height) // 2
        sheet.paste(picture, (index % columns * side + room[0], index // columns * side + room[1]))
    form, file = "png" if grey else "jpeg", io.BytesIO()
    sheet.save(file, form, quality=90)
    url = f"data:image/{form};base64,{base64.b64encode(file.getvalue()).decode()}"
    return {"columns": columns, "rows": rows, "url": url}
