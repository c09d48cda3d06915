"""Receivers of webhooks in all their moods, in place of the webhook sender's network."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict

import msgspec
import trio

from foreman.actors.webhook_sender import Content, WebhookSender
from foreman.domain.job import Delivery
from foreman.domain.retry import Sent
from foreman.domain.webhooks.endpoints import AnyDelivery
from tests.simulation.witness import Book

RECEIVERS = tuple(f"http://10.0.0.{n}:9000" for n in range(1, 6))
MOODS = ("well", "well", "well", "down", "500", "hangs", "slow", "moody", "busy", "gone")
TIMEOUT = 15.0  # seconds for a delivery
PER_RECEIVER = 4
TOGETHER = 12


class ScriptedReceivers(WebhookSender):
    """Posts to nobody: what the receivers say is played."""

    def __init__(self, dice: random.Random, book: Book) -> None:
        self._dice = dice
        self._book = book
        self.moods = dict.fromkeys(RECEIVERS, "well")
        self.taken: Counter[int] = Counter()  # those answered with 2xx
        self.refused: set[str] = set()  # jobs that a receiver answered 410 for
        self._flying: dict[str, list[Delivery]] = defaultdict(list)  # by receiver

    def expires_in(self) -> float:
        return math.inf  # there are no connections

    async def close_expired(self) -> None:
        pass

    def restart(self) -> None:
        self._flying.clear()

    def on_their_way(self) -> list[int]:
        return [delivery.seq for flying in self._flying.values() for delivery in flying]

    async def post(self, delivery: AnyDelivery, content: Content) -> Sent:
        assert isinstance(delivery, Delivery)
        flying = self._flying[delivery.receiver]
        if delivery.job_id in [other.job_id for other in flying]:
            self._book.complain(f"two webhooks of {delivery.job_id} at once")
        flying.append(delivery)
        if len(flying) > PER_RECEIVER or sum(map(len, self._flying.values())) > TOGETHER:
            self._book.complain(f"{len(flying)} webhooks at once to {delivery.receiver}")
        self._check(delivery, content.body)
        try:
            sent = await self._answer(delivery, self.moods[delivery.receiver])
        finally:
            flying.remove(delivery)
        if sent.status == 200:
            self.taken[delivery.seq] += 1
        else:
            self._book.refused[delivery.seq] += 1
        self._book.tally[f"webhook {sent.status}"] += 1
        return sent

    def _check(self, delivery: Delivery, body: bytes) -> None:
        said, event = msgspec.json.decode(body), self._book.history[delivery.seq - 1]
        if (said["job_id"], said["seq"], said["state"]) != (event.job_id, event.seq, event.state):
            self._book.complain(f"webhook {delivery.seq} says {said}, the log {event}")
        if said["state"] == "done" and said["result"]["message"]["content"] != self._book.said[event.job_id]:
            self._book.complain(f"webhook {delivery.seq} says {said['result']}")

    async def _answer(self, delivery: Delivery, mood: str) -> Sent:
        if mood == "moody":
            mood = self._dice.choice(MOODS[:7])
        match mood:
            case "down":
                await trio.sleep(0.01)
                return Sent(error="connection refused")
            case "hangs":
                await trio.sleep(TIMEOUT)
                return Sent(error="no answer")
            case "slow":
                await trio.sleep(self._dice.uniform(1, TIMEOUT))
            case "500":
                return Sent(status=500, error="the receiver answered 500")
            case "busy":
                return Sent(
                    status=429, error="the receiver answered 429", retry_after=self._dice.choice([0.0, 90, 9e9])
                )
            case "gone":
                if self._dice.random() < 0.2:
                    self.refused.add(delivery.job_id)
                    return Sent(status=410, error="the receiver answered 410")
        await trio.sleep(0.05)
        return Sent(status=200)
