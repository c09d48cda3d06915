"""What a job is."""

from __future__ import annotations

from itertools import product

import pytest

from foreman.domain.errors import IllegalTransition
from foreman.domain.job import RELOADING_OPTIONS, RUNNING, TERMINAL, State, check_transition, load_key, model_of

S = State
LEGAL = {
    (S.QUEUED, S.LOADING),
    (S.QUEUED, S.CANCELLED),
    (S.QUEUED, S.EXPIRED),
    (S.QUEUED, S.FAILED),
    (S.LOADING, S.WORKING),
    (S.LOADING, S.QUEUED),
    (S.LOADING, S.FAILED),
    (S.LOADING, S.CANCELLED),
    (S.WORKING, S.DONE),
    (S.WORKING, S.FAILED),
    (S.WORKING, S.QUEUED),
    (S.WORKING, S.CANCELLED),
    (S.FAILED, S.QUEUED),
    (S.CANCELLED, S.QUEUED),
    (S.EXPIRED, S.QUEUED),
}


@pytest.mark.parametrize(("before", "after"), sorted(LEGAL))
def test_a_legal_step_may_be_taken(before: State, after: State) -> None:
    check_transition("change", before, after)
    assert before is not after


@pytest.mark.parametrize(("before", "after"), sorted(set(product(S, S)) - LEGAL))
def test_any_other_step_is_refused_with_the_state_it_was_in(before: State, after: State) -> None:
    with pytest.raises(IllegalTransition, match=f"cannot cancel a job that is {before}"):
        check_transition("cancel", before, after)


def test_every_state_is_queued_running_or_terminal() -> None:
    assert {S.QUEUED} | RUNNING | TERMINAL == set(S)
    assert not RUNNING & TERMINAL


def test_a_model_without_options_is_its_own_load_key() -> None:
    assert load_key("llama3") == load_key("llama3", {}) == "llama3"


def test_options_that_need_no_reload_do_not_part_jobs() -> None:
    assert load_key("m", {"temperature": 0.7, "seed": 1}) == "m"


def test_long_options_part_jobs_by_a_short_key() -> None:
    given: list[dict[str, object]] = [
        {"adapters": ["x" * 100_000]},
        {"adapters": ["x" * 100_000, "y"]},
        {"num_ctx": 4096, "adapters": ["x" * 100_000]},
        {"num_ctx": "9" * 10_000},
    ]
    keys = {load_key("m" * 256, options) for options in given}
    assert len(keys) == 4
    assert max(map(len, keys)) <= 512
    assert {model_of(key) for key in keys} == {"m" * 256}
    assert load_key("m", {"adapters": ["x" * 999], "num_ctx": 8.0}) == load_key(
        "m", {"num_ctx": 8, "adapters": ["x" * 999]}
    )


@pytest.mark.parametrize("option", RELOADING_OPTIONS)
def test_options_that_make_the_server_reload_part_jobs(option: str) -> None:
    keys = {load_key("m"), load_key("m", {option: 1}), load_key("m", {option: 2}), load_key("n", {option: 1})}
    assert len(keys) == 4


def test_the_order_of_options_does_not_part_jobs() -> None:
    assert load_key("m", {"num_ctx": 1, "num_gpu": 2}) == load_key("m", {"num_gpu": 2, "num_ctx": 1})


@pytest.mark.parametrize("option", ["num_ctx", "num_gpu"])
def test_a_whole_number_is_the_same_however_it_is_written(option: str) -> None:
    assert load_key("m", {option: 4096.0}) == load_key("m", {option: 4096}) != load_key("m", {option: 4096.5})


def test_a_null_among_the_options_is_none() -> None:
    assert load_key("m", {"num_ctx": None, "use_mmap": None}) == "m"
