"""What a reload changes, as a comparison of two settings."""

from __future__ import annotations

from typing import Any

import pytest

from foreman.config.changes import TargetPlan, compare, plan_targets
from foreman.config.settings import Settings

ONE = {"name": "one", "ollama_url": "http://127.0.0.1:1"}
TWO = {"name": "two", "openai_url": "http://127.0.0.1:2", "token": "t"}
GPU = {"name": "gpu", "managed": True, "memory": "10 GiB"}
A = {"name": "a", "command": ["serve-a"], "target": "gpu"}
B = {"name": "b", "command": ["serve-b"], "target": "gpu"}


def settings(**given: Any) -> Settings:
    return Settings.model_validate(given)


def test_nothing_has_changed() -> None:
    one = settings(targets=[ONE, GPU], models=[A])
    changes = compare(one, settings(targets=[ONE, GPU], models=[A]))
    assert (changes.settings, changes.changed, changes.needs_restart) == (one, [], [])
    assert plan_targets(one, changes.settings) == TargetPlan(added=[], removed=[], replaced=[], kept=["one", "gpu"])


def test_what_needs_a_restart_stays_as_it_is_and_is_named() -> None:
    old = settings(addr="127.0.0.1:1", slots=1)
    changes = compare(old, settings(addr="127.0.0.1:2", slots=2, idle_timeout=7, data_dir="/elsewhere"))
    assert changes.changed == ["slots"] and changes.needs_restart == ["addr", "idle_timeout", "data_dir"]
    assert (changes.settings.addr, changes.settings.idle_timeout, changes.settings.slots) == (old.addr, 75, 2)
    assert compare(changes.settings, old).changed == ["slots"]


def test_tables_are_named_one_by_one() -> None:
    old = settings(targets=[ONE, TWO, GPU], models=[A, B])
    new = settings(targets=[GPU, TWO | {"slots": 4}], models=[A, B | {"ttl": 5}])
    assert compare(old, new).changed == ["targets.one", "targets.two", "models.b"]
    assert compare(old, settings(targets=[TWO, ONE, GPU], models=[A, B])).changed == ["targets"]


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({"slots": 4}, True),
        ({"models": ["a*"]}, True),
        ({"token": "other"}, False),
        ({"openai_url": "http://127.0.0.1:3"}, False),
        ({"openai_url": "", "ollama_url": "http://127.0.0.1:2"}, False),
        ({"max_loaded": 2}, False),
    ],
)
def test_a_target_is_kept_when_what_has_changed_changes_while_jobs_run(change: dict[str, Any], kept: bool) -> None:
    plan = plan_targets(settings(targets=[TWO]), settings(targets=[TWO | change]))
    assert (plan.kept, plan.replaced) == ((["two"], []) if kept else ([], ["two"]))


@pytest.mark.parametrize("change", [{"slots": 4}, {"models": ["a*"]}, {"memory": "20 GiB"}, {"memory": None}])
def test_a_managed_target_is_kept_whatever_changes(change: dict[str, Any]) -> None:
    old, new = settings(targets=[GPU], models=[A, B]), settings(targets=[GPU | change], models=[B | {"ttl": 5}])
    assert plan_targets(old, new).kept == ["gpu"]
    assert plan_targets(old, settings(targets=[ONE | {"name": "gpu"}])).replaced == ["gpu"]


def test_the_short_settings_make_targets_too() -> None:
    one, both = settings(ollama_url="http://h:1"), settings(ollama_url="http://h:1,http://h:2")
    assert plan_targets(one, both) == TargetPlan(added=["ollama-2"], removed=[], replaced=[], kept=["ollama"])
    assert plan_targets(both, one) == TargetPlan(added=[], removed=["ollama-2"], replaced=[], kept=["ollama"])
    assert plan_targets(one, settings()) == TargetPlan(added=["managed"], removed=["ollama"], replaced=[], kept=[])
