"""The Foremen that share a queue, on the page of each."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.e2e.page.seen import WIDTHS, opened, serious, wider
from tests.support.foreman import Daemon
from tests.support.ports import held_port
from tests.support.postgres import Servers

LEASE = 10  # seconds, the shortest


def test_every_node_is_shown_with_what_it_does(
    page: Page, shared: Daemon, fresh: Callable[..., Daemon], servers: Servers
) -> None:
    opened(page, shared, "#/targets")
    expect(page.locator(".target")).to_have_count(1)
    expect(page.get_by_role("region", name="Nodes")).to_be_hidden()  # it is alone

    server = servers.get("wheel")
    with server.schema() as schema:
        first, second = (
            fresh(
                addr=f"127.0.0.1:{port}",
                advertise_url=f"http://127.0.0.1:{port}",
                database_url=server.url(schema),
                node_name=name,
                lease=LEASE,
            )
            for name, port in (("cellar", held_port()), ("attic", held_port()))
        )
        opened(page, first, "#/targets")
        nodes = page.get_by_role("region", name="Nodes")
        expect(nodes.get_by_role("article")).to_have_count(2)
        own, other = (page.get_by_role("article", name=f"Node {name}") for name in ("cellar", "attic"))
        expect(own).to_contain_text("this one · sends the webhooks · version")
        expect(other).to_contain_text(re.compile(r"up.*0 of 1 slots in use · wrote \d+ m?s ago"))
        expect(other.get_by_role("link", name="attic")).to_have_attribute("href", second.url)
        assert serious(page) == []
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            assert wider(page) <= 0, width
        second.terminate()
        expect(other).to_contain_text("gone")
        first.close()
