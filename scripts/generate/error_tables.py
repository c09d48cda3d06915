"""Generate the tables of error codes in docs/jobs.md from the classes of errors."""

from __future__ import annotations

import inspect
import re

from foreman.domain.errors import (
    AnswerCut,
    Cost,
    ForemanError,
    Misrouted,
    NotLoaded,
    StoreBroken,
    StoreRefused,
    StoreRejected,
    StreamBroken,
    TargetError,
    TargetRefused,
)
from foreman.http.openapi.codes import KINDS, STATUSES
from scripts.generate import ROOT

PAGE = "docs/jobs.md"

ELSEWHERE = {Misrouted, NotLoaded, StoreBroken, StoreRefused, StoreRejected, StreamBroken, TargetError}
MISROUTED = {
    "broken_protocol": "The request is not HTTP.",
    "not_found": "There is no such route.",
    "method_not_allowed": "The route has no such method; `Allow` says which it has.",
    "request_timeout": "The body did not come within `body_timeout`.",
}
ATTEMPT = {Cost.NOTHING: "not spent", Cost.ATTEMPT: "spent", Cost.JOB: "the job fails"}


def page() -> str:
    """Return the text of jobs.md; the two tables under the heading of errors are replaced."""
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    before, heading, after = text.partition("\n## Errors\n")
    tables = list(re.finditer(r"(?:^\|.*\n)+", after, re.MULTILINE))[:2]
    if len(tables) < 2:
        raise ValueError(f"{PAGE} needs a heading '## Errors' with two tables under it")
    first, second = tables
    middle = after[first.end() : second.start()]
    return before + heading + after[: first.start()] + _answers() + middle + _of_targets() + after[second.end() :]


def _answers() -> str:
    said = MISROUTED | {kind.code: _meaning(kind) for kind in _kinds() if not issubclass(kind, TargetError)}
    rows = sorted((STATUSES[code], code, meaning) for code, meaning in said.items())
    return _table("status", "code", "what happened") + "".join(
        f"| {status} | `{code}` | {meaning} |\n" for status, code, meaning in rows
    )


def _of_targets() -> str:
    kinds = [kind for kind in _kinds() if issubclass(kind, TargetError)]
    kinds.sort(key=lambda kind: (list(Cost).index(kind.cost), kind.code))
    return _table("code", "what happened", "attempt", "status") + "".join(
        f"| `{kind.code}` | {_meaning(kind)} | {_attempt(kind)} | {_status(kind)} |\n" for kind in kinds
    )


def _kinds() -> list[type[ForemanError]]:
    return [kind for kind in KINDS if kind not in ELSEWHERE and "code" in vars(kind) and kind is not ForemanError]


def _meaning(kind: type[ForemanError]) -> str:
    return " ".join(inspect.cleandoc(kind.__doc__ or "").split())


def _attempt(kind: type[ForemanError]) -> str:
    return "the job is done" if kind is AnswerCut else ATTEMPT[kind.cost]


def _status(kind: type[ForemanError]) -> str:
    if kind is TargetRefused:
        return "the target's"
    return "" if kind is AnswerCut else str(STATUSES[kind.code])


def _table(*heads: str) -> str:
    return f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|\n"
