"""Run the checks: as a report (:func:`check_generator`) or as pytest tests (:func:`parametrize_with_checks`)."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from augment import registry
from augment.errors import UsageError, unknown_name
from augment.generator import Generator
from augment.testing.checks import Check, checks_for
from augment.testing.subject import SPECS, Subject, sandbox

if TYPE_CHECKING:
    import pytest

NameOrClass = str | type[Generator]


@dataclass(frozen=True)
class CheckResult:
    """What one check found on all image sizes.

    Attributes:
        generator: Its registered name, or the name of its class.
        check: Name of the check.
        outcome: "passed", "failed", or "xfailed" for a failure that was expected.
        message: Why it did not pass; empty where it did.
        seconds: That it took.

    Example:
        >>> from augment.testing import CheckResult
        >>> CheckResult("mine", "check_sample", "failed", "sample(6) is float64", seconds=0.2).outcome
        'failed'
    """

    generator: str
    check: str
    outcome: Literal["passed", "failed", "xfailed"]
    message: str
    seconds: float


def check_generator(
    generator: NameOrClass,
    *,
    options: Mapping[str, Any] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    on_result: Callable[[CheckResult], None] | None = None,
) -> list[CheckResult]:
    """Run every check that applies to a generator.

    Global state is left as it was.

    Args:
        generator: Its registered name, or the class.
        options: Configuration to check it with, over its ``test_options``.
        expected_failures: ``{check: reason}``; such a failure counts as "xfailed", and a check that passes although
            listed counts as "failed".
        on_result: Called after each check.

    Returns:
        A result for each check, in the order in which they ran.

    Raises:
        UsageError: For an unknown name or check.
        PluginError: For a plugin that cannot be imported.
        ConfigError: For options it does not know.

    Example:
        >>> from augment.testing import MinimalGenerator, check_generator
        >>> {result.outcome for result in check_generator(MinimalGenerator)}
        {'passed'}
    """
    cls, subjects, checks = _prepare(generator, options)
    expected = dict(expected_failures or {})
    _require_known(expected, checks)
    results = []
    for check in checks:
        start = time.perf_counter()
        outcome, message = _judge(_message(check, subjects), expected.get(check.__name__))
        result = CheckResult(_title(cls), check.__name__, outcome, message, time.perf_counter() - start)
        results.append(result)
        if on_result is not None:
            on_result(result)
    return results


def parametrize_with_checks(
    generators: Iterable[NameOrClass], *, expected_failures: Mapping[str, Mapping[str, str]] | None = None
) -> pytest.MarkDecorator:
    """Decorator that makes one test per generator and check, which the test runs as ``check()``.

    Args:
        generators: Registered names, or classes.
        expected_failures: ``{generator: {check: reason}}``; these are strict xfails.

    Returns:
        A mark of pytest.

    Raises:
        UsageError: For an unknown name or check.
        PluginError: For a plugin that cannot be imported.

    Example:
        >>> from augment.testing import parametrize_with_checks
        >>> @parametrize_with_checks(["vae"])
        ... def test_contract(check):
        ...     check()
        >>> test_contract.pytestmark[0].name
        'parametrize'
    """
    import pytest

    cases = []
    for generator in generators:
        cls, subjects, checks = _prepare(generator, None)
        expected = (expected_failures or {}).get(_title(cls), {})
        _require_known(expected, checks)
        for check in checks:
            reason = expected.get(check.__name__)
            marks = [pytest.mark.xfail(reason=reason, strict=True)] if reason else []
            identity = f"{_title(cls)}-{check.__name__}"
            cases.append(pytest.param(partial(_run, check, subjects), id=identity, marks=marks))
    return pytest.mark.parametrize("check", cases)


def _title(cls: type[Generator]) -> str:
    return cls.name or cls.__name__


def _prepare(
    generator: NameOrClass, options: Mapping[str, Any] | None
) -> tuple[type[Generator], list[Subject], list[Check]]:
    """The class, one subject per image size, and the checks; options may narrow tags, so an instance is asked."""
    cls = registry.get(generator) if isinstance(generator, str) else generator
    subjects = [Subject(cls, spec, options or {}) for spec in SPECS]
    _ = subjects[0].config  # options the plugin does not know are the caller's mistake, not a failed check
    try:
        with sandbox():
            chosen = list(checks_for(subjects[0].create()))
    except Exception:  # check_constructor reports it
        chosen = list(checks_for(cls))
    return cls, subjects, chosen


def _require_known(expected: Mapping[str, str], checks: Iterable[Check]) -> None:
    known = [check.__name__ for check in checks]
    for name in expected:
        if name not in known:
            raise UsageError(unknown_name("check in expected_failures", name, known))


def _run(check: Check, subjects: Iterable[Subject]) -> None:
    for subject in subjects:
        with sandbox():
            try:
                check(subject)
            except Exception as error:
                spec = subject.spec
                error.add_note(f"(seen on {spec.channels} x {spec.height} x {spec.width} images)")
                raise


def _message(check: Check, subjects: Iterable[Subject]) -> str:
    """Empty when the check passes; otherwise what it says, or the unexpected error and the line it came from."""
    try:
        _run(check, subjects)
    except Exception as error:
        note = " ".join(getattr(error, "__notes__", []))
        if isinstance(error, AssertionError):
            return f"{error} {note}"
        frame = traceback.extract_tb(error.__traceback__)[-1]
        contract = " ".join((check.__doc__ or "").split())
        return f"{type(error).__name__}: {error} ({frame.filename}:{frame.lineno}). Checked: {contract} {note}"
    return ""


def _judge(message: str, reason: str | None) -> tuple[Literal["passed", "failed", "xfailed"], str]:
    if reason is None:
        return ("failed", message) if message else ("passed", "")
    if message:
        return "xfailed", reason
    return "failed", f"It passes now, though a failure was expected ({reason}). Take it out of expected_failures."
