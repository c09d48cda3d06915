"""Bodies that cannot be taken: each is refused by every dialect in its own words, and leaves nothing behind."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from ipaddress import ip_address  # which Pythons write in different ways
from typing import Any

import httpx2
import pytest

from tests.support.api import NDJSON
from tests.support.foreman import ROOT, Daemon, Upstream, an_upstream

JSON = {"Content-Type": "application/json"}
LINES = "lines of /jobs"
FLAT = ("/api/chat", "/api/generate", "/api/embed", "/api/embeddings")
OPENAI = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings")
CALLS = (*FLAT, *OPENAI, "/v1/messages")
DIALECTS = ("/jobs", LINES, *CALLS)
OURS = ("/jobs", LINES)

BROKEN = "invalid JSON body"
DEEP = b"[" * 100_000 + b"]" * 100_000
LONG = b"9" * 5000
OBJECT = "the body must be a JSON object"


def with_(field: bytes) -> bytes:
    return b'{"model":"a","x":%b}' % field


INVALID: dict[str, tuple[bytes, str]] = {
    "truncated": (b'{"model":"a"', "Input data was truncated"),
    "nonsense": (b"{nonsense", "JSON is malformed: object keys must be strings (byte 1)"),
    "UTF-16": ('{"model":"a"}'.encode("utf-16"), "JSON is malformed: invalid character (byte 0)"),
    "a key cut in UTF-8": (b'{"model":"a",\xe2\x82:1}', "JSON is malformed: object keys must be strings (byte 13)"),
    "half a pair outside of text": (
        b'{"model":"a",\\ud800}',
        "JSON is malformed: object keys must be strings (byte 13)",
    ),
    "half an escape": (with_(b'"\\ud8"'), "JSON is malformed: invalid character in unicode escape (byte 23)"),
    "nested": (with_(DEEP), "nested too deeply"),
    "a nested model": (b'{"model":%b}' % DEEP, "nested too deeply"),
    "nested options": (b'{"model":"a","options":%b}' % DEEP, "nested too deeply"),
    "nested metadata": (b'{"model":"a","metadata":%b}' % DEEP, "nested too deeply"),
    "NaN": (with_(b"NaN"), "JSON is malformed: invalid character (byte 17)"),
    "Infinity": (with_(b"-Infinity"), "JSON is malformed: invalid character (byte 18)"),
    "a raw NUL": (with_(b'"a\0b"'), "JSON is malformed: invalid character (byte 19)"),
    "a list": (b"[]", OBJECT),
    "text": (b'"m"', OBJECT),
    "a number": (b"5", OBJECT),
    "a huge number": (LONG, OBJECT),
    "null": (b"null", OBJECT),
    "true": (b"true", OBJECT),
}
MODEL_WORDS = "must be text of at most 256 characters without NUL"
MODELS: dict[str, tuple[bytes, str]] = {
    "a number": (b"7", "7"),
    "beyond 64 bits": (b"18446744073709551616", "18446744073709551616"),
    "5,000 digits": (LONG, "9" * 77 + "..."),
    "a boolean": (b"true", "true"),
    "null": (b"null", "null"),
    "a list": (b'["a"]', '["a"]'),
    "NUL": (b'"a\\u0000b"', "a\0b"),
    "too long": (b'"%b"' % (b"m" * 257), "m" * 77 + "..."),
}

TIME = "must be an RFC 3339 time such as 2030-01-31T18:00:00Z"
CENTURY = "must be a time within the next 100 years"
LATER = "must be later than not_before"
SECONDS = "must be a number of seconds above 0 and up to 2592000"
ATTEMPTS = "must be a whole number from 1 to 20"
STATES = "must be a list of states out of queued, loading, working, done, failed, cancelled, expired"
PRIORITY = "must be one of high, normal, low"
ENDPOINT = "must be one of /api/chat, /api/embed, /api/generate, /v1/chat/completions, /v1/completions, /v1/embeddings,"
STRINGS = "must be an object of at most 16 strings of at most 1024 characters"
SHORT = "must be text of at most 64 characters without NUL"
FIELDS: list[tuple[str, str, str]] = [
    ("state_webhook_url", "5", "must be text of at most 2048 characters without NUL"),
    ("state_webhook_url", '["http://93.184.216.34/"]', "must be text of at most 2048 characters without NUL"),
    ("state_webhook_url", '"http://93.184.216.34/\\u0000"', "must be text of at most 2048 characters without NUL"),
    ("state_webhook_url", f'"http://93.184.216.34/{"x" * 2048}"', "must be text of at most 2048 characters"),
    ("webhook_events", '"done"', STATES),
    ("webhook_events", "[]", STATES),
    ("webhook_events", '["finished"]', STATES),
    ("webhook_events", '[["done"]]', STATES),
    ("webhook_events", "true", STATES),
    ("endpoint", '"/api/pull"', ENDPOINT),
    ("endpoint", '"/api/../jobs"', ENDPOINT),
    ("endpoint", "1", ENDPOINT),
    ("priority", '"urgent"', PRIORITY),
    ("priority", '"HIGH"', PRIORITY),
    ("priority", "0", PRIORITY),
    ("priority", "true", PRIORITY),
    ("not_before", '"tomorrow"', TIME),
    ("not_before", "1800000000", TIME),
    ("not_before", '"2030-01-31T18:00:00"', TIME),
    ("not_before", '"9999-12-31T23:59:59-23:59"', TIME),
    ("not_before", '"9030-01-31T18:00:00Z"', CENTURY),
    ("start_by", '"0001-01-01T00:00:00+23:59"', TIME),
    ("start_by", '"2030-02-30T18:00:00Z"', TIME),
    ("start_by", '"1969-07-20T20:17:00Z"', LATER),
    ("start_by", "true", TIME),
    ("timeout", "0", SECONDS),
    ("timeout", "-1", SECONDS),
    ("timeout", '"60"', SECONDS),
    ("timeout", "true", SECONDS),
    ("timeout", "1e12", SECONDS),
    ("timeout", "1e999", SECONDS),
    ("timeout", LONG.decode(), SECONDS),
    ("max_attempts", "0", ATTEMPTS),
    ("max_attempts", "21", ATTEMPTS),
    ("max_attempts", "-3", ATTEMPTS),
    ("max_attempts", "2.5", ATTEMPTS),
    ("max_attempts", "true", ATTEMPTS),
    ("max_attempts", "18446744073709551616", ATTEMPTS),
    ("max_attempts", LONG.decode(), ATTEMPTS),
    ("metadata", "[]", STRINGS),
    ("metadata", json.dumps({str(n): "" for n in range(17)}), STRINGS),
    ("metadata", '{"a": 1}', STRINGS),
    ("metadata", '{"a": false}', STRINGS),
    ("metadata", '{"a": "\\u0000"}', STRINGS),
    ("metadata", '{"\\u0000": "a"}', STRINGS),
    ("metadata", f'{{"a": {LONG.decode()}}}', STRINGS),
    ("metadata", json.dumps({"a": "x" * 1025}), STRINGS),
    ("custom_id", f'"{"c" * 65}"', SHORT),
    ("custom_id", "{}", SHORT),
    ("custom_id", "5", SHORT),
    ("custom_id", '"\\u0000"', SHORT),
]

SCHEME = "must be an http:// or https:// address"
NEVER = "is link-local, metadata, multicast or reserved, which not even webhook_allow allows"
STANDS = "the setting webhook_allow allows that address only in its own form"
USUAL = "IP addresses must be in dotted or colon notation (see webhook_allow)"
PRIVATE = "10.0.0.1 is not a public address; the setting webhook_allow allows networks and names"
USER = "must carry no user name or password"
PLAIN = "must carry no spaces or control characters"
URLS: list[tuple[str, str]] = [
    ("http://169.254.169.254/latest/meta-data", f"169.254.169.254 {NEVER}"),
    ("http://[fd00:ec2::254]/", f"fd00:ec2::254 {NEVER}"),
    ("http://0.0.0.0/", f"0.0.0.0 {NEVER}"),
    ("http://[::]/", f":: {NEVER}"),
    ("http://224.0.0.1/", f"224.0.0.1 {NEVER}"),
    (
        "http://[::ffff:169.254.169.254]/",
        f"{ip_address('::ffff:169.254.169.254')} stands for 169.254.169.254; {STANDS}",
    ),
    ("http://[::ffff:127.0.0.1]/", f"{ip_address('::ffff:127.0.0.1')} stands for 127.0.0.1; {STANDS}"),
    ("http://[64:ff9b::a00:1]/", f"64:ff9b::a00:1 stands for 10.0.0.1; {STANDS}"),
    ("http://0x7f.1/", USUAL),
    ("http://0177.0.0.1/", USUAL),
    ("http://2130706433/", USUAL),
    ("http://127.1/", USUAL),
    ("http://127.0.0.1./", USUAL),
    ("http://%31%32%37.0.0.1/", USUAL),
    ("http://10.0.0.1/", PRIVATE),
    ("HTTP://10.0.0.1/", PRIVATE),
    ("http://10。0。0。1/", PRIVATE),
    ("http://10.0.0.1#@93.184.216.34/", PRIVATE),
    ("http://user:hush@93.184.216.34/", USER),
    ("http://user@93.184.216.34/", USER),
    ("http://@93.184.216.34/", USER),
    ("http://93.184.216.34\\@10.0.0.1/", USER),
    ("ftp://93.184.216.34/", SCHEME),
    ("file:///etc/passwd", SCHEME),
    ("javascript:alert(1)", SCHEME),
    ("gopher://93.184.216.34/", SCHEME),
    ("//93.184.216.34/", SCHEME),
    ("93.184.216.34/hook", SCHEME),
    ("", SCHEME),
    ("http://", SCHEME),
    ("http:///hook", SCHEME),
    ("http://:80/", SCHEME),
    ("http://93.184.216.34:0/", SCHEME),
    ("http://93.184.216.34:99999/", SCHEME),
    ("http://93.184.216.34:-1/", SCHEME),
    ("http://93.184.216.34:x/", SCHEME),
    ("http://[::1/", SCHEME),
    ("http://[1.2.3.4]/", SCHEME),
    ("http://[v1.x]/", SCHEME),
    ("http://93.184.216.34/a b", PLAIN),
    ("http://93.184.216.34/\r\nX-Evil: 1", PLAIN),
    ("http://93.184.\t216.34/", PLAIN),
    ("http://93.184.216.34/\x7f", PLAIN),
    ("http://93.184.216.34/\x85", PLAIN),
    ("http://93.184.216.34/\u2028", PLAIN),
    ("http://93.184.216.34/\u202e", PLAIN),
    ("http://１０.0.0.1/", USUAL),
    ("http://ⓛocalhost/", "Invalid IDNA hostname"),
    ("http://①/", "Invalid IDNA hostname"),
    ("http://a..b/", "its host name cannot be resolved"),
    ("http://93.184.216.34.invalid/", "its host name cannot be resolved"),
]

ODD: dict[str, str] = {
    "an unknown field": '{"a": [true, null, {"b": -0.0}]}',
    "a strange temperature": '"boiling"',
    "beyond 64 bits": "18446744073709551616",
    "very small": "1e-300",
    "an escaped NUL": '"a\\u0000b"',
    "a whole pair": '"\\ud83e\\udd99"',
    "a backslash before what looks like half a pair": '"\\\\ud800"',
    "nested, but not too deeply": "[" * 200 + "]" * 200,
    "a thousand digits": "9" * 1000,
    "keep_alive": "1e999",
}
UNJUDGED = {"options": {"num_ctx": 10**30, "seed": "none"}, "tools": {}, "format": 7}
FOREIGN = {"priority": 7, "metadata": 5, "timeout": "soon", "state_webhook_url": "ftp://x", "max_attempts": True}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with an_upstream("--kind", "both") as upstream:
        yield upstream


@pytest.fixture(scope="module")
def served(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("bad") / "data", ollama_url=upstream.url, max_body="1 MiB") as daemon:
        yield daemon
        assert daemon.errors == []


@pytest.fixture
def daemon(served: Daemon) -> Iterator[Daemon]:
    """One that after each test still serves, and has stored nothing."""
    yield served
    assert served.http.get("/jobs").json()["jobs"] == []
    assert served.http.get("/queue").json()["queued"] == 0
    assert served.errors == []


def send(daemon: Daemon, dialect: str, body: bytes) -> httpx2.Response:
    if dialect == LINES:
        return daemon.http.post("/jobs", content=body, headers=NDJSON)
    return daemon.http.post(dialect, content=body, headers=JSON)


def error(dialect: str, answer: httpx2.Response) -> tuple[int, str, str]:
    """Status, words and code of a refusal, which has the shape of its dialect; the Ollama API knows no codes."""
    said: dict[str, Any] = answer.json()
    assert answer.headers["Content-Type"] == "application/json"
    assert not re.search(rf"Traceback|{re.escape(str(ROOT))}|\.py|SELECT|object at 0x", answer.text)
    if dialect in FLAT:
        assert set(said) == {"error"}
        return answer.status_code, said["error"], ""
    if dialect in CALLS:
        if dialect == "/v1/messages":
            assert (said.pop("type"), said.pop("request_id")) == ("error", None)
        error = said.pop("error")
        assert said == {} and set(error) == {"message", "type", "param", "code"}
        assert error["type"] == ("not_found_error" if answer.status_code == 404 else "invalid_request_error")
        assert answer.headers["X-Should-Retry"] == "false"
        return answer.status_code, error["message"], error["code"]
    if dialect == LINES:
        assert (answer.status_code, said["accepted"], said["rejected"], said["jobs"]) == (422, 0, 1, [])
        [said] = said["errors"]
        assert said.pop("line") == 1
    assert set(said) in ({"error", "code"}, {"error", "code", "hint"})
    words = f"{said['error']}: {said['hint']}" if said["error"] == BROKEN else said["error"]
    return answer.status_code, words, said["code"]


def refused(daemon: Daemon, dialect: str, body: bytes, status: int, words: str, code: str) -> None:
    expected = (422 if dialect == LINES else status, words, "" if dialect in FLAT else code)
    assert (dialect, *error(dialect, send(daemon, dialect, body))) == (dialect, *expected)


@pytest.mark.parametrize("name", INVALID)
def test_what_is_no_json_object_is_refused_with_the_reason(daemon: Daemon, name: str) -> None:
    body, words = INVALID[name]
    for dialect in DIALECTS:
        refused(daemon, dialect, body, 400, f"{BROKEN}: {words}", "invalid_json")


@pytest.mark.parametrize("rest", [b' {"model":"a"}', b"}", b" [", b"\xff\x00", b",", b'"'])
def test_bytes_after_the_object_are_overlooked_where_ollama_overlooks_them(daemon: Daemon, rest: bytes) -> None:
    body = b'{"model":"nope"}' + rest
    for dialect in FLAT:
        refused(daemon, dialect, body, 404, "model 'nope' not found", "model_not_found")
    for dialect in set(DIALECTS) - set(FLAT):
        status, words, code = error(dialect, send(daemon, dialect, body))
        assert (status, code) == (422 if dialect == LINES else 400, "invalid_json"), dialect
        assert words.startswith(f"{BROKEN}: JSON is malformed: trailing characters")


def test_nothing_at_all_is_told_so(daemon: Daemon) -> None:
    words = {"/jobs": f"{BROKEN}: Input data was truncated", LINES: f"{BROKEN}: there is no line with a job"}
    for dialect in DIALECTS:
        nothing = "missing request body" if dialect in FLAT else f"{BROKEN}: missing request body"
        refused(daemon, dialect, b"", 400, words.get(dialect, nothing), "invalid_json")


@pytest.mark.parametrize("body", [b"{}", b'{"model":""}', b'{"messages":[]}', b'{"MODEL":""}'])
def test_a_model_is_required(daemon: Daemon, body: bytes) -> None:
    for dialect in DIALECTS:
        if dialect == "/api/embed":  # in the words of Ollama
            refused(daemon, dialect, body, 404, "model '' not found", "model_not_found")
        else:
            refused(daemon, dialect, body, 400, "model is required", "model_required")


@pytest.mark.parametrize("name", ["a b//c", "a:b:c", "-a", "a/b.c/d", "a@b", "é", "m" * 81])
def test_what_is_no_name_to_ollama_is_told_so_on_its_routes(daemon: Daemon, name: str) -> None:
    for dialect in CALLS:
        words = "invalid model name" if dialect in FLAT else f"model '{name}' not found"
        body = json.dumps({"model": name}).encode()
        refused(daemon, dialect, body, 400 if dialect in FLAT else 404, words, "model_not_found")


@pytest.mark.parametrize("name", ["a.b/c/d:e-f", "hf.co:8080/o/m.x:Q4_K_M", "https://r.io/n/m", "_x", "m" * 80])
def test_what_may_be_a_name_is_not_found(daemon: Daemon, name: str) -> None:
    refused(daemon, "/api/generate", json.dumps({"model": name}).encode(), 404, f"model '{name}' not found", "")


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"nope"}',
        b'{"model":"a","model":"nope"}',
        b'{"Model":"nope"}',
        b'{"model":"a","MODEL":"nope"}',
        b'{"mOdel":"a","model":"nope"}',
        b'{"model":"a","\\u006dOdel":"nope"}',
    ],
)
def test_an_unknown_model_is_not_found_and_the_last_of_two_counts(daemon: Daemon, body: bytes) -> None:
    for dialect in DIALECTS:
        words = "model not found" if dialect in OURS else "model 'nope' not found"
        refused(daemon, dialect, body, 404, words, "model_not_found")


@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_another_type_is_shown_with_what_is_allowed(daemon: Daemon, name: str) -> None:
    value, given = MODELS[name]
    words = f"model: {MODEL_WORDS}; given: {given}"
    for dialect in DIALECTS:
        refused(daemon, dialect, b'{"model":%b}' % value, 422 if dialect in OURS else 400, words, "field_invalid")


@pytest.mark.parametrize("value", ['"yes"', "0", "1.0", "[]", "{}", '"true"', LONG.decode()])
@pytest.mark.parametrize("name", ["stream", "Stream", "\u017ftream"])
def test_a_stream_that_is_neither_true_nor_false_is_not_taken_for_either(daemon: Daemon, name: str, value: str) -> None:
    kinds = {"[": "array", "{": "object", '"': "string"}
    body = f'{{"model":"a","{name}":{value}}}'.encode()
    given = json.loads(value) if value == '"yes"' else value
    for dialect in ("/jobs", LINES, *CALLS):
        if "embed" in dialect:
            continue
        status, words, _ = error(dialect, send(daemon, dialect, body))
        assert status == (422 if dialect in OURS else 400)
        if dialect in FLAT:
            kind = kinds.get(value[0], "number")
            assert words == f"json: cannot unmarshal {kind} into field stream of type bool"
        else:
            assert words.startswith(f"stream: must be true or false; given: {str(value)[:70]}"), given


@pytest.mark.parametrize("value", ["true", "[1]", '"include_usage"', '{"include_usage": 1}', LONG.decode()])
def test_stream_options_of_another_type_are_refused(daemon: Daemon, value: str) -> None:
    body = f'{{"model":"a","stream":true,"stream_options":{value}}}'.encode()
    for dialect in ("/v1/chat/completions", "/v1/completions"):
        status, words, code = error(dialect, send(daemon, dialect, body))
        assert (status, code) == (400, "field_invalid")
        assert words.startswith('stream_options: must be an object such as {"include_usage": true}; given: ')


@pytest.mark.parametrize(("field", "value", "allowed"), FIELDS, ids=[f"{f}={v[:24]}" for f, v, _ in FIELDS])
def test_a_wrong_field_is_named_with_what_was_given_and_what_is_allowed(
    daemon: Daemon, field: str, value: str, allowed: str
) -> None:
    for dialect in OURS:
        status, words, code = error(dialect, send(daemon, dialect, f'{{"model":"a","{field}":{value}}}'.encode()))
        assert (status, code) == (422, "field_invalid")
        assert words.startswith(f"{field}: {allowed}")
        given = words.partition("; given: ")[2]
        text = json.loads(value) if value.startswith('"') else value
        if allowed in (CENTURY, LATER):  # times are shown as they were understood
            text = text.replace("Z", ".000Z")
        assert given == (text if len(text) <= 80 else text[:77] + "...")


@pytest.mark.parametrize(("url", "why"), URLS)
def test_a_webhook_that_may_not_go_there_is_refused_with_the_reason(daemon: Daemon, url: str, why: str) -> None:
    body = json.dumps({"model": "a", "state_webhook_url": url}).encode()
    for dialect in OURS:
        status, words, code = error(dialect, send(daemon, dialect, body))
        assert (status, code) == (422, "webhook_refused")
        assert words.startswith("state_webhook_url: ") and why in words and "; given: " in words


def test_a_refused_url_is_shown_without_what_may_be_secret(daemon: Daemon) -> None:
    body = b'{"model":"a","state_webhook_url":"http://user:hush@10.0.0.1/hook?key=hush"}'
    assert error("/jobs", send(daemon, "/jobs", body))[1].endswith("; given: http://***@10.0.0.1/hook?***")


@pytest.mark.parametrize("dialect", [dialect for dialect in DIALECTS if dialect != "/api/embeddings"])
def test_what_is_the_targets_own_business_is_not_judged(served: Daemon, upstream: Upstream, dialect: str) -> None:
    asked = {
        "model": "a",
        "messages": [{"role": "user", "content": dialect}],
        "prompt": dialect,
        "input": dialect,
        **UNJUDGED,
    }
    if dialect not in OURS:
        asked |= FOREIGN
    odd = ",".join(f"{json.dumps(name)}:{value}" for name, value in ODD.items())
    answer = send(served, dialect, f"{json.dumps(asked)[:-1]},{odd}}}".encode())
    assert answer.status_code == (202 if dialect in OURS else 200), answer.text
    for job in served.http.get("/jobs").json()["jobs"]:
        served.http.get(f"/jobs/{job['job_id']}/stream")
        assert served.http.delete(f"/jobs/{job['job_id']}").status_code == 204
    [payload] = [seen["payload"] for seen in upstream.asked(f'"{dialect}"') if ODD.keys() <= seen["payload"].keys()]
    for name, value in (asked | {name: json.loads(value) for name, value in ODD.items()}).items():
        assert payload[name] == value, name


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b"half a pair \\ud83d", "half a pair \ufffd"),
        (b"the other \\uDE00, twice \\uDE00", "the other \ufffd, twice \ufffd"),
        (b"\\ud83d\\ud83d\\ude00", "\ufffd\U0001f600"),
        (b"escaped \\\\ud83d\\\\\\ude00", "escaped \\ud83d\\\ufffd"),
        (b"a byte \xff, a cut \xf0\x9f\xa6", "a byte \ufffd, a cut \ufffd"),
        (b"Latin-1 caf\xe9", "Latin-1 caf\ufffd"),
        (b"as UTF-8 \xed\xa0\x80", "as UTF-8 \ufffd\ufffd\ufffd"),
    ],
)
def test_broken_text_costs_its_character_and_nothing_else(
    served: Daemon, upstream: Upstream, written: bytes, read: str
) -> None:
    for dialect in DIALECTS:
        if dialect == "/api/embeddings":  # which the scripted upstream does not have
            continue
        text = b"%s %s" % (dialect.encode(), written)
        body = b'{"model":"a","%s":1,"prompt":"%s","input":"%s","messages":[{"role":"user","content":"%s"}]}'
        answer = send(served, dialect, body % (written, text, text, text))
        assert answer.status_code == (202 if dialect in OURS else 200), answer.text
        for job in served.http.get("/jobs").json()["jobs"]:
            served.http.get(f"/jobs/{job['job_id']}/stream")
            assert served.http.delete(f"/jobs/{job['job_id']}").status_code == 204
        [payload] = [seen["payload"] for seen in upstream.asked(f"{dialect} ") if read in seen["payload"]]
        assert payload["messages"][0]["content"] == payload["prompt"] == f"{dialect} {read}"
    refused(served, "/api/chat", b'{"model":"%s"}' % written, 400, "invalid model name", "")


def test_names_in_another_letter_case_are_those_of_the_fields(served: Daemon, upstream: Upstream) -> None:
    for dialect in ("/api/chat", "/api/generate", "/v1/chat/completions", "/jobs"):
        body = {
            "MODEL": "a",
            "Messages": [{"role": "user", "content": f"#echo {dialect}"}],
            "PROMPT": f"#echo {dialect}",
            "messages": [{"role": "user", "content": f"#echo last {dialect}"}],
            "prompt": f"#echo last {dialect}",
            "\u017ftream": False,
            "\u212aeep_Alive": "7m",
            "Metadata": "unknown to all",
        }
        answer = send(served, dialect, json.dumps(body).encode())
        assert answer.status_code == (202 if dialect == "/jobs" else 200), answer.text
        for job in served.http.get("/jobs").json()["jobs"]:
            served.http.get(f"/jobs/{job['job_id']}/stream")
            assert served.http.delete(f"/jobs/{job['job_id']}").status_code == 204
        [payload] = [seen["payload"] for seen in upstream.asked(f"last {dialect}")]
        assert {name for name in payload if name.lower() not in payload} == {"Metadata"}
        assert (payload["model"], payload["keep_alive"]) == ("a", "7m")
        assert payload["prompt"] == f"#echo last {dialect}"
        assert len(answer.text.splitlines()) == 1, "it asked for an answer in one piece"
