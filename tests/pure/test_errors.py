"""Faults as the world knows them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from foreman.errors import ForemanError, TargetFault, Unavailable
from foreman.settings import Settings

BASES = (ForemanError, TargetFault, Unavailable)  # families; none of them is raised itself


def every_fault(base: type[ForemanError] = ForemanError) -> Iterator[type[ForemanError]]:
    for kind in base.__subclasses__():
        if kind.__module__ == "foreman.errors":
            yield kind
        yield from every_fault(kind)


def test_every_fault_has_a_code_of_its_own() -> None:
    raised = [kind for kind in every_fault() if kind not in BASES]
    assert len(raised) > 30
    assert [kind.__name__ for kind in raised if "code" not in vars(kind)] == []
    assert [code for code, times in Counter(kind.code for kind in raised).items() if times > 1] == []


def test_every_code_is_snake_case() -> None:
    assert [kind.code for kind in every_fault() if not re.fullmatch(r"[a-z]+(_[a-z]+)*", kind.code)] == []


HIDDEN = {"misrouted", "store_rejected"}  # callers hear the name of the status, and internal_error


def test_every_code_is_documented() -> None:
    documented = (Path(__file__).parents[2] / "docs" / "jobs.md").read_text(encoding="utf-8")
    assert {fault.code for fault in every_fault()} - set(re.findall(r"`([a-z_0-9]+)`", documented)) == HIDDEN


def test_every_setting_is_documented() -> None:
    documented = (Path(__file__).parents[2] / "docs" / "settings.md").read_text(encoding="utf-8")
    assert Settings.model_fields.keys() - set(re.findall(r"^\| `([a-z_]+)` \|", documented, re.MULTILINE)) == set()
