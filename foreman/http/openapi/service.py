"""The OpenAPI description of the service's own routes, the feed and the web UI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from foreman.domain.json_schema import ANYTHING, COUNT, STATE, TEXT, TIME, many, words
from foreman.domain.usage import Group
from foreman.http.openapi.blocks import (
    ANY,
    JSON,
    SERVICE,
    SSE,
    Paths,
    answered,
    events,
    given,
    header,
    operation,
    path,
    query,
)
from foreman.http.openapi.codes import BODY, PASSED, WRITE
from foreman.http.openapi.schemas import ref
from foreman.http.query import LONGEST_PAGE, MOST_SEQ, PAGE
from foreman.http.routes.targets import LINES, MOST_LINES
from foreman.http.routes.usage import STEPS

TICKET = query("ticket", TEXT, "A ticket from `POST /tickets`, instead of a token.")


def service_paths() -> Paths:
    """Describe the service's own routes, the feed and the web UI."""

    def service(name: str, summary: str, shape: str, *errors: str, **more: Any) -> dict[str, Any]:
        return operation(name, summary, {"200": given(ref(shape))}, errors, dialect=SERVICE, **more)

    ready = {"200": given(ref("Readiness")), "503": given(ref("Readiness"))}
    plain = {"200": answered("Text.", {"text/plain": TEXT})}
    not_modified = {"304": answered("Not modified.")}
    root = {"200": answered("The page, or `Ollama is running`.", {"text/plain": TEXT, "text/html": TEXT})}
    page = root | not_modified
    part = {"200": answered("The file.", {ANY: ANYTHING})} | not_modified
    return {
        "/events": {
            "get": operation(
                "feed",
                "Follow the events of all jobs, live",
                {
                    "200": answered("A hello message, then events.", {SSE: events(ref("Hello"), ref("Event"))}),
                    "101": answered("A WebSocket, with the same messages."),
                },
                ("query_invalid", "not_acceptable", "cursor_gone"),
                dialect=SERVICE,
                description="Server-sent events with `Accept: text/event-stream`, otherwise a WebSocket handshake.",
                parameters=[
                    query("after", COUNT | {"maximum": MOST_SEQ}, "Begin after this seq, at most the newest."),
                    query("job_id", many(TEXT)),
                    query("model", many(TEXT)),
                    query("state", many(STATE)),
                    TICKET,
                    header("Last-Event-ID", TEXT, "Used as `after` if that is absent."),
                ],
            )
        },
        "/tickets": {
            "post": operation(
                "ticket",
                "Get a ticket for requests without headers",
                {"200": given(ref("Ticket"))},
                (),
                dialect=SERVICE,
                description="For URLs that a browser opens itself: `?ticket=` replaces the token on one request within "
                "a minute.",
            )
        },
        "/me": {
            "get": operation(
                "me",
                "Show the caller: name, rights, what is left of its quotas",
                {"200": given(ref("Me"))},
                (),
                dialect=SERVICE,
            )
        },
        "/queue": {"get": service("queue", "Summarise the queue: waiting, running, loaded model", "Queue")},
        "/queue/jobs": {
            "get": service(
                "queue_jobs",
                "List waiting jobs in the order they would run",
                "Line",
                "field_invalid",
                parameters=[
                    query("limit", {"type": "integer", "minimum": 1, "maximum": LONGEST_PAGE, "default": PAGE})
                ],
            )
        },
        "/queue/pause": {
            "post": service("pause", "Pause the queue; running jobs go on", "Paused", *WRITE, "admin_required")
        },
        "/queue/resume": {"post": service("resume", "Resume the queue", "Paused", *WRITE, "admin_required")},
        **_targets(),
        "/nodes": {
            "get": operation(
                "nodes", "List the Foremen that share the queue", {"200": given(ref("Nodes"))}, (), dialect=SERVICE
            )
        },
        "/reload": {
            "post": service(
                "reload",
                "Read the settings again; what can change changes",
                "Reloaded",
                "draining",
                "setting_invalid",
                "admin_required",
            )
        },
        "/settings": {
            "get": service("settings", "Show the settings in force, without secrets", "Settings", "admin_required")
        },
        "/usage": {
            "get": service(
                "usage",
                "Report usage per minute, hour or day",
                "Report",
                "field_invalid",
                parameters=[
                    query("by", words(*Group._fields), "One row per name and step, empty ones left out."),
                    *(query(name, TEXT, f"Only what was done for this {name}.") for name in Group._fields),
                    query(
                        "from", TIME, "60 minutes, 24 hours or 30 days ago by default. Minutes are kept for 24 hours."
                    ),
                    query("to", TIME, "Now by default; the current step is the last."),
                    query("step", words(*STEPS), "Length of a step; hour by default."),
                ],
            )
        },
        "/upstream/{model_and_path}": _passed_on(),
        "/healthz": {"get": service("health", "Liveness probe", "Health", needs_token=False)},
        "/readyz": {"get": operation("ready", "Readiness probe", ready, (), dialect=SERVICE, needs_token=False)},
        "/metrics": {"get": operation("metrics", "Prometheus metrics", plain, ("admin_required",), dialect=SERVICE)},
        "/openapi.json": {
            "get": operation("describe", "OpenAPI description", {"200": given({"type": "object"})}, (), dialect=SERVICE)
        },
        "/": {
            "get": operation(
                "root", "Web UI for browsers, plain text otherwise", page, (), dialect=SERVICE, needs_token=False
            )
        },
        "/static/{name}": {
            "parameters": [path("name", TEXT)],
            "get": operation("static", "File of the web UI", part, ("not_found",), dialect=SERVICE, needs_token=False),
        },
    }


def _targets() -> Paths:
    """Describe the routes of the targets."""
    refused = ("admin_required", "target_not_found", "not_found")
    body = ("invalid_json", "model_required", "wrong_content_type", *BODY)
    failed = ("target_busy", "target_failed", "target_refused", "attempt_timeout", "load_timeout", "model_crashed")
    ordered = (*refused, *body, "field_invalid", "model_not_found", "wrong_target", *PASSED, *failed)
    lines = {"type": "integer", "minimum": 1, "maximum": MOST_LINES, "default": LINES}

    def one(verb: str, method: str, summary: str, errors: Sequence[str], **more: Any) -> dict[str, Any]:
        shown = "TargetLog" if verb == "log" else "Target"
        name, answers = f"{verb}_target" if verb in ("drain", "resume", "log") else verb, {"200": given(ref(shown))}
        asked = operation(name, summary, answers, errors, dialect=SERVICE, **more)
        return {"parameters": [path("name", TEXT)], method: asked}

    order: dict[str, Any] = {"body": {JSON: ref("Order")}}
    return {
        "/targets": {
            "get": operation("targets", "List the targets", {"200": given(ref("Targets"))}, (), dialect=SERVICE)
        },
        "/targets/{name}/drain": one("drain", "post", "Have a target take no more jobs", (*WRITE, *refused)),
        "/targets/{name}/resume": one("resume", "post", "Have a target take jobs again", (*WRITE, *refused)),
        "/targets/{name}/load": one("load", "post", "Load a model, and wait until it is loaded", ordered, **order),
        "/targets/{name}/unload": one("unload", "post", "Unload a model once no job uses it", ordered, **order),
        "/targets/{name}/log": one(
            "log",
            "get",
            "Show the last lines of a target's managed servers",
            (*refused, "field_invalid", "wrong_target"),
            parameters=[query("lines", lines, "Of each server.")],
        ),
    }


def _passed_on() -> dict[str, Any]:
    """Describe the requests that are passed on to a managed model's server."""
    given_as_it_is = {"default": answered("The server's own answer.", {ANY: ANYTHING})}
    refused = ("rate_limited", "draining", "admin_required", "model_not_found", "not_on_this_target", "not_found")
    errors = (*refused, "field_invalid", *PASSED, "attempt_timeout", "model_crashed", "target_refused")
    names = {"get": "Get", "head": "Check", "post": "Post", "put": "Put", "patch": "Patch", "delete": "Delete"}
    paths: dict[str, Any] = {
        "parameters": [
            path("model_and_path", TEXT | {"description": "A managed model, and the path at its server."}),
        ]
    }
    for method, verb in names.items():
        has_body = method in ("post", "put", "patch")
        paths[method] = operation(
            f"upstream_{method}",
            f"{verb} anything at a managed model's server, past the queue",
            given_as_it_is,
            (*errors, *(BODY if has_body else ())),
            dialect=SERVICE,
            body={ANY: ANYTHING} if has_body else None,
            description="The model is loaded first. Websockets and other upgrades are refused.",
        )
    return paths
