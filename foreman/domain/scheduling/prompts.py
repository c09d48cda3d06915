"""What is known of the prompts that a target computes: those of the past, and those of the running jobs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from foreman.domain.job import Instant, Job, LoadKey, Priority
from foreman.domain.scheduling.prefixes import HASH, Benefit, common

KEYS = 64  # load keys of which something is known
SEEN = 64  # paths of a load key, the latest ones
NEWEST = 0.125  # the weight of the latest job in the usual times

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Running:
    """The prompt of a running job."""

    key: LoadKey
    path: bytes
    follows: bool  # True when its beginning had been computed before
    opening: bool  # True until its beginning is computed
    since: Instant | None = None  # when it got its slot; None if its model was to be loaded


@dataclass(frozen=True, slots=True)
class Usual:
    """The usual seconds of jobs whose beginning was to be computed anew, and of those that took it from the cache."""

    anew: float | None = None
    again: float | None = None

    @property
    def saving(self) -> float:
        """Return how many seconds a computed beginning saves; 0 while nothing is known."""
        return 0.0 if self.anew is None or self.again is None else max(0.0, self.anew - self.again)

    def learned(self, seconds: float, *, follows: bool) -> Usual:
        """Return it after one more job."""
        known = self.again if follows else self.anew
        mean = seconds if known is None else known + NEWEST * (seconds - known)
        return replace(self, again=mean) if follows else replace(self, anew=mean)


@dataclass(frozen=True, slots=True)
class Prompts:
    """The paths of prompts by load key. A value: each change returns another one."""

    seen: Mapping[LoadKey, Mapping[bytes, Instant]] = field(default_factory=dict)  # computed when, the latest last
    running: Mapping[str, Running] = field(default_factory=dict)  # by job, with a path
    benefits: Mapping[LoadKey, Benefit] = field(default_factory=dict)
    usual: Mapping[LoadKey, Usual] = field(default_factory=dict)

    def shared(self, key: LoadKey, path: bytes) -> int:
        """Return how many elements of a path the target has computed."""
        return self.latest(key, path)[0]

    def latest(self, key: LoadKey, path: bytes) -> tuple[int, Instant]:
        """Return how many elements of a path the target has computed, and when last; zeros without any."""
        first = path[:HASH]  # compared alone, it leaves out nearly all
        alike = [(common(one, path), at) for one, at in self.seen.get(key, {}).items() if first and one[:HASH] == first]
        return max(alike, default=(0, 0.0))

    def has_more(self, key: LoadKey, path: bytes, than: Prompts, slots: int) -> bool:
        """Return True if this target has more of a path in its cache than another one, of `slots` slots.

        Of two that have computed as much of it that is the one that did so last, since caches forget; unless the other
        one did so with its latest prompts.
        """
        mine, its = self.latest(key, path), than.latest(key, path)
        if mine[0] != its[0] or not mine[0]:
            return mine[0] > its[0]
        return mine[1] > its[1] and not than.is_fresh(key, path, slots)

    def is_fresh(self, key: LoadKey, path: bytes, slots: int) -> bool:
        """Return True if the latest prompts, one for each slot, begin as much like a path as any before."""
        newest = list(self.seen.get(key, ()))[-slots:]
        return _most(newest, path) >= self.shared(key, path)

    def saving(self, key: LoadKey) -> float:
        """Return how many seconds a computed beginning usually saves."""
        return self.usual[key].saving if key in self.usual else 0.0

    def helps(self, key: LoadKey) -> bool:
        """Return False when the order of prompts was seen not to help."""
        return key not in self.benefits or self.benefits[key].helps

    def must_wait(self, job: Job) -> bool:
        """Return True while a running job computes a beginning that this one could take from the cache.

        An urgent job never does: somebody waits for it.
        """
        key, path = job.key, job.prefix
        if not path or job.priority == Priority.HIGH or not self.helps(key):
            return False
        opening = _most((one.path for one in self.running.values() if one.opening and one.key == key), path)
        return opening > 0 and opening > self.shared(key, path)

    def started(self, job_id: str, key: LoadKey, path: bytes, since: Instant | None) -> Prompts:
        """Return it after the start of a job; `since` is None if its model is loaded first."""
        if not path:
            return self
        one = Running(key, path, follows=self.shared(key, path) > 0, opening=True, since=since)
        return replace(self, running={**self.running, job_id: one})

    def is_new(self, job_id: str) -> bool:
        """Return True for a running job with a beginning of its prompt that the target has not computed before."""
        one = self.running.get(job_id)
        return one is not None and self.shared(one.key, one.path) < len(one.path) // HASH

    def computed(self, job_id: str, now: Instant) -> Prompts:
        """Return it once the prompt of a running job is computed."""
        one = self.running.get(job_id)
        if one is None or not one.opening:
            return self
        paths = {path: at for path, at in self.seen.get(one.key, {}).items() if path != one.path}
        if len(paths) >= SEEN:
            del paths[next(iter(paths))]
        paths[one.path] = now
        running = {**self.running, job_id: replace(one, opening=False)}
        return replace(self, running=running, seen=_latest(self.seen, one.key, paths))

    def ended(self, job_id: str) -> Prompts:
        """Return it after the end of a job."""
        if job_id not in self.running:
            return self
        return replace(self, running={other: one for other, one in self.running.items() if other != job_id})

    def learned(self, job_id: str, prompt: int, cached: int) -> Prompts:
        """Return it once it is known how many tokens of a running job's prompt were cached."""
        one = self.running.get(job_id)
        if one is None or not one.follows:
            return self
        benefit = self.benefits.get(one.key, Benefit()).learned(prompt, cached)
        return replace(self, benefits=_latest(self.benefits, one.key, benefit))

    def done(self, job_id: str, now: Instant) -> Prompts:
        """Return it after a job was answered, which tells how long such jobs take."""
        one = self.running.get(job_id)
        if one is None or one.since is None:
            return self
        usual = self.usual.get(one.key, Usual()).learned(max(0.0, now - one.since), follows=one.follows)
        return replace(self, usual=_latest(self.usual, one.key, usual))

    def loaded(self, key: LoadKey) -> Prompts:
        """Return it after the load of a key: nothing of it is cached."""
        if key not in self.seen:
            return self
        return replace(self, seen={other: paths for other, paths in self.seen.items() if other != key})


def _most(paths: Iterable[bytes], path: bytes) -> int:
    return max((common(path, one) for one in paths), default=0)


def _latest(known: Mapping[LoadKey, T], key: LoadKey, value: T) -> dict[LoadKey, T]:
    """Return the mapping with one more value; of too many keys the one that was set longest ago is left out."""
    kept = {other: one for other, one in known.items() if other != key}
    while len(kept) >= KEYS:
        del kept[next(iter(kept))]
    return {**kept, key: value}
