"""Errors as HTTP answers: statuses, headers and bodies."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import msgspec
import structlog
from h11 import LocalProtocolError, RemoteProtocolError
from quart import Quart, Response, has_request_context, request, websocket
from quart.wrappers.response import DataBody
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException

from foreman.domain import views
from foreman.domain.errors import (
    AttemptTimeout,
    BlobMissing,
    Cost,
    ForemanError,
    Internal,
    JobUnreadable,
    LoadTimeout,
    Misrouted,
    RangeInvalid,
    TargetError,
    TargetRefused,
    TargetSilent,
    Unavailable,
    WrongContentEncoding,
)
from foreman.shortage import shortage_in

log = structlog.get_logger()

STATUS = {
    "body_unreadable": 400,
    "invalid_json": 400,
    "model_required": 400,
    "query_invalid": 400,
    "previous_response_not_found": 400,
    "previous_response_unusable": 400,
    "response_not_in_background": 400,
    "too_many_webhook_endpoints": 400,
    "unauthorized": 401,
    "host_not_allowed": 403,
    "origin_not_allowed": 403,
    "admin_required": 403,
    "model_not_found": 404,
    "target_not_found": 404,
    "job_not_found": 404,
    "response_not_found": 404,
    "artifact_not_found": 404,
    "file_not_found": 404,
    "batch_not_found": 404,
    "files_not_served": 404,
    "delivery_not_found": 404,
    "webhook_endpoint_not_found": 404,
    "not_acceptable": 406,
    "illegal_step": 409,
    "job_ended": 409,
    "batch_ended": 409,
    "batch_not_ended": 409,
    "line_of_batch": 409,
    "cursor_gone": 410,
    "body_too_large": 413,
    "conversation_too_long": 413,
    "file_too_large": 413,
    "wrong_content_encoding": 415,
    "wrong_content_type": 415,
    "requested_range_not_satisfiable": 416,
    "field_invalid": 422,
    "not_indexed": 422,
    "wrong_target": 422,
    "header_unknown": 422,
    "webhook_refused": 422,
    "webhook_test_failed": 422,
    "setting_invalid": 422,
    "idempotency_mismatch": 422,
    "blob_missing": 500,
    "job_unreadable": 500,
    "not_on_this_target": 501,
    "not_served": 501,
    "rate_limited": 429,
    "quota_exceeded": 429,
    "store_full": 507,
    "shortage": 503,
    "blobs_unavailable": 503,
    "store_away": 503,
    "store_busy": 503,
    "store_lost": 503,
    "memory_full": 503,
    "too_slow": 503,
    "queue_full": 503,
    "too_many_connections": 503,
    "draining": 503,
    "target_down": 503,
    "stream_broken": 502,
}
MISROUTED = {"broken_protocol": 400, "not_found": 404, "method_not_allowed": 405, "request_timeout": 408}
MAX_RETRY_AFTER = 120  # seconds; the openai SDK gives up on more


def status_of(error: ForemanError) -> int:
    """Return the HTTP status of an error; a target's refusal keeps its 4xx, its failures are 502, 503 and 504."""
    if isinstance(error, Misrouted):
        return error.status
    if isinstance(error, TargetRefused):
        # Foreman's token and redirects are between Foreman and the target, not the caller's concern.
        return error.status if 400 <= error.status < 600 and error.status not in (401, 407) else 502
    return status_of_kind(type(error))


def status_of_kind(kind: type[ForemanError]) -> int:
    """Return the HTTP status that all errors of a kind have, but for Misrouted and TargetRefused."""
    if issubclass(kind, (TargetSilent, AttemptTimeout, LoadTimeout)):
        return 504
    if issubclass(kind, TargetError) and kind.code not in STATUS:
        return 503 if kind.cost is Cost.NOTHING else 502
    return STATUS.get(kind.code, 500)


def may_pass(error: ForemanError) -> bool:
    """Return True when the same call may succeed later."""
    return isinstance(error, Unavailable) or (isinstance(error, TargetError) and error.cost is not Cost.JOB)


def public(error: ForemanError) -> ForemanError:
    """Return the error as callers may see it; log an unexpected one and hide it behind `internal_error`."""
    if status_of(error) != 500 or isinstance(error, (BlobMissing, Internal, JobUnreadable, TargetError)):
        return error
    log.error("request failed", error=error.code, words=str(error))
    return _internal()


def _internal() -> Internal:
    creating = has_request_context() and (request.method, request.path) == ("POST", "/jobs")
    return Internal("failed to create job") if creating else Internal()


def answer(error: ForemanError, shape: Callable[[ForemanError], object] = views.show_error) -> Response:
    """Return an error as an answer, in the shape of /jobs or in another `shape`."""
    error = public(error)
    status = status_of(error)
    response = json_answer(shape(error), status)
    if status in (503, 507) or isinstance(error, Unavailable):
        response.headers["Retry-After"] = retry_after(error)
    if isinstance(error, RangeInvalid):
        response.headers["Content-Range"] = f"bytes */{error.size}"
    if isinstance(error, WrongContentEncoding):
        response.headers["Accept-Encoding"] = error.allowed  # RFC 9110, 12.5.3
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def retry_after(error: ForemanError) -> str:
    """Return the value of Retry-After: whole seconds until the same call may succeed."""
    seconds = getattr(error, "retry_after", None) or Unavailable.retry_after
    return str(min(MAX_RETRY_AFTER, math.ceil(seconds)))


def json_answer(value: object, status: int = 200) -> Response:
    """Return a value as a JSON answer."""
    return json_text(msgspec.json.encode(value), status)


def json_text(data: bytes, status: int = 200) -> Response:
    """Return encoded JSON as an answer, ended by a line end for the sake of terminals."""
    if not data.endswith(b"\n"):
        data += b"\n"
    headers = Headers([("Content-Type", "application/json"), ("Content-Length", str(len(data)))])
    return Response(DataBody(data), status, headers)


def no_content() -> Response:
    """Return an answer 204, without body and Content-Type (RFC 9110, 15.3.5)."""
    response = Response(b"", 204)
    del response.headers["Content-Type"]
    return response


def install(app: Quart, dialects: Mapping[str, Callable[[ForemanError], Response]]) -> None:
    """Answer every error of a route in the dialect of its path.

    `dialects` maps prefixes of the path to error shapes, the longest prefix first.
    """

    def shown(error: ForemanError) -> Response:
        handshake = not has_request_context()
        path = websocket.path if handshake else request.path
        dialect = next((dialect for start, dialect in dialects.items() if path.startswith(start)), answer)
        response = dialect(error)
        if handshake:
            response.headers["Connection"] = "close"  # Hypercorn closes it without this header
        return response

    @app.errorhandler(ForemanError)
    async def expected(error: ForemanError) -> Response:
        return shown(error)

    @app.errorhandler(HTTPException)
    async def routing(error: HTTPException) -> Response:
        response = shown(Misrouted(error.code or 500, (error.name or "error").lower()))
        for header, value in error.get_headers():
            if header == "Allow":
                response.headers[header] = value
        return response

    @app.errorhandler(LocalProtocolError)
    @app.errorhandler(RemoteProtocolError)
    async def broken_protocol(error: Exception) -> Response:
        # The client broke the protocol while it was answered: its connection ends, which is worth no more than info.
        log.info("connection ended by an error", error=repr(error)[:200])
        return shown(Misrouted(400, "broken protocol"))

    @app.errorhandler(Exception)
    async def bug(error: Exception) -> Response:
        if short := shortage_in(error):
            log.warning("cannot answer a request", why=str(short))
            return shown(short)
        log.error("request failed", exc_info=error)
        return shown(_internal())
