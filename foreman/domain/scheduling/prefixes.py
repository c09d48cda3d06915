"""Turns of prompts that begin alike, since a server computes a beginning that it has just seen only once.

A *path* describes the beginning of a prompt: a chain of hashes, one for each mark that the prompt reaches. Two prompts
that are equal up to a mark have paths that are equal up to it. The byte order of paths is the depth-first order of the
tree of all prompts, so the prompts that share most with a given one are its neighbours in an index: finding them takes
two seeks, however many jobs wait.

Jobs follow each other along that order for a turn; then the oldest job begins another one. A limit on the waiting time
would end that order just when it is needed, in a deep backlog; turns do not.

Collisions of the short hashes cost nothing but time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

MARKS = tuple(1024 << n for n in range(7))  # bytes of the prompt, 1 KiB to 64 KiB
HASH = 4  # bytes of each hash in a path

TURN = 60.0  # seconds that a turn lasts, or longer:
SERVICES = 16  # times the usual time of a job

FOLLOWERS = 50  # jobs from whose cached tokens it is judged whether the order helps
LEAST_CACHED = 0.1  # of their prompts' tokens; with less the order is given up for the load key


def path(prompt: Iterable[bytes], group: str | None = None) -> bytes:
    """Return the path of a prompt, given in parts; empty if it is shorter than the first mark and has no group.

    `group` is a name by which the caller says which prompts begin alike (`prompt_cache_key` of OpenAI's API).
    """
    digest, elements = blake2b(digest_size=HASH), []
    if group is not None:
        digest.update(group.encode())
        elements.append(digest.digest())
    done, marks = 0, iter(MARKS)
    mark = next(marks)
    for part in prompt:
        view = memoryview(part)
        while len(view) >= mark - done:
            digest.update(view[: mark - done])
            elements.append(digest.digest())
            view, done = view[mark - done :], mark
            following = next(marks, None)
            if following is None:
                return b"".join(elements)
            mark = following
        digest.update(view)
        done += len(view)
    return b"".join(elements)


def common(one: bytes, other: bytes) -> int:
    """Return the number of elements that two paths have in common at their beginning."""
    count = 0
    for at in range(0, min(len(one), len(other)), HASH):
        if one[at : at + HASH] != other[at : at + HASH]:
            break
        count += 1
    return count


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The oldest of the waiting jobs with a path that is next to a given one."""

    path: bytes
    since: float
    id: str


@dataclass(frozen=True, slots=True)
class PrefixTurn:
    """The turn of prompts that begin alike: the path of its latest job, and when it began."""

    path: bytes
    since: float

    def is_over(self, now: float, usual: float) -> bool:
        """Return True once the oldest job is to begin another turn; `usual` is the time of a job in seconds."""
        return not self.since <= now < self.since + lasts(usual)


def lasts(usual: float) -> float:
    """Return how long a turn lasts; `usual` is the time of a job, both in seconds."""
    return max(TURN, SERVICES * usual)


def companion(turn: PrefixTurn, neighbours: Sequence[Neighbour]) -> Neighbour | None:
    """Return which of a path's neighbours goes next in its turn, or None if none begins like it.

    It is the one with the longer common beginning, and the older of two alike.
    """
    alike = [(common(turn.path, one.path), one) for one in neighbours]
    most = max((length for length, _ in alike), default=0)
    nearest = (one for length, one in alike if length == most)
    return min(nearest, key=lambda one: (one.since, one.id)) if most else None


@dataclass(frozen=True, slots=True)
class Benefit:
    """How much was cached of prompts whose beginning the target had computed before; by that the order is judged."""

    jobs: int = 0
    prompt: int = 0  # tokens
    cached: int = 0  # tokens of them

    @property
    def helps(self) -> bool:
        """Return False once enough jobs have shown that the server caches next to nothing."""
        return self.jobs < FOLLOWERS or self.cached >= LEAST_CACHED * self.prompt

    def learned(self, prompt: int, cached: int) -> Benefit:
        """Return it after one more job; of old ones only the proportions count on."""
        half = 2 if self.jobs >= 2 * FOLLOWERS else 1
        return Benefit(self.jobs // half + 1, self.prompt // half + prompt, self.cached // half + cached)
