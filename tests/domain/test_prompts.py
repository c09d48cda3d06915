"""What is known of the prompts that a target computes."""

from __future__ import annotations

from foreman.domain.scheduling.prompts import SEEN, Prompts, Usual


def computed(*paths: bytes, at: float = 0.0, prompts: Prompts | None = None) -> Prompts:
    """Prompts of the key k, computed one after the other, a second each."""
    prompts = prompts or Prompts()
    for number, path in enumerate(paths):
        job = f"{number}"
        prompts = prompts.started(job, "k", path, None).computed(job, at + number).ended(job)
    return prompts


def test_the_longest_beginning_counts_and_of_several_the_latest() -> None:
    prompts = computed(b"aaaabbbb", b"aaaacccc", b"dddd")
    assert prompts.latest("k", b"aaaabbbbeeee") == (2, 0.0)
    assert prompts.latest("k", b"aaaaffff") == (1, 1.0)
    assert prompts.latest("k", b"ffff") == prompts.latest("k", b"") == prompts.latest("other", b"aaaa") == (0, 0.0)
    assert prompts.shared("k", b"aaaabbbbeeee") == 2


def test_only_the_latest_paths_are_remembered() -> None:
    prompts = computed(*(b"%04d" % number for number in range(SEEN + 1)))
    assert prompts.shared("k", b"0000") == 0 and prompts.shared("k", b"0001") == 1
    again = computed(b"0001", b"9999", at=100.0, prompts=prompts)
    assert again.shared("k", b"0002") == 0 and again.latest("k", b"0001") == (1, 100.0)


def test_more_is_cached_where_more_of_a_path_was_computed_or_the_same_later() -> None:
    short, long = computed(b"aaaa", b"zzzz", at=50.0), computed(b"aaaabbbb", b"zzzz")
    assert long.has_more("k", b"aaaabbbb", short, 1) and not short.has_more("k", b"aaaabbbb", long, 1)
    early, late = computed(b"aaaa", b"zzzz"), computed(b"aaaa", b"zzzz", at=9.0)
    assert late.has_more("k", b"aaaacccc", early, 1) and not early.has_more("k", b"aaaacccc", late, 1)
    assert not late.has_more("k", b"bbbb", early, 1) and not late.has_more("k", b"aaaa", late, 1)


def test_a_target_that_has_just_computed_a_beginning_has_it_however_late_another_one_did() -> None:
    here, there = computed(b"zzzz", b"aaaabbbb"), computed(b"aaaacccc", at=99.0)
    assert not there.has_more("k", b"aaaadddd", here, 1)
    older = computed(b"aaaabbbb", b"zzzz")
    assert there.has_more("k", b"aaaadddd", older, 1) and not there.has_more("k", b"aaaadddd", older, 2)


def test_what_a_beginning_saves_is_learned_from_jobs_that_loaded_nothing() -> None:
    prompts = Prompts().started("1", "k", b"aaaa", 10.0).computed("1", 10.0).done("1", 15.0).ended("1")
    assert prompts.saving("k") == 0  # nothing is known of those with a cached beginning
    prompts = prompts.started("2", "k", b"aaaabbbb", 20.0).done("2", 21.0)
    assert prompts.saving("k") == 4 and prompts.saving("other") == 0
    assert prompts.started("3", "k", b"aaaa", None).done("3", 99.0).saving("k") == 4
    assert prompts.done("unknown", 99.0) is prompts


def test_no_time_is_saved_where_cached_beginnings_take_longer() -> None:
    assert Usual().learned(1.0, follows=False).learned(2.0, follows=True).saving == 0
    assert Usual(8.0, 0.0).learned(16.0, follows=False).saving == 9.0
