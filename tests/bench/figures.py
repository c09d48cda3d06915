"""A figure: what was measured, what it is held against, and what is wanted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Wanted:
    """A bound, on the figure itself or on its ratio to the reference."""

    word: Literal["≥", "≤", "<"]
    number: float
    of: Literal["value", "ratio"] = "value"

    def met(self, value: float) -> bool:
        if self.word == "≥":
            return value >= self.number
        return value <= self.number if self.word == "≤" else value < self.number


@dataclass(frozen=True, slots=True)
class Figure:
    name: str
    value: float
    unit: str
    against: str  # what the reference is, in words
    reference: float  # in the same unit, from the same run
    wanted: Wanted

    @property
    def ratio(self) -> float:
        return self.value / self.reference if self.reference else float("nan")

    @property
    def ok(self) -> bool:
        return self.wanted.met(self.ratio if self.wanted.of == "ratio" else self.value)

    def line(self) -> str:
        """The figure on one line."""
        unit = f" {self.unit}" if self.wanted.of == "value" else ""
        wanted = f"{self.wanted.word} {self.wanted.number:g}{unit if self.wanted.of == 'value' else ' as a ratio'}"
        value = f"{_short(self.value)} {self.unit}"
        ratio = f", ratio {self.ratio:.2f}" if self.reference else ""
        return (
            f"{self.name:<32} {value:>15}   {self.against} {_short(self.reference)} {self.unit}{ratio}   "
            f"wanted {wanted}: {'ok' if self.ok else 'short'}"
        )

    def fields(self) -> dict[str, Any]:
        """The figure for machines."""
        return asdict(self) | {"ratio": self.ratio, "ok": self.ok}


Measure: TypeAlias = Callable[[int], Awaitable[list[Figure]]]  # takes the number of rounds


def middle(values: Sequence[float]) -> float:
    """The median: on a busy machine the mean tells more of the neighbours than of the program."""
    return median(values)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` of all do not exceed."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(len(ranked) * share))]


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"
