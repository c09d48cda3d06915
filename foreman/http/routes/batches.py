"""/batches: batches as Foreman shows them, of whichever API made them."""

from __future__ import annotations

from quart import Blueprint, Response

from foreman.domain import views
from foreman.http.compat.batches import cancel_batch, find_batch
from foreman.http.errors import json_answer

batches = Blueprint("batches", __name__, url_prefix="/batches")


@batches.get("/<batch_id>")
async def show(batch_id: str) -> Response:
    """Show a batch."""
    return json_answer(views.show_batch(await find_batch(batch_id)))


@batches.post("/<batch_id>/cancel")
async def cancel(batch_id: str) -> Response:
    """Cancel a batch that has not ended."""
    return json_answer(views.show_batch(await cancel_batch(batch_id)))
