"""The reload: takes over the settings that may change while Foreman runs, all of them or none."""

from __future__ import annotations

import socket
from collections.abc import Callable

import structlog
import trio

from foreman.config.changes import TargetPlan, compare, plan_targets
from foreman.config.checks import check_together
from foreman.config.settings import Settings
from foreman.config.target_settings import TargetSettings
from foreman.domain import views
from foreman.domain.errors import Draining, ForemanError, SettingInvalid
from foreman.http.context import Context
from foreman.members import Makings, Members
from foreman.targets.boot import boot_id_at, leads_to
from foreman.targets.http.pool import Client
from foreman.tuning import Tuning

log = structlog.get_logger()


class Reloader:
    """Reads the settings again and brings what runs in line with them; one reload after the other."""

    def __init__(
        self, context: Context, members: Members, makings: Makings, tuning: Tuning, read: Callable[[], Settings]
    ) -> None:
        """Take a function that reads the settings from their sources, in a thread."""
        self._context = context
        self._members = members
        self._makings = makings
        self._tuning = tuning
        self._read = read
        self._lock = trio.Lock()
        self._nursery: trio.Nursery
        self._listening: socket.socket | None = None

    def start(self, nursery: trio.Nursery, listening: socket.socket | None) -> None:
        """Take the nursery for what goes on after the answer, and the socket that no target may lead to."""
        self._nursery, self._listening = nursery, listening

    async def reload(self) -> views.Reloaded:
        """Take over what has changed and return its names; jobs that run on a removed target go on meanwhile.

        Raises:
            SettingInvalid: The settings cannot be used; nothing has changed.
            Draining: Foreman is shutting down.
        """
        try:
            report: views.Reloaded = await self._nursery.start(self._take)
        except ForemanError as error:
            log.warning("settings are not reloaded: nothing has changed", why=str(error))
            raise
        log.info("settings are reloaded", changed=report.changed, needs_restart=report.needs_restart)
        return report

    async def _take(self, *, task_status: trio.TaskStatus[views.Reloaded]) -> None:
        async with self._lock:
            read = await trio.to_thread.run_sync(self._read, abandon_on_cancel=True)
            before = self._context.settings
            changes = compare(before, read)
            check_together(changes.settings)  # what was read may suit another `addr` only than the one in force
            if _names_targets(before) and not _names_targets(changes.settings):  # such as a file that is half written
                raise SettingInvalid(
                    "targets", [], "must not all go with a reload: only a start takes the embedded model"
                )
            plan = plan_targets(before, changes.settings)
            await self._check(changes.settings, plan)
            if self._context.draining:
                raise Draining
            self._switch(changes.settings, plan)
            task_status.started(views.Reloaded(list(changes.changed), list(changes.needs_restart)))
            await self._settle(changes.settings, plan)

    def _switch(self, settings: Settings, plan: TargetPlan) -> None:
        """Take over all settings and targets, without a wait in between; replaced targets stay until they have left."""
        self._context.settings = settings
        self._tuning.hand_over(settings)
        for name in (*plan.removed, *plan.replaced):
            self._members.leave(name)
        now = {member.name: member for member in self._members.fleet.members}
        every = {one.name: one for one in settings.all_targets}
        for name in plan.kept:
            self._makings.change(now[name], settings, every[name])
        self._members.arrange([now.get(name) or self._makings.build(settings, one) for name, one in every.items()])

    async def _settle(self, settings: Settings, plan: TargetPlan) -> None:
        """Start what is new and end what has left; return when all of it is as the settings say."""
        fleet = self._members.fleet

        async def replace(name: str) -> None:
            await self._members.wait_left(name)
            if self._context.draining:
                return
            one = next(one for one in settings.all_targets if one.name == name)
            new = self._makings.build(settings, one)
            self._members.arrange([new if member.name == name else member for member in fleet.members])
            await self._members.join(new)

        async with trio.open_nursery() as nursery:
            for member in fleet.members:
                if member.name in plan.added:
                    nursery.start_soon(self._members.join, member)
                elif member.name in plan.kept:
                    nursery.start_soon(member.adapt)
            for name in plan.removed:
                nursery.start_soon(self._members.wait_left, name)
            for name in plan.replaced:
                nursery.start_soon(replace, name)

    async def _check(self, settings: Settings, plan: TargetPlan) -> None:
        """Raise SettingInvalid when a new target would be this process itself."""

        async def check(one: TargetSettings) -> None:
            if await self._is_itself(one):
                found.append(one)

        found: list[TargetSettings] = []
        async with trio.open_nursery() as nursery:
            for one in settings.all_targets:
                if one.url and one.name in (*plan.added, *plan.replaced):
                    nursery.start_soon(check, one)
        if found:
            raise itself(settings, found[0])

    async def _is_itself(self, one: TargetSettings) -> bool:
        if self._listening is not None and await leads_to(self._listening, one.url):
            return True
        client = Client(one.url, one.token.get_secret_value())
        try:
            return await boot_id_at(client) == self._context.boot_id
        finally:
            client.close()


def _names_targets(settings: Settings) -> bool:
    return bool(settings.targets or settings.ollama_url or settings.openai_url or settings.models)


def itself(settings: Settings, one: TargetSettings) -> SettingInvalid:
    """Return the error for a target that is this Foreman."""
    own = f"targets.{one.name}." if settings.targets else ""
    return SettingInvalid(f"{own}{one.kind}_url", one.url, "must not lead to this Foreman itself")
