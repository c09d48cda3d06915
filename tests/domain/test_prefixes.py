"""The paths of prompts: their order, and who goes next by it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from foreman.domain.scheduling.prefixes import HASH, MARKS, Neighbour, PrefixTurn, common, companion, path

pieces = st.lists(st.sampled_from([b"a" * 700, b"b" * 700, b"c" * 2_000]), max_size=40)


@given(pieces, pieces)
def test_paths_are_equal_as_far_as_the_prompts_are_up_to_a_mark(one: list[bytes], other: list[bytes]) -> None:
    first, second = b"".join(one), b"".join(other)
    alike = next((n for n, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), None)
    alike = min(len(first), len(second)) if alike is None else alike
    assert common(path(one), path(other)) == sum(mark <= alike for mark in MARKS)


@given(pieces, st.integers(1, 999))
def test_a_prompt_has_one_path_however_it_is_cut(parts: list[bytes], size: int) -> None:
    whole = b"".join(parts)
    cut = [whole[start : start + size] for start in range(0, len(whole), size)]
    assert path(cut) == path([whole]) == path(parts)
    assert len(path([whole])) == HASH * sum(mark <= len(whole) for mark in MARKS)


def test_a_group_that_the_caller_names_counts_however_short_the_prompts() -> None:
    assert path([b"one"], "x")[:HASH] == path([b"two"], "x")[:HASH] != path([b"one"], "y")[:HASH]
    assert path([b"one"]) == b""


@given(st.lists(st.binary(min_size=1, max_size=3), min_size=1, max_size=12, unique=True), st.binary(max_size=3))
def test_the_neighbours_in_the_order_of_paths_have_most_in_common(few: list[bytes], given: bytes) -> None:
    paths = sorted(bytes(byte for letter in one for byte in (letter,) * HASH) for one in few)
    wanted = bytes(byte for letter in given for byte in (letter,) * HASH)
    beside = [max((one for one in paths if one <= wanted), default=None)]
    beside.append(min((one for one in paths if one > wanted), default=None))
    neighbours = [Neighbour(one, 0.0, one.hex()) for one in beside if one is not None]
    found = companion(PrefixTurn(wanted, 0.0), neighbours)
    best = max(common(wanted, one) for one in paths)
    assert (found is None) == (best == 0)
    assert found is None or common(wanted, found.path) == best


def test_of_two_neighbours_alike_the_older_one_goes_next() -> None:
    turn = PrefixTurn(b"aaaabbbb", 0.0)
    young, old = Neighbour(b"aaaaaaaa", 9.0, "1"), Neighbour(b"aaaacccc", 8.0, "2")
    assert companion(turn, [young, old]) is old
    assert companion(turn, [young, Neighbour(b"bbbb", 1.0, "3")]) is young


def test_a_turn_lasts_a_minute_or_sixteen_jobs_and_a_clock_that_is_set_back_ends_it() -> None:
    turn = PrefixTurn(b"", 100.0)
    assert not turn.is_over(159.9, 1.0) and turn.is_over(160.0, 1.0)
    assert not turn.is_over(259.0, 10.0) and turn.is_over(260.0, 10.0)
    assert turn.is_over(99.0, 1.0)
