"""The seconds that loads take, learned for each target and load key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from foreman.domain.job import LoadKey

NEWEST = 0.3  # weight of the latest load in each average
RECENT = 100  # pairs in the usual seconds
KEPT = 500  # pairs of target and key, those loaded last


@dataclass(frozen=True, slots=True)
class LoadTimes:
    """The averages, those learned last at the end."""

    seconds: Mapping[tuple[str, LoadKey], float] = field(default_factory=dict)

    def learned(self, target: str, key: LoadKey, seconds: float) -> LoadTimes:
        """Return the averages after one more load."""
        known = dict(self.seconds)
        before = known.pop((target, key), seconds)
        known[target, key] = before + NEWEST * (seconds - before)
        while len(known) > KEPT:
            del known[next(iter(known))]
        return LoadTimes(known)

    def of(self, target: str, key: LoadKey) -> float | None:
        """Return the seconds that the target takes to load the key, or None if it never did."""
        return self.seconds.get((target, key))

    def usual(self, key: LoadKey) -> float | None:
        """Return the mean over the targets that have loaded the key, else over the latest loads; None without any."""
        own = [seconds for (_, other), seconds in self.seconds.items() if other == key]
        known = own or list(self.seconds.values())[-RECENT:]
        return sum(known) / len(known) if known else None

    def encoded(self) -> str:
        """Return the averages as text, for `decoded`."""
        rows = [(target, key, round(seconds, 3)) for (target, key), seconds in self.seconds.items()]
        return msgspec.json.encode(rows).decode()


def decoded(text: str | None) -> LoadTimes:
    """Return what `encoded` made; nothing is known if it is unreadable, since every load teaches anew."""
    try:
        rows = msgspec.json.decode(text or "[]", type=list[tuple[str, LoadKey, float]])
    except msgspec.DecodeError:
        rows = []
    return LoadTimes({(target, key): seconds for target, key, seconds in rows[-KEPT:] if 0 <= seconds < 86400})
