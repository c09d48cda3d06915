"""What callers hear of a bug: that there was one, in the shape of their dialect, and nothing of it."""

from __future__ import annotations

import errno

import pytest
import structlog
from quart import Blueprint, Response
from quart_trio import QuartTrio

from foreman.domain.errors import StoreBroken
from foreman.http import errors
from foreman.http.asgi import DIALECTS

PLAIN = {"error": "internal error", "code": "internal_error"}


def an_app(error: Exception) -> QuartTrio:
    """One of which every route fails."""
    routes = Blueprint("routes", __name__)

    async def fail(path: str) -> Response:
        raise error

    routes.add_url_rule("/<path:path>", view_func=fail, methods=["GET", "POST"])
    app = QuartTrio(__name__)
    app.register_blueprint(routes)
    errors.install(app, DIALECTS)
    return app


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("a secret"), StoreBroken("/a/path: a secret")], ids=["bug", "fault"]
)
@pytest.mark.parametrize(
    ("method", "path", "said"),
    [
        ("POST", "/jobs", PLAIN | {"error": "failed to create job"}),
        ("GET", "/jobs", PLAIN),
        ("POST", "/jobs/x/cancel", PLAIN),
        ("POST", "/api/chat", {"error": "internal error"}),
        (
            "POST",
            "/v1/completions",
            {"error": {"message": "internal error", "type": "server_error", "param": None, "code": "internal_error"}},
        ),
    ],
)
async def test_a_bug_is_logged_and_answered_with_its_sentence_alone(
    error: Exception, method: str, path: str, said: object
) -> None:
    with structlog.testing.capture_logs() as logs:
        client = an_app(error).test_client()
        response = await (client.post(path) if method == "POST" else client.get(path))
    assert (response.status_code, await response.get_json()) == (500, said)
    assert [entry["log_level"] for entry in logs] == ["error"]


@pytest.mark.parametrize("error", [OSError(errno.ENFILE, "Too many open files in system"), MemoryError()])
@pytest.mark.parametrize("path", ["/jobs", "/api/chat", "/v1/completions"])
async def test_a_shortage_is_no_bug_and_asks_for_patience(error: Exception, path: str) -> None:
    response = await an_app(error).test_client().post(path)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "2")
