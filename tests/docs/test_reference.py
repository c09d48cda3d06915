"""The reference is whole: every setting, fault, route and kind of message has its place.

Metrics are held against a running Foreman in tests/http/test_service.py, verbs against their help in
tests/cli/test_words.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from foreman.config.cost_settings import CostSettings
from foreman.config.managed_model import ManagedModel
from foreman.config.quota_settings import QuotaSettings
from foreman.config.settings import Settings
from foreman.config.target_settings import TargetSettings
from foreman.domain.job import State
from foreman.http.openapi.blocks import EVERYWHERE
from foreman.http.openapi.codes import STATUSES
from foreman.http.openapi.document import document
from foreman.http.openapi.schemas import schemas
from tests.docs.pages import page
from tests.domain.test_errors import every_error

SETTINGS = (Settings, TargetSettings, QuotaSettings, CostSettings, ManagedModel)
HIDDEN = {"misrouted", "store_rejected"}  # callers hear the name of the status, and internal_error


def test_every_setting_has_a_line() -> None:
    lines = re.findall(r"^\| `([a-z_]+)` \|", page("docs/settings.md").text, re.MULTILINE)
    assert sorted(name for kind in SETTINGS for name in kind.model_fields) == sorted(lines)


def test_every_code_of_a_fault_has_a_place() -> None:
    words = set(re.findall(r"`([a-z_0-9]+)`", page("docs/jobs.md").text))
    assert {error.code for error in every_error()} - words == HIDDEN


def test_the_status_that_a_code_is_said_to_have_is_the_one_that_it_has() -> None:
    errors = page("docs/jobs.md").text.partition("## Errors")[2]
    told = {code: int(status) for status, code in re.findall(r"^\| (\d+) \| `(\w+)` \|", errors, re.MULTILINE)}
    told |= {code: int(status) for code, status in re.findall(r"^\| `(\w+)` \|.*\| (\d+) \|$", errors, re.MULTILINE)}
    assert told == {code: STATUSES.get(code) for code in told}


def test_every_route_has_a_line_that_says_what_the_description_says() -> None:
    lines = re.findall(r"^\| `(?:GET|POST|DELETE|HEAD) .*\|$", page("docs/api.md").text, re.MULTILINE)
    wanted = list(lines_of_routes())
    assert lines == wanted, "docs/api.md should have:\n" + "\n".join(wanted)


def lines_of_routes() -> Iterator[str]:
    for path, methods in document()["paths"].items():
        for method in ("get", "post", "delete", "head"):
            if (operation := methods.get(method)) is None:
                continue
            line = f"| `{method.upper()} {path}` | {operation['summary']}"
            if operation["tags"][0] in ("jobs", "service"):
                line += f" | {' '.join(f'`{code}`' for code in own_codes(operation['responses']))}"
            yield line.rstrip() + " |"


def own_codes(responses: dict[str, dict[str, str]]) -> Iterator[str]:
    for status, answer in responses.items():
        if status[0] in "45":
            codes = re.findall(r"[a-z_]+", answer["description"])
            yield from (code for code in codes if code in STATUSES and code not in (*EVERYWHERE, "unauthorized"))


@pytest.mark.parametrize("shape", ["Hello", "Event"])
def test_every_message_of_the_feed_and_each_of_its_keys_is_told(shape: str) -> None:
    text = page("docs/feed.md").text
    [kind] = schemas()[shape]["properties"]["type"]["enum"]
    assert f"### `{kind}`" in text
    part = text.partition(f"### `{kind}`")[2].partition("\n#")[0]
    cells = "".join(re.findall(r"^\| (`.*?) \|", part, re.MULTILINE))
    assert set(schemas()[shape]["properties"]) == set(re.findall(r"`([a-z_]+)`", cells))


def test_every_state_of_a_job_is_told_where_states_are() -> None:
    for name in ("docs/jobs.md", "docs/feed.md"):
        words = set(re.findall(r"`([a-z]+)`", page(name).text))
        assert {state.value for state in State} <= words, name


@pytest.mark.parametrize(
    ("shape", "name"),
    [
        ("Job", "docs/jobs.md"),
        ("Submission", "docs/jobs.md"),
        ("Accepted", "docs/jobs.md"),
        ("Artifact", "docs/jobs.md"),
        ("Queue", "docs/jobs.md"),
        ("Health", "docs/jobs.md"),
        ("Me", "docs/security.md"),
        ("Quotas", "docs/security.md"),
        ("Report", "docs/usage.md"),
        ("Figures", "docs/usage.md"),
        ("Delivery", "docs/webhooks.md"),
    ],
)
def test_every_key_of_an_answer_is_told(shape: str, name: str) -> None:
    words = set(re.findall(r"[\w-]+", " ".join(re.findall(r"`([^`\n]+)`", page(name).text))))
    assert set(schemas()[shape]["properties"]) - words == set()
