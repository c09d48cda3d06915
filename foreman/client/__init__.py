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
from foreman.client.types import Accepted, Artifact, Event, Health, Job, Page, Queue, Running

__all__ = [
    "Accepted",
    "Artifact",
    "Busy",
    "Chunk",
    "Client",
    "ClientFault",
    "ConnectFailed",
    "Event",
    "Health",
    "Job",
    "NotForeman",
    "NotFound",
    "Page",
    "Queue",
    "Refused",
    "Running",
    "StartsOver",
    "Unauthorized",
    "text_of",
]
