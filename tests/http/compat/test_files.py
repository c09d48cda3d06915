"""/v1/files, as the official openai SDK uses it, unmodified, and as others might."""

from __future__ import annotations

import hashlib
import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from foreman.domain.files import PIECE
from tests.support.foreman import Daemon, an_upstream, until

LINES = b'{"custom_id":"1","method":"POST","url":"/v1/chat/completions","body":{"model":"a"}}\n'
TOKENS = "alice:SECRET-A,bob:SECRET-B,quota:SECRET-Q"
MONTH = 30 * 86400
UNKNOWN = "file-01ARZ3NDEKTSV4RRFFQ69G5FAV"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("files") / "data"
    settings: dict[str, Any] = {"token": TOKENS, "admin_token": "boss", "private_jobs": True, "max_file": "3 MiB"}
    quotas = {"quota": {"max_files": 2}}
    with (
        an_upstream("--kind", "ollama") as upstream,
        Daemon(folder, ollama_url=upstream.url, quotas=quotas, **settings) as daemon,
    ):
        yield daemon
        assert daemon.errors == []


@pytest.fixture
def sdk(daemon: Daemon) -> Iterator[Callable[[str], openai.OpenAI]]:
    clients: list[openai.OpenAI] = []

    def client(token: str = "SECRET-A") -> openai.OpenAI:
        http = httpx2.Client(trust_env=False, timeout=30)
        more: Any = {"max_retries": 0, "_strict_response_validation": True}
        clients.append(openai.OpenAI(base_url=f"{daemon.url}/v1", api_key=token, http_client=http, **more))
        return clients[-1]

    yield client
    for one in clients:
        for file in one.files.list():
            one.files.delete(file.id)
        one.close()


@pytest.fixture
def client(sdk: Callable[..., openai.OpenAI]) -> openai.OpenAI:
    return sdk()


@pytest.fixture
def http(daemon: Daemon) -> Iterator[httpx2.Client]:
    headers = {"Authorization": "Bearer SECRET-A"}
    with httpx2.Client(base_url=f"{daemon.url}/v1", headers=headers, trust_env=False, timeout=30) as client:
        yield client


def blobs(daemon: Daemon) -> list[str]:
    folder = daemon.data_dir / "blobs"
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock") if folder.is_dir() else []


@pytest.fixture
def leaving_nothing(daemon: Daemon) -> Iterator[None]:
    before = blobs(daemon)
    yield
    assert set(blobs(daemon)) <= set(before)


def test_a_file_is_created_shown_read_and_deleted(client: openai.OpenAI, tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(LINES)
    file = client.files.create(file=path, purpose="batch")
    assert re.fullmatch("file-[0-7][0-9A-HJKMNP-TV-Z]{25}", file.id)
    assert (file.object, file.bytes, file.filename, file.purpose) == ("file", len(LINES), "lines.jsonl", "batch")
    assert (file.status, file.status_details) == ("processed", None)
    assert file.expires_at == file.created_at + MONTH
    assert client.files.retrieve(file.id) == file
    assert client.files.wait_for_processing(file.id) == file
    assert client.files.content(file.id).read() == LINES
    gone = client.files.delete(file.id)
    assert (gone.id, gone.object, gone.deleted) == (file.id, "file", True)
    for ask in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError) as error:
            ask(file.id)
        assert (error.value.code, error.value.param) == ("file_not_found", "id")


def test_bytes_without_a_name_and_an_expiry(client: openai.OpenAI) -> None:
    file = client.files.create(file=LINES, purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600})
    assert file.filename == "upload" and file.expires_at == file.created_at + 3600


def test_files_are_listed_page_by_page(client: openai.OpenAI) -> None:
    made = [client.files.create(file=(f"{n}.jsonl", LINES), purpose="batch").id for n in range(5)]
    assert [file.id for file in client.files.list()] == made[::-1]
    assert [file.id for file in client.files.list(limit=2)] == made[::-1]  # the SDK turns the pages
    assert [file.id for file in client.files.list(order="asc", limit=3)] == made
    assert [file.id for file in client.files.list(purpose="batch", after=made[1])] == made[:1]
    assert list(client.files.list(purpose="batch_output")) == []
    page = client.files.list(limit=2)
    assert page.has_more is True
    raw = client.files.with_raw_response.list(limit=2).http_response.json()
    assert (raw["object"], raw["first_id"], raw["last_id"]) == ("list", made[4], made[3])


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"purpose": "fine-tune"}, "purpose"),
        ({"purpose": "user_data"}, "purpose"),
        ({"expires_after": {"anchor": "now", "seconds": 3600}}, "expires_after[anchor]"),
        ({"expires_after": {"anchor": "created_at", "seconds": 3599}}, "expires_after[seconds]"),
        ({"expires_after": {"anchor": "created_at", "seconds": 2592001}}, "expires_after[seconds]"),
        ({"file": ("n" * 1025, LINES)}, "file"),
    ],
)
@pytest.mark.usefixtures("leaving_nothing")
def test_what_is_wrong_is_named(client: openai.OpenAI, given: dict[str, Any], param: str) -> None:
    call: dict[str, Any] = {"file": ("a.jsonl", LINES), "purpose": "batch"}
    with pytest.raises(openai.BadRequestError) as error:
        client.files.create(**(call | given))
    assert (error.value.param, error.value.code, error.value.type) == (param, "field_invalid", "invalid_request_error")


@pytest.mark.usefixtures("leaving_nothing")
def test_a_file_that_is_too_large_is_refused(http: httpx2.Client) -> None:
    def lines() -> Iterator[bytes]:
        yield form("file", b"", filename="a.jsonl")
        for _ in range(7):
            yield b"x" * PIECE

    def endless() -> Iterator[bytes]:
        yield PURPOSE + FILE + END
        for _ in range(7):
            yield b"\r\n" * (PIECE // 2)

    for content in (lines(), b"".join(lines()), endless()):
        answer = http.post("/files", content=content, headers=FORM)
        assert answer.status_code == 413, answer.text
        assert answer.json()["error"]["code"] == "file_too_large" and answer.json()["error"]["param"] == "file"


FORM = {"Content-Type": "multipart/form-data; boundary=b"}


def form(name: str, data: bytes, filename: str | None = None) -> bytes:
    named = "" if filename is None else f'; filename="{filename}"'
    return f'--b\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'.encode() + data


PURPOSE = form("purpose", b"batch\r\n")
FILE = form("file", LINES + b"\r\n", "a.jsonl")
END = b"--b--\r\n"


def test_unknown_parts_are_ignored_however_often_they_come(http: httpx2.Client, client: openai.OpenAI) -> None:
    content = form("", b"1\r\n") + form("", b"2\r\n") + form("user", b"x\r\n") * 2 + PURPOSE + FILE + END
    answer = http.post("/files", content=content, headers=FORM)
    assert answer.status_code == 200, answer.text
    client.files.delete(answer.json()["id"])


def test_the_parts_come_in_any_order(http: httpx2.Client, client: openai.OpenAI) -> None:
    other = form("other", b"left alone\r\n")
    for content in (FILE + PURPOSE + END, PURPOSE + other + FILE + END):
        answer = http.post("/files", content=content, headers=FORM)
        assert answer.status_code == 200, answer.text
        assert client.files.content(answer.json()["id"]).read() == LINES


@pytest.mark.parametrize(
    ("content", "param", "status"),
    [
        (PURPOSE + FILE, None, 400),
        (PURPOSE + FILE[:-9], None, 400),
        (PURPOSE + END, "file", 400),
        (FILE + END, "purpose", 400),
        (FILE + FILE + PURPOSE + END, "file", 400),
        (PURPOSE + PURPOSE + FILE + END, "purpose", 400),
        (form("purpose", b"b" * 9999 + b"\r\n") + FILE + END, "purpose", 400),
        (b"".join(form(f"x{n}", b"\r\n") for n in range(99)), None, 400),
        (PURPOSE + form("file", LINES, "n\0l") + b"\r\n" + END, "file", 400),
        (b"no form", None, 400),
        (b"", None, 400),
        (b"--b\r\nno header\r\n\r\n" + END, None, 400),
    ],
)
@pytest.mark.usefixtures("leaving_nothing")
def test_a_broken_form_leaves_nothing(http: httpx2.Client, content: bytes, param: str | None, status: int) -> None:
    answer = http.post("/files", content=content, headers=FORM)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param), answer.text


def test_what_is_no_form_is_refused(http: httpx2.Client) -> None:
    for headers in ({}, {"Content-Type": "application/json"}):
        answer = http.post("/files", content=b"{}", headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (415, "wrong_content_type")
    answer = http.post("/files", content=b"{}", headers={"Content-Type": "multipart/form-data"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "body_unreadable")
    answer = http.post("/files", content=b"{}", headers=FORM | {"Content-Encoding": "gzip"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "wrong_content_encoding")


@pytest.mark.alone  # the bytes are in files
def test_a_connection_that_breaks_in_the_middle_leaves_nothing(daemon: Daemon) -> None:
    host, port = daemon.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as caller:
        head = f"POST /v1/files HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer SECRET-A\r\n"
        caller.sendall(f"{head}Content-Type: {FORM['Content-Type']}\r\nContent-Length: 2000000\r\n\r\n".encode())
        caller.sendall(PURPOSE + form("file", b"x" * 1_000_000, "a.jsonl"))
        until(lambda: any(name.endswith(".part") for name in blobs(daemon)))
    until(lambda: not any(name.endswith(".part") for name in blobs(daemon)))


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=10001", "limit=x", "order=up", "after=nothing", "after=file-%00", f"after={UNKNOWN}"]
)
def test_a_wrong_query_is_named(http: httpx2.Client, query: str) -> None:
    answer = http.get(f"/files?{query}")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, query.partition("=")[0]), answer.text


@pytest.mark.parametrize("file_id", [UNKNOWN, "file-x", "nothing", "..%2f..%2fetc%2fpasswd", "%00"])
def test_an_unknown_file_is_404(http: httpx2.Client, file_id: str) -> None:
    for method, rest in (("GET", ""), ("DELETE", ""), ("GET", "/content")):
        answer = http.request(method, f"/files/{file_id}{rest}")
        assert answer.status_code == 404, answer.text
        assert "passwd" not in answer.text


def test_content_has_a_range_an_etag_and_runs_nowhere(http: httpx2.Client, client: openai.OpenAI) -> None:
    file = client.files.create(file=("a.jsonl", LINES), purpose="batch")
    whole = http.get(f"/files/{file.id}/content", headers={"Accept": "application/binary"})
    assert (whole.content, whole.headers["Content-Length"]) == (LINES, str(len(LINES)))
    assert whole.headers["ETag"] == f'"{hashlib.sha256(LINES).hexdigest()}"'
    assert (
        whole.headers["X-Content-Type-Options"] == "nosniff" and "sandbox" in whole.headers["Content-Security-Policy"]
    )
    part = http.get(f"/files/{file.id}/content", headers={"Range": "bytes=5-9"})
    assert (part.status_code, part.content) == (206, LINES[5:10])
    assert part.headers["Content-Range"] == f"bytes 5-9/{len(LINES)}"
    held = http.get(f"/files/{file.id}/content", headers={"If-None-Match": whole.headers["ETag"]})
    assert (held.status_code, held.content) == (304, b"")
    beyond = http.get(f"/files/{file.id}/content", headers={"Range": "bytes=5000-"})
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{len(LINES)}")


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "a b;\\c.jsonl", "naïve 日本.jsonl", "-rf", ".", "con", "a\u2028b"]
)
def test_a_filename_is_stored_as_it_is_and_leads_nowhere(
    daemon: Daemon, http: httpx2.Client, client: openai.OpenAI, name: str
) -> None:
    file = client.files.create(file=(name, LINES), purpose="batch")
    assert file.filename == name
    assert all(re.fullmatch(r"[0-9a-f]{64}\.[0-9A-Z]{26}\.", blob) for blob in blobs(daemon))
    shown = http.get(f"/files/{file.id}/content").headers["Content-Disposition"]
    assert re.fullmatch(r"attachment; filename\*=UTF-8''[A-Za-z0-9_.~%-]+", shown)


@pytest.mark.alone  # the bytes are in files
def test_the_same_bytes_are_stored_once_and_until_the_last_file_is_gone(daemon: Daemon, client: openai.OpenAI) -> None:
    first, second = (client.files.create(file=(name, LINES), purpose="batch") for name in ("a", "b"))
    digest = hashlib.sha256(LINES).hexdigest()
    assert len([blob for blob in blobs(daemon) if blob.startswith(digest)]) == 1
    client.files.delete(first.id)
    assert client.files.content(second.id).read() == LINES


def test_a_file_is_its_owners(sdk: Callable[[str], openai.OpenAI]) -> None:
    alice, bob, boss = sdk("SECRET-A"), sdk("SECRET-B"), sdk("boss")
    file = alice.files.create(file=LINES, purpose="batch")
    assert list(bob.files.list()) == []
    for ask in (bob.files.retrieve, bob.files.content, bob.files.delete):
        with pytest.raises(openai.NotFoundError):
            ask(file.id)
    assert [one.id for one in boss.files.list()] == [file.id]
    assert boss.files.content(file.id).read() == LINES
    boss.files.delete(file.id)
    assert list(alice.files.list()) == []


def test_a_quota_bounds_files(sdk: Callable[[str], openai.OpenAI]) -> None:
    client = sdk("SECRET-Q")
    kept = [client.files.create(file=LINES, purpose="batch") for _ in range(2)]
    with pytest.raises(openai.RateLimitError) as error:
        client.files.create(file=LINES, purpose="batch")
    assert error.value.code == "quota_exceeded" and "has 2 files" in str(error.value)
    client.files.delete(kept[0].id)
    client.files.create(file=LINES, purpose="batch")


def test_anthropics_clients_are_told_in_their_shape(http: httpx2.Client) -> None:
    for method, path in (("GET", "/files"), ("POST", "/files"), ("GET", f"/files/{UNKNOWN}"), ("DELETE", "/files/x")):
        answer = http.request(method, path, headers={"anthropic-version": "2023-06-01"})
        assert answer.status_code == 404, answer.text
        body = answer.json()
        assert (body["type"], body["error"]["type"]) == ("error", "not_found_error")
        assert "anthropic-version" in body["error"]["message"]


@pytest.mark.alone  # the bytes are in files
def test_missing_bytes_are_no_empty_file(daemon: Daemon, http: httpx2.Client, client: openai.OpenAI) -> None:
    file = client.files.create(file=b"to be missing", purpose="batch")
    [blob] = [name for name in blobs(daemon) if name.startswith(hashlib.sha256(b"to be missing").hexdigest())]
    (daemon.data_dir / "blobs" / blob).unlink()
    answer = http.get(f"/files/{file.id}/content")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "blob_missing")


SIZE = 150 * 2**20  # bytes


def test_an_upload_and_a_download_are_never_whole_in_memory(tmp_path: Path) -> None:
    def lines() -> Iterator[bytes]:
        yield PURPOSE + form("file", b"", "large.jsonl")
        for n in range(SIZE // PIECE):
            yield n.to_bytes(4) * (PIECE // 4)
        yield b"\r\n" + END

    with (
        an_upstream("--kind", "ollama") as upstream,
        Daemon(tmp_path / "data", ollama_url=upstream.url, forked=False) as daemon,
    ):
        assert daemon.http.post("/v1/files", content=PURPOSE + FILE + END, headers=FORM).status_code == 200
        before = most_memory(daemon)
        file = daemon.http.post("/v1/files", content=lines(), headers=FORM, timeout=60).json()
        assert file["bytes"] == SIZE
        found = hashlib.sha256()
        with daemon.http.stream("GET", f"/v1/files/{file['id']}/content", timeout=60) as answer:
            for data in answer.iter_bytes():
                found.update(data)
        assert answer.headers["ETag"] == f'"{found.hexdigest()}"'
        assert most_memory(daemon) - before < 32 * 2**20


@pytest.mark.alone  # it looks into the folder
@pytest.mark.parametrize(
    ("path", "media_type", "begin"),
    [
        ("/v1/files", FORM["Content-Type"], PURPOSE + FILE[:-4]),
        ("/jobs?batch=slow", "application/x-ndjson", b'{"model": "'),
    ],
)
def test_an_upload_by_drips_is_ended(tmp_path: Path, path: str, media_type: str, begin: bytes) -> None:
    with (
        an_upstream("--kind", "ollama") as upstream,
        Daemon(tmp_path / "data", ollama_url=upstream.url, body_timeout=0.5) as daemon,
        socket.create_connection(("127.0.0.1", int(daemon.url.rpartition(":")[2])), timeout=0.1) as client,
    ):
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {media_type}\r\n"
        client.sendall(head.encode() + b"Content-Length: 2000000\r\n\r\n" + begin)

        def drip() -> bytes:
            client.sendall(b"x")  # well before body_timeout is over
            with suppress(TimeoutError):
                return client.recv(1000)
            return b""

        assert until(drip).startswith(b"HTTP/1.1 408")
        until(lambda: not [name for name in os.listdir(tmp_path / "data" / "blobs") if name.endswith(".part")])


def most_memory(daemon: Daemon) -> int:
    """The most bytes that it has had in memory."""
    words = Path(f"/proc/{daemon.pid}/status").read_text().split()
    return int(words[words.index("VmHWM:") + 1]) * 1024
