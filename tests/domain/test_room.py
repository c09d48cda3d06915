"""Which load keys a target may work on together."""

from __future__ import annotations

from foreman.domain.job import load_key
from foreman.domain.scheduling.room import Room


def test_one_model_at_a_time_by_default() -> None:
    assert Room().fits([]) and Room().fits(["a"])
    assert not Room().fits(["a", "b"])


def test_a_number_of_models() -> None:
    assert Room.count(2).fits(["a", "b"])
    assert not Room.count(2).fits(["a", "b", "c"])


def test_a_server_that_reloads_a_model_for_its_options_has_it_loaded_once() -> None:
    short, long = load_key("a", {"num_ctx": 2048}), load_key("a", {"num_ctx": 8192})
    assert Room.count(2).fits([short]) and Room.count(2).fits([short, "b"]) and Room.count(2).fits([short, short])
    assert not Room.count(2).fits([short, long])


def test_a_budget_holds_what_adds_up_to_no_more() -> None:
    room = Room.memory(22, {"a": 12, "b": 10, "c": 11})
    assert room.fits(["a", "b"]) and room.fits(["b", "c"])
    assert not room.fits(["a", "c"]) and not room.fits(["a", "b", "c"])


def test_the_one_server_of_a_managed_model_counts_once() -> None:
    keys = ["a", load_key("a", {"num_ctx": 8192}), "b"]
    assert Room.memory(22, {"a": 12, "b": 10}).fits(keys)


def test_a_model_of_unknown_size_is_loaded_alone() -> None:
    room = Room.memory(22, {"a": 1})
    assert room.fits(["unknown"])
    assert not room.fits(["a", "unknown"])


def test_a_single_model_always_fits() -> None:
    assert Room.memory(22, {"a": 23}).fits(["a"])
    assert Room.memory(0, {}).fits(["a"])  # embedding servers take the whole budget
