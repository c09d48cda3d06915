"""The filters of jobs as keyword arguments."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TypedDict


class Filters(TypedDict, total=False):
    """The filters of a list of jobs; all given ones must match, None is the same as not given."""

    id: str | None  # a whole id, or 6 or more characters of its beginning or end
    custom_id: str | None  # a prefix if it ends with *
    state: str | None  # one, or several separated by commas
    model: str | None
    priority: str | None
    endpoint: str | None
    error_code: str | None
    batch_id: str | None
    target: str | None  # of the latest attempt
    caller: str | None
    metadata: Mapping[str, str] | None  # pairs that all are in the job's
    created_after: datetime | None
    created_before: datetime | None
    ended_after: datetime | None
    q: str | None  # words in the request or the answer
