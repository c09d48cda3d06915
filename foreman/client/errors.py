"""What a caller of Foreman may meet, each fault a type of its own."""

from __future__ import annotations

from foreman.client.types import Job


class ClientError(Exception):
    """An expected fault; its text is one sentence, with the remedy where there is one."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}: {self.hint}" if self.hint else self.message


class ArgumentInvalid(ClientError, TypeError):
    """A call has an argument by a name that is not known, or that the job's endpoint has no place for."""


class ConnectFailed(ClientError):
    """No answer came: nothing listens there, or it fell silent, or the connection broke."""

    def __init__(self, url: str, why: str = "", *, nobody: bool = False) -> None:
        if why:
            super().__init__(f"cannot reach foreman at {url}: {why}")
        else:
            super().__init__(f"no foreman at {url}", "start one with 'foreman serve', or set FOREMAN_URL")
        self.url = url
        self.nobody: bool = nobody or not why  # no connection was made, so that nothing was heard either


class AnswerTooSlow(ConnectFailed):
    """Not all of the answer came within the time that it may take; or, of a stream, no line did."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(url, why)
        self.hint = "see whether it is busy or stuck there, and try again"


class AnswerTooLarge(ClientError):
    """The answer, or what a stream sends without telling anything, is larger than it may be."""

    def __init__(self, url: str, what: str) -> None:
        super().__init__(
            f"the answer of what listens at {url} is too large ({what})",
            "if that is a foreman, ask for less, or allow more with max_answer=",
        )
        self.url = url


class NotForeman(ClientError):
    """Something answered that does not speak Foreman's API."""

    def __init__(self, url: str, what: str) -> None:
        super().__init__(f"what answers at {url} is not a foreman ({what})", "set FOREMAN_URL to where one listens")


class Refused(ClientError):
    """Foreman understood and said no (4xx), or failed itself (5xx)."""

    def __init__(self, status: int, code: str, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.status = status
        self.code = code  # stable, see the list of error codes


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
        self.code: str | None = job.error_code  # stable, see the list of error codes; None where somebody cancelled it


class NotEnded(ClientError):
    """The job has not ended within the time that was given. It goes on."""

    def __init__(self, job_id: str, waited: float) -> None:
        super().__init__(f"job {job_id} has not ended within {waited:g} s")
        self.job_id = job_id


class NotTheShape(ClientError):
    """The answer is not of the type that was asked for; `text` is what the model said."""

    def __init__(self, wanted: str, why: str, text: str) -> None:
        super().__init__(f"the answer is no {wanted}: {why}")
        self.text = text
