"""Events for webhook endpoints, posted in the transaction of what they tell of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from foreman.domain.caller import Caller
from foreman.domain.errors import AdminRequired, EndpointNotFound, StoreFull
from foreman.domain.job import DeliveryState
from foreman.domain.retry import Sent
from foreman.domain.webhooks.endpoints import OLD_SECRET_FOR, EndpointDelivery, WebhookEndpoint
from foreman.queue.commands import DeliveryEnded, Note, Prune
from foreman.queue.endpoint_commands import AddEndpoint, ChangeEndpoint, DeleteEndpoint, RedeliverEvent, RotateSecret
from foreman.queue.handlers import table
from foreman.queue.handlers.endpoints import post
from foreman.queue.handlers.ledger import Ledger
from foreman.store.sqlite.writer import SqliteWriter
from tests.support.queue import QueueHarness

ENDPOINT = "whe_01ARZ3NDEKTSV4RRFFQ69G5FAV"
URL = "http://10.0.0.1:9000/hook"
BATCH = "batch_01ARZ3NDEKTSV4RRFFQ69G5FAV"


@pytest.fixture
def harness(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[QueueHarness]:
    def end_batch(ledger: Ledger, message: Note) -> None:
        """Stand in for the handler that ends a batch: it writes, and posts an event."""
        ledger.store.set_note("the batch", message.value)
        post(ledger, owner="alice", kind=message.value, subject=BATCH)
        if message.name == "no room":
            raise StoreFull

    monkeypatch.setitem(table.HANDLERS, Note, end_batch)
    harness = QueueHarness(SqliteWriter(data_dir / "foreman.db"), webhook_retries=0)
    yield harness
    harness.store.close()


def add(harness: QueueHarness, *kinds: str, owner: str = "alice", endpoint_id: str = ENDPOINT) -> WebhookEndpoint:
    added = AddEndpoint(endpoint_id, owner, "mine", URL, kinds or ("batch.completed",), "whsec_b25l")
    made = harness.say(added)
    assert isinstance(made, WebhookEndpoint)
    return made


def deliveries(harness: QueueHarness, endpoint_id: str = ENDPOINT) -> list[EndpointDelivery]:
    return harness.store.endpoint_deliveries(endpoint_id, limit=100)


def test_the_end_of_a_batch_is_posted_with_what_it_writes_or_not_at_all(harness: QueueHarness) -> None:
    add(harness)
    add(harness, owner="bob", endpoint_id=ENDPOINT[:-1] + "W")
    with pytest.raises(StoreFull):
        harness.say(Note("no room", "batch.completed"))
    assert deliveries(harness) == [] and harness.store.note("the batch") is None
    harness.say(Note("the batch", "batch.failed"))  # nobody has asked for these
    assert (deliveries(harness), harness.commit.posted) == ([], False)
    harness.say(Note("the batch", "batch.completed"))
    [delivery] = deliveries(harness)
    assert harness.commit.posted
    assert (delivery.type, delivery.subject, delivery.owner) == ("batch.completed", BATCH, "alice")
    assert harness.store.owners_due() == ["alice"]
    [due] = harness.store.receivers_due("alice", limit=10)
    assert (due.receiver, due.failed) == ("http://10.0.0.1:9000", False)
    assert harness.store.due("alice", due.receiver, now=harness.now, limit=10) == [delivery]
    assert harness.store.due("alice", due.receiver, now=harness.now, besides=frozenset([delivery.id]), limit=1) == []


def test_what_is_due_of_jobs_and_at_endpoints_is_found_together(harness: QueueHarness) -> None:
    add(harness)
    harness.submit(webhook_url=URL, owner="alice")
    harness.now += 1
    harness.say(Note("the batch", "batch.completed"))
    [due] = harness.store.receivers_due("alice", limit=10)
    found = harness.store.due("alice", due.receiver, now=harness.now, limit=10)
    assert [type(one).__name__ for one in found] == ["Delivery", "EndpointDelivery"]
    assert due.at == found[0].due_at
    assert harness.store.due("alice", due.receiver, now=harness.now, limit=1) == found[:1]


def test_an_outcome_is_stored_and_410_holds_for_what_it_was_about(harness: QueueHarness) -> None:
    add(harness)
    harness.say(Note("the batch", "batch.completed"))
    [delivery] = deliveries(harness)
    harness.say(DeliveryEnded(delivery=delivery, sent=Sent(status=500)))
    assert deliveries(harness)[0].state is DeliveryState.DEAD
    again = harness.say(RedeliverEvent(ENDPOINT, delivery.id))
    assert isinstance(again, EndpointDelivery) and harness.commit.posted
    harness.say(DeliveryEnded(delivery=deliveries(harness)[0], sent=Sent(status=410)))
    assert [one.state for one in deliveries(harness)] == [DeliveryState.STOPPED]
    harness.say(Note("the batch", "batch.completed"))
    assert len(deliveries(harness)) == 1


def test_deliveries_that_have_ended_are_pruned_as_jobs_are(harness: QueueHarness) -> None:
    add(harness)
    harness.say(Note("the batch", "batch.completed"))
    harness.now += 8 * 86400
    harness.say(Prune(most=10))
    [delivery] = deliveries(harness)  # it is still due
    harness.say(DeliveryEnded(delivery=delivery, sent=Sent(status=204)))
    harness.say(Prune(most=10))
    assert [one.state for one in deliveries(harness)] == [DeliveryState.DELIVERED]
    harness.now += 8 * 86400
    harness.say(Prune(most=10))
    assert deliveries(harness) == []


def test_an_old_secret_signs_for_a_day(harness: QueueHarness) -> None:
    add(harness)
    rotated = harness.say(RotateSecret(ENDPOINT, "whsec_dHdv", keep_old=True))
    assert isinstance(rotated, WebhookEndpoint)
    assert rotated.secrets(harness.now) == ("whsec_dHdv", "whsec_b25l")
    assert rotated.secrets(harness.now + OLD_SECRET_FOR) == ("whsec_dHdv",)
    assert harness.store.webhook_endpoint(ENDPOINT) == rotated


def test_a_new_url_is_where_what_is_due_goes_and_a_deletion_takes_it_along(harness: QueueHarness) -> None:
    add(harness)
    harness.say(Note("the batch", "batch.completed"))
    harness.say(ChangeEndpoint(ENDPOINT, url="http://10.0.0.2/hook"))
    assert [(one.url, one.receiver) for one in deliveries(harness)] == [("http://10.0.0.2/hook", "http://10.0.0.2")]
    assert harness.commit.posted
    harness.say(DeleteEndpoint(ENDPOINT))
    assert deliveries(harness) == [] and harness.store.owners_due() == []


@pytest.mark.parametrize(("sees_all", "error"), [(True, AdminRequired), (False, EndpointNotFound)])
def test_others_change_nothing(harness: QueueHarness, sees_all: bool, error: type[Exception]) -> None:
    made = add(harness)
    bob = Caller("bob", admin=False, sees_all=sees_all)
    for message in (
        ChangeEndpoint(ENDPOINT, name="b", caller=bob),
        RotateSecret(ENDPOINT, "whsec_b25l", caller=bob),
        DeleteEndpoint(ENDPOINT, bob),
        RedeliverEvent(ENDPOINT, "evt", bob),
    ):
        with pytest.raises(error):
            harness.say(message)
    assert harness.store.webhook_endpoint(ENDPOINT) == made
