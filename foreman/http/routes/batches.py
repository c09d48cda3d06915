"""/batches: batches as Foreman shows them, of whichever API made them."""

from __future__ import annotations

from quart import Blueprint, Response, request

from foreman.domain import views
from foreman.domain.batches import BATCH_ID, BatchState
from foreman.domain.errors import FieldInvalid
from foreman.http import batch_results, visibility
from foreman.http import batches as found
from foreman.http.errors import json_answer
from foreman.http.pages import page_of
from foreman.http.query import check_names, choice, read_limit

batches = Blueprint("batches", __name__, url_prefix="/batches")


@batches.get("")
async def listing() -> Response:
    """List a page of the caller's batches, newest first."""
    check_names("state", "limit", "after")
    words = [word.strip() for word in request.args["state"].split(",")] if "state" in request.args else []
    states = {choice("state", word, {state.value: state for state in BatchState}) for word in words}
    most, after = read_limit(), request.args.get("after")
    if after is not None and not BATCH_ID.fullmatch(after):
        raise FieldInvalid("after", after, "must be the `next` of the previous page")
    page, more = await visibility.read(lambda store: found.page(store, states=states, after=after, limit=most))
    shown = page_of(page, found.shown)
    more = more or len(page) > len(shown)
    return json_answer(views.BatchPage(shown, page[len(shown) - 1].id if more else None))


@batches.get("/<batch_id>")
async def show(batch_id: str) -> Response:
    """Show a batch."""
    return json_answer(found.shown(await found.find(batch_id)))


@batches.get("/<batch_id>/results")
async def results(batch_id: str) -> Response:
    """Answer with a line for each request of a batch that has ended."""
    return await batch_results.results(await found.find(batch_id))


@batches.post("/<batch_id>/cancel")
async def cancel(batch_id: str) -> Response:
    """Cancel a batch that has not ended."""
    return json_answer(found.shown(await found.cancel(batch_id)))
