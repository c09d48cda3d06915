"""How soon answers begin: sooner where the beginning of the prompt is in the server's cache."""

from __future__ import annotations

from typing import NamedTuple

MEMORY = 0.95  # the part of an answer's weight that is left after another one


class Beginnings(NamedTuple):
    """The sums of the seconds until answers began, and their weights; the latest answers count most."""

    anew: float = 0.0  # of jobs whose prompts were computed from the first token on
    number_anew: float = 0.0
    again: float = 0.0  # of those that took the beginning of their prompt from the cache
    number_again: float = 0.0

    def learned(self, seconds: float, *, again: bool) -> Beginnings:
        """Return them with one more answer."""
        kept = Beginnings(*(one * MEMORY for one in self))
        if again:
            return kept._replace(again=kept.again + seconds, number_again=kept.number_again + 1)
        return kept._replace(anew=kept.anew + seconds, number_anew=kept.number_anew + 1)

    def of(self, mean: float, *, again: bool) -> float:
        """Return when the answers begin that do so after `mean` seconds if all are counted."""
        if not (self.number_anew and self.number_again):
            return mean
        saved = max(0.0, self.anew / self.number_anew - self.again / self.number_again)
        part = self.number_again / (self.number_anew + self.number_again)
        return max(0.0, mean - (1 - part) * saved) if again else mean + part * saved
