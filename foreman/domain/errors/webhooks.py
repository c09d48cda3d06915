"""Errors of webhooks."""

from __future__ import annotations

import re

from foreman.domain.errors.base import ForemanError
from foreman.domain.errors.callers import FieldInvalid


class DeliveryNotFound(ForemanError):
    """The job has no delivery of this id."""

    code = "delivery_not_found"

    def __init__(self) -> None:
        super().__init__("delivery not found")


class WebhookRefused(FieldInvalid):
    """The webhook's URL leads to a forbidden address."""

    code = "webhook_refused"

    def __init__(self, url: str, why: str) -> None:
        shown = re.sub(r"(?<=//)[^/?#]*@", "***@", url.partition("?")[0])  # the query or password may be a secret
        super().__init__("state_webhook_url", shown + "?***" * ("?" in url), why)
