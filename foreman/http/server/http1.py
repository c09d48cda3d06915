"""HTTP/1.1 on one connection, read by httptools: it raises the events of Hypercorn's protocol on h11."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Body, Data, EndBody, Request, Response, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.ws_stream import WSStream
from hypercorn.trio.task_group import TaskGroup
from hypercorn.typing import AppWrapper, ConnectionState, WorkerContext

from foreman.http.server.answer_writer import Answer, informational, refusal
from foreman.http.server.asgi_stream import HttpStream, Opening
from foreman.http.server.request_reader import Head, Refused, RequestReader, Signal

STREAM_ID = 1
END_BODY = EndBody(STREAM_ID)
STREAM_CLOSED = StreamClosed(STREAM_ID)
BUSY, IDLE = Updated(idle=False), Updated(idle=True)


class Http1Protocol:
    """One connection. A pipelined request is read only once the one before is answered."""

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        task_group: TaskGroup,
        connection_state: ConnectionState,
        ssl: bool,
        client: tuple[str, int] | None,
        server: tuple[str, int] | None,
        send: Callable[[Event], Awaitable[None]],
    ) -> None:
        """Take the arguments of Hypercorn's protocols."""
        self.can_read = context.event_class()
        self.send = send
        self.stream: HttpStream | WSStream | None = None
        self._context = context
        self._state = connection_state
        self._stream_arguments = (app, config, context, task_group, ssl, client, server, self.stream_send, STREAM_ID)
        self._reader = RequestReader()
        self._answer: Answer | None = None  # to the request under way
        self._chunked = False  # the request's body
        self._ended = False  # nothing more is read or answered

    def receive(self, data: bytes) -> None:
        """Keep data for later."""
        self._reader.feed(data)

    async def handle(self, event: Event) -> None:
        """Handle received data, or the end of the connection."""
        if isinstance(event, RawData):
            self._reader.feed(event.data)
            await self._read()
        elif isinstance(event, Closed):
            await self._close_stream()

    async def _read(self) -> None:
        while not self._ended:
            try:
                found = self._reader.next()
            except Refused as refused:
                await self._refuse(refused.status)
                return
            if isinstance(found, Head):
                await self.send(BUSY)
                await self._begin(found)
            elif found is Signal.PAUSED:
                await self.can_read.clear()
                await self.can_read.wait()
            elif found is Signal.MORE or found is Signal.CLOSED or self.stream is None:
                return
            elif found is Signal.END:
                await self.stream.handle(END_BODY)
            else:
                assert isinstance(found, bytes)
                await self.stream.handle(Body(STREAM_ID, found))
                if self._chunked:  # many small ones are much work
                    await trio.lowlevel.checkpoint()

    async def _begin(self, head: Head) -> None:
        self._answer = Answer(head.method, head.version, kept=head.kept and not head.websocket)
        self._chunked = head.length is None
        kind: type[HttpStream | WSStream] = HttpStream
        if head.websocket:
            self._reader.switch()
            kind = WSStream
        self.stream = kind(*self._stream_arguments)
        await self.stream.handle(Request(STREAM_ID, head.headers, head.version, head.method, head.target, self._state))
        if head.continues and not self._answer.begun and not self._ended:
            await self.send(RawData(informational(100)))

    async def _refuse(self, status: int) -> None:
        self._ended = True
        if self._answer is None or not self._answer.begun:
            await self.send(RawData(refusal(status)))
        await self.send(Closed())

    async def stream_send(self, event: StreamEvent) -> None:
        """Send an event of the stream."""
        answer = self._answer
        if answer is None or self._ended:
            return
        if isinstance(event, Response):
            if event.status_code < 200:
                await self.send(RawData(informational(event.status_code, event.headers)))
            else:
                head = answer.head(event.status_code, event.headers)
                await self.send(RawData(head + answer.body(event.data) if isinstance(event, Opening) else head))
        elif isinstance(event, Body):
            await self._send_data(answer.body(event.data))
        elif isinstance(event, EndBody):
            await self._send_data(answer.end())
        elif isinstance(event, Data):
            await self.send(RawData(event.data))
        elif isinstance(event, StreamClosed):
            await self._recycle(answer)

    async def _send_data(self, data: bytes) -> None:
        if data:
            await self.send(RawData(data))

    async def _recycle(self, answer: Answer) -> None:
        """Go on to the next request, or end the connection."""
        await self._close_stream()
        if answer.over and answer.kept and self._reader.over and not self._context.terminated.is_set():
            self._answer = None
            self._reader.restart()
            await self.can_read.set()
            await self.send(IDLE)
        else:
            self._ended = True
            await self.can_read.set()
            await self.send(Closed())

    async def _close_stream(self) -> None:
        if self.stream is not None:
            stream, self.stream = self.stream, None
            await stream.handle(STREAM_CLOSED)
