"""What `/v1/responses` and `/v1/messages` have in common: events that carry their type as the event name too."""

from __future__ import annotations

import re
from typing import Any

from foreman.domain.answers.chunk import NO_LABEL, Label, named
from foreman.domain.answers.decoder import Decoder
from foreman.domain.endpoints.endpoint import Endpoint, Json

NAME = re.compile(r"[\w.-]{1,100}", re.ASCII)


class EventEndpoint(Endpoint):
    """An endpoint with typed events; no mark ends its stream."""

    typed = True

    def label(self, value: Json) -> Label:
        """See `Endpoint.label`."""
        kind = value.get("type")
        return named(kind.encode()) if isinstance(kind, str) and NAME.fullmatch(kind) else NO_LABEL


class EventDecoder(Decoder):
    """Decoder of typed events."""

    def _ends_text(self, value: Any) -> bool:
        return not value["type"].endswith("delta")
