"""Host name lookups in separate threads, with a deadline and a cache.

The system's lookup blocks its thread for as long as a name server is silent. Trio would run it in the shared threads.
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

Found: TypeAlias = list[tuple[Any, ...]]  # the result of socket.getaddrinfo
Query: TypeAlias = tuple[Any, ...]  # its arguments, the host first

# Concurrent lookups: of names found before, of new names, of names that timed out before.
THREADS, NEW_THREADS, SLOW_THREADS = 16, 64, 8
TIMEOUT = 5.0  # seconds for one lookup, including the wait for a thread
REMEMBERED = 30.0  # seconds; the system does not report the TTL of an answer
FAILURE_REMEMBERED = 1.0  # seconds
MOST = 4096  # names cached


class Resolver(trio.abc.HostnameResolver):
    """A caching resolver: one thread per name for any number of callers, and separate threads for slow names.

    Install it for a Trio run with `trio.socket.set_custom_hostname_resolver`, or call it directly.
    """

    def __init__(self, lookup: Callable[..., Found] = socket.getaddrinfo) -> None:
        """Create a resolver; `lookup` is a blocking function like `socket.getaddrinfo`."""
        self._lookup = lookup
        self._threads = trio.CapacityLimiter(THREADS)
        self._new_threads = trio.CapacityLimiter(NEW_THREADS)
        self._slow_threads = trio.CapacityLimiter(SLOW_THREADS)
        self._known: dict[Query, tuple[float, Found | Exception]] = {}  # expiry and result
        self._asked: dict[Query, trio.Event] = {}  # lookups in progress; set when the answer is known
        self._slow: dict[Query, None] = {}  # names that timed out, oldest first

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        """Return the result of `socket.getaddrinfo`. Raise OSError on failure or after `TIMEOUT` seconds."""
        query = (host, port, family, type, proto, flags)
        if _is_address(host):
            return socket.getaddrinfo(host, port, family, type, proto, flags | socket.AI_NUMERICHOST)
        with trio.move_on_after(TIMEOUT):
            return await self._answer(query)
        self._slow[query] = None
        _forget_oldest(self._slow)
        raise OSError(f"looking up {_text(host)} took more than {TIMEOUT:g} s")

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        """Return the result of `socket.getnameinfo`; required by the interface, unused in Foreman."""
        return await trio.to_thread.run_sync(socket.getnameinfo, sockaddr, flags, limiter=self._threads)

    async def _answer(self, query: Query) -> Found:
        while True:
            until, known = self._known.get(query, (0.0, []))
            if trio.current_time() < until:
                if isinstance(known, Exception):
                    raise type(known)(*known.args)  # a copy: raising adds a traceback to the exception
                return known
            if (pending := self._asked.get(query)) is not None:
                await pending.wait()
            else:
                await self._ask(query)

    async def _ask(self, query: Query) -> None:
        """Start a lookup once a thread is free, unless another task has started it meanwhile."""
        limiter = self._limiter(query)
        thread = object()  # holds its place until the lookup ends, even after its callers have gone
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
    except Exception as error:  # raised in the callers' tasks
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
