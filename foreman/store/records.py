"""What engines are asked, and what they answer with besides jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from foreman.domain.job import NOBODY, Artifact, CallerKey, Instant, Job, JobEvent, LoadKey, Priority, State
from foreman.domain.nodes import Node
from foreman.domain.scheduling.choose import Head


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of waiting jobs of one load key, priority and caller."""

    key: LoadKey
    priority: Priority
    caller: CallerKey = NOBODY
    ready: int  # claimable
    parked: int  # waiting for their start time


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """An artifact without its data."""

    name: str
    content_type: str
    size: int  # bytes


class Order(StrEnum):
    """The order of a list of jobs."""

    NEWEST = "newest"  # by id, latest submission first
    ENDED = "ended"  # ended jobs only, latest end first


class Cursor(msgspec.Struct, frozen=True):
    """A position in a list of jobs: after this job."""

    id: str
    ended: Instant = 0.0  # when it ended, in a list by end


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """The filters of a list of jobs; all given ones must match."""

    id: str | None = None  # a whole id, its beginning or its end, in capitals
    custom_id: str | None = None  # a prefix if it ends with *
    states: tuple[State, ...] = ()  # any of them
    models: tuple[str, ...] = ()  # any of them, as submitted or as the server's own name
    priority: Priority | None = None
    endpoint: str | None = None
    error_code: str | None = None
    owner: str | None = None
    caller: str | None = None  # the name of a token, or of a caller under one
    batch_id: str | None = None
    target: str | None = None  # of the latest attempt
    metadata: tuple[tuple[str, str], ...] = ()  # pairs that all are in the metadata; see `METADATA_NAMES`
    created_after: Instant | None = None  # inclusive
    created_before: Instant | None = None
    ended_after: Instant | None = None  # inclusive
    ids: tuple[str, ...] = ()  # any of them, whole
    alone: bool = False  # True for jobs that are in no batch
    q: tuple[str, ...] = ()  # words that are all in the request or the answer, see `words.terms_of`


ALL = Selection()
PAUSED = "paused"  # the note that is "true" while the queue is paused
NO_ARTIFACTS: Mapping[str, Sequence[Artifact]] = MappingProxyType({})


class Indexing(msgspec.Struct, frozen=True):
    """How far the index of words is."""

    version: int  # of the words in it, see `searched_text.VERSION`; 0 while it is dropped
    before: str  # jobs with a lower id are not in it yet; empty when all jobs are
    done: int = 0  # jobs that were there before it, and are in it now

    @property
    def whole(self) -> bool:
        """Return True when all jobs are in it."""
        return not self.before


class Seqs(NamedTuple):
    """The limits of the event log."""

    newest: int  # the last one given, 0 before the first
    pruned: int  # the newest one removed by pruning, 0 before the first


class Remains(NamedTuple):
    """The readable parts of an unreadable job that is queued."""

    line: tuple[LoadKey, int, CallerKey] | None  # load key, priority and caller, if they are valid
    parked: bool
    attempt: int
    batch_id: str | None = None


class News(msgspec.Struct, frozen=True, kw_only=True):
    """What other nodes have committed since this one last looked; None of it is this node's own."""

    newest: int  # the last seq given
    events: Sequence[JobEvent]  # oldest first; those of deleted jobs are left out
    jobs: Mapping[str, Job]  # those of the events that run, that were tried, or that change by themselves
    lines: Sequence[tuple[Line, Head | None]]  # the changed lines with their oldest claimable jobs; empty ones too
    paused: bool
    posted: bool  # True when a webhook has become due
    nodes: Sequence[Node] | None = None  # all of them, when one has told of a change, came or went


class Due(NamedTuple):
    """A caller's receiver with due deliveries."""

    receiver: str
    at: Instant  # due time of the first one
    failed: bool  # True when the first or last one was tried before without an answer or with 5xx
