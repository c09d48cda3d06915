"""Errors of batches."""

from __future__ import annotations

import re

from foreman.domain.errors.base import ForemanError


class BatchNotFound(ForemanError):
    """The batch does not exist, or the caller may not see it."""

    code = "batch_not_found"
    field = "id"

    def __init__(self, batch_id: str) -> None:
        whole = re.fullmatch("(?:msg)?batch_[0-7][0-9A-HJKMNP-TV-Z]{25}", batch_id)  # anything else is not repeated
        super().__init__(f"No batch found with id '{batch_id}'." if whole else "No batch found with this id.")


class BatchEnded(ForemanError):
    """The batch has ended, or is about to, so that it cannot be cancelled."""

    code = "batch_ended"

    def __init__(self, state: str) -> None:
        super().__init__(f"Cannot cancel a batch with status '{state}'.")


class BatchNotEnded(ForemanError):
    """The batch has not ended: it has no results yet, and cannot be deleted."""

    code = "batch_not_ended"

    def __init__(self, batch_id: str, state: str) -> None:
        super().__init__(f"{batch_id} has not ended, it is {state}")
        self.hint = "wait until it is completed, cancelled or expired"


class LineOfBatch(ForemanError):
    """The job is a line of a batch, which needs it as it is."""

    code = "line_of_batch"

    def __init__(self, action: str, batch_id: str) -> None:
        super().__init__(f"cannot {action} a job of {batch_id}")
        self.hint = "the jobs of a batch are kept with it; cancel the batch, or submit the request anew"
