"""The ASGI app: routes, errors, auth and CORS put together."""

from __future__ import annotations

from quart import Request, Response, websocket
from quart.globals import request_ctx
from quart_trio import QuartTrio
from werkzeug.exceptions import NotFound

from foreman.domain.endpoints import EVERY
from foreman.domain.errors import JobNotFound
from foreman.http import cors, errors, headers
from foreman.http.application import Application
from foreman.http.compat.batches import batches as openai_batches
from foreman.http.compat.files import files
from foreman.http.compat.message_batches import message_batches
from foreman.http.compat.ollama import DIALECT as OLLAMA_DIALECT
from foreman.http.compat.ollama import elsewhere, ollama
from foreman.http.compat.openai import DIALECT, MESSAGES_DIALECT, openai
from foreman.http.compat.responses import responses
from foreman.http.compat.webhook_endpoints import webhook_endpoints
from foreman.http.context import KEY, Context
from foreman.http.openapi.document import openapi
from foreman.http.routes.batches import batches
from foreman.http.routes.between_nodes import CALLS, between_nodes
from foreman.http.routes.events import events
from foreman.http.routes.jobs import jobs
from foreman.http.routes.me import me
from foreman.http.routes.metrics import metrics
from foreman.http.routes.nodes import nodes
from foreman.http.routes.service import service
from foreman.http.routes.settings import settings
from foreman.http.routes.targets import targets
from foreman.http.routes.upstream import upstream
from foreman.http.routes.usage import usage
from foreman.http.ui.page import page

BLUEPRINTS = (
    page,
    jobs,
    events,
    service,
    targets,
    nodes,
    me,
    settings,
    usage,
    metrics,
    upstream,
    between_nodes,
    openapi,
    ollama,
    openai,
    files,
    openai_batches,
    message_batches,
    batches,
    responses,
    webhook_endpoints,
)
_DIALECTS = {  # by the beginning of a path
    **{path: MESSAGES_DIALECT.error for path, endpoint in EVERY.items() if endpoint.dialect == "anthropic"},
    "/v1/": DIALECT.error,
    "/api/": OLLAMA_DIALECT.error,
}
DIALECTS = _DIALECTS | {f"{CALLS}{path}": shape for path, shape in _DIALECTS.items()}


def build(found: Context) -> QuartTrio:
    """Return the app over this context."""
    app = Application("foreman")
    app.config["BODY_TIMEOUT"] = found.settings.body_timeout
    app.extensions[KEY] = found
    app.url_map.merge_slashes = False  # it would redirect; see paths
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    errors.install(app, DIALECTS)

    @app.before_request
    async def auth() -> Response | None:
        asked = request_ctx.request  # itself, since each look through `request` takes time
        if found.auth.is_between_nodes(asked):
            return None
        found.auth.check_source(asked)
        if cors.is_preflight(asked):
            return cors.preflight(asked)
        found.auth.check_token(asked)
        headers.check(asked)
        _check_id(asked)
        return await elsewhere() if isinstance(asked.routing_exception, NotFound) else None

    @app.after_request
    async def permit(response: Response) -> Response:
        cors.permit(found.auth, request_ctx.request, response)
        return response

    @app.before_websocket
    async def websocket_auth() -> None:
        found.auth.check_source(websocket)
        found.auth.check_token(websocket)
        headers.check(websocket)

    return app


def _check_id(asked: Request) -> None:
    """Raise JobNotFound for an id that PostgreSQL cannot even be asked for: its texts hold no U+0000."""
    job_id = (asked.view_args or {}).get("job_id", "")
    if "\0" in job_id:
        raise JobNotFound(job_id)
