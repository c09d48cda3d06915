"""The short way through Quart: it answers as Quart does, with less work."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import unquote

import pytest
from hypercorn.typing import ConnectionState
from quart import Blueprint, Response, current_app, has_request_context, request
from quart_trio import QuartTrio
from werkzeug.exceptions import Gone

from foreman.budget import Budget
from foreman.http.application import Application
from foreman.http.asgi import BLUEPRINTS
from foreman.http.context import KEY
from foreman.http.server.exchange import Exchange
from foreman.http.server.inflow import BODY, Inflow, inflow
from foreman.http.server.received import ReceivedHeaders

ASKED = [
    ("GET", "/things"),
    ("HEAD", "/things"),
    ("POST", "/things"),
    ("PUT", "/things"),
    ("OPTIONS", "/things"),
    ("GET", "/things/a"),
    ("GET", "/things/a%20b"),
    ("GET", "/things/a%2Fb"),
    ("GET", "/things/a/b"),
    ("DELETE", "/things/a"),
    ("OPTIONS", "/things/a"),
    ("GET", "/gone"),
    ("GET", "/fails"),
    ("GET", "/closed"),
    ("GET", "/nowhere"),
    ("OPTIONS", "/nowhere"),
    ("BREW", "/things"),
]


def filled(app: QuartTrio) -> QuartTrio:
    """The app with routes of every kind, a gate, and a function after each request."""
    app.asgi_http_class = Exchange
    app.extensions[KEY] = SimpleNamespace(budget=Budget())
    app.url_map.merge_slashes = False
    things = Blueprint("things", __name__, url_prefix="/things")

    @things.get("")
    async def listing() -> Response:
        return Response("listing", 200)

    @things.post("")
    async def create() -> Response:
        given = inflow(request).take().decode()
        return Response(f"{current_app.name} {request.endpoint} {given}", 201)

    @things.get("/<name>")
    async def show(name: str) -> Response:
        return Response(f"{name} {request.args.get('of')} {request.view_args}")

    @app.get("/gone")
    async def gone() -> Response:
        raise Gone

    @app.get("/fails")
    async def fails() -> Response:
        raise ZeroDivisionError

    @app.get("/closed")
    async def closed() -> Response:
        raise AssertionError("the gate lets nobody through")

    @app.before_request
    async def gate() -> Response | None:
        return Response("closed", 403) if request.path == "/closed" else None

    @app.after_request
    async def mark(response: Response) -> Response:
        response.headers["Marked"] = request.method
        return response

    @app.errorhandler(ZeroDivisionError)
    async def failed(error: ZeroDivisionError) -> Response:
        return Response("divided", 500)

    app.register_blueprint(things)
    return app


async def asked(app: QuartTrio, method: str, path: str) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """The status, the headers and the body that the app answers a request with."""
    body = Inflow(cast(ConnectionState, {}))
    body.append(b"given")
    body.set_complete()
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": b"of=x",
        "root_path": "",
        "headers": [(b"host", b"localhost"), (b"content-length", b"5")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "state": {BODY: body},
    }
    sent: list[Any] = []

    async def send(event: object) -> None:
        sent.append(event)

    await app(scope, None, send)  # type: ignore[arg-type]
    headers = [(name, b", ".join(sorted(value.split(b", ")))) for name, value in sent[0]["headers"]]  # sets, some
    return sent[0]["status"], sorted(headers), b"".join(event.get("body", b"") for event in sent[1:])


async def test_requests_are_answered_as_quart_answers_them() -> None:
    stock, short = filled(QuartTrio("app", static_folder=None)), filled(Application("app"))
    seen = set()
    for method, path in ASKED * 2:  # routes are remembered
        answer = await asked(short, method, path)
        assert answer == await asked(stock, method, path)
        seen.add(answer[0])
    assert seen == {200, 201, 403, 404, 405, 410, 500}


async def test_no_request_is_current_after_its_answer() -> None:
    assert (await asked(filled(Application("app")), "GET", "/things"))[0] == 200
    assert not has_request_context()


async def test_only_paths_of_rules_are_remembered() -> None:
    app = filled(Application("app"))
    for number in range(20):
        await asked(app, "GET", f"/things/{number}")
        await asked(app, "GET", f"/nowhere/{number}")
    await asked(app, "GET", "/things")
    assert set(cast(Application, app)._fixed) == {("GET", "/things")}


def test_routes_need_nothing_of_what_is_left_out() -> None:
    app = Application("app")
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
        for left_out in (
            blueprint.before_request_funcs,
            blueprint.after_request_funcs,
            blueprint.teardown_request_funcs,
        ):
            assert not any(left_out.values())
    assert {name for name, view in app.view_functions.items() if not inspect.iscoroutinefunction(view)} == set()


@pytest.mark.parametrize("name", ["Accept", "accept", "ACCEPT"])
def test_a_header_is_found_by_its_name_in_any_case(name: str) -> None:
    headers = ReceivedHeaders([(b"accept", b"a"), (b"accept", b"b"), (b"content-length", b"7"), (b"x", b"\xe9")])
    assert name in headers
    assert (headers.get(name), headers[name], headers.getlist(name)) == ("a", "a", ["a", "b"])
    assert headers.get("x") == "é"
    assert headers.get("Content-Length", type=int) == 7
    assert headers.get("accept", 3, int) == 3
    assert [*headers][:2] == [("Accept", "a"), ("Accept", "b")]


def test_a_header_that_is_not_there_is_none() -> None:
    headers = ReceivedHeaders([(b"host", b"here")])
    assert "Accept" not in headers
    assert headers.get("Accept") is None
    assert headers.get("Accept", "else") == "else"
    with pytest.raises(KeyError):
        headers["Accept"]
