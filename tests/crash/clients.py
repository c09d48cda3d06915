"""The callers of a fleet: they submit, cancel and stream at any node, and read the feed of each."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx2

from tests.crash.nodes import Node
from tests.crash.verdict import StaticAnswer
from tests.support.api import chat

MODELS = "abc"
ATTEMPT = 15.0  # seconds for an answer: a node may have no more than ten until it says that it cannot tell
AGAIN = 0.05  # seconds before a submission is repeated
PAUSES = (0.02, 0.1, 0.3)  # seconds between jobs
STREAMED = 20.0  # seconds for a stream
UNTIL_THEN = ("store_away", "store_busy", "draining", "target_down", "model_not_found")  # a fleet that has just started


@dataclass(slots=True)
class FleetAnswer(StaticAnswer):
    """What callers of a fleet know besides."""

    refused: set[str] = field(default_factory=set)  # custom ids: nothing of them is stored, they were told
    doubtful: int = 0  # submissions that were told that they may be stored
    cancelled: set[str] = field(default_factory=set)  # job ids, which the answer to a cancel showed as cancelled
    cancels: set[str] = field(default_factory=set)  # job ids, with those whose cancel was not answered
    streamed: dict[str, str] = field(default_factory=dict)  # job id to the text of a stream that came to its end
    odd: list[str] = field(default_factory=list)  # answers that no caller should get


class Thread(threading.Thread):
    """Asks until it is enough."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.enough = threading.Event()
        self.http = httpx2.Client(verify=False, trust_env=False, timeout=ATTEMPT)

    def run(self) -> None:
        with self.http:
            self.work()

    def work(self) -> None:
        """Ask until it is enough."""
        raise NotImplementedError


class Client(Thread):
    """Submits jobs one after the other, each at any node; cancels some of them, and follows the stream of others."""

    def __init__(self, number: int, nodes: Sequence[Node], told: FleetAnswer, chance: random.Random, hook: str) -> None:
        super().__init__()
        self._number, self._nodes, self._told, self._chance, self._hook = number, nodes, told, chance, hook
        self.accepted = 0

    def work(self) -> None:
        for count in range(10**9):
            if self.enough.wait(self._chance.choice(PAUSES)):
                return
            job_id = self._submit(f"c{self._number}-{count}", keyed=self._chance.random() < 0.6)
            if job_id is None:
                continue
            self.accepted += 1
            choice = self._chance.random()
            if choice < 0.1:
                self._cancel(job_id)
            elif choice < 0.3:
                self._stream(job_id)

    def _submit(self, custom_id: str, *, keyed: bool) -> str | None:
        """Submit under a key until it is accepted, or without one once; return the job's id."""
        self._told.tried.add(custom_id)
        body = chat(f"{custom_id} says hello #echo #every=0.02", self._chance.choice(MODELS), custom_id=custom_id)
        if self._chance.random() < 0.5:
            body["state_webhook_url"] = self._hook
        headers = {"Idempotency-Key": custom_id} if keyed else {}
        while True:
            try:
                answer = self.http.post(f"{self._any()}/jobs", json=body, headers=headers)
            except httpx2.ConnectError:
                pass
            except httpx2.HTTPError:
                self._told.unanswered += 1
            else:
                if answer.status_code in (200, 202):
                    job_id = str(answer.json()["job_id"])
                    self._told.acknowledged[job_id] = custom_id
                    return job_id
                self._refused(answer, custom_id, keyed=keyed)
            if not keyed or self.enough.wait(AGAIN):
                return None

    def _refused(self, answer: httpx2.Response, custom_id: str, *, keyed: bool) -> None:
        code = answer.json().get("code")
        if code not in UNTIL_THEN:
            self._told.odd.append(f"a submission was answered {answer.status_code}: {answer.text}")
        elif "may be stored" in answer.text:
            self._told.doubtful += 1
        elif not keyed:
            self._told.refused.add(custom_id)

    def _cancel(self, job_id: str) -> None:
        self._told.cancels.add(job_id)
        try:
            answer = self.http.post(f"{self._any()}/jobs/{job_id}/cancel")
        except httpx2.HTTPError:
            return
        if answer.status_code == 200 and answer.json()["state"] == "cancelled":
            self._told.cancelled.add(job_id)

    def _stream(self, job_id: str) -> None:
        text, until = "", time.monotonic() + STREAMED
        try:
            with self.http.stream("GET", f"{self._any()}/jobs/{job_id}/stream") as answer:
                for line in answer.iter_lines():
                    said = json.loads(line)
                    if "foreman" in said:
                        text = ""
                    text += said.get("message", {}).get("content", "")
                    if said.get("done"):
                        self._told.streamed[job_id] = text
                    if self.enough.is_set() or time.monotonic() > until:
                        return
        except (httpx2.HTTPError, ValueError):  # cut off, also within a line
            return

    def _any(self) -> str:
        return self._chance.choice(self._nodes).url


class Feed(Thread):
    """Reads a node's feed from its first event on, and goes on where it was whenever it breaks."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self.node = node
        self.got: list[tuple[int, str, str]] = []

    @property
    def newest(self) -> int:
        return self.got[-1][0] if self.got else 0

    def work(self) -> None:
        while not self.enough.wait(AGAIN):
            try:
                self._read()
            except (httpx2.HTTPError, ValueError):
                continue

    def _read(self) -> None:
        url, headers = f"{self.node.url}/events?after={self.newest}", {"Accept": "text/event-stream"}
        with self.http.stream("GET", url, headers=headers) as answer:
            for line in answer.iter_lines():
                if self.enough.is_set():
                    return
                if answer.status_code == 200 and line.startswith("data:"):
                    event = json.loads(line.removeprefix("data:"))
                    if "job_id" in event:  # not hello
                        self.got.append((event["seq"], event["job_id"], event["state"]))
