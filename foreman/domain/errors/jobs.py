"""Errors of jobs, their answers and their events."""

from __future__ import annotations

import re

from foreman.domain.errors.base import ForemanError

FINDS_JOBS = "an id has 26 capitals and digits; GET /jobs?id= finds it by a part, GET /jobs?custom_id= by yours"


class JobNotFound(ForemanError):
    """The job does not exist, or the caller may not see it."""

    code = "job_not_found"

    def __init__(self, job_id: str) -> None:
        super().__init__("job not found")
        whole = re.fullmatch("[0-7][0-9A-HJKMNP-TV-Z]{25}", job_id)  # anything else is not repeated: it may be a path
        self.hint = f"no job has the id {job_id}" if whole else FINDS_JOBS


class JobUnreadable(ForemanError):
    """A stored job is corrupt: another program has changed its rows."""

    code = "job_unreadable"
    hint = "remove it with DELETE /jobs/ID or foreman rm, or restore a backup; foreman check lists all such jobs"

    def __init__(self, job_id: str, why: str) -> None:
        super().__init__(f"job {job_id} cannot be read: {why}")
        self.job_id = job_id


class ArtifactNotFound(ForemanError):
    """The job has no artifact of this name."""

    code = "artifact_not_found"

    def __init__(self) -> None:
        super().__init__("artifact not found")


class IllegalTransition(ForemanError):
    """The job's state, or how often it was retried, does not allow the action."""

    code = "illegal_step"

    def __init__(self, action: str, state: str) -> None:
        super().__init__(f"cannot {action} a job that is {state}")


class CancelledWhileRunning(IllegalTransition):
    """The job had started when it was cancelled, so that it cannot be as it was."""

    hint = "a retry runs it from its beginning"

    def __init__(self, job_id: str) -> None:
        ForemanError.__init__(self, f"cannot uncancel {job_id}: it ran when it was cancelled")


class RetriedTooOften(IllegalTransition):
    """The response was cancelled and retried so often that its events run out of numbers."""

    hint = "submit the request anew"

    def __init__(self, job_id: str) -> None:
        ForemanError.__init__(self, f"cannot retry {job_id}: it was retried too often, its events run out of numbers")


class JobEnded(ForemanError):
    """The job of a waiting call was cancelled, expired or failed."""

    code = "job_ended"

    def __init__(self, state: str, error: str | None) -> None:
        super().__init__(error or f"the job was {state}")
        self.state = state


class StreamBroken(ForemanError):
    """An attempt failed in the middle of a stream; the next one would repeat the part already sent."""

    code = "stream_broken"

    def __init__(self, attempt: int, why: ForemanError | None = None) -> None:
        cause = f" ({why})" if why else ""
        super().__init__(f"the answer broke off after it had begun{cause}, and attempt {attempt} would start it over")


class CursorGone(ForemanError):
    """The events after a cursor were pruned; the client has to list the jobs again."""

    code = "cursor_gone"

    def __init__(self, after: int, oldest: int) -> None:
        super().__init__(f"after: the changes since {after} are no longer kept, the oldest is {oldest}")
