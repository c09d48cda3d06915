"""Looking up host names: threads of their own, a deadline, and a memory."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import trio

from foreman import resolver
from foreman.resolver import NEW_THREADS, REMEMBERED, SLOW_THREADS, THREADS, Resolver

HERE = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))]


class System:
    """A blocking look-up that keeps silent about names that begin with `slow`, and knows none that begin with `no`."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.wake = threading.Event()

    def __call__(self, host: str, port: int, *_: Any) -> list[tuple[Any, ...]]:
        self.asked[host] += 1
        if host.startswith("slow"):
            self.wake.wait(30)
        if host.startswith("no"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return HERE


@pytest.fixture
def system() -> Iterator[System]:
    system = System()
    yield system
    system.wake.set()


async def time_out(known: Resolver, *hosts: str) -> None:
    """Have names time out, at once; those that are asked for afterwards have all their time."""

    async def look_up(host: str) -> None:
        with pytest.raises(OSError, match=f"looking up {host} took more than"):
            await known.getaddrinfo(host, 80)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resolver, "TIMEOUT", 0.05)
        async with trio.open_nursery() as nursery:
            for host in hosts:
                nursery.start_soon(look_up, host)


def outdate(known: Resolver) -> None:
    known._known = {query: (0.0, found) for query, (_, found) in known._known.items()}


async def test_many_who_ask_for_a_name_share_one_look_up_and_its_answer_is_remembered(system: System) -> None:
    known = Resolver(system)
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(known.getaddrinfo, "a", 80)
    assert await known.getaddrinfo("a", 80) == HERE
    assert system.asked == {"a": 1}


async def test_an_answer_holds_for_its_time_only(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    known = Resolver(system)
    await known.getaddrinfo("a", 80)
    began, now = trio.current_time(), trio.current_time
    monkeypatch.setattr(trio, "current_time", lambda: max(now(), began + REMEMBERED + 1))
    await known.getaddrinfo("a", 80)
    assert system.asked == {"a": 2}


async def test_a_name_that_is_unknown_is_so_for_everybody_who_asked(system: System) -> None:
    known = Resolver(system)
    for _ in range(2):
        with pytest.raises(socket.gaierror, match="not known"):
            await known.getaddrinfo("nowhere", 80)
    assert system.asked == {"nowhere": 1}


async def test_slow_names_delay_neither_names_that_are_known_nor_new_ones(system: System) -> None:
    known = Resolver(system)
    await known.getaddrinfo("well", 80)
    outdate(known)
    await time_out(known, *(f"slow{number}" for number in range(NEW_THREADS - 1)))
    assert await known.getaddrinfo("new", 80) == HERE
    assert await known.getaddrinfo("well", 80) == HERE


async def test_even_when_strangers_take_all_their_threads_known_names_are_found(system: System) -> None:
    known = Resolver(system)
    for number in range(THREADS):
        await known.getaddrinfo(f"well{number}", 80)
    outdate(known)
    await time_out(known, *(f"slow{number}" for number in range(NEW_THREADS + SLOW_THREADS)))
    for number in range(THREADS):
        assert await known.getaddrinfo(f"well{number}", 80) == HERE


async def test_a_slow_name_is_one_thread_until_the_system_answers_and_then_works_again(system: System) -> None:
    known = Resolver(system)
    for _ in range(5):
        await time_out(known, "slow")
    assert system.asked == {"slow": 1}
    system.wake.set()
    assert await known.getaddrinfo("slow", 80) == HERE


async def test_those_who_give_up_leave_the_look_up_to_the_others(system: System) -> None:
    known = Resolver(system)
    with trio.move_on_after(0):
        await known.getaddrinfo("slow", 80)
    with trio.move_on_after(0.01):
        await known.getaddrinfo("slow", 80)
    system.wake.set()
    assert await known.getaddrinfo("slow", 80) == HERE


async def test_an_address_is_not_looked_up(system: System) -> None:
    found = await Resolver(system).getaddrinfo("::1", 80, type=socket.SOCK_STREAM)
    assert found[0][4][:2] == ("::1", 80) and not system.asked


async def test_a_name_of_no_form_is_no_more_than_an_error() -> None:
    with pytest.raises(OSError, match="is not a host name"):
        await Resolver().getaddrinfo("a..b", 80)


async def test_it_is_what_every_connection_of_a_run_asks(system: System) -> None:
    trio.socket.set_custom_hostname_resolver(Resolver(lambda host, *more: system(host.decode(), *more)))
    with pytest.raises(OSError):
        await trio.open_tcp_stream("nowhere.example", 80)
    assert system.asked == {"nowhere.example": 1}
