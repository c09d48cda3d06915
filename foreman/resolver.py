"""Host names, looked up in threads of their own, within a deadline, and remembered for a while.

The system's look-up blocks its thread for as long as a name server keeps silent. Trio would run it in the threads that
everything else shares.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from typing import Any, TypeAlias

import outcome
import trio

Found: TypeAlias = list[tuple[Any, ...]]  # as socket.getaddrinfo gives it
Query: TypeAlias = tuple[Any, ...]  # its arguments, the host first

# Look-ups at once: names that were found before, names not known yet, names that were too slow before.
THREADS, NEW_THREADS, SLOW_THREADS = 16, 64, 8
TIMEOUT = 5.0  # seconds for one look-up, waiting for a thread included
REMEMBERED = 30.0  # seconds: the system does not tell for how long an answer holds
FAILURE_REMEMBERED = 1.0  # seconds
MOST = 4096  # names that are remembered


class Resolver(trio.abc.HostnameResolver):
    """Looks names up. However many ask for a name, it takes one thread; slow ones take none from those that are well.

    Put in place for all of a run with `trio.socket.set_custom_hostname_resolver`, or asked directly.
    """

    def __init__(self, lookup: Callable[..., Found] = socket.getaddrinfo) -> None:
        """`lookup` is a blocking function like `socket.getaddrinfo`."""
        self._lookup = lookup
        self._threads = trio.CapacityLimiter(THREADS)
        self._new_threads = trio.CapacityLimiter(NEW_THREADS)
        self._slow_threads = trio.CapacityLimiter(SLOW_THREADS)
        self._known: dict[Query, tuple[float, Found | Exception]] = {}  # until when, and what
        self._asked: dict[Query, trio.Event] = {}  # looked up right now; set when the answer is known
        self._slow: dict[Query, None] = {}  # in the order in which they became so

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        """Answer as `socket.getaddrinfo` does. Raises OSError, also when there is no answer within `TIMEOUT`."""
        query = (host, port, family, type, proto, flags)
        if _is_address(host):
            return socket.getaddrinfo(host, port, family, type, proto, flags | socket.AI_NUMERICHOST)
        with trio.move_on_after(TIMEOUT):
            return await self._answer(query)
        self._slow[query] = None
        _forget_oldest(self._slow)
        raise OSError(f"looking up {_text(host)} took more than {TIMEOUT:g} s")

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        """Answer as `socket.getnameinfo` does. Part of the interface; nothing in Foreman asks for it."""
        return await trio.to_thread.run_sync(socket.getnameinfo, sockaddr, flags, limiter=self._threads)

    async def _answer(self, query: Query) -> Found:
        while True:
            until, known = self._known.get(query, (0.0, []))
            if trio.current_time() < until:
                if isinstance(known, Exception):
                    raise type(known)(*known.args)  # another one each time: a raised one carries where it went
                return known
            if (pending := self._asked.get(query)) is not None:
                await pending.wait()
            else:
                await self._ask(query)

    async def _ask(self, query: Query) -> None:
        """Start a look-up once there is a thread for it, unless somebody else has started it meanwhile."""
        limiter = self._limiter(query)
        thread = object()  # holds its place until the look-up ends, even when nobody waits for it any more
        await limiter.acquire_on_behalf_of(thread)
        until, _ = self._known.get(query, (0.0, None))
        if query in self._asked or trio.current_time() < until:
            limiter.release_on_behalf_of(thread)
            return
        self._asked[query] = trio.Event()
        token, began = trio.lowlevel.current_trio_token(), trio.current_time()

        def ended(found: Found | Exception) -> None:
            limiter.release_on_behalf_of(thread)
            self._learn(query, found, trio.current_time() - began)

        def deliver(found: outcome.Outcome[Found]) -> None:  # called in the thread
            with contextlib.suppress(trio.RunFinishedError):
                token.run_sync_soon(ended, _unpacked(found, query))

        trio.lowlevel.start_thread_soon(partial(self._lookup, *query), deliver, "resolver")

    def _limiter(self, query: Query) -> trio.CapacityLimiter:
        if query in self._slow:
            return self._slow_threads
        _, known = self._known.get(query, (0.0, None))
        return self._threads if isinstance(known, list) else self._new_threads

    def _learn(self, query: Query, found: Found | Exception, seconds: float) -> None:
        if seconds < TIMEOUT:
            self._slow.pop(query, None)
        self._known.pop(query, None)
        lasts = FAILURE_REMEMBERED if isinstance(found, Exception) else REMEMBERED
        self._known[query] = trio.current_time() + lasts, found
        _forget_oldest(self._known)
        self._asked.pop(query).set()


def _unpacked(found: outcome.Outcome[Found], query: Query) -> Found | Exception:
    try:
        return found.unwrap()
    except UnicodeError:
        return OSError(f"{_text(query[0])!r} is not a host name")
    except Exception as error:  # for those who asked, in their own tasks
        return error


def _forget_oldest(known: dict[Any, Any]) -> None:
    if len(known) > MOST:
        del known[next(iter(known))]


def _is_address(host: bytes | str | None) -> bool:
    try:
        ip_address(_text(host))
    except ValueError:
        return False
    return True


def _text(host: bytes | str | None) -> str:
    return host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
