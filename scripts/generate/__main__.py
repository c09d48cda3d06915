"""Write the generated files (`make generate`), or compare them with `--check`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from scripts.generate import ROOT, cli_page, error_tables, route_tables, settings, sync_client

FILES: Mapping[str, Callable[[], str]] = {
    sync_client.CLIENT: sync_client.sync_client,
    sync_client.BATCHES: sync_client.sync_batches,
    sync_client.SELECTIONS: sync_client.sync_selections,
    sync_client.SERVICE: sync_client.sync_service,
    sync_client.MANY: sync_client.sync_many,
    settings.TOML: settings.toml,
    settings.PAGE: settings.page,
    cli_page.PAGE: cli_page.page,
    error_tables.PAGE: error_tables.page,
    route_tables.PAGE: route_tables.page,
}


def committed(path: str) -> str:
    """Return the text of a file as it is."""
    return (ROOT / path).read_text(encoding="utf-8")


def main() -> int:
    """Run the command; return its exit code: 1 if `--check` finds a difference."""
    differing = {path: text for path, generate in FILES.items() if committed(path) != (text := generate())}
    for path, text in differing.items():
        if "--check" in sys.argv:
            print(f"{path} differs from what it is generated from; run `make generate`", file=sys.stderr)
        else:
            (ROOT / path).write_text(text, encoding="utf-8")
            print(f"wrote {path}")
    return int("--check" in sys.argv and bool(differing))


if __name__ == "__main__":
    sys.exit(main())
