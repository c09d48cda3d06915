"""The other nodes of the fleet, reached over HTTP: each request is signed with the fleet's secret."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from foreman.domain.errors import TargetUnavailable
from foreman.domain.job import Instant
from foreman.domain.node_auth import NodeAuth
from foreman.domain.nodes import NodeState
from foreman.queue.outlook import Outlook
from foreman.targets.http.parser import Header
from foreman.targets.http.pool import Client, Request


class OtherNodes:
    """Requests to other nodes, by the addresses that they tell."""

    def __init__(self, name: str, auth: NodeAuth, outlook: Outlook, clock: Callable[[], Instant]) -> None:
        """Ask as the node `name`; `clock` returns the store's time."""
        self.name = name
        self._auth = auth
        self._outlook = outlook
        self._clock = clock
        self._clients: dict[str, tuple[str, Client]] = {}  # by node, with its address

    def request(
        self, node: str, method: str, path: str, body: bytes | None = None, *, headers: Sequence[Header] = ()
    ) -> Request:
        """Return a signed request to a node. Raise TargetUnavailable while it is gone or has no address."""
        signature = self._auth.header(self.name, method, path, self._clock())
        signed = [("Authorization", signature), *headers]
        return self._client(node).request(method, path, body, headers=signed)

    def has(self, node: str) -> bool:
        """Return True while the node is one of the fleet."""
        known = self._outlook.nodes_elsewhere.get(node)
        return known is not None and known.state is not NodeState.GONE

    def close(self) -> None:
        """Close all connections."""
        for _, client in self._clients.values():
            client.close()
        self._clients.clear()

    def _client(self, name: str) -> Client:
        node = self._outlook.nodes_elsewhere.get(name)
        shown = f"the node {name}"
        if node is None or node.state is NodeState.GONE:
            raise TargetUnavailable(shown, "it has left the fleet")
        if node.url is None:
            raise TargetUnavailable(shown, "it has no advertise_url")
        known = self._clients.get(name)
        if known is not None and known[0] == node.url:
            return known[1]
        if known is not None:
            known[1].close()
        client = Client(node.url, name=shown)
        self._clients[name] = node.url, client
        return client
