"""The calls of AsyncClient about batches; their operations are in batch_operations.py."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, TypeVar

from foreman.client import batch_operations, batch_requests, operations
from foreman.client.arguments import checks_arguments
from foreman.client.batch_input import Given
from foreman.client.reconnect import RETRY_FOR
from foreman.client.requests import Ask
from foreman.client.transport import AsyncConnection
from foreman.domain.views import Batched, BatchPage

T = TypeVar("T")


@checks_arguments
class AsyncBatches:
    """Batches of one Foreman, on asyncio or Trio."""

    url: str
    _connection: AsyncConnection

    async def submit_batch(
        self,
        file: Given,
        *,
        endpoint: str | None = None,
        metadata: Mapping[str, str] | None = None,
        name: str | None = None,
        state_webhook_url: str | None = None,
        idempotency_key: str | None = None,
        sent: Callable[[int], None] | None = None,
    ) -> Batched:
        """Upload requests as lines of JSON, and make a batch of them; it is on disk when this returns.

        `file` is a path, bytes or a file open for reading in binary, and is sent while it is read; `sent` is called
        with the number of bytes sent so far. What its lines are is told by the first one:

        Requests of OpenAI's Batch API make a batch with `metadata`; the `endpoint` is the `url` of the first one unless
        given. What is wrong with other lines is found while the batch is `validating`: it then is `failed`, with
        `errors`.

        Bodies of POST /jobs make one with a `name`, by default that of the file. Raise LinesRefused when any is wrong.
        `state_webhook_url` is told of its end. The same `idempotency_key` with the same lines returns the same batch.
        """
        return await self._connection.run(
            batch_operations.submit(
                self.url,
                file,
                endpoint=endpoint,
                metadata=metadata,
                name=name,
                state_webhook_url=state_webhook_url,
                idempotency_key=idempotency_key,
                sent=sent,
            )
        )

    async def batch(self, batch_id: str) -> Batched:
        """Return the batch as it is now."""
        return await self._ask(batch_requests.batch(batch_id))

    async def batches(
        self, *, state: str | None = None, limit: int | None = None, after: str | None = None
    ) -> BatchPage:
        """Return a page of batches of any API, newest first; its `next` is the `after` of the following one."""
        return await self._ask(batch_requests.batches(state, limit, after))

    async def cancel_batch(self, batch_id: str) -> Batched:
        """Cancel a batch that has not ended: running requests are cut off, the others never start.

        Raise Refused (409) for an ended one.
        """
        return await self._ask(batch_requests.cancel(batch_id))

    async def wait_batch(self, batch_id: str, *, within: float | None = None, retry_for: float = RETRY_FOR) -> Batched:
        """Wait until the batch has ended, in whichever state, and return it; the arguments are those of wait."""
        return await self._connection.run(batch_operations.wait(batch_id, within, retry_for))

    def watch_batch(
        self, batch_id: str, *, within: float | None = None, retry_for: float = RETRY_FOR
    ) -> AsyncGenerator[Batched, None]:
        """Iterate over the states of a batch: as it is, whenever it has changed, and at last as it has ended.

        The arguments are those of wait.
        """
        return self._connection.iterate(batch_operations.watch(batch_id, within, retry_for))

    def batch_results(self, batch_id: str) -> AsyncGenerator[dict[str, Any], None]:
        """Iterate over the results of an ended batch, answers and errors: one for each request, in their order.

        Raise Refused (409) for one that has not ended.
        """
        return self._connection.iterate(batch_operations.results(self.url, batch_id, batch_operations.as_object))

    def batch_lines(self, batch_id: str) -> AsyncGenerator[bytes, None]:
        """Iterate over the results of a batch like batch_results, each a line of JSON that is not read."""
        return self._connection.iterate(batch_operations.results(self.url, batch_id, bytes))

    async def _ask(self, ask: Ask[T]) -> T:
        return await self._connection.run(operations.ask(ask))
