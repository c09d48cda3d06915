"""What the answer of a job took."""

from __future__ import annotations

from msgspec.structs import astuple

from foreman.domain.answers.usage import job_usage
from foreman.domain.usage import NO_TOKENS, Tokens


def test_the_speed_is_that_of_the_tokens_after_the_first() -> None:
    assert astuple(job_usage(Tokens(7, 3, 101), 0.5, 2.5)) == (7, 3, 101, 0.5, 50.0)


def test_an_answer_that_came_at_once_has_no_speed() -> None:
    assert astuple(job_usage(Tokens(7, 0, 101), 2.0, 2.0)) == (7, 0, 101, 2.0, None)
    assert astuple(job_usage(Tokens(7, 0, 1), 1.0, 2.0)) == (7, 0, 1, 1.0, None)


def test_an_embedding_has_no_first_token() -> None:
    assert astuple(job_usage(Tokens(7, 0, 0), 1.0, 1.0)) == (7, 0, 0, None, None)


def test_counts_that_the_server_does_not_tell_are_none() -> None:
    assert astuple(job_usage(NO_TOKENS, 0.25, 1.0)) == (None, None, None, 0.25, None)
    assert astuple(job_usage(NO_TOKENS, None, 0.0)) == (None, None, None, None, None)
