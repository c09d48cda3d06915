"""Answers as bytes: no header breaks its line, and no body is longer or shorter than its head tells."""

from __future__ import annotations

import re

import pytest

from foreman.http.server.answer_writer import Answer, informational, refusal

LENGTH = (b"content-length", b"5")


def an_answer(method: str = "GET", version: str = "1.1", *, kept: bool = True) -> Answer:
    return Answer(method, version, kept=kept)


def test_a_head_is_written_as_it_is_told() -> None:
    head = an_answer().head(202, [(b"Content-Type", b"a/b"), LENGTH])
    assert re.fullmatch(
        rb"HTTP/1.1 202 Accepted\r\nContent-Type: a/b\r\ncontent-length: 5\r\ndate: [^\r\n]+ GMT\r\n\r\n", head
    )


def test_a_status_without_a_phrase_has_none() -> None:
    assert an_answer().head(299, [LENGTH]).startswith(b"HTTP/1.1 299 \r\n")


@pytest.mark.parametrize("value", [b"a\r\nx: b", b"a\nb", b"a\rb", b"a\0b", b"\r\n", b"\n", b"a\r\n"])
def test_a_value_that_breaks_its_line_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match="line end or NUL"):
        an_answer().head(200, [(b"x", value)])
    with pytest.raises(ValueError, match="line end or NUL"):
        informational(101, [(b"x", value)])


@pytest.mark.parametrize("name", [b"", b"a b", b"a:", b"a\r\nb", b"a\0", b"\xc3\xbc", b":a", b"a\n"])
def test_a_name_that_is_none_is_refused(name: bytes) -> None:
    with pytest.raises(ValueError, match="header name"):
        an_answer().head(200, [(name, b"x")])
    with pytest.raises(ValueError, match="header name"):
        informational(101, [(name, b"x")])


@pytest.mark.parametrize(
    "headers",
    [
        [LENGTH, LENGTH],
        [(b"content-length", b"-1")],
        [(b"content-length", b"")],
        [(b"content-length", b"5, 5")],
        [(b"transfer-encoding", b"gzip")],
    ],
)
def test_a_framing_that_is_ambiguous_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(ValueError, match="length|Transfer-Encoding"):
        an_answer().head(200, headers)


def test_a_body_longer_than_its_head_tells_is_not_sent() -> None:
    answer = an_answer()
    answer.head(200, [LENGTH])
    assert answer.body(b"hell") == b"hell"
    with pytest.raises(ValueError, match="longer"):
        answer.body(b"o!")
    assert not answer.kept


def test_a_body_shorter_than_its_head_tells_ends_the_connection() -> None:
    answer = an_answer()
    answer.head(200, [LENGTH])
    answer.body(b"hell")
    with pytest.raises(ValueError, match="shorter"):
        answer.end()
    assert not answer.kept and not answer.over


def test_a_body_of_unknown_length_comes_in_chunks() -> None:
    answer = an_answer()
    assert b"transfer-encoding: chunked\r\n" in answer.head(200, [])
    assert answer.body(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
    assert answer.body(b"") == b""  # nothing, not the end
    assert answer.end() == b"0\r\n\r\n"
    assert answer.kept


def test_to_an_older_client_it_ends_with_the_connection() -> None:
    answer = an_answer(version="1.0", kept=False)
    head = answer.head(200, [])
    assert b"chunked" not in head and b"connection: close\r\n" in head
    assert answer.body(b"x") + answer.end() == b"x"


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_what_has_no_body_has_no_end_either(method: str, status: int) -> None:
    answer = an_answer(method)
    answer.head(status, [])
    assert answer.end() == b""
    assert answer.kept


def test_a_route_may_close_the_connection() -> None:
    answer = an_answer()
    assert answer.head(200, [LENGTH, (b"connection", b"x, Close")]).count(b"connection:") == 1
    assert not answer.kept


def test_a_refusal_is_whole_and_closes() -> None:
    assert re.fullmatch(
        rb"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\ndate: .*\r\n\r\n",
        refusal(431),
    )
