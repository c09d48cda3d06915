"""Collections of garbage while Foreman serves."""

from __future__ import annotations

import gc
import weakref

from foreman.garbage import LEAST, SHARE, rare_full_collections


class Thing:
    """Holds itself."""

    def __init__(self) -> None:
        self.own = self


def walked_through(thing: Thing) -> bool:
    """Whether a full collection would look at it now."""
    return any(one is thing for one in gc.get_objects())


def test_a_collection_passes_over_what_outlived_the_one_before() -> None:
    old = Thing()
    with rare_full_collections(lambda: 100.0):
        new = Thing()
        assert (walked_through(old), walked_through(new)) == (False, True)
        gc.collect()
        assert (walked_through(old), walked_through(new)) == (False, False)
        known = weakref.ref(Thing())
        gc.collect()
        assert known() is None
    assert walked_through(old)


def test_what_was_passed_over_is_collected_in_the_end() -> None:
    now = 100.0
    with rare_full_collections(lambda: now):
        thing = Thing()
        gc.collect()
        known = weakref.ref(thing)
        del thing
        gc.collect()
        assert known() is not None
        now += LEAST
        gc.collect()
        assert known() is None


def test_whole_collections_that_take_long_are_rarer() -> None:
    now, took = 100.0, 1.0

    def clock() -> float:
        nonlocal now
        now += took
        return now

    with rare_full_collections(clock):
        thing = Thing()
        now += LEAST
        gc.collect()
        known = weakref.ref(thing)
        del thing
        took = 0.0
        now += SHARE - 10
        gc.collect()
        assert known() is not None
        now += 10
        gc.collect()
        assert known() is None
