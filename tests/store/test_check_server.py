"""The integrity check of a database on a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from foreman.cli.doctor import local
from foreman.cli.root import foreman
from foreman.config.settings import Settings
from foreman.domain.errors import StoreRefused
from foreman.domain.job import Artifact
from foreman.store import integrity
from foreman.store.postgres.nodes import Identity
from foreman.store.postgres.writer import PostgresWriter
from tests.store.conftest import add, done, draft
from tests.support.postgres import ORIGINS, Servers

NOWHERE = "postgresql://me:hidden@127.0.0.1:1/d"


@pytest.fixture(params=ORIGINS)
def empty(request: pytest.FixtureRequest, servers: Servers) -> Iterator[str]:
    server = servers.get(request.param)
    with server.schema() as name:
        yield server.url(name)


@pytest.fixture
def url(empty: str) -> str:
    """A database with an ended job, one that waits, and one with a webhook."""
    with closing(PostgresWriter(empty, Identity("node", "n"))) as store:
        job = done(store, add(store, draft(1))[0])
        with store.transaction():
            store.put([job], {job.id: [Artifact(name="completion", content_type="application/json", data=b"{}")]})
        add(store, draft(2), draft(3, webhook_url="http://127.0.0.1:9/"))
    return empty


def say(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(statement.encode())


def test_a_sound_database_has_no_problems(url: str) -> None:
    report = integrity.check_server(url)
    assert (report.jobs, report.events, report.problems) == ({"done": 1, "queued": 2}, 6, [])
    assert report.schema == report.newest_schema
    assert integrity.quick_check_server(url) is None


DAMAGE = {
    "UPDATE fleet_state SET full_text = '{nonsense'": "the note of the index of words is '{nonsense'",
    "DELETE FROM payloads WHERE job_id = '001'": "job 001 has no payload",
    "DELETE FROM artifacts": "job 001 is done and has no answer",
    "UPDATE jobs SET state = 'failed' WHERE id = '001'": "job 001 is not in the state that its last event says",
    "UPDATE lines SET ready = 7": "the count of waiting jobs of m is wrong",
    "UPDATE lines SET priority = 9": "the count of waiting jobs of 'm' with priority 9 is odd",
    "UPDATE jobs SET endpoint = '/odd' WHERE id = '002'": "job 002 cannot be read: its endpoint is",
    "UPDATE deliveries SET state = 'odd'": "job 003 cannot be read: of its delivery 6",
    "DELETE FROM events WHERE seq = 6": "delivery 6 belongs to nothing in events",
    "DELETE FROM jobs WHERE id = '001'": "a row of events (job 001) belongs to nothing in jobs",
    "UPDATE fleet_state SET seq = 5": "event 6 is newer than the newest that was given, 5",
    "UPDATE fleet_state SET schema = 999, needs = 999": "its schema 999 is too new for this foreman",
}


@pytest.mark.parametrize("statement", DAMAGE)
def test_each_kind_of_damage_is_found(url: str, statement: str) -> None:
    say(url, statement)
    assert any(problem.startswith(DAMAGE[statement]) for problem in integrity.check_server(url).problems)


def test_a_database_without_tables_or_server_is_told_apart(empty: str) -> None:
    assert integrity.check_server(empty).problems == ["it holds no tables of Foreman's"]
    with pytest.raises(StoreRefused, match="the database d at 127.0.0.1:1 cannot be read: ") as refused:
        integrity.check_server(NOWHERE)
    assert "hidden" not in str(refused.value)


def test_commands_go_to_the_database_of_the_settings(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREMAN_DATABASE_URL", url)
    checked = CliRunner().invoke(foreman, ["check"])
    assert (checked.exit_code, "6 events" in checked.output, "no problems" in checked.output) == (0, True, True)
    refused = CliRunner().invoke(foreman, ["backup", str(tmp_path / "copy")])
    assert refused.exit_code == 1 and "pg_dump" in refused.output
    settings = Settings.model_validate({"data_dir": tmp_path, "database_url": url})
    assert local.store(settings).status == "ok"
    away = Settings.model_validate({"data_dir": tmp_path, "database_url": NOWHERE})
    assert local.store(away).status == "fail" and "hidden" not in local.store(away).what
