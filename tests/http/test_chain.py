"""A Foreman whose target is a Foreman: another one, or itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.http.conftest import Api
from tests.support.foreman import Daemon, an_upstream
from tests.support.ports import held_port

Fresh = Callable[..., Api]


@pytest.mark.parametrize(
    ("setting", "form"),
    [
        ("openai_url", "http://127.0.0.1:{port}"),
        ("openai_url", "http://localhost:{port}/v1"),
        ("ollama_url", "http://127.0.0.1:{port}"),
    ],
)
def test_a_foreman_in_front_of_itself_does_not_start(tmp_path: Path, setting: str, form: str) -> None:
    port = held_port()
    url = form.format(port=port)
    daemon = Daemon(tmp_path, addr=f"127.0.0.1:{port}", **{setting: url})
    try:
        daemon.start(ready=False)
        assert daemon.wait() == 2
        said = [line for line in daemon.child.lines if not line.startswith("{")]
        assert not any("target is away" in line for line in daemon.child.lines)
        assert said == [f"foreman: setting {setting}: must not lead to this Foreman itself; given: '{url}'"]
    finally:
        daemon.close()


@pytest.mark.parametrize("setting", ["openai_url", "ollama_url"])
def test_a_foreman_in_front_of_another_works(fresh: Fresh, tmp_path: Path, setting: str) -> None:
    with an_upstream("--kind", "both") as upstream, Daemon(tmp_path / "other", ollama_url=upstream.url) as other:
        front = fresh(**{"ollama_url": "", setting: other.url})
        assert front.ended(front.submit("#echo through two"))["result"]["message"]["content"] == "#echo through two "
        boot_ids = {one.get("/healthz").json()["boot_id"] for one in (other.http, front.http)}
        front.daemon.kill()
        front.daemon.start()
        assert front.http.get("/healthz").json()["boot_id"] not in boot_ids
    assert len(boot_ids) == 2
