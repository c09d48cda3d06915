"""Many jobs in one request: read as a stream, stored in groups, bad lines reported by number."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import trio
from quart import Response, request
from ulid import ULID

from foreman import wire
from foreman.errors import BodyTooLarge, FieldInvalid, ForemanError
from foreman.http.deps import Deps, deps
from foreman.http.problems import json_answer
from foreman.job import Draft
from foreman.messages import SubmitMany

GROUP = 1000  # jobs in one transaction
BREATH = 20  # lines between checkpoints: a millisecond or so, in which nobody else is served
MOST_LINES = 100_000


async def submit() -> Response:
    """`POST /jobs` with NDJSON. Lines that were stored stay stored, whatever comes after them."""
    intake = _Intake(deps())
    number = 0
    async for line in _lines(deps().settings.max_body):
        number += 1
        if number > MOST_LINES:
            intake.reject(number, FieldInvalid("line", number, f"a request takes at most {MOST_LINES} lines"))
            break
        if line.strip():
            await intake.take(number, line)
        if number % BREATH == 0:
            await trio.lowlevel.checkpoint()
    await intake.store()
    return json_answer(intake.shown(), 202 if intake.accepted else 422)


class _Intake:
    """What became of each line."""

    def __init__(self, known: Deps) -> None:
        self._known = known
        self._drafts: list[tuple[int, Draft]] = []
        self._judged: dict[str, ForemanError | None] = {}
        self._stored: list[msgspec.Raw] = []  # as JSON, since a hundred thousand small objects weigh a lot
        self._errors: list[dict[str, object]] = []

    @property
    def accepted(self) -> int:
        return len(self._stored)

    async def take(self, number: int, line: bytes) -> None:
        try:
            self._drafts.append((number, await self._read(line)))
        except ForemanError as fault:
            self.reject(number, fault)
        if len(self._drafts) >= GROUP:
            await self.store()

    async def store(self) -> None:
        """Store what was read and is not stored yet."""
        if not self._drafts:
            return
        drafts, self._drafts = self._drafts, []
        try:
            await self._known.queue.ask(SubmitMany(drafts=[draft for _, draft in drafts]))
        except ForemanError as fault:
            for number, _ in drafts:
                self.reject(number, fault)
            return
        for number, draft in drafts:
            shown = {"line": number, "job_id": draft.id, "custom_id": draft.custom_id}
            self._stored.append(msgspec.Raw(msgspec.json.encode(shown)))

    def reject(self, number: int, fault: ForemanError) -> None:
        self._errors.append({"line": number, **wire.show_fault(fault)})

    def shown(self) -> dict[str, object]:
        self._errors.sort(key=lambda error: str(error["line"]).zfill(9))
        return {
            "accepted": self.accepted,
            "rejected": len(self._errors),
            "jobs": self._stored,
            "errors": self._errors,
        }

    async def _read(self, line: bytes) -> Draft:
        known = self._known
        submission = wire.read_submission(line, now=known.clock())
        model = known.inventory.find(submission.model) or await known.inventory.resolve(submission.model)
        draft = submission.draft(str(ULID()), canonical=model.name, max_attempts=known.settings.max_attempts)
        if draft.webhook_url is not None:
            await self._check_webhook(draft.webhook_url)
        return draft

    async def _check_webhook(self, url: str) -> None:
        """Judge each URL once a request: thousands of lines usually name the same one."""
        if url not in self._judged:
            try:
                await self._known.poster.check(url)
                self._judged[url] = None
            except ForemanError as fault:
                self._judged[url] = fault
        if refusal := self._judged[url]:
            raise refusal


async def _lines(limit: int) -> AsyncIterator[bytes]:
    """The request's lines as they arrive. Raises BodyTooLarge."""
    if request.content_length is not None and request.content_length > limit:
        raise BodyTooLarge(limit)
    rest, size = b"", 0
    async for piece in request.body:
        size += len(piece)
        if size > limit:
            raise BodyTooLarge(limit)
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line
    if rest:
        yield rest
