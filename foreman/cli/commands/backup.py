"""`foreman backup` and `foreman check`: the database, while Foreman runs or not."""

from __future__ import annotations

from pathlib import Path

import click

from foreman.cli.exit_codes import FAILED, epilog
from foreman.cli.script_output import print_json
from foreman.config.settings import Settings
from foreman.config.sources import load
from foreman.domain.errors import StoreRefused
from foreman.store import integrity

DATABASE = "foreman.db"  # in the data folder

_where = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Folder of the database.  [default: the setting data_dir]",
)
_config = click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Settings file, TOML.")


@click.command(
    epilog=epilog("foreman backup /mnt/backups/foreman.db"), short_help="Copy the database, also while Foreman runs."
)
@click.argument("file", type=click.Path(path_type=Path))
@_where
@_config
@click.option("--json", "as_json", is_flag=True, help='Print {"file", "bytes"}.')
def backup(file: Path, data_dir: Path | None, config: Path | None, as_json: bool) -> None:
    """Copy the database to FILE as it is at this moment, without holding up a running Foreman.

    FILE has the bytes of files and large artifacts too. It must not exist yet, and is written in whole or not at all.
    To restore it, stop Foreman, replace foreman.db with the copy, and remove foreman.db-wal and foreman.db-shm. A
    database on a server (database_url) is backed up with pg_dump, and a folder blob_store with any program.
    """
    settings = _settings(data_dir, config)
    if not data_dir and settings.node:
        raise StoreRefused(
            "the queue is in PostgreSQL: back up the database of database_url with pg_dump, "
            "and the folder blob_store if it is set"
        )
    size = integrity.backup(settings.data_dir / DATABASE, file)
    if as_json:
        print_json({"file": str(file), "bytes": size})
    else:
        click.echo(f"{file}: {size} bytes")


@click.command(epilog=epilog("foreman check", "foreman check --json"), short_help="Check the database for damage.")
@_where
@_config
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help='Print {"database", "schema", "newest_schema", "jobs", "events", "problems"}.',
)
@click.pass_context
def check(ctx: click.Context, data_dir: Path | None, config: Path | None, as_json: bool) -> None:
    """Read the whole database and report every inconsistency; exit with 1 if there is one.

    Each row is read as the program reads it. Inconsistencies are damaged pages, jobs without a payload or an answer,
    rows whose job or event is missing, files and large artifacts whose bytes are missing or damaged, bytes that nothing
    has, states that the event log contradicts, wrong counts, an index of words that is damaged (in a file; one of more
    than 64 MiB may only be opened), and jobs that cannot be read, with what to do about them. With --data-dir it is
    the file there, else where the settings keep the jobs.
    """
    settings = _settings(data_dir, config)
    if not data_dir and settings.node:
        report = integrity.check_server(settings.database_url.get_secret_value(), settings.blob_folder)
    else:
        report = integrity.check(settings.data_dir / DATABASE)
    if as_json:
        print_json(report)
    else:
        jobs = ", ".join(f"{count} {state}" for state, count in report.jobs.items()) or "no jobs"
        click.echo(f"{report.database}: schema {report.schema}, {jobs}, {report.events} events")
        for problem in report.problems:
            click.echo(f"problem: {problem}")
        if report.problems:
            click.echo(
                "foreman: the database is damaged; do as a problem says, or stop Foreman and restore a backup", err=True
            )
        else:
            click.echo("no problems")
    ctx.exit(FAILED if report.problems else 0)


def _settings(data_dir: Path | None, config: Path | None) -> Settings:
    return load(config, {"data_dir": data_dir} if data_dir else {})
