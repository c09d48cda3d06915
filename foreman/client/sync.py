"""The client for programs without an event loop."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx2
import msgspec

from foreman.client import requests
from foreman.client.faults import Busy, ConnectFailed, NotForeman, NotFound
from foreman.client.patience import Patience
from foreman.client.payload import Fields, body_of
from foreman.client.requests import Ask
from foreman.client.stream import Chunk, Pieces, StartsOver
from foreman.client.types import Accepted, Event, Health, Job, Page, Queue

T = TypeVar("T")

CONNECT_TIMEOUT = 5.0  # seconds
STREAM_SILENCE = 60.0  # seconds; Foreman sends a comment far more often than that


class Client:
    """Talks to one Foreman. May be shared by threads; close it, or use it in a `with` statement.

    `url` and `token` default to FOREMAN_URL (else http://127.0.0.1:8080) and FOREMAN_TOKEN; `timeout` is the longest
    wait for one answer, in seconds. Every method raises a ClientFault: ConnectFailed, Unauthorized, NotFound, Busy,
    another Refused, or NotForeman.
    """

    def __init__(self, url: str | None = None, token: str | None = None, *, timeout: float = 30.0) -> None:
        address = requests.address(url, token)
        self.url = address.url
        try:
            self._http = httpx2.Client(
                base_url=address.url,
                headers=address.headers,
                timeout=httpx2.Timeout(timeout, connect=min(timeout, CONNECT_TIMEOUT)),
                trust_env=False,  # proxies of the environment are not for prompts
            )
        except (httpx2.InvalidURL, UnicodeError) as error:
            raise ConnectFailed(self.url, f"not an address ({error})") from None

    def close(self) -> None:
        self._http.close()

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
        return self._ask(requests.submit(body, idempotency_key))

    def job(self, job_id: str) -> Job:
        return self._ask(requests.job(job_id))

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
        return self._ask(requests.jobs(state=state, model=model, priority=priority, limit=limit, after=after))

    def events(self, job_id: str) -> list[Event]:
        """The job's changes of state, oldest first."""
        return self._ask(requests.events(job_id)).events

    def artifact(self, job_id: str, name: str) -> bytes:
        return self._ask(requests.artifact(job_id, name))

    def cancel(self, job_id: str) -> Job:
        """Cancel a job that has not ended; a running one is cut off. Raises Refused (409) for one that has."""
        return self._ask(requests.cancel(job_id))

    def queue(self) -> Queue:
        return self._ask(requests.queue())

    def health(self) -> Health:
        return self._ask(requests.health())

    def ready(self) -> bool:
        """Whether Foreman takes jobs now."""
        try:
            self._ask(requests.ready())
        except (Busy, NotForeman):  # its 503 tells a state, no fault
            return False
        return True

    def models(self) -> list[str]:
        """The names of the models that jobs may ask for."""
        try:
            return self._ask(requests.models()).names
        except (NotFound, NotForeman):
            return self._ask(requests.tags()).names

    def raw(self, ask: Ask[Any]) -> bytes:
        """The body of an answer as it came. Raises the fault that any other status than 2xx is."""
        unread: Ask[bytes] = replace(ask, answer=bytes)
        return self._ask(unread)

    def stream(self, job_id: str, *, patience: float = 60.0) -> Iterator[Chunk | StartsOver]:
        """The output from its first chunk to the end of the job, as it is produced; `job()` then says how it ended.

        A broken connection is made anew for up to `patience` seconds. What follows then begins at the first chunk
        again, which a StartsOver announces, just as one does when the job is tried again.
        """
        trouble, said = Patience(patience), False
        while True:
            try:
                with self._streaming(requests.stream(job_id)) as response:
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

    def _ask(self, ask: Ask[T]) -> T:
        return requests.read(ask, *self._send(ask))

    def _send(self, ask: Ask[Any]) -> tuple[str, int, httpx2.Headers, bytes]:
        with self._faults():
            response = self._http.request(
                ask.method, ask.path, params=ask.params, headers=ask.headers, content=ask.body
            )
        return self.url, response.status_code, response.headers, response.content

    @contextmanager
    def _streaming(self, ask: Ask[Any]) -> Iterator[httpx2.Response]:
        timeout = httpx2.Timeout(STREAM_SILENCE, connect=CONNECT_TIMEOUT)
        with (
            self._faults(),
            self._http.stream(
                ask.method,
                ask.path,
                headers=ask.headers,
                timeout=timeout,
            ) as response,
        ):
            if response.status_code != 200:
                raise requests.fault(self.url, response.status_code, response.headers, response.read())
            yield response

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except httpx2.ConnectError as error:
            raise ConnectFailed(self.url, "" if "refused" in str(error) else str(error)) from None
        except httpx2.TimeoutException:
            raise ConnectFailed(self.url, "no answer in time") from None
        except httpx2.TransportError as error:
            raise ConnectFailed(self.url, str(error) or type(error).__name__) from None


def _pieces(url: str, response: httpx2.Response) -> Iterator[Chunk | StartsOver]:
    pieces = Pieces(response.headers.get("content-type", ""))
    for data in response.iter_bytes():
        try:
            found = pieces.feed(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise NotForeman(url, f"a stream that is not JSON, {error}") from None
        yield from found
