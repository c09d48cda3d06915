"""Fingerprints: two bodies that ask for the same have the same, however they are written."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreman.domain.fingerprint import canonical, fingerprints, first_version
from foreman.domain.job import Priority, State

PAYLOAD = b'{"model":"m","messages":[{"role":"user","content":"h\xc3\xa9"}],"options":{"seed":1}}'
OWN: dict[str, Any] = {
    "priority": Priority.HIGH,
    "webhook_url": "http://127.0.0.1:9/it's",
    "webhook_events": (State.DONE,),
    "not_before": 1893456000.0,
    "timeout": 2.5,
    "max_attempts": 3,
    "metadata": {"b": "2", "a": "1"},
    "custom_id": "mine",
}


def text_of(written: bytes) -> bytes:
    return b"".join(canonical(written))


def test_the_fingerprints_stay_as_they_are() -> None:
    """What is stored must be found by every later version. Never change these."""
    assert [one.hex() for one in fingerprints(PAYLOAD, {}, max_attempts=3)] == [
        "0230578c247b3a34b1269c82b5e3453368c469a36de075447720f2d193faf8b9e9",
        "026dc64272f44517ae6db941bbfe5f269302e54c97bc953d43dcb8c399beeba6dc",
        "a45fe8376de6afe0bc91654308dd376999f46194883ffa14ede3c1a3c1a3598d",
    ]
    assert (
        fingerprints(PAYLOAD, OWN, max_attempts=5)[0].hex()
        == "02b3cf544f9fa7538a9a064faa64edd642d9c36f258fecc82cfb14b8978720c007"
    )
    assert first_version(PAYLOAD, OWN).hex() == "fb6ee7561a85289d7256121424e5dc7f0a77ea9efe4823e035097040e9c985c2"
    two = OWN | {"webhook_events": (State.DONE, State.FAILED), "priority": Priority.LOW}
    assert first_version(PAYLOAD, two).hex() == "5934569c489fe16e9490f85db0f56e73cfb19d7cdac7c1e84f56fdf09a4c9870"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b'{"a":1,"b":[{"c":2,"d":3}]}', b'{ "b" : [ {"d":3 , "c":2} ],\n"a":1}'),
        (b'{"a":1}', b'{"a":1.0}'),
        (b'{"a":1200}', b'{"a":1.2e3}'),
        (b'{"a":0.5}', b'{"a":5E-1}'),
        (b'{"a":0}', b'{"a":-0.0}'),
        (b'{"a":1' + b"0" * 5000 + b"}", b'{"a":1e5000}'),
        ('{"é":"ü/"}'.encode(), b'{"\\u00e9":"\\u00fc\\/"}'),
        ('{"a":"\U0001f999"}'.encode(), b'{"a":"\\ud83e\\udd99"}'),
        (b'{"a":2}', b'{"a":1,"a":2}'),
    ],
)
def test_bodies_that_say_the_same_are_the_same(one: bytes, other: bytes) -> None:
    assert text_of(one) == text_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b'{"a":[1,2]}', b'{"a":[2,1]}'),
        (b'{"a":1}', b'{"a":"1"}'),
        (b'{"a":1}', b'{"a":10}'),
        (b'{"a":1}', b'{"a":-1}'),
        (b'{"a":1}', b'{"a":true}'),
        (b'{"a":null}', b"{}"),
        (b'{"a":{}}', b'{"a":[]}'),
        (b'{"a":[[],1]}', b'{"a":[[1]]}'),
        (b'{"a":9007199254740993}', b'{"a":9007199254740992}'),
        (b'{"a":"\\ud800"}', b'{"a":"\\ud801"}'),
        (b'{"a":"x"}', b'{"a":"x "}'),
    ],
)
def test_bodies_that_say_something_else_differ(one: bytes, other: bytes) -> None:
    assert text_of(one) != text_of(other)


trees = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=25,
)


@given(trees, st.booleans())
def test_canonical_json_is_json_that_means_the_same(tree: Any, ascii_only: bool) -> None:
    written = json.dumps(tree, ensure_ascii=ascii_only, indent=1).encode()
    shown = text_of(written)
    assert json.loads(shown, parse_float=lambda number: int(float(number))) == tree
    assert shown == text_of(json.dumps(tree, sort_keys=True, separators=(",", ":")).encode())


def test_defaults_count_as_given_and_as_left_out() -> None:
    def matches(stored: dict[str, Any], sent: dict[str, Any], then: int = 3, now: int = 3) -> bool:
        first, *_ = fingerprints(PAYLOAD, stored, max_attempts=then)
        return first in fingerprints(PAYLOAD, sent, max_attempts=now)

    plain: dict[str, Any] = {"priority": Priority.NORMAL, "endpoint": "/api/chat"}
    assert matches(plain, {}) and matches({}, plain)
    assert matches({"max_attempts": 3}, {}) and matches({}, {"max_attempts": 3})
    assert matches({}, {}, now=9) and matches({"max_attempts": 3}, {"max_attempts": 3}, now=9)  # a setting was changed
    assert not matches({}, {"max_attempts": 4}) and not matches({"max_attempts": 4}, {})
    assert not matches({}, {"priority": Priority.HIGH})


def test_the_order_of_metadata_and_of_events_does_not_count() -> None:
    one = {"metadata": {"a": "1", "b": "2"}, "webhook_events": (State.DONE, State.FAILED)}
    other = {"webhook_events": (State.FAILED, State.DONE), "metadata": {"b": "2", "a": "1"}}
    assert fingerprints(PAYLOAD, one, max_attempts=3)[0] == fingerprints(PAYLOAD, other, max_attempts=3)[0]


MANY = 1_000_000
HOSTILE: dict[str, Callable[[], bytes]] = {
    "many names": lambda: b"{" + b",".join(b'"%d":1' % n for n in range(MANY)) + b"}",
    "many lists": lambda: b'{"a":[' + b"[]," * MANY + b"[]]}",
    "deep": lambda: b"[" * MANY + b"]" * MANY,
    "deep, but not too deep": lambda: b'{"a":' * 30_000 + b'"' + b"x" * MANY + b'"' + b"}" * 30_000,
    "one long text": lambda: b'{"b":"' + b"x" * 8 * MANY + b'","a":1}',
    "one long text of escapes": lambda: b'{"b":"' + rb"\n" * 4 * MANY + b'","a":1}',
    "one long number": lambda: b'{"a":' + b"1" * 8 * MANY + b"}",
    "a long exponent": lambda: b'{"a":1e' + b"1" * 8 * MANY + b"}",
    "blanks": lambda: b"{" + b" " * 8 * MANY + b'"a":1}',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_body_takes_little_more_memory_than_it_has(name: str) -> None:
    body = HOSTILE[name]()
    tracemalloc.start()
    try:
        size = sum(map(len, canonical(body)))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0 < size <= len(body)
    assert most < 4 * len(body) + 60_000_000
