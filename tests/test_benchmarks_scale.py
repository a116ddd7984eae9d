"""What stands behind docs/scale.md: copies of a run that differ as cells do, and tables put between markers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield
    for name in ("page_part", "scale_runs", "scale"):
        sys.modules.pop(name, None)


def test_a_table_replaces_what_was_between_its_markers_and_nothing_else(tmp_path):
    from page_part import write_part

    page = tmp_path / "page.md"
    page.write_text("before\n<!-- a -->\nold\n<!-- /a -->\nbetween\n<!-- b -->\nkept\n<!-- /b -->\n")
    write_part(page, "a", "| new \\1 |")
    once = page.read_text()
    assert once == "before\n<!-- a -->\n\n| new \\1 |\n\n<!-- /a -->\nbetween\n<!-- b -->\nkept\n<!-- /b -->\n"
    write_part(page, "a", "| new \\1 |")
    assert page.read_text() == once
    with pytest.raises(ValueError, match="'c' 0 times"):
        write_part(page, "c", "x")


def test_the_page_has_a_place_for_every_table():
    from scale import PAGE, PARTS

    text = PAGE.read_text()
    names = [f"scale.py {part}" for part in PARTS] + ["ray_scheduling.py before", "ray_scheduling.py rates"]
    assert all(text.count(f"<!-- {name} -->") == text.count(f"<!-- /{name} -->") == 1 for name in names)


@pytest.mark.parametrize("count", [1, 7, 1000, 1500])
def test_coordinates_are_as_many_as_asked_for_and_all_different(count):
    from scale_runs import coordinates

    found = list(coordinates(count))
    assert len(found) == len({tuple(vars(place).values()) for place in found}) == count


def test_records_without_runs_are_what_a_sweep_takes_for_finished(tmp_path):
    from scale_runs import records_only

    from augment.studies.sweep.folder import SweepFolder

    records_only(tmp_path, 5)
    assert len(SweepFolder(tmp_path).records()) == 5
