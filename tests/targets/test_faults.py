"""Statuses and error bodies in the words of Foreman."""

from __future__ import annotations

import pytest

from foreman.domain.answers.refusals import error_of, message_in
from foreman.domain.errors import TargetBusy, TargetError, TargetFailed, TargetRefused

NOW = 1_767_323_045.0  # Fri, 02 Jan 2026 03:04:05 GMT


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (429, TargetBusy),
        (503, TargetBusy),
        (500, TargetFailed),
        (504, TargetFailed),
        (404, TargetRefused),
        (408, TargetFailed),
        (425, TargetFailed),
        (409, TargetRefused),
        (501, TargetRefused),
        (302, TargetRefused),
    ],
)
def test_the_status_chooses_the_fault(status: int, error: type[TargetError]) -> None:
    assert type(error_of("t", status, {}, b"", now=NOW)) is error


@pytest.mark.parametrize(("said", "meant"), [("7", 7.0), ("999", 120.0), ("soon", None)])
def test_what_a_busy_target_asks_for_is_heard_up_to_a_cap(said: str, meant: float | None) -> None:
    error = error_of("t", 503, {"retry-after": said}, b"", now=NOW)
    assert isinstance(error, TargetBusy) and error.retry_after == meant


@pytest.mark.parametrize("status", [409, 423])
@pytest.mark.parametrize(
    ("headers", "words", "passes"),
    [
        ({"retry-after": "3"}, "busy elsewhere", True),
        ({}, "The model is being swapped. Please TRY AGAIN later", True),
        ({}, "conflict: retry the request", True),
        ({}, "a run is active already", False),
        ({}, "do not retry", False),
        ({}, "the entry exists", False),
    ],
)
def test_a_conflict_passes_if_it_says_so(status: int, headers: dict[str, str], words: str, passes: bool) -> None:
    error = error_of("t", status, headers, b'{"error": "%s"}' % words.encode(), now=NOW)
    assert type(error) is (TargetFailed if passes else TargetRefused)
    assert error.retry_after == (3.0 if headers else None)
    assert words in str(error)


@pytest.mark.parametrize("status", [408, 500, 502])
def test_any_status_that_passes_may_name_a_time(status: int) -> None:
    assert error_of("t", status, {"retry-after": "7"}, b"", now=NOW).retry_after == 7.0


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error":"flat"}', "flat"),
        (b'{"error":{"message":"deep","type":"x"}}', "deep"),
        (b'{"type":"error","error":{"type":"t","message":"anthropic"}}', "anthropic"),
        (b'{"message":"m"}', "m"),
        (b'{"detail":"d"}', "d"),
        (b'{"detail":[{"loc":1}]}', '[{"loc":1}]'),
        (b'{"error":{"error":{"error":{"error":{"message":"x"}}}}}', None),
        (b"plain\n  text\x00", "plain   text"),
        (b"<html><h1>502</h1>", ""),
        (b"", ""),
        (b"{}", ""),
        (b"null", ""),
    ],
)
def test_the_words_are_found_in_every_shape(body: bytes, words: str | None) -> None:
    assert (words is None and message_in(body)) or message_in(body) == words
