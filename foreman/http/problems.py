"""Faults to answers."""

from __future__ import annotations

import math

import msgspec
import structlog
from quart import Quart, Response
from werkzeug.exceptions import HTTPException

from foreman.errors import BodyTooLarge, ForemanError, Unavailable
from foreman.wire import show_fault

log = structlog.get_logger()

STATUS = {
    "body_unreadable": 400,
    "invalid_json": 400,
    "model_required": 400,
    "unauthorized": 401,
    "host_not_allowed": 403,
    "model_not_found": 404,
    "job_not_found": 404,
    "artifact_not_found": 404,
    "illegal_step": 409,
    "body_too_large": 413,
    "wrong_content_type": 415,
    "field_invalid": 422,
    "idempotency_mismatch": 422,
    "store_full": 507,
    "queue_full": 503,
    "draining": 503,
    "target_down": 503,
}
MAX_RETRY_AFTER = 120  # seconds; the openai SDK gives up on more


def answer(fault: ForemanError) -> Response:
    """A fault as /jobs and the service routes show it."""
    status = STATUS.get(fault.code, 500)
    shown = show_fault(fault) if status != 500 else {"error": "internal error", "code": "internal_error"}
    response = json_answer(shown, status)
    if isinstance(fault, Unavailable):
        response.headers["Retry-After"] = str(min(MAX_RETRY_AFTER, math.ceil(fault.retry_after)))
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def json_answer(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, content_type="application/json")


def install(app: Quart) -> None:
    """Have every fault of a route answered here."""

    @app.errorhandler(ForemanError)
    async def expected(fault: ForemanError) -> Response:
        if fault.code not in STATUS:
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

    @app.errorhandler(Exception)
    async def bug(error: Exception) -> Response:
        log.error("request failed", exc_info=error)
        return json_answer({"error": "internal error", "code": "internal_error"}, 500)
