"""The library: what a program says to a running Foreman, over its public API only."""

from foreman.client.faults import (
    Busy,
    ClientFault,
    ConnectFailed,
    NotForeman,
    NotFound,
    Refused,
    Unauthorized,
)
from foreman.client.stream import Chunk, StartsOver
from foreman.client.sync import Client
from foreman.client.text import text_of
from foreman.client.types import (
    Accepted,
    Artifact,
    Delivery,
    Event,
    Health,
    Job,
    Page,
    Queue,
    Rejected,
    Running,
    Submitted,
    Taken,
)

__all__ = [
    "Accepted",
    "Artifact",
    "Busy",
    "Chunk",
    "Client",
    "ClientFault",
    "ConnectFailed",
    "Delivery",
    "Event",
    "Health",
    "Job",
    "NotForeman",
    "NotFound",
    "Page",
    "Queue",
    "Refused",
    "Rejected",
    "Running",
    "StartsOver",
    "Submitted",
    "Taken",
    "Unauthorized",
    "text_of",
]
