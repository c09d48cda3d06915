"""Webhook signatures: Standard Webhooks, and a plain HMAC of the body."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256

from standardwebhooks import Webhook

PREFIX = "whsec_"
LONGEST_STAMP = 12  # digits
TOLERANCE = 300.0  # seconds between the sender's clock and the receiver's


class SignatureInvalid(Exception):
    """The delivery was not signed with this secret, or is too old."""


def key_of(secret: str) -> bytes:
    """Return a secret's key: the decoded bytes of `whsec_…`, else its UTF-8. Raise ValueError when it is malformed."""
    if secret.startswith(PREFIX):
        text = secret.removeprefix(PREFIX)
        try:
            key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except binascii.Error:
            raise ValueError("a secret that begins with whsec_ must go on in base64") from None
    else:
        key = secret.encode()
    if not key:
        raise ValueError("a secret must not be empty")
    return key


def sign(body: bytes, *, webhook_id: str, secrets: Sequence[str], now: float) -> dict[str, str]:
    """Return the headers of one attempt: a Standard Webhooks signature per secret, and a plain HMAC with the first.

    See https://www.standardwebhooks.com. `now` is in epoch seconds.
    """
    headers = {"webhook-id": webhook_id, "webhook-timestamp": str(int(now))}
    if secrets:
        at = datetime.fromtimestamp(int(now), UTC)
        text = body.decode()
        signatures = [Webhook(key_of(secret)).sign(webhook_id, at, text) for secret in secrets]
        headers["webhook-signature"] = " ".join(signatures)
        headers["X-Foreman-Signature"] = "sha256=" + hmac.new(key_of(secrets[0]), body, sha256).hexdigest()
    return headers


def verify(body: bytes, headers: Mapping[str, str], secret: str, *, now: float) -> None:
    """Check a delivery against `secret`. Raise SignatureInvalid.

    X-Foreman-Signature is ignored: it does not cover the time and the id, so accepting it alone would allow replays.
    """
    found = {name.lower(): value for name, value in headers.items()}
    key = key_of(secret)
    if "webhook-signature" not in found:
        raise SignatureInvalid("there is no webhook-signature")
    stamp = found.get("webhook-timestamp", "")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= LONGEST_STAMP):
        raise SignatureInvalid("webhook-timestamp is missing or not a number")
    if abs(now - int(stamp)) > TOLERANCE:
        raise SignatureInvalid(f"webhook-timestamp is more than {TOLERANCE:g} s away from now")
    signed = f"{found.get('webhook-id', '')}.{stamp}.".encode() + body
    wanted = b"v1," + base64.b64encode(hmac.new(key, signed, sha256).digest())
    given = found["webhook-signature"].encode().split()
    matches = [hmac.compare_digest(wanted, one) for one in given]
    if not any(matches):
        raise SignatureInvalid("no webhook-signature matches")
