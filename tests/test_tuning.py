"""Every setting reloads, or is named as one that needs a restart; none is ignored."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from foreman import logs
from foreman.app import App, build
from foreman.config.settings import Settings, reloads
from foreman.domain.errors import SettingInvalid
from foreman.store.sqlite.writer import SqliteWriter
from foreman.targets.managed.target import ManagedTarget
from foreman.targets.ollama import OllamaTarget

GONE = "http://127.0.0.1:9"  # nothing listens at the discard port
MODEL = {"name": "a", "command": ["serve", "{m}"]}
BASE: dict[str, Any] = {"ollama_url": GONE, "macros": {"m": "0"}, "models": [MODEL], "token": "one:1", "rate": 100}

# Another value of each setting.
OTHER: dict[str, Any] = {
    "addr": "127.0.0.1:1",
    "token": "one:1,two:2",
    "admin_token": "admin",
    "private_jobs": True,
    "rate": 7,
    "rate_burst": 7,
    "insecure": True,
    "tls_cert": "cert.pem",
    "tls_key": "key.pem",
    "allowed_hosts": "foreman.example.org",
    "cors_origins": "https://chat.example.org",
    "max_connections": 7,
    "idle_timeout": 7,
    "body_timeout": 7,
    "send_timeout": 7,
    "http_parser": "h11",
    "data_dir": "elsewhere",
    "database_url": "postgresql://x@127.0.0.1:9/x",
    "blob_store": "/blobs",
    "node_name": "n",
    "advertise_url": "http://gpu1.lan:8080",
    "lease": 77,
    "ollama_url": "http://127.0.0.1:10",
    "ollama_token": "t",
    "openai_url": GONE,
    "openai_token": "t",
    "targets": [{"name": "x", "ollama_url": GONE}],
    "macros": {"m": "1"},
    "models": [MODEL | {"name": "b"}],
    "keep_alive": "7m",
    "load_timeout": 7,
    "poll_interval": 7,
    "embed_model": "e",
    "embed_concurrency": 7,
    "slots": 7,
    "max_queue": 7,
    "max_body": 7,
    "max_answer": 7,
    "memory": 7,
    "max_attempts": 7,
    "retry_backoff": 7,
    "retry_backoff_max": 7,
    "attempt_timeout": 7,
    "first_chunk_timeout": 7,
    "stall_timeout": 7,
    "starvation_limit": 7,
    "share": 0.2,
    "fair_quantum": 7,
    "weights": "alice=2",
    "quotas": {"alice": {"waiting": 7, "running": 7}},
    "prefix_turns": False,
    "give_way": False,
    "webhook_secret": "secret",
    "webhook_timeout": 7,
    "webhook_retries": 7,
    "webhook_backoff": 7,
    "webhook_backoff_max": 7,
    "webhook_concurrency": 7,
    "webhook_per_receiver": 7,
    "webhook_allow": "10.0.0.0/8",
    "feed_history": 700,
    "job_ttl": 7,
    "batch_window": 7,
    "file_ttl": 7,
    "max_file": 7,
    "full_text": True,
    "usage_history": 7,
    "cost": {"a": {"input": 7}},
    "artifact_inline_limit": 7,
    "shutdown_grace": 7,
    "log_format": "json",
    "log_level": "warning",
}
READ_AT_EACH_USE = ("cost", "insecure", "max_body", "max_file")  # from the settings in force
NEEDS_ANOTHER = {"openai_token": {"openai_url": GONE}}  # without which it has no effect


def settings_of(folder: Path, **given: Any) -> Settings:
    return Settings.model_validate({"data_dir": folder, **BASE, **given})


def held(app: App) -> dict[str, Any]:
    """What the parts hold of the settings."""
    ctx, webhooks, sender = app.context, app.webhooks, app.context.sender
    auth, rate, rules = ctx.auth, ctx.rate, app.reloader._tuning.handlers._ledger.rules
    return {
        "settings": {name: getattr(ctx.settings, name) for name in READ_AT_EACH_USE},
        "jobs": (rules, ctx.outlook.rules, ctx.intake.limits.max_attempts, ctx.budget.limit),
        "calls": (ctx.past_queue._timeouts, ctx.past_queue._slots._total, ctx.upstream.timeouts),
        "sender": (sender._validator.rules, sender._secrets, sender._timeout),
        "webhooks": (webhooks._admission.limits, webhooks._inline),
        "rate": (rate._pause, rate._span),
        "auth": (auth._holders, auth._hosts, auth._origins, auth._private, auth._has_admins),
        "logs": logs._Logger.get_effective_level(None),
        "members": [
            {
                "settings": member.settings,
                "slots": (member.slots, member.worker.auto.on),
                "worker": (member.worker.timeouts, member.worker.grace),
                "inventory": member.inventory.poll_interval,
                "target": _held_by_target(member.target),
            }
            for member in ctx.fleet.members
        ],
    }


def _held_by_target(target: object) -> object:
    if isinstance(target, OllamaTarget):
        return target.address, target._keep_alive, target._load_timeout
    return target._roster.models if isinstance(target, ManagedTarget) else None


class Reloadable:
    """An app whose settings are read from an attribute."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.read: Callable[[], Settings] = lambda: settings
        folder.mkdir(exist_ok=True)
        self.store = SqliteWriter(folder / "foreman.db")
        self.app = build(settings, self.store, time.time, reread=lambda: self.read())
        logs.set_level(settings.log_level)

    async def reload(self, read: Callable[[], Settings]) -> tuple[list[str], list[str]]:
        self.read = read
        report = await self.app.reloader.reload()
        async with self.app.reloader._lock:  # until all of it is done
            return list(report.changed), list(report.needs_restart)


def held_after_a_start(folder: Path, settings: Settings) -> dict[str, Any]:
    fresh = Reloadable(folder, settings)
    try:
        return held(fresh.app)
    finally:
        fresh.store.close()


@asynccontextmanager
async def running(folder: Path, settings: Settings) -> AsyncIterator[Reloadable]:
    found = Reloadable(folder, settings)
    try:
        async with trio.open_nursery() as nursery:
            await found.app.start(nursery, None)
            yield found
            nursery.cancel_scope.cancel()
    finally:
        found.store.close()


@pytest.fixture(autouse=True)
def level_as_before() -> Iterator[None]:
    yield
    logs.set_level("info")


def test_the_list_has_every_setting() -> None:
    assert list(OTHER) == list(Settings.model_fields)


@pytest.mark.parametrize(("name", "value"), [*OTHER.items(), ("slots", "auto")])
async def test_a_setting_takes_effect_or_is_named(tmp_path: Path, name: str, value: object) -> None:
    old = settings_of(tmp_path, **NEEDS_ANOTHER.get(name, {}))
    new = settings_of(tmp_path, **NEEDS_ANOTHER.get(name, {}), **{name: value})
    expected = held_after_a_start(tmp_path / "fresh", new) if reloads(Settings.model_fields[name]) else None
    with trio.fail_after(20):
        async with running(tmp_path, old) as reloadable:
            before = held(reloadable.app)
            changed, needs_restart = await reloadable.reload(lambda: new)
            after = held(reloadable.app)
            if reloads(Settings.model_fields[name]):
                assert {one.partition(".")[0] for one in changed} - {"models"} == {name} - {"models"}
                assert (needs_restart, reloadable.app.context.settings) == ([], new)
                assert after == expected and after != before
            else:
                assert (changed, needs_restart) == ([], [name])
                assert after == before and reloadable.app.context.settings == old
            assert await reloadable.reload(lambda: new) == ([], needs_restart)
            assert set((await reloadable.reload(lambda: old))[0]) == set(changed)
            assert held(reloadable.app) == before


@pytest.mark.parametrize("public", [{"token": "one:1"}, {"token": "", "insecure": True}])
async def test_a_public_address_stays_guarded(tmp_path: Path, public: dict[str, Any]) -> None:
    old = settings_of(tmp_path, addr="0.0.0.0:1", **public)
    async with running(tmp_path, old) as reloadable:
        before = held(reloadable.app)
        local = settings_of(tmp_path, addr="127.0.0.1:1", token="")  # right by itself, but the address stays
        with pytest.raises(SettingInvalid, match="a public address needs a token"):
            await reloadable.reload(lambda: local)
        assert reloadable.app.context.settings == old and held(reloadable.app) == before


async def test_reloads_at_once_follow_each_other_and_each_sees_a_whole_state(tmp_path: Path) -> None:
    sizes = iter(range(1, 9))
    seen: list[tuple[object, ...]] = []
    reading = 0

    def read() -> Settings:
        nonlocal reading
        reading += 1
        assert reading == 1  # no other one reads meanwhile
        found = held(reloadable.app)
        rules, order, attempts, _ = found["jobs"]
        first = found["members"][0]
        seen.append((rules.max_queue, order.slots, attempts, first["slots"][0], first["worker"][0].stall))
        size = next(sizes)
        models = [MODEL | {"name": f"m{size}"}]
        given = {"max_queue": size, "slots": size, "max_attempts": size, "stall_timeout": size, "models": models}
        reading -= 1
        return settings_of(tmp_path, **given)

    with trio.fail_after(20):
        async with running(tmp_path, settings_of(tmp_path)) as reloadable:
            async with trio.open_nursery() as nursery:
                for _ in range(8):
                    nursery.start_soon(reloadable.reload, read)
            after = held(reloadable.app)
    assert seen[1:] == [(size,) * 5 for size in range(1, 8)]
    assert [model.name for model in after["members"][1]["target"]] == ["m8"]
    assert reading == 0


async def test_a_reload_after_one_that_failed_goes_on(tmp_path: Path) -> None:
    def wrong() -> Settings:
        raise SettingInvalid("slots", 0, "must be at least 1")

    with trio.fail_after(20):
        async with running(tmp_path, settings_of(tmp_path)) as reloadable:
            with pytest.raises(SettingInvalid):
                await reloadable.reload(wrong)
            assert await reloadable.reload(lambda: settings_of(tmp_path, max_queue=7)) == (["max_queue"], [])
