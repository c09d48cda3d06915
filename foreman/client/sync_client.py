"""Client for programs without an event loop. Generated from async_client.py by `make generate`: do not edit."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack

from foreman.client import following, operations, requests, splitting, target_requests, typed
from foreman.client.arguments import checks_arguments
from foreman.client.filters import Filters
from foreman.client.limits import MAX_ANSWER, SILENCE, TIMEOUT, Limits
from foreman.client.output_parser import Chunk, StartsOver
from foreman.client.payload import Fields, body_of
from foreman.client.reconnect import RETRY_FOR
from foreman.client.requests import Ask
from foreman.client.sync_batches import Batches
from foreman.client.sync_many import Many
from foreman.client.sync_selections import Selections
from foreman.client.sync_service import Service
from foreman.client.transport import Connection
from foreman.client.types import Job, Page, Submitted
from foreman.domain.views import Accepted, Artifact, Delivery, Event, ModelLog, Node, Queue, Report, Target

T = TypeVar("T")


@checks_arguments
class Client(Batches, Many, Selections, Service):
    """Client of one Foreman. Threads may share it; close it, or use it in a `with` statement.

    `url` and `token` default to FOREMAN_URL (else http://127.0.0.1:8080) and FOREMAN_TOKEN; `timeout` is the
    time for a whole answer in seconds, from the connection to its last byte; `max_answer` is its size in bytes. A
    stream has no such timeout: it may be silent for `silence` seconds, and each of its items may take `max_answer`
    bytes. Every method raises a ClientError: ConnectFailed, AnswerTooSlow, AnswerTooLarge, Unauthorized, NotFound,
    Busy, another Refused, NotForeman, or ArgumentInvalid for an unknown argument or an invalid limit.
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
        self._connection: Connection = Connection(address, limits)

    def close(self) -> None:
        """Close all connections. Calls under way fail."""
        self._connection.close()

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

        The prompt and the keyword arguments (see Fields) go to their place in the request of the job's `endpoint`;
        `extra` is sent unchanged. The same `idempotency_key` with the same job returns the same job. While the queue is
        full or no answer comes, try again for up to `retry_for` seconds; the job is stored once. Raise ArgumentInvalid,
        before anything is sent, for an argument that is unknown or that the endpoint does not take.
        """
        body = body_of(model, prompt, fields)
        return self._connection.run(operations.submit(body, idempotency_key, retry_for))

    def submit_many(self, payloads: Iterable[Mapping[str, Any] | bytes]) -> Submitted:
        """Store many jobs, each the body of POST /jobs or a line of its JSON; they are on disk when this returns.

        Payloads are sent in as many requests as needed. A bad payload is reported by its line number, counted from 1,
        and the others are stored. After an error the accepted jobs stay stored; `submit_parts` shows how far it came.
        """
        return splitting.together(list(self.submit_parts(payloads)))

    def submit_parts(
        self, payloads: Iterable[Mapping[str, Any] | bytes], *, lines: int = splitting.LINES
    ) -> Generator[Submitted, None, None]:
        """Store many jobs like submit_many; yield an answer after each request of up to `lines` lines."""
        return self._connection.iterate(operations.submit_parts(payloads, lines))

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

        Raise JobFailed when it ends other than done, NotEnded after `within` seconds. A stored job runs even if this
        call fails.
        """
        body = body_of(model, prompt, fields)
        return self._connection.run(operations.run(body, idempotency_key, within, retry_for))

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
        """Run a job like run and return its answer as a `kind`; the model must follow the JSON schema of that type.

        `kind` is a dataclass, a TypedDict, a msgspec.Struct, a model of Pydantic, or made of these. Raise NotTheShape
        when the answer does not fit, such as one cut off; ArgumentInvalid for an endpoint without schemas.
        """
        body = body_of(model, prompt, {"format": kind, **fields})
        job = self._connection.run(operations.run(body, idempotency_key, within, retry_for))
        return typed.read(kind, job.text)

    def wait(self, job_id: str, *, within: float | None = None, retry_for: float = RETRY_FOR) -> Job:
        """Wait until the job has ended, in whichever state, and return it.

        After a broken connection, reconnect for up to `retry_for` seconds. Raise NotEnded after `within` seconds.
        """
        return self._connection.run(operations.wait(job_id, within, retry_for))

    def stream(self, job_id: str, *, retry_for: float = RETRY_FOR) -> Generator[Chunk | StartsOver, None, None]:
        """Iterate over the output of a job as it is produced, from its first chunk to the end of the job.

        After a broken connection, reconnect for up to `retry_for` seconds. The output then starts again at the first
        chunk, announced by a StartsOver, as with another attempt of the job. Raise JobFailed after the last chunk when
        the job ends other than done.
        """
        return self._connection.iterate(operations.stream(self.url, job_id, retry_for))

    def feed(
        self,
        *,
        after: int | None = None,
        job_id: Sequence[str] = (),
        model: Sequence[str] = (),
        state: Sequence[str] = (),
        retry_for: float = RETRY_FOR,
    ) -> Generator[Event, None, None]:
        """Iterate over the events of all jobs, or of those that match the filters, each once and in order, for ever.

        Begin after the `seq` `after`, without it at the first iteration. After a broken connection, reconnect for up to
        `retry_for` seconds and resume there. Raise Refused (410, `cursor_gone`) when the events after `after` are no
        longer kept.
        """
        filters = {"job_id": job_id, "model": model, "state": state}
        return self._connection.iterate(following.feed(self.url, after, filters, retry_for))

    def job(self, job_id: str) -> Job:
        """Return the job as it is now."""
        return self._ask(requests.job(job_id))

    def jobs(
        self,
        *,
        order: Literal["newest", "ended"] | None = None,
        limit: int | None = None,
        after: str | None = None,
        **filters: Unpack[Filters],
    ) -> Page:
        """Return a page of jobs, newest first; its `next` is the `after` of the following one.

        Among the filters, `id` is a whole id, or 6 or more characters of its beginning or end; `state` may be several,
        separated by commas; `metadata` are pairs that all are in the job's. `order="ended"` lists only ended jobs, the
        last one first.
        """
        return self._ask(requests.jobs(order=order, limit=limit, after=after, **filters))

    def events(self, job_id: str, *, after: int = 0) -> list[Event]:
        """Return the events of a job after the `seq` `after`, oldest first."""
        return self._connection.run(operations.events(self.url, job_id, after))

    def payload(self, job_id: str) -> dict[str, Any]:
        """Return the request to the target: the job as submitted, without Foreman's own fields."""
        return self._ask(requests.payload(job_id))

    def artifacts(self, job_id: str) -> list[Artifact]:
        """Return the artifacts of a job; empty until it is done."""
        return self._ask(requests.job(job_id)).artifacts

    def artifact(self, job_id: str, name: str = "completion") -> bytes:
        """Return the bytes of one artifact; `completion` is the JSON of the answer."""
        return self._ask(requests.artifact(job_id, name))

    def cancel(self, job_id: str) -> Job:
        """Cancel a queued or running job; a running one is cut off. Raise Refused (409) for an ended one."""
        return self._ask(requests.cancel(job_id))

    def uncancel(self, job_id: str) -> Job:
        """Queue a job again, as it was, that was cancelled while queued. Raise Refused (409) for any other."""
        return self._ask(requests.uncancel(job_id))

    def retry(self, job_id: str) -> Job:
        """Queue a failed, cancelled or expired job again, with all its attempts. Raise Refused (409) for another."""
        return self._ask(requests.retry(job_id))

    def delete(self, job_id: str) -> None:
        """Remove an ended job with its answer, events and deliveries. Raise Refused (409) for any other."""
        self._ask(requests.delete(job_id))

    def deliveries(self, job_id: str) -> list[Delivery]:
        """Return the webhook deliveries of a job, oldest first."""
        return self._connection.run(operations.deliveries(self.url, job_id))

    def redeliver(self, job_id: str, delivery_id: str) -> Delivery:
        """Send a webhook again, with all its retries."""
        return self._ask(requests.redeliver(job_id, delivery_id))

    def queue(self) -> Queue:
        """Return the state of the queue: waiting and running jobs, and the loaded model."""
        return self._ask(requests.queue())

    def waiting(self, *, limit: int | None = None) -> list[Job]:
        """Return the jobs that may start, in the order in which they would; 50, or `limit` up to 500."""
        return self._ask(requests.waiting(limit)).jobs

    def scheduled(self, *, limit: int | None = None) -> list[Job]:
        """Return the jobs that wait for their `not_before`, the soonest first; 50, or `limit` up to 500."""
        return self._ask(requests.waiting(limit)).scheduled

    def usage(
        self,
        *,
        step: Literal["minute", "hour", "day"] | None = None,
        by: Literal["model", "caller", "target", "endpoint"] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        only: Mapping[Literal["model", "caller", "target", "endpoint"], str] | None = None,
    ) -> Report:
        """Return the usage in every `step` from `start` up to `end`, in total or for each name of `by`.

        With `only`, count what was done for these: `{"model": "llama3:8b"}`.
        """
        return self._ask(requests.usage(step, by, start, end, only))

    def pause(self) -> None:
        """Start no more jobs; running ones go on, new ones are accepted. The pause survives restarts."""
        self._ask(requests.pause())

    def resume(self) -> None:
        """Start jobs again."""
        self._ask(requests.resume())

    def targets(self) -> list[Target]:
        """Return the targets with their health, slots, models and speed."""
        return self._ask(target_requests.targets()).targets

    def nodes(self) -> list[Node]:
        """Return the Foremen that share the queue, this one among them."""
        return self._ask(target_requests.nodes()).nodes

    def drain(self, target: str) -> Target:
        """Have a target take no more jobs; after the shutdown grace its running ones go back to the queue.

        It stays so over restarts, until `resume_target`.
        """
        return self._ask(target_requests.drain(target))

    def resume_target(self, target: str) -> Target:
        """Have a target take jobs again."""
        return self._ask(target_requests.resume_target(target))

    def load(self, target: str, model: str) -> Target:
        """Load a model on a target and wait until it is loaded."""
        return self._ask(target_requests.load(target, model))

    def unload(self, target: str, model: str) -> Target:
        """Unload a model of a target, once no job uses it."""
        return self._ask(target_requests.unload(target, model))

    def target_log(self, target: str, *, lines: int | None = None) -> list[ModelLog]:
        """Return the last lines of each managed server of a target; 100, or `lines` up to 1000."""
        return self._ask(target_requests.target_log(target, lines)).logs

    def models(self) -> list[str]:
        """Return the names of the models."""
        return self._connection.run(operations.models())

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | Sequence[str]] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> bytes:
        """Send a request to any other route and return the body. Raise the error for any status other than 2xx."""
        return self._ask(Ask(bytes, path, method, params or {}, dict(headers or {}), body))

    def raw(self, ask: Ask[Any]) -> bytes:
        """Return the body of an answer unread. Raise the error for any status other than 2xx."""
        unread: Ask[bytes] = replace(ask, answer=bytes)
        return self._ask(unread)
