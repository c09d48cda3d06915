"""Errors of webhooks."""

from __future__ import annotations

import re

from foreman.domain.errors.base import ForemanError
from foreman.domain.errors.callers import FieldInvalid


class EndpointNotFound(ForemanError):
    """The webhook endpoint does not exist, or the caller may not see it."""

    code = "webhook_endpoint_not_found"
    field = "id"

    def __init__(self, endpoint_id: str) -> None:
        whole = re.fullmatch("whe_[0-7][0-9A-HJKMNP-TV-Z]{25}", endpoint_id)  # anything else is not repeated
        super().__init__(f"No such webhook endpoint: {endpoint_id}" if whole else "No such webhook endpoint")


class TooManyEndpoints(ForemanError):
    """The caller has as many webhook endpoints as one may have."""

    code = "too_many_webhook_endpoints"
    hint = "delete one, or let one have several event types"

    def __init__(self, most: int) -> None:
        super().__init__(f"there are {most} webhook endpoints already; {self.hint}")


class WebhookTestFailed(ForemanError):
    """The receiver did not accept the event that an endpoint was tested with."""

    code = "webhook_test_failed"

    def __init__(self, why: str) -> None:
        super().__init__(f"the test event was not delivered: {why}")


class DeliveryNotFound(ForemanError):
    """The job has no delivery of this id."""

    code = "delivery_not_found"

    def __init__(self) -> None:
        super().__init__("delivery not found")


class WebhookRefused(FieldInvalid):
    """The webhook's URL leads to a forbidden address."""

    code = "webhook_refused"

    def __init__(self, url: str, why: str, field: str = "state_webhook_url") -> None:
        shown = re.sub(r"(?<=//)[^/?#]*@", "***@", url.partition("?")[0])  # the query or password may be a secret
        super().__init__(field, shown + "?***" * ("?" in url), why)
