"""Deliveries that end at an awkward moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from foreman.actors.webhook_dispatcher import WebhookDispatcher
from foreman.actors.webhook_sender import Content, WebhookSender
from foreman.domain.errors import DeliveryNotFound, StoreFull
from foreman.domain.job import Delivery, DeliveryState
from foreman.domain.retry import Sent
from foreman.domain.views import show_delivery
from foreman.domain.webhooks import addresses
from foreman.domain.webhooks.admission import Limits
from foreman.domain.webhooks.endpoints import AnyDelivery
from foreman.http.routes.jobs import _page
from foreman.queue.commands import Cancel, DeliveryEnded, Redeliver, Retry
from foreman.store.sqlite.writer import SqliteWriter
from tests.support.actors import InlineReaders, now
from tests.support.queue import QueueHarness

URL = "http://10.0.0.1:9000/hook"


def test_a_delivery_that_is_redelivered_on_its_way_keeps_all_its_retries(data_dir: Path) -> None:
    harness = QueueHarness(SqliteWriter(data_dir / "foreman.db"), webhook_retries=0)
    harness.submit(webhook_url=URL)
    [on_its_way] = harness.store.deliveries("001")
    harness.now += 1
    harness.say(Redeliver(job_id="001", seq=on_its_way.seq))
    harness.say(DeliveryEnded(delivery=on_its_way, sent=Sent(status=500)))
    [left] = harness.store.deliveries("001")
    assert (left.state, left.attempts) == (DeliveryState.DUE, 0)
    assert harness.commit.posted
    harness.say(DeliveryEnded(delivery=left, sent=Sent(status=500)))
    assert harness.store.deliveries("001")[0].state is DeliveryState.DEAD
    harness.store.close()


def test_a_receiver_that_is_gone_hears_no_more_of_a_job_that_runs(data_dir: Path) -> None:
    harness = QueueHarness(SqliteWriter(data_dir / "foreman.db"))
    harness.submit(webhook_url=URL, webhook_events=("queued", "done"))
    job = harness.claimed()
    harness.say(DeliveryEnded(delivery=harness.store.deliveries("001")[0], sent=Sent(status=410)))
    harness.finish(job)
    assert [delivery.state for delivery in harness.store.deliveries("001")] == [DeliveryState.STOPPED]
    harness.store.close()


class Receiver(WebhookSender):
    def __init__(self) -> None:
        super().__init__(addresses.AddressRules.read([], loopback=False), secrets=[], timeout=1, clock=now)
        self.got = 0

    async def post(self, delivery: AnyDelivery, content: Content) -> Sent:
        self.got += 1
        return Sent(status=200)


class FullQueue:
    """Has no room, and then has."""

    def __init__(self, refusals: int) -> None:
        self._refusals = refusals
        self.told = trio.Event()

    async def ask(self, message: Any) -> Any:
        await trio.lowlevel.checkpoint()
        self._refusals -= 1
        if self._refusals >= 0:
            raise StoreFull
        self.told.set()

    async def tell(self, message: Any) -> None:
        await self.ask(message)


async def test_how_a_webhook_ended_is_told_again_once_the_disk_has_room(
    data_dir: Path, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    harness = QueueHarness(SqliteWriter(data_dir / "foreman.db"))
    harness.submit(webhook_url=URL)
    queue, receiver = FullQueue(refusals=3), Receiver()
    webhooks = WebhookDispatcher(
        queue, InlineReaders(harness.store, count=1), receiver, limits=Limits(), inline=100, clock=now
    )
    await nursery.start(webhooks.run)
    await queue.told.wait()
    assert receiver.got == 1
    nursery.cancel_scope.cancel()
    harness.store.close()


def test_a_delivery_is_settled_without_a_look_at_the_others_of_its_job(data_dir: Path) -> None:
    harness = QueueHarness(SqliteWriter(data_dir / "foreman.db"), webhook_retries=0)
    harness.submit(webhook_url=URL)
    for _ in range(200):  # cancelled and retried over and over
        harness.say(Cancel(job_id="001"))
        harness.say(Retry(job_id="001"))
    found = harness.store.deliveries("001")
    assert len(found) == 401
    steps = [0]
    harness.store._db.set_progress_handler(lambda: steps.__setitem__(0, steps[0] + 1), 10)
    for delivery in (found[200], found[-1]):
        harness.say(DeliveryEnded(delivery=delivery, sent=Sent(status=200)))
        harness.say(Redeliver(job_id="001", seq=delivery.seq))
    harness.store._db.set_progress_handler(None, 0)
    assert steps[0] * 10 < 401 * 10  # steps of SQLite's machine: reading all four times takes ten times as many
    harness.store.close()


def test_the_deliveries_of_a_job_are_read_in_pages(data_dir: Path) -> None:
    harness = QueueHarness(SqliteWriter(data_dir / "foreman.db"))
    harness.submit(webhook_url=URL)
    harness.submit(2, webhook_url=URL)
    for _ in range(3):
        harness.say(Cancel(job_id="001"))
        harness.say(Retry(job_id="001"))
    everything = harness.store.deliveries("001")
    assert [one.job_id for one in everything] == ["001"] * 7
    pages: list[Delivery] = []
    while page := harness.store.deliveries("001", after=pages[-1].seq if pages else 0, limit=3):
        pages += page
        assert len(page) <= 3
    assert pages == everything
    harness.store.close()


def test_a_page_of_deliveries_ends_early_when_it_grows_large(data_dir: Path) -> None:
    harness = QueueHarness(SqliteWriter(data_dir / "foreman.db"))
    harness.submit(webhook_url=URL)
    [one] = harness.store.deliveries("001")
    few = [replace(one, seq=seq) for seq in range(1, 1201)]
    large = [replace(one, seq=seq, error="x" * 5000) for seq in range(1, 1201)]
    for found, most in ((few, 1000), (large, 250)):
        shown, following = _page(found, show_delivery)
        assert 100 < len(shown) <= most
        assert following == len(shown)
    assert _page(few[:3], show_delivery)[1] is None
    harness.store.close()


def test_a_delivery_belongs_to_its_job(data_dir: Path) -> None:
    harness = QueueHarness(SqliteWriter(data_dir / "foreman.db"))
    harness.submit(webhook_url=URL)
    harness.submit(2)
    [delivery] = harness.store.deliveries("001")
    assert harness.say(Redeliver(job_id="001", seq=delivery.seq)) == delivery
    with pytest.raises(DeliveryNotFound):
        harness.say(Redeliver(job_id="002", seq=delivery.seq))
    harness.store.close()
