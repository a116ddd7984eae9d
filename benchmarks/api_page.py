"""docs/api.md from the docstrings: every public name with its signature, what it takes and gives, and an example.

Run ``python benchmarks/api_page.py`` after a change of a docstring; ``tests/test_api.py`` tells when that is due.

The source text is read and not run, so that the page is the same on every Python. Settings of configs alone are asked
of the classes, as their help stands in the options themselves.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import griffe
from griffe import DocstringSectionKind as Kind

from augment.storage.files import write_text

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "api.md"

MODULES = (
    "augment",
    "augment.generator",
    "augment.registry",
    "augment.corruptions",
    "augment.seeds",
    "augment.errors",
    "augment.testing",
    "augment.datasets",
    "augment.training",
    "augment.classifiers",
    "augment.classifiers.probes",
    "augment.metrics.fidelity",
    "augment.metrics.similarity",
    "augment.metrics.memorisation",
    "augment.metrics.registration",
    "augment.metrics.scores",
    "augment.evidence.statistics",
)
"""What is public: all that ``__all__`` names in one of these, or that one without it defines under a public name."""

WIDTH = 100
"""Longer signatures have one parameter a line."""

SHORT = 40
"""Longer values of constants are not shown."""

LEAD = """# Python interface

Written by `python benchmarks/api_page.py` from the docstrings. `tests/test_api.py` runs every example and checks that
this page is what the script writes. Images are `(n, C, H, W)`: float32 in [0, 1] for generators and corruptions, uint8
in data sets, for classifiers and for most scores."""

TITLES = {Kind.parameters: "Args", Kind.attributes: "Attributes", Kind.raises: "Raises"}

BOUNDS = (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below"))

Object = griffe.Object
"""A module, class, function or constant as griffe reads it."""


def load() -> griffe.Module:
    """The package, from its source text."""
    package = griffe.load("augment", search_paths=[ROOT], allow_inspection=False)
    assert isinstance(package, griffe.Module)
    return package


def public(package: griffe.Module) -> dict[str, dict[str, Object]]:
    """Public classes, functions and constants by the module that people import them from, and by name."""
    return {name: dict(_named(_within(package, name))) for name in MODULES}


def _within(package: griffe.Module, module: str) -> griffe.Module:
    path = module.partition(".")[2]
    found = package[path] if path else package
    assert isinstance(found, griffe.Module)
    return found


def _named(module: griffe.Module) -> Iterator[tuple[str, Object]]:
    if module.exports is not None:
        yield from ((str(name), _target(module[str(name)])) for name in module.exports)
        return
    for name, member in module.members.items():
        if not (name.startswith("_") or member.is_alias or member.is_module):
            if member.is_class or member.is_function or member.has_docstring:
                yield name, _target(member)


def _target(member: Object | griffe.Alias) -> Object:
    return member.final_target if isinstance(member, griffe.Alias) else member


def documented(found: dict[str, dict[str, Object]]) -> dict[str, dict[str, Object]]:
    """The same with every object once, under the first module that has it."""
    seen: set[str] = set()
    homes: dict[str, dict[str, Object]] = {}
    for module, names in found.items():
        homes[module] = {name: member for name, member in names.items() if member.path not in seen}
        seen |= {member.path for member in names.values()}
    return homes


def parameters(member: Object) -> list[griffe.Parameter]:
    """Those of a function or constructor, without ``self`` and ``cls``; of a dataclass its fields."""
    if not isinstance(member, griffe.Function | griffe.Class):
        return []
    bound = isinstance(member, griffe.Class) or isinstance(member.parent, griffe.Class)
    return list(member.parameters)[1 if bound and "staticmethod" not in member.labels else 0 :]


def methods(cls: Object) -> list[griffe.Function]:
    """Public ones of its own, in the order of the source."""
    found = [one for name, one in cls.members.items() if not name.startswith("_") and one.has_docstring]
    return [one for one in found if isinstance(one, griffe.Function)]


def sections(member: Object) -> list[griffe.DocstringSection]:
    """A docstring in its parts: text, Args, Attributes, Returns, Yields, Raises, Example."""
    if member.docstring is None:
        return []
    return member.docstring.parse("google", returns_multiple_items=False, warnings=False)


def is_example(section: griffe.DocstringSection) -> bool:
    """Is it what stands under ``Example:``?"""
    return section.kind is Kind.admonition and section.value.kind == "example"


def is_config(member: Object) -> bool:
    """Is it a class of pydantic, whose fields say themselves what they are?"""
    return isinstance(member, griffe.Class) and any(
        str(base) == "BaseModel" for cls in (member, *member.mro()) for base in cls.bases
    )


class Page:
    """The page of a package."""

    def __init__(self, package: griffe.Module) -> None:
        self.package = package
        self.public = public(package)
        self.homes = documented(self.public)
        self.anchors: dict[str, str] = {}
        """Where an object stands, by its path in the source."""
        for module, names in self.homes.items():
            for name, member in names.items():
                for one, label in ((member, name), *((method, f"{name}.{method.name}") for method in methods(member))):
                    if member.kind is not griffe.Kind.ATTRIBUTE:
                        self.anchors[one.path] = f"{module}.{label}"

    def text(self) -> str:
        """All of it, in Markdown."""
        contents = [f"- [`{module}`](#{module}): {self._links(module, self.homes[module])}" for module in MODULES]
        parts = [LEAD, "\n".join(contents)]
        for module in MODULES:
            parts += self._module(module)
        return "\n\n".join(parts) + "\n"

    def _links(self, module: str, names: dict[str, Object]) -> str:
        shown = [f"[`{name}`](#{self.anchors[member.path]})" for name, member in names.items() if self._stands(member)]
        return ", ".join(shown)

    def _stands(self, member: Object) -> bool:
        return member.path in self.anchors

    def _module(self, module: str) -> Iterator[str]:
        yield f'<a id="{module}"></a>\n\n## `{module}`'
        found = _within(self.package, module)
        if found.docstring is not None:
            yield from self._prose(found.docstring.value, found)
        own, names = self.homes[module], self.public[module]
        elsewhere = {name: member for name, member in names.items() if name not in own and self._stands(member)}
        if elsewhere:
            yield f"Also here: {self._links(module, elsewhere)}."
        for name, member in own.items():
            if self._stands(member):
                yield from self._entry(member, name, level=3)
        constants = [self._constant(name, member) for name, member in own.items() if not self._stands(member)]
        if constants:
            yield "**Constants**\n\n" + "\n".join(constants)

    def _constant(self, name: str, member: Object) -> str:
        value = str(member.value) if isinstance(member, griffe.Attribute) else ""
        shown = f"{name} = {value}" if len(value) <= SHORT else name
        return f"- `{shown}`{self._summary(member)}"

    def _summary(self, member: Object) -> str:
        return f": {self._line(member.docstring.value, member)}" if member.docstring is not None else ""

    # ---------------------------------------------------------------- classes and functions

    def _entry(self, member: Object, label: str, level: int) -> Iterator[str]:
        yield f'<a id="{self.anchors[member.path]}"></a>\n\n{"#" * level} `{label}`'
        yield f"```python\n{signature(member, label)}\n```"
        for section in sections(member):
            yield from self._section(section, member)
        if is_config(member):
            yield "**Settings**\n\n" + "\n".join(f"- {line}" for line in settings(member))
        if isinstance(member, griffe.Class):
            yield from self._members(member, label, level)

    def _members(self, cls: griffe.Class, label: str, level: int) -> Iterator[str]:
        """Attributes that are documented where they stand, then methods: those with sections have an entry."""
        noted = [
            f"- `{name}`{self._summary(_target(member))}"
            for name, member in cls.members.items()
            if member.is_attribute and member.has_docstring and not name.startswith("_")
        ]
        if noted:
            yield "**Properties**\n\n" + "\n".join(noted)
        short = [one for one in methods(cls) if len(sections(one)) == 1]
        if short:
            yield "**Methods**\n\n" + "\n".join(self._method(one, label) for one in short)
        for one in methods(cls):
            if one not in short:
                yield from self._entry(one, f"{label}.{one.name}", level + 1)

    def _method(self, member: griffe.Function, label: str) -> str:
        shown = signature(member, member.name, one_line=True)
        return f'- <a id="{self.anchors[member.path]}"></a>`{shown}`{self._summary(member)}'

    def _section(self, section: griffe.DocstringSection, member: Object) -> Iterator[str]:
        if is_example(section):
            yield "**Example**"
            yield from self._example(section.value.description, member)
        elif section.kind in TITLES:
            raised = section.kind is Kind.raises
            lines = (f"- `{one.annotation if raised else _starred(one.name, member)}`: " for one in section.value)
            texts = (self._line(one.description, member) for one in section.value)
            items = "\n".join(f"{line}{text}" for line, text in zip(lines, texts, strict=True))
            yield f"**{TITLES[section.kind]}**\n\n{items}"
        elif section.kind in (Kind.returns, Kind.yields):
            (one,) = section.value
            text = f"{one.name}: {one.description}" if one.name else one.description
            yield f"**{section.kind.value.title()}**: {self._line(text, member)}"
        else:
            yield from self._prose(section.value, member)

    def _example(self, text: str, member: Object) -> Iterator[str]:
        for block in text.split("\n\n"):
            yield f"```python\n{block}\n```" if block.startswith(">>>") else self._line(block, member)

    # ---------------------------------------------------------------- prose

    def _prose(self, text: str, member: Object) -> Iterator[str]:
        """Paragraphs; what is indented is code and stays."""
        for block in text.split("\n\n"):
            yield block if block.startswith("    ") else self._line(block, member)

    def _line(self, text: str, member: Object) -> str:
        """A paragraph in Markdown, in one line: so that none begins with what looks like a list."""
        parts = re.split(r"(:\w+:`[^`]+`|``.+?``)", " ".join(text.split()))
        return "".join(self._code(part, member) if index % 2 else _escaped(part) for index, part in enumerate(parts))

    def _code(self, text: str, member: Object) -> str:
        if text.startswith("``"):
            return f"`{text[2:-2]}`"
        target = text[text.index("`") + 1 : -1]
        shown = f"`{target[1:].rpartition('.')[2] if target.startswith('~') else target}`"
        anchor = self._anchor(target.removeprefix("~"), member)
        return shown if anchor is None else f"[{shown}](#{anchor})"

    def _anchor(self, target: str, member: Object) -> str | None:
        """Where a name leads that stands in the docstring of ``member``."""
        if target in MODULES:
            return target
        scope: Object | None = member
        while scope is not None:
            for path in (f"{scope.path}.{target}", target):
                with suppress(KeyError, griffe.GriffeError):
                    found = _target(self.package.modules_collection.get_member(path))
                    if found.path in self.anchors:
                        return self.anchors[found.path]
            scope = scope.parent if isinstance(scope.parent, Object) else None
        return None


def _escaped(text: str) -> str:
    """Prose in which Markdown sees no mark-up."""
    return re.sub(r"([\\*_<`])", r"\\\1", text)


def _starred(name: str, member: Object) -> str:
    """``*names`` and ``**options`` as a signature has them."""
    plain = name.lstrip("*")
    stars = {griffe.ParameterKind.var_positional: "*", griffe.ParameterKind.var_keyword: "**"}
    kinds = [one.kind for one in parameters(member) if one.name == plain]
    return "".join(stars.get(kind, "") for kind in kinds if kind is not None) + plain


class _Plain(ast.NodeTransformer):
    """What is annotated, without what is said of it."""

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        self.generic_visit(node)
        annotated = isinstance(node.value, ast.Name) and node.value.id == "Annotated"
        return node.slice.elts[0] if annotated and isinstance(node.slice, ast.Tuple) else node


def _plain(annotation: object) -> str:
    return ast.unparse(_Plain().visit(ast.parse(str(annotation), mode="eval")))


def signature(member: Object, label: str, *, one_line: bool = False) -> str:
    """How a function is called, and of a class what makes an instance; else what the class is made of."""
    given = parameters(member)
    if isinstance(member, griffe.Class) and not given:
        bases = ", ".join(map(str, member.bases))
        return f"class {label}({bases})" if bases else f"class {label}"
    parts: list[str] = []
    for one in given:
        stars = any(part.startswith("*") for part in parts)
        if one.kind is griffe.ParameterKind.keyword_only and not stars:
            parts.append("*")
        noted = "" if one.annotation is None else f": {_plain(one.annotation)}"
        fixed = one.kind in (griffe.ParameterKind.var_positional, griffe.ParameterKind.var_keyword)
        equals = "" if one.default is None or fixed else f" = {one.default}" if noted else f"={one.default}"
        parts.append(f"{_starred(one.name, member)}{noted}{equals}")
    gives = f" -> {_plain(member.returns)}" if isinstance(member, griffe.Function) and member.returns else ""
    head = f"class {label}" if isinstance(member, griffe.Class) else label
    line = f"{head}({', '.join(parts)}){gives}"
    if one_line or len(line) <= WIDTH:
        return line
    return f"{head}(\n" + "".join(f"    {part},\n" for part in parts) + f"){gives}"


def settings(member: Object) -> Iterator[str]:
    """Each field of a config with its default, its bounds and its help."""
    module, _, name = member.path.rpartition(".")
    for field, info in getattr(importlib.import_module(module), name).model_fields.items():
        default = info.get_default(call_default_factory=True)
        shown = f"default `{str(default) if isinstance(default, Path) else repr(default)}`"
        bounds = (f"{word} {getattr(one, key)}" for one in info.metadata for key, word in BOUNDS if hasattr(one, key))
        help_ = next((one.help for one in info.metadata if hasattr(one, "help")), info.description or "")
        parts = re.split(r"(`[^`]+`)", help_)
        told = "".join(part if index % 2 else _escaped(part) for index, part in enumerate(parts))
        yield f"`{field}` ({', '.join(['required' if info.is_required() else shown, *bounds])}): {told}"


def main() -> None:
    """Write the page."""
    write_text(PAGE, Page(load()).text())


if __name__ == "__main__":
    main()
