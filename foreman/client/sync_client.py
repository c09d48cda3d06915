"""The client for programs without an event loop; every conversation is in talks.py."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack

from foreman.client import bulk, operations, requests, shapes
from foreman.client.arguments import checks_arguments
from foreman.client.limits import MAX_ANSWER, SILENCE, TIMEOUT, Limits
from foreman.client.payload import Fields, body_of
from foreman.client.reconnect import RETRY_FOR
from foreman.client.requests import Ask
from foreman.client.stream import Chunk, StartsOver
from foreman.client.transport import Connection
from foreman.client.types import Accepted, Artifact, Delivery, Event, Health, Job, Page, Queue, Report, Submitted

T = TypeVar("T")


@checks_arguments
class Client:
    """Talks to one Foreman. Threads may share it; close it, or use it in a `with` statement.

    `url` and `token` default to FOREMAN_URL (else http://127.0.0.1:8080) and FOREMAN_TOKEN; `timeout` is seconds
    for the whole of an answer, from the connection to its last byte; `max_answer` is bytes of one. A stream may go on
    for ever, but between two of its lines may lie no more than `silence` seconds, and between two things that it tells
    no more than `max_answer` bytes. Every method raises a ClientError: ConnectFailed, AnswerTooSlow, AnswerTooLarge,
    Unauthorized, NotFound, Busy, another Refused, or NotForeman; ArgumentInvalid for a name that is no argument of it,
    and for a limit that is none.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout: float = TIMEOUT,
        silence: float = SILENCE,
        max_answer: int = MAX_ANSWER,
    ) -> None:
        address, limits = requests.address(url, token), Limits(timeout, silence, max_answer)
        self.url: str = address.url
        self._line = Connection(address, limits)

    def close(self) -> None:
        """Close its connections. What is under way on them fails."""
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
        idempotency_key: str | None = None,
        retry_for: float = 0.0,
        **fields: Unpack[Fields],
    ) -> Accepted:
        """Store a job; it is on disk when this returns.

        The prompt and every other argument by name (see Fields) go where the job's `endpoint` has a place for them;
        `extra` reaches the model as it is. The same `idempotency_key` with the same job gives the same job back. While
        the queue is full or no answer comes, it is tried again for up to `patience` seconds, and stored once. Raises
        ArgumentInvalid, before anything is sent, for a name that is not known or has no place.
        """
        body = body_of(model, prompt, fields)
        return self._line.hold(operations.submit(body, idempotency_key, retry_for))

    def submit_many(self, payloads: Iterable[Mapping[str, Any] | bytes]) -> Submitted:
        """Store many jobs, each the body of POST /jobs or a line of its JSON; they are on disk when this returns.

        Sent in as many requests as it takes. A bad payload is reported by its place among all (1 is the first) and
        harms no other. A fault in the middle leaves stored what was accepted; `submit_parts` tells how far it came.
        """
        return bulk.together(list(self.submit_parts(payloads)))

    def submit_parts(
        self, payloads: Iterable[Mapping[str, Any] | bytes], *, lines: int = bulk.LINES
    ) -> Generator[Submitted, None, None]:
        """Like submit_many, with an answer after every request of up to `lines` lines; sent as it is iterated."""
        return self._line.listen(operations.submit_parts(payloads, lines))

    def run(
        self,
        model: str,
        prompt: str | None = None,
        *,
        idempotency_key: str | None = None,
        within: float | None = None,
        retry_for: float = RETRY_FOR,
        **fields: Unpack[Fields],
    ) -> Job:
        """Submit a job, wait for it, and return it with its answer; the arguments are those of submit and wait.

        Raises JobFailed when it ends other than done, NotEnded after `within` seconds. Whatever becomes of this call,
        a job that was stored will be done.
        """
        body = body_of(model, prompt, fields)
        return self._line.hold(operations.run(body, idempotency_key, within, retry_for))

    def run_as(
        self,
        kind: type[T],
        model: str,
        prompt: str | None = None,
        *,
        idempotency_key: str | None = None,
        within: float | None = None,
        retry_for: float = RETRY_FOR,
        **fields: Unpack[Fields],
    ) -> T:
        """Like run, for an answer of the type `kind`: the model is held to its JSON schema.

        `kind` is a dataclass, a TypedDict, a msgspec.Struct, a model of Pydantic, or made of these. Raises NotTheShape
        when the answer is none, as when it was cut off; ArgumentInvalid for an endpoint whose answers have no schema.
        """
        body = body_of(model, prompt, {"format": shapes.schema_of(kind), **fields})
        job = self._line.hold(operations.run(body, idempotency_key, within, retry_for))
        return shapes.read(kind, job.text)

    def wait(self, job_id: str, *, within: float | None = None, retry_for: float = RETRY_FOR) -> Job:
        """The job once it has ended, however it ended: Foreman holds its answer until then.

        A broken connection is made anew for up to `patience` seconds. Raises NotEnded after `within` seconds.
        """
        return self._line.hold(operations.wait(job_id, within, retry_for))

    def stream(self, job_id: str, *, retry_for: float = RETRY_FOR) -> Generator[Chunk | StartsOver, None, None]:
        """Iterate over the output of a job as it is produced, from its first chunk to the end of the job.

        A broken connection is made anew for up to `patience` seconds. What follows then begins at the first chunk
        again, which a StartsOver announces, just as one does when the job is tried again. Raises JobFailed after the
        last chunk when the job ends other than done.
        """
        return self._line.listen(operations.stream(self.url, job_id, retry_for))

    def feed(
        self,
        *,
        after: int | None = None,
        job_id: Sequence[str] = (),
        model: Sequence[str] = (),
        state: Sequence[str] = (),
        retry_for: float = RETRY_FOR,
    ) -> Generator[Event, None, None]:
        """The changes of all jobs, or of those the filters let through, each once and in order, for ever.

        Begins with what came after the `seq` `after`, without it when it is first iterated. A broken connection is made
        anew for up to `patience` seconds and goes on where it broke. Raises Refused (410, `cursor_gone`) when what came
        after `after` is no longer kept.
        """
        filters = {"job_id": job_id, "model": model, "state": state}
        return self._line.listen(operations.feed(self.url, after, filters, retry_for))

    def job(self, job_id: str) -> Job:
        """The job as it is now."""
        return self._ask(requests.job(job_id))

    def jobs(
        self,
        *,
        id: str | None = None,
        custom_id: str | None = None,
        state: str | None = None,
        model: str | None = None,
        priority: str | None = None,
        endpoint: str | None = None,
        error_code: str | None = None,
        caller: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        order: Literal["newest", "ended"] | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> Page:
        """Return a page of jobs, newest first; its `next` is the `after` of the following one.

        `id` may be a whole id, or 6 or more characters of its beginning or end; `state` several with commas. With
        `order="ended"` only jobs that have ended, the last one first.
        """
        return self._ask(
            requests.jobs(
                id=id,
                custom_id=custom_id,
                state=state,
                model=model,
                priority=priority,
                endpoint=endpoint,
                error_code=error_code,
                caller=caller,
                created_after=created_after,
                created_before=created_before,
                order=order,
                limit=limit,
                after=after,
            )
        )

    def events(self, job_id: str, *, after: int = 0) -> list[Event]:
        """The job's changes of state, oldest first; only those beyond `after`, the `seq` of one, if it is given."""
        return self._line.hold(operations.events(self.url, job_id, after))

    def payload(self, job_id: str) -> dict[str, Any]:
        """What the target is asked: the job as submitted, without Foreman's own fields."""
        return self._ask(requests.payload(job_id))

    def artifacts(self, job_id: str) -> list[Artifact]:
        """What came out of a job that is done; empty until then."""
        return self._ask(requests.job(job_id)).artifacts

    def artifact(self, job_id: str, name: str = "completion") -> bytes:
        """The bytes of one artifact; `completion` is the answer's JSON."""
        return self._ask(requests.artifact(job_id, name))

    def cancel(self, job_id: str) -> Job:
        """Cancel a job that has not ended; a running one is cut off. Raises Refused (409) for one that has."""
        return self._ask(requests.cancel(job_id))

    def retry(self, job_id: str) -> Job:
        """Queue a failed, cancelled or expired job again, with all its attempts. Raises Refused (409) for another."""
        return self._ask(requests.retry(job_id))

    def delete(self, job_id: str) -> None:
        """Remove a job that has ended, with all that hangs on it. Raises Refused (409) for one that has not."""
        self._ask(requests.delete(job_id))

    def deliveries(self, job_id: str) -> list[Delivery]:
        """The job's webhooks, oldest first."""
        return self._line.hold(operations.deliveries(self.url, job_id))

    def redeliver(self, job_id: str, delivery_id: str) -> Delivery:
        """Make a delivery due again, with all its retries."""
        return self._ask(requests.redeliver(job_id, delivery_id))

    def queue(self) -> Queue:
        """What waits, what runs, and which model is loaded."""
        return self._ask(requests.queue())

    def waiting(self, *, limit: int | None = None) -> list[Job]:
        """The jobs that may start, in the order in which they would if nothing else came; 50, or `limit` up to 500."""
        return self._ask(requests.waiting(limit)).jobs

    def scheduled(self, *, limit: int | None = None) -> list[Job]:
        """Return the jobs whose time is to come, the soonest first; 50, or `limit` up to 500."""
        return self._ask(requests.waiting(limit)).scheduled

    def usage(
        self,
        *,
        step: Literal["minute", "hour", "day"] | None = None,
        by: Literal["model", "caller", "target", "endpoint"] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> Report:
        """Return what was done in every step from `start` up to `end`, of all jobs or by a name that they have."""
        return self._ask(requests.usage(step, by, start, end))

    def pause(self) -> None:
        """Start no more jobs; running ones go on, new ones are accepted. Survives restarts."""
        self._ask(requests.pause())

    def resume(self) -> None:
        """Start jobs again."""
        self._ask(requests.resume())

    def health(self) -> Health:
        """Whether Foreman is alive, and whether it reaches its target."""
        return self._ask(requests.health())

    def ready(self) -> bool:
        """Whether Foreman takes jobs now."""
        return self._line.hold(operations.ready())

    def models(self) -> list[str]:
        """The names of the models that jobs may ask for."""
        return self._line.hold(operations.models())

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | Sequence[str]] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> bytes:
        """The body of the answer on any other route, as it came; any other status than 2xx is raised as its fault."""
        return self._ask(Ask(bytes, path, method, params or {}, dict(headers or {}), body))

    def raw(self, ask: Ask[Any]) -> bytes:
        """The body of an answer as it came. Raises the fault that any other status than 2xx is."""
        unread: Ask[bytes] = replace(ask, answer=bytes)
        return self._ask(unread)

    def _ask(self, ask: Ask[T]) -> T:
        return self._line.hold(operations.ask(ask))
