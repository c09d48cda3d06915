"""Anthropic's message batches on PostgreSQL: what its texts cannot hold, and two nodes of which one is killed."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.support.foreman import Daemon, an_upstream, until
from tests.support.ports import held_port
from tests.support.postgres import Server

ROUTE = "/v1/messages/batches"
TOTAL = 60
ODD: dict[int, dict[str, Any]] = {3: {"model": "a\0"}, 13: {"model": None}, 23: {"metadata": {"user_id": "u\0"}}}


def requests() -> list[dict[str, Any]]:
    return [
        {
            "custom_id": str(n),
            "params": {"model": "a", "messages": [{"role": "user", "content": f"#slow=0.02 {n} \0"}]} | ODD.get(n, {}),
        }
        for n in range(TOTAL)
    ]


def test_a_message_batch_survives_the_node_that_moves_it_on(one_server: Server, tmp_path: Path) -> None:
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
        made = second.http.post(ROUTE, json={"requests": requests()}).json()

        def batch() -> dict[str, Any]:
            return dict(second.http.get(f"/batches/{made['id']}").json())

        until(lambda: batch()["done"] >= 10)
        first.kill()
        until(lambda: second.http.get(f"{ROUTE}/{made['id']}").json()["processing_status"] == "ended")
        shown = second.http.get(f"{ROUTE}/{made['id']}").json()
        assert shown["request_counts"]["succeeded"] + shown["request_counts"]["errored"] == TOTAL
        lines = [json.loads(line) for line in second.http.get(shown["results_url"]).text.splitlines()]
        assert [line["custom_id"] for line in lines] == [str(n) for n in range(TOTAL)]
        errored = {int(line["custom_id"]) for line in lines if line["result"]["type"] == "errored"}
        assert errored == {3, 13}
        assert second.http.delete(f"{ROUTE}/{made['id']}").json()["type"] == "message_batch_deleted"
        assert second.http.get(shown["results_url"]).status_code == 404
        assert second.errors == []
