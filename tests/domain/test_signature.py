"""The signatures of webhooks, as those verify them who receive them."""

from __future__ import annotations

import pytest

from foreman.domain.webhooks.signature import TOLERANCE, SignatureInvalid, sign, verify

SECRET = "whsec_Zm9yZW1hbiBvZiB0aGUgeWFyZA=="
NOW = 1_767_323_045.0
HEADERS = sign(b"{}", webhook_id="J.queued", secrets=[SECRET, "the next one"], now=NOW)


@pytest.mark.parametrize("late", [-TOLERANCE, 0, TOLERANCE])
@pytest.mark.parametrize("secret", [SECRET, "the next one"])
def test_a_delivery_is_taken_with_any_of_its_secrets_for_five_minutes(late: float, secret: str) -> None:
    verify(b"{}", HEADERS, secret, now=NOW + late)


@pytest.mark.parametrize("late", [-TOLERANCE - 1, TOLERANCE + 1])
def test_one_of_another_time_is_refused(late: float) -> None:
    with pytest.raises(SignatureInvalid, match="webhook-timestamp is more than 300 s away from now"):
        verify(b"{}", HEADERS, SECRET, now=NOW + late)


@pytest.mark.parametrize("header", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_one_that_lacks_a_header_is_refused(header: str) -> None:
    with pytest.raises(SignatureInvalid):
        verify(b"{}", {name: value for name, value in HEADERS.items() if name != header}, SECRET, now=NOW)


@pytest.mark.parametrize("header", ["webhook-id", "webhook-timestamp"])
def test_what_is_signed_cannot_be_changed(header: str) -> None:
    changed = HEADERS | {header: HEADERS[header][:-1] + "1"}
    assert changed != HEADERS
    with pytest.raises(SignatureInvalid, match="no webhook-signature matches"):
        verify(b"{}", changed, SECRET, now=NOW)
