"""HTTPS, with a certificate that only this test's authority vouches for."""

from __future__ import annotations

import contextlib
import socket
import ssl
from pathlib import Path

import pytest
import trustme

from foreman.client import Client
from foreman.client.errors import ConnectFailed
from tests.support.foreman import Daemon, Upstream


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    for number, part in enumerate(issued.cert_chain_pems):
        part.write_to_path(str(tmp_path / "cert.pem"), append=number > 0)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    return authority


@pytest.mark.parametrize("files", [{"tls_cert": "both.pem"}, {"tls_cert": "cert.pem", "tls_key": "key.pem"}])
def test_https_is_served_and_checked(
    upstream: Upstream,
    authority: trustme.CA,
    files: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Daemon(
        tmp_path / "data", ollama_url=upstream.url, **{name: tmp_path / f for name, f in files.items()}
    ) as daemon:
        daemon.trust = ssl.create_default_context()
        authority.configure_trust(daemon.trust)
        daemon.start()
        assert daemon.url.startswith("https://")
        with Client(daemon.url) as client, pytest.raises(ConnectFailed, match="certificate"):
            client.queue()
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
        with Client(daemon.url) as client:
            assert client.queue().slots == 1
        big = {"model": "a", "messages": [{"role": "user", "content": "x" * 2_000_000}]}
        assert daemon.http.post("/api/chat", json=big).status_code == 200


def test_a_handshake_that_never_ends_is_not_waited_for(authority: trustme.CA, tmp_path: Path) -> None:
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    hello = ssl.MemoryBIO()
    client = trust.wrap_bio(ssl.MemoryBIO(), hello, server_hostname="127.0.0.1")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    first = hello.read()
    with Daemon(tmp_path / "data", tls_cert=tmp_path / "both.pem", idle_timeout=0.5) as daemon:
        daemon.trust = trust
        daemon.start()
        host, _, port = daemon.url.removeprefix("https://").partition(":")
        for begun in (b"", first[:20], first):
            with socket.create_connection((host, int(port)), timeout=50) as raw:  # less than Hypercorn's minute
                raw.sendall(begun)
                with contextlib.suppress(ConnectionError):
                    while raw.recv(65536):
                        pass


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"tls_cert": "nowhere.pem"}, "cannot be used with its key (No such file or directory)"),
        ({"tls_cert": "cert.pem"}, "cannot be used with its key"),
        ({"tls_key": "key.pem"}, "needs tls_cert too"),
    ],
)
@pytest.mark.usefixtures("authority")
def test_files_that_do_not_fit_are_refused_in_one_line(files: dict[str, str], words: str, tmp_path: Path) -> None:
    given = {name: tmp_path / file for name, file in files.items()}
    daemon = Daemon(tmp_path / "data", **given).start(ready=False)
    assert daemon.wait() == 2
    [line] = [line for line in daemon.child.lines if line.startswith("foreman:")]
    daemon.close()
    assert words in line
