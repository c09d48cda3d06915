"""The library: what a program says to a running Foreman, over its public API only."""

from foreman.client.answer import ToolCall, Usage, text_of
from foreman.client.asynchronous import AsyncClient
from foreman.client.faults import (
    ArgumentInvalid,
    Busy,
    ClientFault,
    ConnectFailed,
    JobFailed,
    NotEnded,
    NotForeman,
    NotFound,
    NotTheShape,
    Refused,
    Unauthorized,
)
from foreman.client.payload import Fields
from foreman.client.stream import Chunk, StartsOver
from foreman.client.sync import Client
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
    Webhook,
)
from foreman.job import State

__all__ = [
    "Accepted",
    "ArgumentInvalid",
    "Artifact",
    "AsyncClient",
    "Busy",
    "Chunk",
    "Client",
    "ClientFault",
    "ConnectFailed",
    "Delivery",
    "Event",
    "Fields",
    "Health",
    "Job",
    "JobFailed",
    "NotEnded",
    "NotForeman",
    "NotFound",
    "NotTheShape",
    "Page",
    "Queue",
    "Refused",
    "Rejected",
    "Running",
    "StartsOver",
    "State",
    "Submitted",
    "Taken",
    "ToolCall",
    "Unauthorized",
    "Usage",
    "Webhook",
    "text_of",
]
