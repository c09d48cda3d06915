"""A batch on two Foremen with one PostgreSQL: the one that coordinates is killed, and the other goes on."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import httpx2
import openai
from openai.types import BatchRequestCounts

from tests.support.api import chat
from tests.support.foreman import Daemon, an_upstream, until
from tests.support.ports import held_port
from tests.support.postgres import Server

TOTAL = 60
BAD = {7, 17, 27, 37, 47, 57}


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
        http = started.enter_context(httpx2.Client(trust_env=False, timeout=60))
        client = openai.OpenAI(base_url=f"{second.url}/v1", api_key="any", http_client=http, max_retries=0)
        file = client.files.create(file=("a.jsonl", lines()), purpose="batch")
        made = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")

        def counts() -> BatchRequestCounts:
            return client.batches.retrieve(made.id).request_counts or BatchRequestCounts(total=0, completed=0, failed=0)

        until(lambda: counts().completed >= 10)
        first.kill()
        until(lambda: client.batches.retrieve(made.id).status == "completed")
        assert counts().model_dump() == {"total": TOTAL, "completed": TOTAL - len(BAD), "failed": len(BAD)}
        batch = client.batches.retrieve(made.id)
        found = [
            [json.loads(line)["custom_id"] for line in client.files.content(str(name)).text.splitlines()]
            for name in (batch.output_file_id, batch.error_file_id)
        ]
        assert found == [[str(n) for n in range(TOTAL) if n not in BAD], [str(n) for n in sorted(BAD)]]
        assert second.errors == []
