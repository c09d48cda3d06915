"""Times as JSON has them: RFC 3339."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec

from foreman.domain.job import Instant

_Zoned = Annotated[datetime, msgspec.Meta(tz=True)]  # RFC 3339 has no local times


def rfc3339(at: Instant | None) -> str | None:
    """Return epoch seconds as RFC 3339 in UTC, to the millisecond."""
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"  # for +00:00


def read_time(value: Any) -> Instant:
    """Return an RFC 3339 time as epoch seconds. Raise ValueError with the allowed form."""
    try:
        at = msgspec.convert(value, _Zoned).timestamp() if "T" in str(value).upper() else _no_time()
        rfc3339(at)  # fails for a time zone offset that leaves the calendar
        return at
    except (msgspec.ValidationError, OverflowError, ValueError):
        return _no_time()


def _no_time() -> Instant:
    raise ValueError("must be an RFC 3339 time such as 2030-01-31T18:00:00Z")
