"""How synthetic images are used: how many, made from what, which are kept, and how a classifier learns from them.

A plan takes at most one strategy per slot, written as ``partial:share=0.5,cap=5+weight:weight=0.4+real-last``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from augment.classifiers.origins import BatchShare, ClassMixUp, Decay, RealLast, RealNorm, Weight
from augment.errors import UsageError, unknown_name
from augment.strategy import Slot, Strategy, with_options
from augment.synthetic.strategies import (
    Balance,
    Even,
    Neighbourhood,
    Partial,
    PartialNoise,
    Ratio,
    Teacher,
    Translation,
)

STRATEGIES: dict[str, type[Strategy]] = {
    kind.name: kind
    for kind in (
        *(Balance, Partial, Ratio, Even),
        *(PartialNoise, Neighbourhood, Translation),
        Teacher,
        *(BatchShare, Weight, Decay, ClassMixUp, RealNorm, RealLast),
    )
}


def parse_strategy(text: str) -> Strategy:
    """Read ``name`` or ``name:key=value,...``; raises UsageError or ConfigError with what is known."""
    name, _, rest = text.partition(":")
    if name not in STRATEGIES:
        raise UsageError(unknown_name("strategy", name, STRATEGIES))
    return with_options(STRATEGIES[name], rest)


@dataclass(frozen=True)
class Usage:
    """At most one strategy per slot; an empty slot means the plain way: drawn from noise, all kept, weighed as real."""

    strategies: tuple[Strategy, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Usage:
        """Read strategies joined by ``+``; raises UsageError when two want the same slot."""
        return cls.of(parse_strategy(part.strip()) for part in text.split("+"))

    @classmethod
    def of(cls, strategies: Iterable[Strategy]) -> Usage:
        """One of each slot, in the order of the slots; raises UsageError when two want the same."""
        found: dict[str, Strategy] = {}
        for strategy in strategies:
            other = found.setdefault(strategy.slot, strategy)
            if other is not strategy:
                raise UsageError(f"Strategies {str(other)!r} and {str(strategy)!r} exclude each other. Leave one out.")
        order = list(STRATEGIES)
        return cls(tuple(sorted(found.values(), key=lambda strategy: order.index(strategy.name))))

    def or_else(self, default: Usage) -> Usage:
        """These strategies, and those of ``default`` for the slots that are empty here."""
        taken = {strategy.slot for strategy in self.strategies}
        return Usage.of([*self.strategies, *(other for other in default.strategies if other.slot not in taken)])

    def __getitem__(self, slot: Slot) -> Strategy | None:
        return next((strategy for strategy in self.strategies if strategy.slot == slot), None)

    def __str__(self) -> str:
        return "+".join(map(str, self.strategies))
