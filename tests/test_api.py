"""Public names say what they are, take and give, their examples run, and docs/api.md is made of that and current."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import inspect
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location("api_page", ROOT / "benchmarks" / "api_page.py")
api_page = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(api_page)
Kind = api_page.Kind

WHOLE = {"Generator", "FeatureExtractor", "SyntheticSampler", "ImageSet", "LabelledImages"}
"""Classes whose public methods say all that functions say."""


@pytest.fixture(scope="module")
def page():
    return api_page.Page(api_page.load())


@pytest.fixture(scope="module")
def names(page):
    """Public classes and functions, and methods of some classes, by what a person calls them."""
    found = {}
    for module, members in page.homes.items():
        for name, member in members.items():
            if member.is_class or member.is_function:
                found[f"{module}.{name}"] = member
            if name in WHOLE:
                found |= {f"{module}.{name}.{one.name}": one for one in api_page.methods(member)}
    return found


def parts(member, kind):
    return [section for section in api_page.sections(member) if section.kind is kind]


def documented(member, kind):
    return [one.name.lstrip("*") for section in parts(member, kind) for one in section.value]


def given(member):
    return [one.name for one in api_page.parameters(member)]


def is_error(member):
    """An exception that takes a message and nothing else."""
    bases = [str(base) for cls in (member, *member.mro()) for base in cls.bases] if member.is_class else []
    return "Exception" in bases and not given(member)


def test_the_source_text_tells_what_python_finds(page):
    """Of ``__all__`` all names; of a module without it what it defines, aliases of types left out."""
    for module, members in page.public.items():
        home = importlib.import_module(module)
        own = {
            name
            for name, value in vars(home).items()
            if (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__ == module and name[0] != "_"
        }
        assert set(getattr(home, "__all__", own)) <= set(members), module
        assert all(hasattr(home, name) for name in members), module
    assert sum(map(len, page.homes.values())) > 120


def test_each_begins_with_a_sentence(names):
    lines = {name: member.docstring.value.partition("\n")[0] for name, member in names.items() if member.docstring}
    assert len(lines) == len(names)
    assert not {name: line for name, line in lines.items() if not re.match(r"[`\w].*[.?]$", line)}


def test_each_says_what_it_takes(names):
    """Fields of a dataclass are attributes; a pydantic config says what its fields are in the fields themselves."""
    wrong = {}
    for name, member in names.items():
        fields = "dataclass" in member.labels  # of which the inherited ones may stand last
        told, wants = documented(member, Kind.attributes if fields else Kind.parameters), given(member)
        if not api_page.is_config(member) and (sorted(told) != sorted(wants) if fields else told != wants):
            wrong[name] = told, wants
    assert not wrong


def test_each_says_what_it_gives_and_nothing_in_the_middle_of_its_text(names):
    nothing = {"None", "Iterator[None]"}
    wrong = set()
    for name, member in names.items():
        told = bool(parts(member, Kind.returns) + parts(member, Kind.yields))
        if member.is_function and told == (str(member.returns) in nothing):
            wrong.add(name)
        text = "\n".join(part.value for part in parts(member, Kind.text))
        if re.search(r"\braises? [A-Z]\w+Error|^\w+: .*\.  \w+:", text, re.IGNORECASE | re.MULTILINE):
            wrong.add(name)
    assert not wrong


def test_sections_are_read_without_a_warning(names, caplog):
    for member in names.values():
        member.docstring.parse("google", returns_multiple_items=False, warn_missing_types=False)
    assert not caplog.records


def test_each_has_an_example(names):
    """Methods need none, nor does an error that is a name and an exit code; one of them stands for all."""
    lacking = {
        name
        for name, member in names.items()
        if not (member.is_function and member.parent.is_class) and not is_error(member)
        if not any(">>> " in part.value.description for part in api_page.sections(member) if api_page.is_example(part))
    }
    assert not lacking
    errors = [member for name, member in names.items() if name.startswith("augment.errors.")]
    assert any(is_error(member) and ">>> " in member.docstring.value for member in errors)


@pytest.mark.parametrize("module", api_page.MODULES)
def test_examples_run(module, page, tmp_path, monkeypatch):
    """Each as it stands on the page, with no name but those it imports."""
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    told = []
    for name, member in page.homes[module].items():
        if member.is_class or member.is_function:
            value = getattr(importlib.import_module(module), name)
            tests = doctest.DocTestFinder().find(value, f"{module}.{name}", globs={"__name__": "__main__"})
            assert ">>> " not in member.docstring.value or tests[0].examples, name
            for test in tests:
                runner.run(test, out=told.append)
    assert not runner.failures, "".join(told)


def test_the_page_is_what_the_script_makes(page):
    assert api_page.PAGE.read_text(encoding="utf-8") == page.text(), "run python benchmarks/api_page.py"


def test_links_of_the_page_lead_somewhere(page):
    text = page.text()
    anchors = re.findall(r'<a id="([^"]+)">', text)
    assert len(anchors) == len(set(anchors)) and not re.findall(r":\w+:`", text)
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= set(anchors)
