"""The client for programs without an event loop."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, Unpack

import httpx2
import msgspec

from foreman.client import bulk, requests
from foreman.client.connection import Connection
from foreman.client.faults import Busy, ConnectFailed, NotForeman, NotFound, Refused
from foreman.client.feed import Feed
from foreman.client.patience import Patience
from foreman.client.payload import Fields, body_of
from foreman.client.requests import Ask
from foreman.client.stream import Chunk, Pieces, StartsOver
from foreman.client.types import Accepted, Delivery, Event, Health, Job, Page, Queue, Rejected, Submitted


class Client:
    """Talks to one Foreman. May be shared by threads; close it, or use it in a `with` statement.

    `url` and `token` default to FOREMAN_URL (else http://127.0.0.1:8080) and FOREMAN_TOKEN; `timeout` is the longest
    wait for one answer, in seconds. Every method raises a ClientFault: ConnectFailed, Unauthorized, NotFound, Busy,
    another Refused, or NotForeman.
    """

    def __init__(self, url: str | None = None, token: str | None = None, *, timeout: float = 30.0) -> None:
        self._line = Connection(url, token, timeout=timeout)
        self.url = self._line.url

    def close(self) -> None:
        self._line.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def submit(
        self,
        model: str,
        prompt: str | None = None,
        *,
        system: str | None = None,
        options: Mapping[str, Any] | None = None,
        payload: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        **fields: Unpack[Fields],
    ) -> Accepted:
        """Store a job; it is on disk when this returns.

        The prompt is put the way the job's `endpoint` wants it; `payload` holds whatever else the target shall get
        (`messages`, `tools`, `format`, …). The same `idempotency_key` with the same job gives the same job back.
        """
        body = body_of(model, prompt, system=system, options=options, payload=payload, fields=fields)
        return self._line.ask(requests.submit(body, idempotency_key))

    def submit_many(self, payloads: Iterable[Mapping[str, Any] | bytes]) -> Submitted:
        """Store many jobs, each the body of POST /jobs or a line of its JSON; they are on disk when this returns.

        Sent in as many requests as it takes. A bad payload is reported by its place among all (1 is the first) and
        harms no other. A fault in the middle leaves stored what was accepted; `submit_parts` tells how far it came.
        """
        whole = list(self.submit_parts(payloads))
        return Submitted(
            sum(part.accepted for part in whole),
            sum(part.rejected for part in whole),
            [taken for part in whole for taken in part.jobs],
            [error for part in whole for error in part.errors],
            last=whole[-1].last if whole else 0,
        )

    def submit_parts(
        self, payloads: Iterable[Mapping[str, Any] | bytes], *, lines: int = bulk.LINES
    ) -> Iterator[Submitted]:
        """Like submit_many, with an answer after every request of up to `lines` lines; sent as it is iterated."""
        for part in bulk.parts(payloads, lines=lines):
            yield from self._submit(part)

    def job(self, job_id: str) -> Job:
        return self._line.ask(requests.job(job_id))

    def jobs(
        self,
        *,
        state: str | None = None,
        model: str | None = None,
        priority: str | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> Page:
        """One page of jobs, newest first; its `next` is the `after` of the following one."""
        return self._line.ask(requests.jobs(state=state, model=model, priority=priority, limit=limit, after=after))

    def events(self, job_id: str) -> list[Event]:
        """The job's changes of state, oldest first."""
        return self._line.ask(requests.events(job_id)).events

    def artifact(self, job_id: str, name: str) -> bytes:
        return self._line.ask(requests.artifact(job_id, name))

    def cancel(self, job_id: str) -> Job:
        """Cancel a job that has not ended; a running one is cut off. Raises Refused (409) for one that has."""
        return self._line.ask(requests.cancel(job_id))

    def retry(self, job_id: str) -> Job:
        """Queue a failed, cancelled or expired job again, with all its attempts. Raises Refused (409) for another."""
        return self._line.ask(requests.retry(job_id))

    def delete(self, job_id: str) -> None:
        """Remove a job that has ended, with all that hangs on it. Raises Refused (409) for one that has not."""
        self._line.ask(requests.delete(job_id))

    def deliveries(self, job_id: str) -> list[Delivery]:
        """The job's webhooks, oldest first."""
        return self._line.ask(requests.deliveries(job_id)).deliveries

    def redeliver(self, job_id: str, delivery_id: str) -> Delivery:
        """Make a delivery due again, with all its retries."""
        return self._line.ask(requests.redeliver(job_id, delivery_id))

    def pause(self) -> None:
        """Start no more jobs; running ones go on, new ones are accepted. Survives restarts."""
        self._line.ask(requests.pause())

    def resume(self) -> None:
        """Start jobs again."""
        self._line.ask(requests.resume())

    def queue(self) -> Queue:
        return self._line.ask(requests.queue())

    def health(self) -> Health:
        return self._line.ask(requests.health())

    def ready(self) -> bool:
        """Whether Foreman takes jobs now."""
        try:
            self._line.ask(requests.ready())
        except (Busy, NotForeman):  # its 503 tells a state, no fault
            return False
        return True

    def models(self) -> list[str]:
        """The names of the models that jobs may ask for."""
        try:
            return self._line.ask(requests.models()).names
        except (NotFound, NotForeman):
            return self._line.ask(requests.tags()).names

    def raw(self, ask: Ask[Any]) -> bytes:
        """The body of an answer as it came. Raises the fault that any other status than 2xx is."""
        unread: Ask[bytes] = replace(ask, answer=bytes)
        return self._line.ask(unread)

    def stream(self, job_id: str, *, patience: float = 60.0) -> Iterator[Chunk | StartsOver]:
        """The output from its first chunk to the end of the job, as it is produced; `job()` then says how it ended.

        A broken connection is made anew for up to `patience` seconds. What follows then begins at the first chunk
        again, which a StartsOver announces, just as one does when the job is tried again.
        """
        trouble, said = Patience(patience), False
        while True:
            try:
                with self._line.streaming(requests.stream(job_id)) as response:
                    trouble.connected(time.monotonic())
                    if said:
                        said = False
                        yield StartsOver(self.job(job_id).attempt)
                    for piece in _pieces(self.url, response):
                        said = True
                        yield piece
                if self.job(job_id).ended:
                    return
                time.sleep(trouble.ended())
            except (ConnectFailed, Busy):
                pause = trouble.broke(time.monotonic())
                if pause is None:
                    raise
                time.sleep(pause)

    def feed(
        self,
        *,
        after: int | None = None,
        job_id: Sequence[str] = (),
        model: Sequence[str] = (),
        state: Sequence[str] = (),
        patience: float = 60.0,
    ) -> Iterator[Event]:
        """The changes of all jobs, or of those the filters let through, each once and in order, for ever.

        Begins with what came after the `seq` `after`, without it when it is first iterated. A broken connection is made
        anew for up to `patience` seconds and goes on where it broke. Raises Refused (410, `cursor_gone`) when what came
        after `after` is no longer kept.
        """
        trouble, feed = Patience(patience), Feed(after)
        while True:
            feed.begin()
            try:
                with self._line.streaming(requests.feed(feed.after, job_id, model, state)) as response:
                    trouble.connected(time.monotonic())
                    for data in response.iter_bytes():
                        try:
                            events = feed.feed(data)
                        except (msgspec.DecodeError, UnicodeDecodeError) as error:
                            raise NotForeman(self.url, f"/events: {error}") from None
                        yield from events
                time.sleep(trouble.ended())
            except (ConnectFailed, Busy):
                pause = trouble.broke(time.monotonic())
                if pause is None:
                    raise
                time.sleep(pause)

    def _submit(self, part: bulk.Part) -> Iterator[Submitted]:
        try:
            answer = self._line.ask(requests.submit_many(part.body))
        except Refused as fault:
            if fault.code != bulk.TOO_LARGE:
                raise
            answer = Submitted(0, 1, [], [Rejected(1, fault.message, fault.code, fault.hint)])
        if bulk.too_large(answer) and len(part.lines) > 1:  # this Foreman takes less than most
            for half in part.halves():
                yield from self._submit(half)
        else:
            yield part.numbered(answer)


def _pieces(url: str, response: httpx2.Response) -> Iterator[Chunk | StartsOver]:
    pieces = Pieces(response.headers.get("content-type", ""))
    for data in response.iter_bytes():
        try:
            found = pieces.feed(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise NotForeman(url, f"a stream that is not JSON, {error}") from None
        yield from found
