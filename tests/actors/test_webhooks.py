"""Receivers in their hundreds and thousands: who gets a place, and what it costs to find those who wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
from trio.testing import MockClock

from foreman.actors import webhook_dispatcher as module
from foreman.actors.webhook_dispatcher import WebhookDispatcher
from foreman.actors.webhook_sender import Content, WebhookSender, content_of
from foreman.domain.job import DeliveryState
from foreman.domain.retry import Backoff, Sent
from foreman.domain.webhooks import addresses
from foreman.domain.webhooks.admission import MOST_WAITING, Limits
from foreman.domain.webhooks.endpoints import AnyDelivery
from foreman.queue.commands import SubmitMany
from foreman.store.protocol import Reader
from foreman.store.sqlite.writer import SqliteWriter
from tests.support.actors import InlineReaders, draft, now
from tests.support.queue import QueueHarness

T = TypeVar("T")

TIMEOUT = 15.0  # seconds that a silent receiver holds a place
STEPS_OF_A_READ = 60_000  # of SQLite's machine; for 256 receivers it takes about 25,000


class Receivers(WebhookSender):
    """Answer by the path of the URL: /well, /slow, /silent, /refuses."""

    def __init__(self) -> None:
        super().__init__(addresses.AddressRules.read([], loopback=False), secrets=[], timeout=1, clock=now)
        self.got: list[str] = []  # receivers, in the order in which they were called
        self.news = trio.Event()
        self.together = self.most_together = 0

    async def post(self, delivery: AnyDelivery, content: Content) -> Sent:
        self.got.append(delivery.receiver)
        self._tell()
        self.together += 1
        self.most_together = max(self.most_together, self.together)
        try:
            match delivery.url.rpartition("/")[2]:
                case "silent":
                    await trio.sleep(TIMEOUT)
                    return Sent(error="no answer")
                case "slow":
                    await trio.sleep(TIMEOUT - 1)
                case "refuses":
                    return Sent(error="connection refused")
            await trio.lowlevel.checkpoint()
            return Sent(status=204)
        finally:
            self.together -= 1
            self._tell()

    def _tell(self) -> None:
        self.news.set()
        self.news = trio.Event()


class CountedReaders(InlineReaders):
    """Counts what each read costs, in steps of SQLite's machine."""

    reads = 0
    dearest = 0

    async def read(self, question: Callable[[Reader], T]) -> T:
        db, steps = self._free[0]._db, [0]  # type: ignore[attr-defined]
        db.set_progress_handler(lambda: steps.__setitem__(0, steps[0] + 100), 100)
        answer = await super().read(question)
        db.set_progress_handler(None, 0)
        self.reads += 1
        self.dearest = max(self.dearest, steps[0])
        return answer


@dataclass
class Post:
    """The webhooks at work over command handlers."""

    harness: QueueHarness
    receivers: Receivers
    readers: CountedReaders
    nursery: trio.Nursery
    webhooks: WebhookDispatcher = field(init=False)
    payloads: int = 0
    _number: int = 0

    def __post_init__(self) -> None:
        self.webhooks = WebhookDispatcher(self, self.readers, self.receivers, limits=Limits(), inline=100, clock=now)

    async def start(self) -> None:
        await self.nursery.start(self.webhooks.run)

    async def ask(self, message: Any) -> Any:
        await trio.lowlevel.checkpoint()
        self.harness.now = now()
        answer = self.harness.say(message)
        self.webhooks.on_commit(self.harness.commit)
        return answer

    async def tell(self, message: Any) -> None:
        await self.ask(message)

    def submit(self, *urls: str, owner: str = "") -> list[str]:
        """Jobs in one commit, each with one webhook; their receivers."""
        self._number += len(urls)
        numbers = range(self._number - len(urls), self._number)
        drafts = [draft(n, webhook_url=url, owner=owner) for n, url in zip(numbers, urls, strict=True)]
        self.harness.say(SubmitMany(drafts=drafts))
        self.webhooks.on_commit(self.harness.commit)
        return [url.rpartition("/")[0] for url in urls]

    async def until(self, condition: Callable[[], bool], within: float) -> None:
        """Wait until calls make it so; by the autojump clock, never for real."""
        with trio.fail_after(within):
            while not condition():
                await self.receivers.news.wait()

    async def until_called(self, receiver: str, within: float) -> None:
        await self.until(lambda: receiver in self.receivers.got, within)


@pytest.fixture
async def post(
    data_dir: Path, autojump_clock: MockClock, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Post]:
    harness = QueueHarness(SqliteWriter(data_dir / "foreman.db"), webhook_backoff=Backoff(5, 600))
    made = Post(harness, Receivers(), CountedReaders(harness.store, count=1), nursery)

    def counted(*args: Any) -> Content:
        made.payloads += 1
        return content_of(*args)

    monkeypatch.setattr(module, "content_of", counted)
    await made.start()
    yield made
    nursery.cancel_scope.cancel()
    with trio.CancelScope(shield=True):
        await trio.testing.wait_all_tasks_blocked()  # a look that is under way has a store to end in
    harness.store.close()


def hooks(count: int, kind: str, name: str = "r") -> list[str]:
    return [f"http://{name}{n:05}/{kind}" for n in range(count)]


async def test_thousands_of_silent_receivers_cost_no_more_than_the_places_they_get(
    autojump_clock: MockClock, post: Post
) -> None:
    tasks = trio.lowlevel.current_statistics().tasks_living
    post.submit(*hooks(3_000, "silent"), owner="a")
    await trio.sleep(TIMEOUT / 2)
    assert len(post.receivers.got) == 19  # three times the five places of 24 that it leaves, and the last one before
    assert trio.lowlevel.current_statistics().tasks_living <= tasks + 19
    assert post.payloads == 19
    assert post.readers.reads < 19 + 2 * 3_000 / 256 + 5
    assert post.readers.dearest < STEPS_OF_A_READ
    [fresh] = post.submit("http://fresh/well", owner="b")
    await post.until_called(fresh, 0.1)


async def test_a_receiver_that_is_well_does_not_wait_for_silent_ones_of_its_own_caller(
    autojump_clock: MockClock, post: Post
) -> None:
    [well] = post.submit("http://well/well")
    await post.until_called(well, 0.1)
    post.receivers.got.clear()
    post.submit(*hooks(150, "silent"))
    await trio.sleep(TIMEOUT / 2)
    post.submit("http://well/well")
    await post.until_called(well, 0.1)


async def test_a_new_receiver_waits_for_a_few_silent_ones_of_its_own_caller_not_for_all(
    autojump_clock: MockClock, post: Post
) -> None:
    silent = post.submit(*hooks(150, "silent"))
    await trio.sleep(1)
    [fresh] = post.submit("http://fresh/well")
    await post.until_called(fresh, TIMEOUT)
    await post.until(lambda: set(post.receivers.got) == {fresh, *silent}, 3600)  # and every silent one has its turn


async def test_a_new_receiver_does_not_wait_for_ill_ones_of_its_own_caller(
    autojump_clock: MockClock, post: Post
) -> None:
    ill = post.submit(*hooks(15, "silent"))
    await trio.sleep(TIMEOUT + 1)
    post.submit(*(f"{receiver}/silent" for receiver in ill))
    await trio.sleep(1)
    assert post.receivers.together == 13  # of the 16 places that there are for such
    [fresh] = post.submit("http://fresh/well")
    await post.until_called(fresh, 0.1)


async def test_receivers_that_answer_slowly_are_held_to_the_places_of_ill_ones(
    autojump_clock: MockClock, post: Post
) -> None:
    slow = post.submit(*hooks(30, "slow"))
    await post.until(lambda: set(post.receivers.got) == set(slow) and not post.receivers.together, 120)
    post.receivers.most_together = 0
    post.submit(*(f"{receiver}/slow" for receiver in slow for _ in range(4)))
    await trio.sleep(TIMEOUT / 2)
    assert post.receivers.most_together == 13


async def test_more_receivers_than_can_be_kept_in_mind_get_all_that_is_theirs(
    autojump_clock: MockClock, post: Post
) -> None:
    urls = hooks(2 * MOST_WAITING + 500, "well")
    receivers = post.submit(*urls)
    post.submit(*urls[::7])
    # The look that nothing calls for would come after a minute.
    await post.until(lambda: len(post.receivers.got) == len(urls) + len(urls[::7]), 60)
    assert Counter(post.receivers.got) == Counter(receivers) + Counter(receivers[::7])
    assert post.receivers.most_together <= 32
    assert post.readers.dearest < STEPS_OF_A_READ


async def test_what_was_ill_before_a_restart_takes_no_places_of_the_unknown(
    autojump_clock: MockClock, post: Post
) -> None:
    post.submit(*hooks(40, "silent"))
    await trio.sleep(3 * TIMEOUT)
    again = Receivers()
    restarted = Post(post.harness, again, CountedReaders(post.harness.store, count=1), post.nursery)
    post.receivers.got.clear()
    assert {d.state for n in range(40) for d in post.harness.store.deliveries(f"{n:03}")} == {DeliveryState.DUE}
    await trio.sleep(20)
    await restarted.start()
    await trio.sleep(1)
    assert again.together == 13


async def test_a_retry_that_is_not_yet_due_is_not_forgotten_when_another_webhook_has_arrived(post: Post) -> None:
    """The last look saw what was due of the receiver at once, and not what becomes due after it."""
    await post.start()
    (receiver,) = post.submit("http://r.example/refuses")
    await post.until_called(receiver, within=1)
    await trio.sleep(2)
    post.submit("http://r.example/well")
    await post.until(lambda: len(post.receivers.got) == 3, within=10)
