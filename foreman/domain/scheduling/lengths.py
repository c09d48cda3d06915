"""How long the answers of like jobs were, in classes of length; the latest answers count most."""

from __future__ import annotations

import math
from dataclasses import dataclass

FINE = 2  # classes of length for each doubling
MEMORY = 0.98  # the part of an answer's weight that is left after another one
LEAST = 0.001  # weight; a class with less is forgotten
PRIOR = 2.0  # answers that what is known in general counts for, beside those of a group

Class = tuple[int, float, float]  # its number, the weight of its answers, and the weighted sum of their lengths


@dataclass(frozen=True, slots=True)
class Lengths:
    """The answers of like jobs: their lengths in tokens, and the seconds until they began."""

    classes: tuple[Class, ...] = ()  # the shortest first
    before: float = 0.0  # weighted sum of the seconds from the requests to the beginnings of the answers

    @property
    def weight(self) -> float:
        """Return how many answers these are, the older ones counted less."""
        return sum(weight for _, weight, _ in self.classes)

    @property
    def mean(self) -> float:
        """Return the mean length."""
        return sum(total for _, _, total in self.classes) / self.weight

    @property
    def begins(self) -> float:
        """Return the mean seconds from a request to the beginning of its answer."""
        return self.before / self.weight

    def learned(self, length: float, before: float) -> Lengths:
        """Return them with one more answer, which began after `before` seconds."""
        classes = {number: (weight * MEMORY, total * MEMORY) for number, weight, total in self.classes}
        own = round(FINE * math.log2(max(1.0, length)))
        weight, total = classes.get(own, (0.0, 0.0))
        classes[own] = weight + 1, total + length
        return Lengths(
            tuple((number, *sums) for number, sums in sorted(classes.items()) if sums[0] > LEAST),
            self.before * MEMORY + before,
        )

    def within(self, general: Lengths) -> Lengths:
        """Return what to expect of a group by its own answers, and the fewer these are the more by all answers."""
        part = PRIOR / general.weight
        classes = {number: (weight * part, total * part) for number, weight, total in general.classes}
        for number, weight, total in self.classes:
            more, length = classes.get(number, (0.0, 0.0))
            classes[number] = weight + more, total + length
        return Lengths(
            tuple((number, *sums) for number, sums in sorted(classes.items())), self.before + general.before * part
        )

    def expected(self, most: float = math.inf, *, done: float = 0.0) -> float | None:
        """Return the mean rest of the answers longer than `done`, none longer than `most`; None without one."""
        known = ((weight, min(total / weight, most) - done) for _, weight, total in self.classes)
        longer = [(weight, rest) for weight, rest in known if rest > 0 or not done]
        return sum(weight * rest for weight, rest in longer) / sum(weight for weight, _ in longer) if longer else None
