"""What nodes of one fleet show each other: a signature with the secret that they have in their store."""

from __future__ import annotations

import hmac
from hashlib import sha256

from foreman.domain.job import Instant

BETWEEN_NODES = "/nodes/between/"  # begins the paths that the nodes of a fleet call, and nobody else
SCHEME = "Foreman-Fleet"
TOLERANCE = 60.0  # seconds by which the time in a header may differ from the store's


class NodeAuth:
    """Signs requests to other nodes, and checks theirs."""

    def __init__(self, secret: bytes) -> None:
        """Take the secret of the fleet, which all have who can read its store."""
        self._secret = secret

    def header(self, node: str, method: str, path: str, now: Instant) -> str:
        """Return the header `Authorization` for a request of a node; `path` has its query."""
        time = str(int(now))
        return f"{SCHEME} {node}:{time}:{self._signature(node, method, path, time)}"

    def check(self, header: str, method: str, path: str, now: Instant) -> bool:
        """Return True if a node has signed this request within the last minute, by the store's clock."""
        scheme, _, rest = header.partition(" ")
        signed, _, given = rest.rpartition(":")
        node, _, time = signed.rpartition(":")
        expected = self._signature(node, method, path, time)
        genuine = hmac.compare_digest(given.encode(), expected.encode())
        return genuine and scheme == SCHEME and time.isdecimal() and abs(now - int(time)) <= TOLERANCE

    @staticmethod
    def signer(header: str) -> str:
        """Return the name of the node that has signed a request whose header is checked."""
        return header.partition(" ")[2].rpartition(":")[0].rpartition(":")[0]

    def _signature(self, node: str, method: str, path: str, time: str) -> str:
        signed = "\n".join((node, method, path, time))
        return hmac.new(self._secret, signed.encode(), sha256).hexdigest()
