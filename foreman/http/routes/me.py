"""/me: who the caller is, what it may do, and what is left of its quotas."""

from __future__ import annotations

import trio
from quart import Blueprint, Response, request

from foreman import __version__
from foreman.domain import views
from foreman.domain.caller import Caller
from foreman.domain.quotas import tokens_used
from foreman.http import visibility
from foreman.http.context import Context, context
from foreman.http.errors import json_answer
from foreman.queue.spent import tokens_by_minute
from foreman.store.protocol import Reader

me = Blueprint("me", __name__)


@me.get("/me")
async def show() -> Response:
    """Show the caller: its name, rights and quotas; also where no token is set."""
    ctx = context()
    caller = ctx.auth.caller(request)
    answer = json_answer(
        views.Me(
            name=caller.name or None,
            token=caller.token_of or None,
            rights=["read", "submit", *(["admin"] if caller.admin else [])],
            sees_all=caller.sees_all,
            private_jobs=ctx.settings.private_jobs,
            token_required=ctx.auth.wants_token,
            admin_token_set=ctx.auth.has_admins,
            quotas=await _quotas(ctx, caller),
            version=__version__,
            node=ctx.settings.node_name,
        )
    )
    answer.headers["Cache-Control"] = "no-store"
    return answer


async def _quotas(ctx: Context, caller: Caller) -> views.Quotas:
    """Return the limits of a caller and what of them is used; the store is asked only about those that are set."""
    limits, name = ctx.settings.quotas.get(caller.name), caller.name
    rate = _quota(ctx.rate.burst or None, ctx.rate.burst - ctx.rate.left(name, trio.current_time()))
    if limits is None:
        return views.Quotas(rate=rate)
    now = ctx.clock()

    def read(store: Reader) -> tuple[int, int, int]:
        running = 0 if limits.running is None else sum(job.owner == name for job in store.running())
        files = 0 if limits.max_files is None else store.count_files(name)
        tokens = 0 if limits.tokens_per_hour is None else tokens_used(tokens_by_minute(store, name, now), now)
        return running, files, tokens

    running, files, tokens = await visibility.read(read)
    return views.Quotas(
        waiting=_quota(limits.waiting, ctx.outlook.board.by_owner[name]),
        running=_quota(limits.running, running),
        tokens_per_hour=_quota(limits.tokens_per_hour, tokens),
        max_files=_quota(limits.max_files, files),
        rate=rate,
    )


def _quota(limit: int | None, used: int) -> views.Quota | None:
    return None if limit is None else views.Quota(limit, used, max(0, limit - used))
