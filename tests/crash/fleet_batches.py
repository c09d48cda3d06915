"""A client of batches in a fleet: it uploads, asks, cancels and looks at any node, until it gets an answer."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import httpx2

from tests.crash.batch_client import ENDED, ENDPOINT, Asked, draft
from tests.crash.clients import AGAIN, PAUSES, UNTIL_THEN, FleetAnswer, Thread
from tests.crash.nodes import Node

FATES = ("completes", "completes", "is cancelled", "is invalid")


class Enough(Exception):
    """The client is to end."""


class BatchClient(Thread):
    """Makes batches one after the other; the next one once the last has ended."""

    def __init__(self, nodes: Sequence[Node], told: FleetAnswer, chance: random.Random) -> None:
        super().__init__()
        self._nodes, self._told, self._chance = nodes, told, chance
        self.asked: list[Asked] = []
        self.accepted = 0

    def work(self) -> None:
        """Ask until it is enough."""
        try:
            while not self.enough.wait(self._chance.choice(PAUSES)):
                self.asked.append(draft(len(self.asked), self._chance.choice(FATES), self._chance))
                self._run(self.asked[-1])
        except Enough:
            return

    def _run(self, asked: Asked) -> None:
        sent = {"data": {"purpose": "batch"}, "files": {"file": (f"{asked.number}.jsonl", asked.data)}}
        asked.file_id = self._ask("POST", "/v1/files", **sent)["id"]
        given = {"input_file_id": asked.file_id, "endpoint": ENDPOINT, "completion_window": "24h"}
        given["metadata"] = {"number": str(asked.number)}
        asked.batch_id = self._ask("POST", "/v1/batches", json=given)["id"]
        self.accepted += 1
        while (shown := self._ask("GET", f"/v1/batches/{asked.batch_id}"))["status"] not in ENDED:
            counts = shown["request_counts"] or {"completed": 0}
            if asked.fate == "is cancelled" and counts["completed"] and not asked.cancelled:
                asked.cancels += 1
                answer = self._ask("POST", f"/v1/batches/{asked.batch_id}/cancel")
                asked.cancelled = answer.get("status") == "cancelling"
            if self.enough.wait(AGAIN):
                raise Enough
        asked.over = True

    def _ask(self, method: str, path: str, **sent: Any) -> dict[str, Any]:
        """Return the answer of any node. Raise Enough when there is none in time."""
        tries = 0
        while True:
            headers = {"X-Stainless-Retry-Count": str(tries)}
            tries += 1
            try:
                answer = self.http.request(method, self._chance.choice(self._nodes).url + path, headers=headers, **sent)
            except httpx2.HTTPError:
                pass
            else:
                if answer.status_code in (200, 409):
                    return dict(answer.json())
                if answer.json()["error"]["code"] not in UNTIL_THEN:
                    self._told.odd.append(f"{method} {path} was answered {answer.status_code}: {answer.text}")
            if self.enough.wait(AGAIN):
                raise Enough
