"""Odd lines, pieces, labels, encodings and characters around streams that say nothing odd."""

from __future__ import annotations

import gzip
import json
import zlib

import zstandard

from tests.support.odd.scenario import CHAT, Answer, Asked, Meant, event, scenario
from tests.support.odd.shapes import HELLO, chunk, closing, completion, hello, odd_chat, sse, texts

PARTY = Meant("party 🎉")


def body(asked: Asked) -> bytes:
    return b"".join(sse(hello(asked)).body)


# Lines


@odd_chat(HELLO, unread="streamed")
def byte_order_mark(asked: Asked) -> Answer:
    return Answer([b"\xef\xbb\xbf", *sse(hello(asked)).body])


@odd_chat(HELLO)
def lines_ended_by_crlf(asked: Asked) -> Answer:
    return Answer([body(asked).replace(b"\n", b"\r\n")])


@odd_chat(HELLO)
def lines_ended_by_cr(asked: Asked) -> Answer:
    return Answer([body(asked).replace(b"\n", b"\r")])


@odd_chat(HELLO)
def lines_ended_in_three_ways(asked: Asked) -> Answer:
    pieces = list(sse(hello(asked)).body)
    ends = [b"\n", b"\r\n", b"\r"]
    return Answer([piece.replace(b"\n", ends[n % 3]) for n, piece in enumerate(pieces)])


@odd_chat(HELLO)
def no_space_after_the_colon(asked: Asked) -> Answer:
    return Answer([piece.replace(b"data: ", b"data:") for piece in sse(hello(asked)).body])


@odd_chat(HELLO)
def data_over_several_lines(asked: Asked) -> Answer:
    spread = [json.dumps(one, indent=1).encode().replace(b"\n", b"\ndata: ") for one in hello(asked)]
    return sse(spread)


@odd_chat(HELLO)
def comments_in_between(asked: Asked) -> Answer:
    pieces = [b": PROCESSING\n\n" + piece for piece in sse(hello(asked)).body]
    return Answer([b": hello\n\n", b":\n\n", *pieces])


@odd_chat(HELLO)
def comments_within_an_event(asked: Asked) -> Answer:
    return Answer([b": a\n" + piece.removesuffix(b"\n") + b": b\n\n" for piece in sse(hello(asked)).body])


@odd_chat(HELLO)
def blank_lines_to_keep_alive(asked: Asked) -> Answer:
    return Answer([b"\n\n", *(piece + b"\n\n\n" for piece in sse(hello(asked)).body)])


@odd_chat(HELLO, unread="streamed")
def empty_pings(asked: Asked) -> Answer:
    """Events with empty data keep the connection alive."""
    return Answer([b"event: ping\ndata: \n\n", *sse(hello(asked)).body])


@odd_chat(HELLO)
def ids_and_retries(asked: Asked) -> Answer:
    """Events have an id and say when to come again."""
    pieces = [b"id: %d\nretry: 3000\n%s" % (n, piece) for n, piece in enumerate(sse(hello(asked)).body)]
    return Answer(pieces)


@odd_chat(HELLO)
def named_events(asked: Asked) -> Answer:
    return Answer([b"event: message\n" + piece for piece in sse(hello(asked)).body])


@odd_chat(HELLO)
def nothing_after_done(asked: Asked) -> Answer:
    """The body ends with `[DONE]` itself: no line end, no empty line."""
    return Answer([body(asked).rstrip()])


@odd_chat(HELLO)
def words_after_done(asked: Asked) -> Answer:
    return Answer([body(asked), b": bye\n\n"])


@odd_chat(HELLO, unread="streamed")
def spaces_around_done(asked: Asked) -> Answer:
    return Answer([*map(event, hello(asked)), b"data:  [DONE] \n\n"], framing="close")


# Pieces


@odd_chat(PARTY)
def character_cut_in_two(asked: Asked) -> Answer:
    """The bytes of one character come in two pieces."""
    chunks = [json.dumps(one, ensure_ascii=False).encode() for one in [*texts("party ", "🎉"), *closing(asked)]]
    said = b"".join(sse(chunks).body)
    middle = said.index("🎉".encode()) + 2
    return Answer([said[:middle], said[middle:]])


@odd_chat(HELLO)
def byte_by_byte(asked: Asked) -> Answer:
    return Answer([bytes([byte]) for byte in body(asked)])


@odd_chat(HELLO)
def all_at_once(asked: Asked) -> Answer:
    return Answer([body(asked)])


@odd_chat(HELLO)
def length_of_a_stream(asked: Asked) -> Answer:
    """The stream has a Content-Length."""
    return sse(hello(asked), framing="length")


@odd_chat(HELLO)
def ended_by_closing(asked: Asked) -> Answer:
    return sse(hello(asked), framing="close")


@odd_chat(HELLO)
def spoken_in_http_1_0(asked: Asked) -> Answer:
    return _by_hand(b"HTTP/1.0 200 OK\r\ncontent-type:text/event-stream\r\n\r\n", body(asked))


@odd_chat(HELLO)
def no_reason_phrase(asked: Asked) -> Answer:
    return _by_hand(b"HTTP/1.1 200 \r\nCONTENT-TYPE: text/event-stream\r\nConnection: Close\r\n\r\n", body(asked))


@odd_chat(HELLO)
def chunks_with_extensions_and_trailers(asked: Asked) -> Answer:
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: Chunked\r\nConnection: close\r\n\r\n"
    )
    said = body(asked)
    return _by_hand(head, b"%X;name=value\r\n%s\r\n" % (len(said), said), b"0\r\nX-Checksum: 0\r\n\r\n")


def _by_hand(*pieces: bytes) -> Answer:
    """Return an answer whose pieces are all of it, the status line included, and after which the server closes."""
    return Answer(pieces, framing="by hand")


@odd_chat(HELLO)
def interim_answers(asked: Asked) -> Answer:
    """A 102 and a 103 come before the answer."""
    interim = b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    return sse(hello(asked), before=interim)


# Labels


@odd_chat(HELLO)
def labelled_plain_text(asked: Asked) -> Answer:
    return sse(hello(asked), media="text/plain; charset=utf-8")


@odd_chat(HELLO)
def labelled_json(asked: Asked) -> Answer:
    return sse(hello(asked), media="application/json")


@odd_chat(HELLO)
def labelled_in_capitals(asked: Asked) -> Answer:
    return sse(hello(asked), media="Text/Event-Stream; Charset=UTF-8")


@odd_chat(HELLO)
def not_labelled(asked: Asked) -> Answer:
    return sse(hello(asked), media="")


@scenario(CHAT, HELLO, whole=None, only="unstreamed", unread="both")
def whole_labelled_plain_text(asked: Asked) -> Answer:
    return Answer([json.dumps(completion([HELLO])).encode()], media="text/plain", framing="length")


@scenario(CHAT, HELLO, whole=None)
def whole_between_line_ends(asked: Asked) -> Answer:
    """Blank lines before and after the JSON, streamed or not."""
    if asked.streamed:
        return sse(hello(asked))
    said = json.dumps(completion([HELLO]), indent=2).encode()
    return Answer([b"\n\n" + said + b"\n"], media="application/json")


# Encodings, though only `identity` was asked for


@odd_chat(HELLO)
def gzip_unasked(asked: Asked) -> Answer:
    return Answer([gzip.compress(body(asked))], headers={"Content-Encoding": "gzip"})


@odd_chat(HELLO)
def gzip_in_pieces(asked: Asked) -> Answer:
    """Each event is flushed, so that it can be read as it comes."""
    packer = zlib.compressobj(wbits=31)
    pieces = [packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH) for piece in sse(hello(asked)).body]
    return Answer([*pieces, packer.flush()], headers={"Content-Encoding": "gzip"})


@odd_chat(HELLO)
def deflate_unasked(asked: Asked) -> Answer:
    return Answer([zlib.compress(body(asked))], headers={"Content-Encoding": "deflate"})


@odd_chat(HELLO)
def deflate_without_header(asked: Asked) -> Answer:
    """Raw DEFLATE, as some servers understand the word."""
    packer = zlib.compressobj(wbits=-15)
    return Answer([packer.compress(body(asked)) + packer.flush()], headers={"Content-Encoding": "deflate"})


@odd_chat(HELLO, unread="streamed")
def zstd_unasked(asked: Asked) -> Answer:
    return Answer([zstandard.compress(body(asked))], headers={"Content-Encoding": "zstd"})


@odd_chat(HELLO, unread="streamed")
def gzip_by_its_old_name(asked: Asked) -> Answer:
    return Answer([gzip.compress(body(asked))], headers={"content-encoding": "X-GZIP"})


@odd_chat(HELLO)
def identity_said(asked: Asked) -> Answer:
    return sse(hello(asked), headers={"Content-Encoding": "identity"})


@scenario(CHAT, HELLO, whole=None, unread="streamed")
def whole_in_gzip(asked: Asked) -> Answer:
    """An unstreamed answer, and one that takes the place of a stream, in gzip with a length."""
    said = gzip.compress(json.dumps(completion([HELLO])).encode())
    return Answer([said], media="application/json", headers={"Content-Encoding": "gzip"}, framing="length")


# Characters


@odd_chat(PARTY)
def surrogates_in_two_chunks(asked: Asked) -> Answer:
    """The halves of one character come in two chunks, as servers in JavaScript cut them (tobi/qmd#855)."""
    return sse([*texts("party ", "\ud83c", "\udf89"), *closing(asked)])


@odd_chat(Meant("party 🎉!"))
def surrogates_with_more_around(asked: Asked) -> Answer:
    return sse([*texts("party \ud83c", "\udf89!"), *closing(asked)])


@odd_chat(Meant("cut \ufffd off"))
def half_a_surrogate_pair(asked: Asked) -> Answer:
    """The second half never comes."""
    return sse([*texts("cut ", "\ud83d", " off"), *closing(asked)])


@odd_chat(Meant("caf\ufffd au lait"), unread="streamed")
def bytes_that_are_no_utf8(asked: Asked) -> Answer:
    """An é in Latin-1."""
    chunks = [json.dumps(one, ensure_ascii=False) for one in [*texts("café", " au lait"), *closing(asked)]]
    return sse([one.encode("latin-1") for one in chunks])


@odd_chat(Meant("one\u2028two\u0085three\x00"))
def line_ends_of_unicode(asked: Asked) -> Answer:
    """U+2028 and U+0085 as they are, and an escaped NUL."""
    said = [json.dumps(one, ensure_ascii=False).encode() for one in texts("one\u2028", "two\u0085three\x00")]
    return sse([*said, *closing(asked)])


@odd_chat(Meant("x" * 70_000))
def long_event(asked: Asked) -> Answer:
    return sse([chunk({"content": "x" * 70_000}), *closing(asked)])
