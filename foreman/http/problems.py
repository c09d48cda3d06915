"""Faults to answers."""

from __future__ import annotations

import math

import msgspec
import structlog
from h11 import LocalProtocolError, RemoteProtocolError
from quart import Quart, Response
from werkzeug.exceptions import HTTPException

from foreman.errors import (
    AttemptTimeout,
    BodyTooLarge,
    Cost,
    ForemanError,
    TargetFault,
    TargetRefused,
    TargetSilent,
    Unavailable,
)
from foreman.wire import show_fault

log = structlog.get_logger()

STATUS = {
    "body_unreadable": 400,
    "invalid_json": 400,
    "model_required": 400,
    "query_invalid": 400,
    "unauthorized": 401,
    "host_not_allowed": 403,
    "origin_not_allowed": 403,
    "admin_required": 403,
    "model_not_found": 404,
    "job_not_found": 404,
    "artifact_not_found": 404,
    "delivery_not_found": 404,
    "not_acceptable": 406,
    "illegal_step": 409,
    "job_ended": 409,
    "cursor_gone": 410,
    "body_too_large": 413,
    "wrong_content_type": 415,
    "field_invalid": 422,
    "webhook_refused": 422,
    "idempotency_mismatch": 422,
    "not_on_this_target": 501,
    "not_served": 501,
    "store_full": 507,
    "queue_full": 503,
    "draining": 503,
    "target_down": 503,
}
COME_AGAIN = frozenset({"queue_full", "draining", "store_full", "target_down", "target_unavailable", "target_busy"})
INTERNAL = {"error": "internal error", "code": "internal_error"}
MAX_RETRY_AFTER = 120  # seconds; the openai SDK gives up on more


def status_of(fault: ForemanError) -> int:
    """The HTTP status of a fault; what a target did shows as its own 4xx, or as 502 and 504."""
    if isinstance(fault, TargetRefused):
        return fault.status
    if isinstance(fault, (TargetSilent, AttemptTimeout)):
        return 504
    if isinstance(fault, TargetFault) and fault.code not in STATUS:
        return 503 if fault.cost is Cost.NOTHING else 502
    return STATUS.get(fault.code, 500)


def answer(fault: ForemanError, shown: object = None) -> Response:
    """A fault as /jobs and the service routes show it, or as `shown`."""
    status = status_of(fault)
    if shown is None:
        shown = show_fault(fault) if status != 500 else INTERNAL
    response = json_answer(shown, status)
    if status in (503, 507):
        seconds = fault.retry_after if isinstance(fault, Unavailable) else 5
        response.headers["Retry-After"] = str(min(MAX_RETRY_AFTER, math.ceil(seconds)))
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def json_answer(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, content_type="application/json")


def install(app: Quart) -> None:
    """Have every fault of a route answered here."""

    @app.errorhandler(ForemanError)
    async def expected(fault: ForemanError) -> Response:
        if status_of(fault) == 500:
            log.error("request failed", fault=fault.code, words=str(fault))
        return answer(fault)

    @app.errorhandler(HTTPException)
    async def routing(error: HTTPException) -> Response:
        if error.code == 413:
            return answer(BodyTooLarge(int(app.config["MAX_CONTENT_LENGTH"])))
        name = (error.name or "error").lower()
        response = json_answer({"error": name, "code": name.replace(" ", "_")}, error.code or 500)
        for header, value in error.get_headers():
            if header == "Allow":
                response.headers[header] = value
        return response

    @app.errorhandler(LocalProtocolError)
    @app.errorhandler(RemoteProtocolError)
    async def broken_protocol(error: Exception) -> Response:
        # The client's doing, found out while answering it: its connection ends, and nobody needs to be woken.
        log.info("connection ended by a fault", fault=repr(error)[:200])
        return json_answer({"error": "the connection broke its protocol", "code": "broken_protocol"}, 400)

    @app.errorhandler(Exception)
    async def bug(error: Exception) -> Response:
        log.error("request failed", exc_info=error)
        return json_answer(INTERNAL, 500)
