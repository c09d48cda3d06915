"""Jobs named by part of their id or by an id of the caller's own, by every verb that takes one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

import click
import msgspec
import pytest

from foreman.cli.root import COMMANDS, foreman
from foreman.client import Client, Job
from foreman.domain.job import State
from tests.cli.conftest import App, Invoke
from tests.cli.test_job_actions import UNKNOWN

HOOK = "http://127.0.0.1:1/"

NAMES: dict[str, Callable[[Job], str]] = {
    "whole in small letters": lambda job: job.job_id.lower(),
    "end": lambda job: job.job_id[-6:],
    "end in small letters": lambda job: job.job_id[-9:].lower(),
    "beginning": lambda job: job.job_id[:25],
    "custom": lambda job: job.custom_id or "",
}


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> Callable[[Job], str]:
    return NAMES[str(request.param)]


def parked(client: Client, custom_id: str) -> Job:
    """A job that waits for a day that does not come."""
    at = datetime(2099, 1, 1, tzinfo=UTC)
    return client.job(
        client.submit(
            "a", "hi", custom_id=custom_id, not_before=at, state_webhook_url=HOOK, webhook_events=["queued"]
        ).job_id
    )


@pytest.fixture
def job(app: App) -> Job:
    with app.client() as client:
        return parked(client, f"night run/{uuid4()}")


def test_every_verb_that_takes_a_job_takes_its_short_name(
    app: App, here: Invoke, job: Job, name: Callable[[Job], str]
) -> None:
    short, whole = name(job), job.job_id
    assert f"job         {whole}\n" in here("show", short).stdout
    assert msgspec.json.decode(here("history", "--json", short).stdout)["events"][0]["job_id"] == whole
    assert msgspec.json.decode(here("jobs", "--json", "--after", short).stdout)["jobs"] == older(app, whole)
    (delivery,) = here("deliveries", "--quiet", short).stdout.split()
    assert here("redeliver", short, delivery).stdout == f"delivery {delivery} is due again\n"
    assert here("cancel", short).stdout == f"{whole}  cancelled\n"
    assert app.run("history", "--follow", "--quiet", short).returncode == 1
    assert here("retry", "--quiet", short).stdout == f"{whole}\n"
    with app.client() as client:
        client.wait(whole)
    assert here("rm", short).stdout == f"{whole}  removed\n"
    assert here("show", short).stderr == f"foreman: job not found: {short}\n"


def older(app: App, job_id: str) -> list[object]:
    with app.client() as client:
        jobs: list[object] = msgspec.json.decode(client.request("GET", "/jobs", params={"after": job_id}))["jobs"]
        return jobs[:20]


def test_no_verb_that_takes_a_job_is_left_out() -> None:
    ctx = click.Context(foreman, **foreman.context_settings)
    commands = {verb: foreman.get_command(ctx, verb) for verb in COMMANDS}
    taking = {
        verb
        for verb, command in commands.items()
        if command and any(param.name in ("job_id", "job_ids", "after") for param in command.params)
    }
    assert taking == {
        "show",
        "logs",
        "history",
        "open",
        "jobs",
        "deliveries",
        "redeliver",
        "cancel",
        "uncancel",
        "retry",
        "rm",
    }


@pytest.mark.parametrize("verb", ["show", "logs", "cancel", "rm"])
def test_a_name_of_several_jobs_is_refused_with_their_ids(app: App, here: Invoke, verb: str) -> None:
    with app.client() as client:
        ids = [parked(client, "twins").job_id for _ in range(7)]
    done = here(verb, "twins")
    told = ", ".join(ids[:1:-1])
    assert (done.exit_code, done.stdout) == (4, "")
    assert done.stderr == f"foreman: twins matches several jobs: {told} and more: give more of the id\n"
    with app.client() as client:
        assert {client.job(job_id).state for job_id in ids} == {State.QUEUED}
        for job_id in ids:
            client.cancel(job_id)
            client.delete(job_id)


def test_the_beginning_that_two_jobs_share_means_neither(app: App, here: Invoke) -> None:
    with app.client() as client:
        one, other = parked(client, "one").job_id, parked(client, "other").job_id
    done = here("show", one[:6])
    assert done.exit_code == 4
    assert f"{other}, {one}" in done.stderr


def test_an_id_of_ones_own_that_is_also_the_end_of_another_jobs_id_means_neither(app: App, here: Invoke) -> None:
    with app.client() as client:
        one = parked(client, "one").job_id
        other = parked(client, one[-6:]).job_id
    done = here("cancel", one[-6:])
    assert (done.exit_code, done.stdout) == (4, "")
    assert one in done.stderr
    assert other in done.stderr


@pytest.mark.parametrize("own", [UNKNOWN, "50% done? yes & no #1", "stars*"])
def test_an_id_of_ones_own_may_look_like_anything(app: App, here: Invoke, own: str) -> None:
    with app.client() as client:
        job, _longer = parked(client, own), parked(client, f"{own}and more")
    assert here("cancel", own).stdout == f"{job.job_id}  cancelled\n"
    assert here("rm", own).exit_code == 0


@pytest.mark.parametrize("name", ["abc", "ABCDEF", "no such custom id", "x" * 65, "../queue", UNKNOWN])
def test_what_is_not_found_is_named(here: Invoke, name: str) -> None:
    for verb in ("show", "logs", "deliveries", "cancel"):
        done = here(verb, name)
        assert (done.exit_code, done.stdout, done.stderr) == (4, "", f"foreman: job not found: {name}\n")
