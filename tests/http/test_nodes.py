"""/nodes of a Foreman with a queue of its own; several are tested on PostgreSQL."""

from __future__ import annotations

import socket

import pytest

from foreman import __version__
from foreman.client import Client
from tests.http.conftest import Api


@pytest.mark.alone
def test_a_foreman_with_a_queue_of_its_own_is_the_only_node(api: Api) -> None:
    [node] = api.http.get("/nodes").json()["nodes"]
    assert (node["name"], node["state"], node["version"]) == (socket.gethostname().partition(".")[0], "up", __version__)
    assert (node["asked"], node["coordinates"], node["silent_seconds"]) == (True, True, 0.0)
    [target] = node["targets"]
    assert (target["name"], target["open"], target["slots"]) == ("ollama", True, 1)


@pytest.mark.alone
def test_the_library_lists_nodes(api: Api) -> None:
    with Client(api.daemon.url) as client:
        [node] = client.nodes()
    assert node.asked
    assert [target.name for target in node.targets] == ["ollama"]
