"""The receiver's side of webhooks."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from foreman.signature import SignatureInvalid as SignatureInvalid
from foreman.signature import verify


def verify_webhook(body: bytes, headers: Mapping[str, str], secret: str) -> dict[str, Any]:
    """The payload of a delivery that was signed with `secret`.

    `body` is the request's body as received, `headers` its headers in any case. Raises SignatureInvalid when the
    signature does not match or is older than five minutes, ValueError when the secret is empty or malformed.
    """
    verify(body, headers, secret, now=time.time())
    payload: dict[str, Any] = json.loads(body)
    return payload
