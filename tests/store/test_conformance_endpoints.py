"""Webhook endpoints and what is due at them, on every engine."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from foreman.domain.job import DeliveryState
from foreman.domain.webhooks.endpoints import EndpointDelivery, WebhookEndpoint, first_delivery
from foreman.store.own import OwnJobs
from tests.store.conftest import Store

URL = "http://b.example/hook"


def an_endpoint(number: int = 1, owner: str = "alice") -> WebhookEndpoint:
    return WebhookEndpoint(
        id=f"whe_{number}",
        owner=owner,
        name="mine",
        url=URL,
        event_types=("batch.failed", "response.completed"),
        secret="whsec_b25l",
        created_at=100.0,
    )


def an_event(number: int, at: float, endpoint: WebhookEndpoint | None = None) -> EndpointDelivery:
    return first_delivery(endpoint or an_endpoint(), f"evt_{number}", "batch.failed", f"batch_{number % 2}", now=at)


def put(store: Store, *records: WebhookEndpoint | EndpointDelivery) -> None:
    with store.transaction(100):
        for one in records:
            if isinstance(one, WebhookEndpoint):
                store.put_webhook_endpoint(one)
            else:
                store.put_endpoint_deliveries([one])


def test_endpoints_are_kept_listed_changed_and_deleted(open_store: Callable[[], Store]) -> None:
    store = open_store()
    first, second, others = an_endpoint(1), an_endpoint(2), an_endpoint(3, "bob")
    put(store, first, second, others, an_event(1, 100.0, second))
    changed = replace(first, name="new", old_secret="whsec_dHdv", old_until=200.0, updated_at=150.0)
    put(store, changed)
    store = open_store()
    assert store.webhook_endpoint("whe_1") == changed
    assert store.webhook_endpoints(limit=9) == [others, second, changed]
    assert store.webhook_endpoints(owner="alice", limit=1) == [second]
    assert store.webhook_endpoints(owner="alice", after="whe_2", limit=9) == [changed]
    with store.transaction(100):
        store.delete_webhook_endpoint("whe_2")
    assert store.webhook_endpoint("whe_2") is None and store.endpoint_delivery("evt_1") is None


def test_what_is_due_is_found_by_caller_and_receiver(store: Store) -> None:
    other = replace(an_endpoint(2), url="http://a.example/")
    events = an_event(1, 100.0), an_event(2, 90.0), an_event(3, 80.0, other)
    put(store, an_endpoint(), other, an_endpoint(3, "bob"), *events)
    assert store.owners_due() == ["alice"]
    found = store.receivers_due("alice", limit=9)
    assert [(due.receiver, due.at, due.failed) for due in found] == [
        ("http://a.example", 80.0, False),
        ("http://b.example", 90.0, False),
    ]
    assert store.receivers_due("alice", after="http://a.example", limit=9) == found[1:]
    assert store.receivers_due("alice", limit=1) == found[:1]
    assert store.due("alice", "http://b.example", now=100.0, limit=9) == [events[1], events[0]]
    assert store.due("alice", "http://b.example", now=95.0, limit=9) == [events[1]]
    put(store, replace(events[1], attempts=1, status=500, error="the receiver answered \0 500", due_at=300.0))
    assert [due.failed for due in store.receivers_due("alice", limit=9)] == [False, True]
    with store.transaction(100):
        store.redirect_deliveries(replace(an_endpoint(), url="http://a.example/new"))
    assert [due.receiver for due in store.receivers_due("alice", limit=9)] == ["http://a.example"]


def test_deliveries_are_listed_and_pruned_once_they_have_ended(store: Store) -> None:
    events = [an_event(number, 100.0) for number in range(1, 5)]
    put(store, an_endpoint(), *events)
    assert store.endpoint_deliveries("whe_1", limit=2) == [events[3], events[2]]
    assert store.endpoint_deliveries("whe_1", after="evt_2", limit=9) == [events[0]]
    assert store.endpoint_deliveries("whe_1", subject="batch_0", limit=9) == [events[3], events[1]]
    put(store, *(replace(one, state=DeliveryState.DELIVERED, ended_at=200.0) for one in events[:3]))
    with store.transaction(100):
        assert store.prune_endpoint_deliveries(199.0, 9) == 0
        assert store.prune_endpoint_deliveries(200.0, 2) == 2
        assert store.prune_endpoint_deliveries(200.0, 2) == 1
    assert store.endpoint_deliveries("whe_1", limit=9) == [events[3]]


def test_others_see_no_endpoints_with_private_jobs(store: Store) -> None:
    put(store, an_endpoint(), an_event(1, 100.0))
    bob, alice = OwnJobs(store, "bob"), OwnJobs(store, "alice")
    assert bob.webhook_endpoint("whe_1") is None and bob.endpoint_delivery("evt_1") is None
    assert bob.webhook_endpoints(limit=9) == [] == bob.webhook_endpoints(owner="alice", limit=9)
    assert bob.endpoint_deliveries("whe_1", limit=9) == []
    assert alice.webhook_endpoint("whe_1") is not None and alice.endpoint_delivery("evt_1") is not None
    assert len(alice.webhook_endpoints(limit=9)) == len(alice.endpoint_deliveries("whe_1", limit=9)) == 1
