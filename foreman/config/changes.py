"""What a reload of the settings changes, and what of it needs a restart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from foreman.config.settings import Settings, reloads
from foreman.config.target_settings import TargetSettings


@dataclass(frozen=True, slots=True)
class Changes:
    """The difference between the settings in force and those just read."""

    settings: Settings  # in force from now on
    changed: Sequence[str]  # names of settings, of tables `targets.NAME` and `models.NAME`
    needs_restart: Sequence[str]  # names of settings that differ and stay as they were


@dataclass(frozen=True, slots=True)
class TargetPlan:
    """What becomes of the targets, by name."""

    added: Sequence[str]
    removed: Sequence[str]
    replaced: Sequence[str]  # another server: the running jobs end on the one before
    kept: Sequence[str]  # maybe with other slots, globs, managed models or memory, which change while jobs run


def compare(old: Settings, new: Settings) -> Changes:
    """Return what changes when `new` is read while `old` is in force."""
    taken: dict[str, Any] = {}
    changed: list[str] = []
    needs_restart: list[str] = []
    for name, field in Settings.model_fields.items():
        before, after = getattr(old, name), getattr(new, name)
        if before == after:
            continue
        if reloads(field):
            taken[name] = after
            changed += _names(name, before, after)
        else:
            needs_restart.append(name)
    kept = old.model_copy(update=taken)
    names = [name for name, field in Settings.model_fields.items() if reloads(field)]
    return Changes(kept.from_sources(old.origins.taking(new.origins, names)), changed, needs_restart)


def plan_targets(old: Settings, new: Settings) -> TargetPlan:
    """Return what becomes of the targets of `old` when `new` is in force."""
    before, after = ({one.name: one for one in settings.all_targets} for settings in (old, new))
    both = [name for name in after if name in before]
    replaced = [name for name in both if _server(before[name]) != _server(after[name])]
    return TargetPlan(
        added=[name for name in after if name not in before],
        removed=[name for name in before if name not in after],
        replaced=replaced,
        kept=[name for name in both if name not in replaced],
    )


def _server(target: TargetSettings) -> TargetSettings | None:
    """Return what of a target cannot change while jobs run there; of managed ones that is nothing."""
    return None if target.managed else target.model_copy(update={"slots": None, "models": ()})


def _names(setting: str, before: object, after: object) -> Iterator[str]:
    """Yield the setting, or the tables of it that differ."""
    if setting not in ("targets", "models"):
        yield setting
        return
    old, new = _by_name(before), _by_name(after)
    tables = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    yield from (f"{setting}.{name}" for name in tables)
    if not tables:  # in another order
        yield setting


def _by_name(tables: Any) -> dict[str, list[object]]:
    found: dict[str, list[object]] = {}
    for table in tables:
        found.setdefault(table.name, []).append(table)
    return found
