"""The official SDKs get the same from an odd server through Foreman as they get directly."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace

import pytest

from tests.http.compat.sdks import ERRORS, WAYS, Said, Sdks, Way
from tests.support.foreman import Daemon
from tests.support.odd.scenario import SCENARIOS, Call, Meant, Scenario
from tests.support.odd.server import OddServer


def rows(*, answered: bool) -> list[object]:
    """Return every scenario with every way to ask for it: those that mean an answer, or those that fail."""
    return [
        pytest.param(way, odd, id=f"{way}: {odd.name}")
        for way in WAYS
        for odd in SCENARIOS.values()
        if odd.path in way.paths and bool(odd.meant) == answered and possible(way, odd)
    ]


def possible(way: Way, odd: Scenario) -> bool:
    """Return whether the server of a scenario gives what is asked for in this way at all."""
    return not (way.streamed and odd.only == "unstreamed") and not (way.counts == "asked" and odd.only == "uncounted")


@pytest.fixture(scope="session")
def directly(odd_server: OddServer) -> Iterator[Sdks]:
    """The SDKs in front of the odd server itself."""
    with closing(Sdks(odd_server.url, retries=2)) as sdks:
        yield sdks


@pytest.fixture(scope="session")
def through(before_it: Callable[[str], Daemon]) -> Iterator[Callable[[str], Sdks]]:
    """The SDKs, which do not try again, in front of a Foreman in front of the odd server as that kind of target."""
    with ExitStack() as stack:

        @functools.cache
        def sdks(kind: str) -> Sdks:
            return stack.enter_context(closing(Sdks(before_it(kind).url, retries=0)))

        yield sdks


@pytest.mark.parametrize(("way", "odd"), rows(answered=True))
def test_what_succeeds_directly_is_the_same_through_foreman(
    directly: Sdks, through: Callable[[str], Sdks], way: Way, odd: Scenario
) -> None:
    wanted = meant(odd, way)
    if not way.translated and not (odd.unread == "both" or (way.streamed and odd.unread == "streamed")):
        assert compared(way.ask(directly, odd, f"{way}, directly"), wanted, way) == wanted
    said = way.ask(through(odd.kind), odd, f"{way}, through Foreman")
    assert compared(said, wanted, way) == wanted


@pytest.mark.parametrize(("way", "odd"), rows(answered=False))
def test_what_fails_is_an_error_of_the_sdk(through: Callable[[str], Sdks], way: Way, odd: Scenario) -> None:
    with pytest.raises(ERRORS):
        way.ask(through(odd.kind), odd, str(way))


def meant(odd: Scenario, way: Way) -> Said:
    """Return what an SDK shall make of a scenario."""
    if not way.translated or not isinstance(odd.meant[0], Meant):
        return odd.meant
    first = odd.meant[0]  # Ollama's API has no others, no ids of calls, and finishes in two ways only
    calls = tuple(Call(call.name, call.arguments) for call in first.calls)
    finish = "length" if first.finish == "length" else first.finish and "stop"
    tokens = None if way.streamed and odd.only == "uncounted" else first.tokens
    return (replace(first, calls=calls, finish=finish, tokens=tokens),)


def compared(said: Said, wanted: Said, way: Way) -> Said:
    """Return what was said, but for what the server leaves open: ids, an end or counts that it does not tell."""
    assert len(said) == len(wanted)
    return tuple(
        _compared(one, other, counted=way.counts != "not told") if isinstance(one, Meant) else one
        for one, other in zip(said, wanted, strict=True)
    )


def _compared(said: Meant, wanted: Meant, *, counted: bool) -> Meant:
    assert len(said.calls) == len(wanted.calls), said.calls
    calls = [call if known.id else replace(call, id="") for call, known in zip(said.calls, wanted.calls, strict=True)]
    return Meant(
        said.text,
        said.thinking,
        tuple(calls),
        said.finish if wanted.finish else "",
        said.tokens if wanted.tokens and counted else wanted.tokens,
    )
