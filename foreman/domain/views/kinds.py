"""Kinds of values in views, with their JSON schema; what a schema demands, a reader need not enforce."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, TypeAlias, TypeVar, cast, overload

import msgspec

from foreman.domain.endpoints import ENDPOINTS
from foreman.domain.fields import MAX_ATTEMPTS, METADATA
from foreman.domain.job import JOB_ID, DeliveryState, Instant, Priority, State
from foreman.domain.times import rfc3339

T = TypeVar("T")


def schema(**keywords: Any) -> msgspec.Meta:
    """Return JSON schema keywords for the description only: a client reads what a later Foreman may send."""
    return msgspec.Meta(extra_json_schema=keywords)


def about(description: str) -> msgspec.Meta:
    """Return the description of a key."""
    return msgspec.Meta(description=description)


PRIORITIES = [priority.word for priority in Priority]
LINKS = ("self", "events", "stream", "cancel")

Moment: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]
Count: TypeAlias = Annotated[int, schema(minimum=0)]
AtLeastOne: TypeAlias = Annotated[int, schema(minimum=1)]
Attempts: TypeAlias = Annotated[int, schema(minimum=1, maximum=MAX_ATTEMPTS)]
Seconds: TypeAlias = Annotated[float, schema(minimum=0)]
JobId: TypeAlias = Annotated[str, schema(pattern=f"^{JOB_ID}$")]
EndpointName: TypeAlias = Annotated[str, schema(enum=list(ENDPOINTS))]
PriorityName: TypeAlias = Annotated[str, schema(enum=PRIORITIES)]
DeliveryStateName: TypeAlias = Annotated[str, schema(enum=list(DeliveryState))]
Previous: TypeAlias = Annotated[str, schema(enum=["", *State])]
Metadata: TypeAlias = Annotated[
    dict[str, Annotated[str, schema(**METADATA["additionalProperties"])]],
    schema(maxProperties=METADATA["maxProperties"], propertyNames=METADATA["propertyNames"]),
]
ByPriority: TypeAlias = Annotated[
    dict[str, int],
    schema(properties={name: {"type": "integer", "minimum": 0} for name in PRIORITIES}, required=PRIORITIES),
]
Links: TypeAlias = Annotated[
    dict[str, str],
    schema(properties={name: {"type": "string"} for name in LINKS}, required=list(LINKS)),
    about("Paths relative to Foreman's URL."),
]


@overload
def moment(at: Instant) -> Moment: ...
@overload
def moment(at: Instant | None) -> Moment | None: ...
def moment(at: Instant | None) -> Moment | None:
    """Return epoch seconds as a view holds them: as text, since msgspec would write a datetime to the microsecond."""
    return cast("Moment | None", rfc3339(at))


def encoded(view: T) -> T:
    """Return a view as its JSON, to stand for it in a larger view: many of them take much less memory."""
    return cast(T, msgspec.Raw(msgspec.json.encode(view)))


def size_of(view: object) -> int:
    """Return the size of an encoded view in bytes."""
    return len(memoryview(cast(msgspec.Raw, view)))
