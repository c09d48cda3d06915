"""Errors of targets; `cost` decides about the retry (see retry.py)."""

from __future__ import annotations

from foreman.domain.errors.base import Cost, ForemanError, Unavailable


class TargetError(ForemanError):
    """The target did not give an answer."""

    code = "target_fault"
    cost = Cost.ATTEMPT
    began = False  # True when the answer had begun
    retry_after: float | None = None  # seconds, if the target gave a time
    status: int = 0  # HTTP status of the target's answer, if the error is one
    body: bytes = b""  # the body that came with that status; it may be cut off


class TargetUnavailable(TargetError):
    """No connection to the target could be made; nothing was sent."""

    code = "target_unavailable"
    cost = Cost.NOTHING

    def __init__(self, target: str, why: str) -> None:
        super().__init__(f"cannot reach {target}: {why}")


class TargetDown(Unavailable):
    """The target is down, and its last inventory does not have the model."""

    code = "target_down"

    def __init__(self, model: str, error: Exception) -> None:
        super().__init__(f"cannot ask the target for model {model!r}: {error}")


class Shortage(TargetError):
    """This machine lacks descriptors, memory, threads or ports; temporary. A larger `ulimit -n` may help."""

    code = "shortage"
    cost = Cost.NOTHING
    retry_after = 2.0  # seconds

    def __init__(self, what: str) -> None:
        super().__init__(f"foreman is short of what it needs: {what}")


class TargetBusy(TargetError):
    """The target answered 429 or 503, and did not start on the request."""

    code = "target_busy"
    cost = Cost.NOTHING

    def __init__(self, target: str, retry_after: float | None = None) -> None:
        super().__init__(f"{target} is busy")
        self.retry_after = retry_after


class NotLoaded(TargetBusy):
    """The model is not loaded, and loading it would unload one that jobs need."""

    retry_after = 5.0  # seconds

    def __init__(self, model: str) -> None:
        TargetError.__init__(self, f"{model} is not loaded, and jobs need the place that it would take")


class ModelNotFound(ForemanError):
    """The target's inventory does not have the model, even after a refresh."""

    code = "model_not_found"

    def __init__(self, model: str, known: list[str] | None = None, *, where: str = "the target has") -> None:
        super().__init__("model not found")
        self.model = model
        if known:
            self.hint = f"{where}: {', '.join(known[:10])}"


class NotServed(TargetError):
    """The target does not serve the job's endpoint."""

    code = "not_served"
    cost = Cost.JOB

    def __init__(self, target: str, endpoint: str) -> None:
        super().__init__(f"{target} does not serve {endpoint}")


class NotOnThisTarget(ForemanError):
    """The route manages models of Ollama, and the target is another kind of server."""

    code = "not_on_this_target"

    def __init__(self, path: str, target: str) -> None:
        super().__init__(f"{path} manages models of an Ollama server; the target here is {target}")


class TargetNotFound(ForemanError):
    """No target has this name."""

    code = "target_not_found"

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(f"there is no target {name!r}")
        self.hint = f"the targets are: {', '.join(known)}"


class WrongTarget(ForemanError):
    """The route is for another kind of target."""

    code = "wrong_target"

    def __init__(self, target: str, why: str) -> None:
        super().__init__(f"the target {target} {why}")


class TargetLost(TargetError):
    """The connection broke after the request was sent, or the stream ended before the answer had begun."""

    code = "target_lost"

    def __init__(self, target: str, why: str) -> None:
        super().__init__(f"{target} broke off: {why}")


class TargetSilent(TargetError):
    """The target took the request and sent no byte for `first_chunk_timeout` or `stall_timeout`."""

    code = "target_silent"

    def __init__(self, target: str, waited: float) -> None:
        super().__init__(f"{target} said nothing for {waited:g} s")


class LoadTimeout(TargetError):
    """Ollama did not load the model within the setting `load_timeout`."""

    code = "load_timeout"

    def __init__(self, target: str, model: str, waited: float) -> None:
        super().__init__(f"{target} did not load {model} within {waited:g} s")
        self.hint = "the setting load_timeout gives it longer"


class AttemptTimeout(TargetError):
    """The attempt took longer than `timeout`."""

    code = "attempt_timeout"

    def __init__(self, seconds: float, *, silent: bool = False) -> None:
        """Build the text; `silent` means that the target had the request and sent no byte."""
        super().__init__(f"the attempt took longer than {seconds:g} s")
        self.seconds = seconds
        self.silent = silent


class TargetFailed(TargetError):
    """The target answered 408, 425, most of 5xx, or 409 or 423 that say to try again; or its answer says it failed."""

    code = "target_failed"

    def __init__(self, target: str, message: str) -> None:
        super().__init__(f"{target} failed: {message}")


class TargetGarbled(TargetError):
    """The target's answer violates its protocol."""

    code = "target_garbled"

    def __init__(self, target: str, what: str) -> None:
        super().__init__(f"{target} sent something unreadable: {what}")


class ModelCrashed(TargetError):
    """A managed server ended, did not become ready, or hung and was killed; the error has its last log lines."""

    code = "model_crashed"

    def __init__(self, model: str, what: str, last_lines: list[str]) -> None:
        log_end = f"; it last said: {' | '.join(last_lines)}" if last_lines else ""
        super().__init__(f"the server of {model} {what}{log_end}")


class TargetRefused(TargetError):
    """The target refuses the request for good: 4xx, 501, or the same 5xx twice at once. The text is its own message."""

    code = "target_refused"
    cost = Cost.JOB

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class AnswerCut(TargetError):
    """The answer's body ended properly but without its end marker; the job is done with the part received."""

    code = "answer_cut"

    def __init__(self) -> None:
        super().__init__("the answer ended without its last mark")


class AnswerTooLarge(TargetError):
    """The answer exceeds the setting `max_answer`."""

    code = "answer_too_large"
    cost = Cost.JOB

    def __init__(self, limit: int) -> None:
        super().__init__(f"the answer is larger than {limit} bytes")
        self.hint = "the setting max_answer raises the limit"


class Interrupted(TargetError):
    """Foreman stopped while the job ran."""

    code = "interrupted"

    def __init__(self) -> None:
        super().__init__("foreman stopped while this job was running")


class Drained(TargetError):
    """Foreman is shutting down, and the job did not end within `shutdown_grace`."""

    code = "drained"
    cost = Cost.NOTHING

    def __init__(self) -> None:
        super().__init__("foreman is shutting down")


class Preempted(TargetError):
    """The job gave way to one of class `high`."""

    code = "preempted"
    cost = Cost.NOTHING

    def __init__(self, job_id: str) -> None:
        """Name the job that goes first; an empty id is one that the caller may not know of."""
        super().__init__(f"gave way to {job_id or 'an urgent job'}")


class TargetDrained(TargetError):
    """The job's target was drained, and the job did not end within `shutdown_grace`; or a reload removed its model."""

    code = "target_drained"
    cost = Cost.NOTHING

    def __init__(self, target: str, why: str = "takes no jobs now") -> None:
        super().__init__(f"the target {target} {why}")
