"""A batch on two Foremen with one PostgreSQL: the one that coordinates is killed, and the other goes on."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.support.api import chat
from tests.support.foreman import Daemon, an_upstream, until
from tests.support.ports import held_port
from tests.support.postgres import Server

TOTAL = 60
BAD = {7, 27, 47}


def lines() -> bytes:
    asked = []
    for n in range(TOTAL):
        body = chat(f"#status=400 {n}" if n in BAD else f"#slow=0.02 {n}")
        asked.append({"custom_id": str(n), "method": "POST", "url": "/v1/chat/completions", "body": body})
    return b"".join(json.dumps(one).encode() + b"\n" for one in asked)


def test_a_batch_survives_the_node_that_moves_it_on(one_server: Server, tmp_path: Path) -> None:
    with ExitStack() as started:
        url = one_server.url(started.enter_context(one_server.schema()))
        upstream = started.enter_context(an_upstream("--kind", "openai"))

        def node(name: str) -> Daemon:
            port = held_port()
            daemon = Daemon(
                tmp_path / name,
                addr=f"127.0.0.1:{port}",
                advertise_url=f"http://127.0.0.1:{port}",
                database_url=url,
                node_name=name,
                openai_url=upstream.url,
                lease=10,
            )
            return started.enter_context(daemon)

        first, second = node("first"), node("second")
        # Made at the node that does not coordinate: the other one finds it.
        file = second.http.post("/v1/files", data={"purpose": "batch"}, files={"file": ("a.jsonl", lines())}).json()
        made = second.http.post(
            "/v1/batches",
            json={"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"},
        ).json()

        def batch() -> dict[str, Any]:
            return dict(second.http.get(f"/batches/{made['id']}").json())

        until(lambda: batch()["done"] >= 10)
        first.kill()
        until(lambda: batch()["state"] == "completed")
        shown = batch()
        assert (shown["total"], shown["done"], shown["failed"]) == (TOTAL, TOTAL - len(BAD), len(BAD))
        files = {name: second.http.get(shown["links"][name]).text.splitlines() for name in ("output", "errors")}
        found = {name: [json.loads(line)["custom_id"] for line in some] for name, some in files.items()}
        assert found["errors"] == [str(n) for n in sorted(BAD)]
        assert found["output"] == [str(n) for n in range(TOTAL) if n not in BAD]
        assert second.errors == []
