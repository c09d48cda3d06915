"""Quart on a short way to its routes: no sessions, signals, teardown, or URL adapters, which no route here uses.

Routes are written as for any Quart app. On an empty one, these parts took more time than the HTTP server.
"""

from __future__ import annotations

from types import TracebackType

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from quart import Response
from quart.ctx import AppContext, RequestContext
from quart.globals import _cv_app, _cv_request
from quart.routing import QuartRule
from quart.typing import ResponseReturnValue, ResponseTypes
from quart.wrappers import Request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException
from werkzeug.routing import MapAdapter

from foreman.http.paths import with_tidy_path
from foreman.http.server.exchange import Exchange


class Application(QuartTrio):
    """A Quart app whose functions are all async, and whose views all return a Response.

    Functions that run before or after requests are the app's; those of blueprints are not called.
    """

    def __init__(self, name: str) -> None:
        """Create an app without routes."""
        super().__init__(name, static_folder=None)
        self.shared_context = AppContext(self)
        self._adapter = self.url_map.bind("")
        self._fixed: dict[tuple[str, str], QuartRule] = {}  # by method and path; rules without arguments

    async def asgi_app(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Answer a request or a websocket, its path tidied."""
        if scope["type"] == "http":
            await Exchange(self, with_tidy_path(scope))(receive, send)
        elif scope["type"] == "websocket":
            await super().asgi_app(with_tidy_path(scope), receive, send)
        else:
            await super().asgi_app(scope, receive, send)

    def request_context(self, request: Request) -> RequestContext:
        """Return a context that finds the request's route, and makes the request the current one."""
        return _Current(self, request)

    def find_route(self, request: Request) -> None:
        """Fill in the request's route and its arguments, or the error that there is none."""
        rule = self._fixed.get((request.method, request.path))
        if rule is not None:
            request.url_rule, request.view_args = rule, {}
            return
        try:
            request.url_rule, request.view_args = self._adapter.match(request.path, request.method, return_rule=True)  # type: ignore[assignment]
        except HTTPException as error:
            request.routing_exception = error
        else:
            if not request.view_args:  # there are no more such paths than rules
                self._fixed[request.method, request.path] = request.url_rule  # type: ignore[assignment]

    async def full_dispatch_request(self, request_context: RequestContext | None = None) -> ResponseTypes:
        """Answer the current request: by the gate, else by its route, else by the handler of its error."""
        assert request_context is not None
        try:
            response = await self._gate()
            if response is None:
                response = await self._routed(request_context.request)
        except (Exception, BaseExceptionGroup) as error:
            response = await self.make_response(await self.handle_user_exception(error))
        return await self.process_response(response, request_context)

    async def _gate(self) -> ResponseTypes | None:
        for function in self.before_request_funcs[None]:
            response: ResponseReturnValue | None = await function()  # type: ignore[misc]
            if response is not None:
                return await self.make_response(response)
        return None

    async def _routed(self, request: Request) -> ResponseTypes:
        if request.routing_exception is not None:
            raise request.routing_exception
        assert request.url_rule is not None
        if request.method == "OPTIONS" and request.url_rule.provide_automatic_options:
            return await self.make_default_options_response()
        response: Response = await self.view_functions[request.url_rule.endpoint](**request.view_args or {})  # type: ignore[misc]
        return response

    async def process_response(
        self, response: ResponseTypes, request_context: RequestContext | None = None
    ) -> ResponseTypes:
        """Return the response after the functions that run after each request."""
        for function in self.after_request_funcs[None]:
            response = await function(response)
        return response


class _Current(RequestContext):
    """The current request, for the time that it is handled."""

    app: Application

    def __init__(self, app: Application, request: Request) -> None:
        self.app = app
        self.request_websocket = request
        self.session = None

    @property
    def url_adapter(self) -> MapAdapter | None:  # type: ignore[override]
        """Return what answers OPTIONS with the methods of a path."""
        return self.app.create_url_adapter(self.request)

    async def __aenter__(self) -> RequestContext:
        self._tokens = _cv_app.set(self.app.shared_context), _cv_request.set(self)
        self.app.find_route(self.request)
        return self

    async def __aexit__(self, kind: type, error: BaseException, trace: TracebackType) -> None:
        app, request = self._tokens
        _cv_app.reset(app)
        _cv_request.reset(request)
