"""`foreman migrate`: a stopped SQLite queue goes to PostgreSQL."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from foreman.cli.exit_codes import epilog
from foreman.cli.script_output import print_json
from foreman.config.settings import Settings
from foreman.config.sources import load
from foreman.domain.errors import SettingInvalid, StoreRefused

EVERY = 2.0  # seconds between lines of progress


@click.command(
    epilog=epilog("foreman migrate --from /var/lib/foreman --to postgresql://foreman@db.lan/foreman"),
    short_help="Copy a stopped SQLite queue to PostgreSQL.",
)
@click.option(
    "--from",
    "data_dir",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Folder of the database.  [default: the setting data_dir]",
)
@click.option(
    "--to",
    "database_url",
    metavar="URL",
    help="An empty PostgreSQL database. Prefer the environment if it has a password: arguments are visible to other "
    "users.  [default: the setting database_url]",
)
@click.option(
    "--node",
    metavar="NAME",
    help="Name that this Foreman is to have among those that share the database.  [default: the setting node_name]",
)
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Settings file, TOML.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help='Print {"database", "node", "rows": {"TABLE": N}, "running", "left_out"}.',
)
def migrate(
    data_dir: Path | None, database_url: str | None, node: str | None, config: Path | None, as_json: bool
) -> None:
    """Copy the queue of a stopped Foreman into an empty PostgreSQL database, and compare every row.

    All of it is copied, or nothing; the SQLite file stays as it is. Then start Foreman with database_url. Jobs that ran
    when it ended run again, as after a crash. Targets are called TARGET@NAME from then on. Not copied is what Foreman
    learns again: the models and speeds of targets, and forecasts.
    """
    given: dict[str, Any] = {"data_dir": data_dir, "database_url": database_url, "node_name": node}
    settings = load(config, {name: value for name, value in given.items() if value})
    target = settings.database_url.get_secret_value()
    if not target:
        raise SettingInvalid("database_url", "", "must name the new database: give --to, or set FOREMAN_DATABASE_URL")
    moved = _transferred(settings, target)
    if as_json:
        print_json(moved)
        return
    rows = ", ".join(f"{count} {table}" for table, count in moved.rows.items() if count) or "no rows"
    click.echo(f"copied to {moved.database} and compared: {rows}")
    if moved.running:
        click.echo(f"jobs that ran, and run again once the node {moved.node} or another one is up: {moved.running}")
    if moved.left_out:
        click.echo(f"not copied, it is learned again: {', '.join(moved.left_out)}")
    click.echo(f"next: foreman serve with this database_url and node_name {moved.node}")


def _transferred(settings: Settings, url: str) -> Any:
    try:
        from foreman.store import transfer  # needs the driver
    except ImportError as error:
        why = f"database_url needs a driver ({error}): pip install 'foreman-llm[postgres]'"
        raise StoreRefused(why) from error
    return transfer.transfer(settings.data_dir, url, settings.node_name, _Progress(), settings.blob_folder)


class _Progress:
    """Lines about long tables on standard error."""

    def __init__(self) -> None:
        self._next = time.monotonic() + EVERY

    def __call__(self, doing: str, table: str, done: int, total: int) -> None:
        if done % 256 and done != total:  # the clock costs more than a row
            return
        if (now := time.monotonic()) >= self._next:
            self._next = now + EVERY
            click.echo(f"{doing} {done} of {total} {table}", err=True)
