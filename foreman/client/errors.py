"""Errors of the client, one type for each kind."""

from __future__ import annotations

from foreman.client.types import Job
from foreman.domain.views import Rejected


class ClientError(Exception):
    """Base class of expected errors; the text is one sentence, with a remedy where there is one."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}: {self.hint}" if self.hint else self.message


class ArgumentInvalid(ClientError, TypeError):
    """An argument is unknown, invalid, or not taken by the job's endpoint."""


class ConnectFailed(ClientError):
    """No answer came: the connection was refused, timed out or broke."""

    def __init__(self, url: str, why: str = "", *, nobody: bool = False) -> None:
        if why:
            super().__init__(f"cannot reach foreman at {url}: {why}")
        else:
            super().__init__(f"no foreman at {url}", "start one with 'foreman serve', or set FOREMAN_URL")
        self.url = url
        self.nobody: bool = nobody or not why  # no connection was made


class AnswerTooSlow(ConnectFailed):
    """The answer, or the next line of a stream, did not arrive in time."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(url, why)
        self.hint = "check whether it is busy or stuck, then try again"


class AnswerTooLarge(ClientError):
    """The answer, or one item of a stream, is larger than `max_answer`."""

    def __init__(self, url: str, what: str) -> None:
        super().__init__(
            f"the answer from {url} is too large ({what})",
            "if that is a foreman, ask for less, or raise max_answer=",
        )
        self.url = url


class NotForeman(ClientError):
    """The server at this URL does not speak Foreman's API."""

    def __init__(self, url: str, what: str) -> None:
        super().__init__(f"the server at {url} is not a foreman ({what})", "set FOREMAN_URL to the URL of a foreman")


class Refused(ClientError):
    """Foreman refused the request (4xx), or failed itself (5xx)."""

    def __init__(self, status: int, code: str, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.status = status
        self.code = code  # stable, see the list of error codes


class LinesRefused(Refused):
    """Lines of a batch are wrong; nothing of it is stored. `errors` are the first 1,000, by their numbers."""

    def __init__(self, rejected: int, errors: list[Rejected]) -> None:
        first = errors[0]
        what = (
            f"line {first.line} is refused"
            if rejected == 1
            else f"{rejected:,} lines are refused, the first is {first.line}"
        )
        super().__init__(422, first.code, f"{what}: {first.error}", first.hint)
        self.rejected = rejected
        self.errors = errors


class Unauthorized(Refused):
    """The token is missing, wrong, or not enough (401, 403)."""


class NotFound(Refused):
    """There is no such job, model, artifact or route (404)."""


class Busy(Refused):
    """Foreman cannot take this now; the same call may succeed in `retry_after` seconds (429, 503)."""

    def __init__(self, status: int, code: str, message: str, hint: str | None, retry_after: float) -> None:
        super().__init__(status, code, message, hint)
        self.retry_after = retry_after


class JobFailed(ClientError):
    """The job ended, but not as `done`: it failed, expired, or was cancelled. Raised by `run` and `stream`."""

    def __init__(self, job: Job) -> None:
        ended = {"failed": "failed", "expired": "expired"}.get(job.state, f"was {job.state}")
        super().__init__(f"job {job.job_id} {ended}", job.error)
        self.job = job
        self.code: str | None = job.error_code  # stable, see the list of error codes; None for a cancelled job


class NotEnded(ClientError):
    """The job, or batch, has not ended within the given time. It goes on."""

    def __init__(self, job_id: str, waited: float) -> None:
        what = job_id if "batch_" in job_id else f"job {job_id}"  # msgbatch_… too
        super().__init__(f"{what} has not ended within {waited:g} s")
        self.job_id = job_id


class NotTheShape(ClientError):
    """The answer is not of the requested type; `text` is the answer's text."""

    def __init__(self, wanted: str, why: str, text: str) -> None:
        super().__init__(f"the answer is not a valid {wanted}: {why}")
        self.text = text
