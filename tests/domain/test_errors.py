"""Faults as the world knows them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from foreman.domain import errors
from foreman.domain.errors import (
    CancelledWhileRunning,
    ForemanError,
    IllegalTransition,
    NotLoaded,
    PreviousResponseError,
    RetriedTooOften,
    StoreUnavailable,
    TargetBusy,
    TargetError,
    Unavailable,
)

BASES = (
    ForemanError,
    PreviousResponseError,
    StoreUnavailable,
    TargetError,
    Unavailable,
)  # families; none of them is raised itself


def every_error(base: type[ForemanError] = ForemanError) -> Iterator[type[ForemanError]]:
    for kind in base.__subclasses__():
        if kind.__module__.startswith("foreman.domain.errors."):
            yield kind
        yield from every_error(kind)


def test_every_fault_has_a_code_of_its_own() -> None:
    shared = {  # to callers the same, for whichever reason
        NotLoaded: TargetBusy,
        CancelledWhileRunning: IllegalTransition,
        RetriedTooOften: IllegalTransition,
    }
    assert all(issubclass(kind, of) for kind, of in shared.items())
    raised = [kind for kind in every_error() if kind not in BASES and kind not in shared]
    assert len(raised) > 30
    assert [kind.__name__ for kind in raised if "code" not in vars(kind)] == []
    assert [code for code, times in Counter(kind.code for kind in raised).items() if times > 1] == []


def test_every_code_is_snake_case() -> None:
    assert [kind.code for kind in every_error() if not re.fullmatch(r"[a-z]+(_[a-z]+)*", kind.code)] == []


def test_every_error_is_imported_from_the_package() -> None:
    assert {kind.__name__ for kind in every_error()} <= set(errors.__all__)
