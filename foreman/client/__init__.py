"""The client library: use a running Foreman from a program, over its public API only."""

from foreman.client.async_client import AsyncClient
from foreman.client.errors import (
    AnswerTooLarge,
    AnswerTooSlow,
    ArgumentInvalid,
    Busy,
    ClientError,
    ConnectFailed,
    JobFailed,
    NotEnded,
    NotForeman,
    NotFound,
    NotTheShape,
    Refused,
    Unauthorized,
)
from foreman.client.extract import ToolCall, Usage, text_of
from foreman.client.output_parser import Chunk, StartsOver
from foreman.client.payload import Fields
from foreman.client.sync_client import Client
from foreman.client.types import Job, Line, Page, Submitted, Webhook
from foreman.domain.job import State
from foreman.domain.views import (
    Accepted,
    Artifact,
    Defaults,
    Delivery,
    Event,
    FailingModel,
    Figures,
    Health,
    Queue,
    Rejected,
    Report,
    Running,
    Taken,
)

__all__ = [
    "Accepted",
    "AnswerTooLarge",
    "AnswerTooSlow",
    "ArgumentInvalid",
    "Artifact",
    "AsyncClient",
    "Busy",
    "Chunk",
    "Client",
    "ClientError",
    "ConnectFailed",
    "Defaults",
    "Delivery",
    "Event",
    "FailingModel",
    "Fields",
    "Figures",
    "Health",
    "Job",
    "JobFailed",
    "Line",
    "NotEnded",
    "NotForeman",
    "NotFound",
    "NotTheShape",
    "Page",
    "Queue",
    "Refused",
    "Rejected",
    "Report",
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
