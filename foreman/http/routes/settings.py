"""/settings: the settings in force, without secrets."""

from __future__ import annotations

from quart import Blueprint, Response, request

from foreman.config.shown import every
from foreman.domain import views
from foreman.http.context import context
from foreman.http.errors import json_answer

settings = Blueprint("settings", __name__)


@settings.get("/settings")
async def show() -> Response:
    """Show each setting in force: its value, where it comes from, and whether a reload changes it."""
    ctx = context()
    ctx.auth.check_admin(request)
    file = ctx.settings.origins.file
    answer = json_answer(views.Settings(str(file) if file else None, list(every(ctx.settings))))
    answer.headers["Cache-Control"] = "no-store"
    return answer
