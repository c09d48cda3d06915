"""The verbs that change jobs and the queue, against a real Foreman."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import msgspec

from foreman.client import Client
from foreman.domain.job import State
from tests.cli.conftest import TOKEN, App, an_app, environment
from tests.cli.terminal import Terminal

UNKNOWN = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
BACK = "to take it back for jobs that were queued: foreman uncancel "
LATER = "2099-01-01T00:00:00Z"


def some(client: Client, count: int) -> list[str]:
    """Jobs that wait for a day that does not come."""
    return [client.submit("a", "hi", payload={"not_before": LATER}).job_id for _ in range(count)]


def has(text: str, lines: list[str]) -> bool:
    return any(text in line for line in lines)


def test_several_jobs_go_through_all_steps(app: App) -> None:
    with app.client() as client:
        ids = some(client, 2)
    back = f"{BACK}{' '.join(ids)}\n"
    for verb, said, hint in (
        ("cancel", "cancelled", back),
        ("uncancel", "queued again", ""),
        ("cancel", "cancelled", back),
        ("cancel", "cancelled", back),
        ("rm", "removed", ""),
    ):
        done = app.run(verb, *ids)
        assert (done.returncode, done.stderr) == (0, hint)
        assert done.stdout.splitlines() == [f"{job_id}  {said}" for job_id in ids]
    assert app.run("show", ids[0]).stderr == f"foreman: job not found: {ids[0]}\n"


def test_a_job_that_refuses_does_not_keep_the_others(app: App) -> None:
    with app.client() as client:
        one, other = some(client, 2)
        done = app.run("cancel", one, UNKNOWN, other)
        assert client.job(other).state is State.CANCELLED
    assert (done.returncode, done.stderr) == (4, f"foreman: job not found: {UNKNOWN}\n{BACK}{one} {other}\n")
    assert done.stdout == f"{one}  cancelled\n{other}  cancelled\n"


def test_a_failed_job_is_tried_again(app: App) -> None:
    job_id = app.run("submit", "-m", "a", "--no-wait", "retry me #status=400 #times=1").stdout.strip()
    with app.client() as client:
        client.wait(job_id)
        assert client.job(job_id).state is State.FAILED
        assert app.run("retry", job_id).stdout == f"{job_id}  queued again\n"
        client.wait(job_id)
        assert client.job(job_id).state is State.DONE
    refused = app.run("retry", job_id)
    assert (refused.returncode, refused.stderr) == (4, f"foreman: {job_id}: cannot retry a job that is done\n")


def test_steps_as_json_are_one_object(app: App) -> None:
    with app.client() as client:
        (job_id,) = some(client, 1)
    cancelled = app.run("cancel", "--json", job_id, UNKNOWN)
    assert cancelled.returncode == 4
    told = msgspec.json.decode(cancelled.stdout)
    assert [(job["job_id"], job["state"]) for job in told["jobs"]] == [(job_id, "cancelled")]
    assert told["errors"] == [{"job_id": UNKNOWN, "error": f"job not found: {UNKNOWN}", "code": "job_not_found"}]
    assert msgspec.json.decode(app.run("rm", "--json", job_id).stdout) == {"jobs": [{"job_id": job_id}], "errors": []}


def test_all_jobs_that_filters_select_are_acted_on(app: App) -> None:
    with app.client() as client:
        for number in range(3):
            fields = {"not_before": LATER, "metadata": {"n": f"{number}", "by": "x=y"}}
            client.submit("a", "hi", custom_id=f"many-{number}", payload=fields)
    listed = app.run("jobs", "--metadata", "n=1", "--metadata", "by=x=y", "--custom-id", "many-*")
    assert [line.split()[1:3] + line.split()[-1:] for line in listed.stdout.splitlines()[1:]] == [["queued", "a", "hi"]]
    for wrong in (("--metadata", "n"), ("--metadata", "n=1", "--metadata", "n=2")):
        assert app.run("cancel", *wrong).returncode == 2
    asked = app.run("cancel", "--custom-id", "many-*")
    assert (asked.returncode, asked.stdout) == (2, "")
    assert "give --yes" in asked.stderr
    first = app.run("cancel", "--custom-id", "many-*", "--yes")
    assert (first.returncode, first.stdout) == (0, "3 jobs cancelled\n")
    assert first.stderr.startswith(f"{BACK}--changes ")
    back = app.run("uncancel", *first.stderr.split()[-2:])
    assert (back.returncode, back.stdout) == (0, "3 jobs queued again\n")
    assert app.run("uncancel").returncode == 2
    app.run("cancel", "--custom-id", "many-*", "--yes", "--quiet")
    for verb, said in (
        ("cancel", "0 jobs cancelled, 3 skipped"),
        ("rm", "3 jobs removed"),
    ):
        done = app.run(verb, "--custom-id", "many-*", "--state", "queued,cancelled", "--yes")
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{said}\n", "")
    told = app.run("retry", "--custom-id", "many-*", "--yes", "--json")
    assert msgspec.json.decode(told.stdout) == {"matched": 0, "done": 0, "skipped": 0}
    assert app.run("retry", "--custom-id", "many-*", "--yes", "--quiet").stdout == "0\n"


def test_a_person_is_asked_with_the_count(app: App) -> None:
    with app.client() as client:
        for number in range(2):
            client.submit("a", "hi", custom_id=f"asked-{number}", payload={"not_before": LATER})
    env = environment(FOREMAN_URL=app.url, FOREMAN_TOKEN=TOKEN)
    for answer, code, said in (("n\n", 1, "nothing was changed"), ("y\n", 0, "2 jobs cancelled")):
        with Terminal("cancel", "--custom-id", "asked-*", env=env) as terminal:
            terminal.shows(partial(has, "Cancel 2 jobs? [y/N]:"))
            terminal.press(answer)
            terminal.shows(partial(has, said))
            assert terminal.ends() == code


def test_ids_and_filters_are_not_mixed_and_one_of_them_is_needed(app: App) -> None:
    for words in (("cancel",), ("rm", UNKNOWN, "--state", "done"), ("retry", "--yes")):
        done = app.run(*words)
        assert done.returncode == 2 and "give either IDs or filters such as --state" in done.stderr
    refused = app.run("cancel", "--state", "odd", "--yes")
    assert (refused.returncode, refused.stdout) == (4, "")
    assert refused.stderr.startswith("foreman: state: must be one of queued, ")


def test_a_token_that_is_wrong_is_told_once(app: App) -> None:
    done = app.run("cancel", UNKNOWN, UNKNOWN[::-1], FOREMAN_TOKEN="wrong")
    assert (done.returncode, done.stderr.count("\n")) == (4, 1)


def test_a_paused_queue_starts_nothing_until_it_is_resumed(app: App) -> None:
    with app.client() as client:
        try:
            assert app.run("pause").stdout == "paused: running jobs go on, new ones wait\n"
            assert client.queue().paused
            assert app.run("pause", "--json").stdout == '{"paused":true}\n'
            job_id = client.submit("a", "hi").job_id
        finally:
            assert app.run("resume").stdout == "resumed\n"
        client.wait(job_id)
        assert client.job(job_id).state is State.DONE
        assert app.run("resume", "--json").stdout == '{"paused":false}\n'


def test_where_an_admin_token_is_set_pausing_wants_it(tmp_path: Path) -> None:
    with an_app(tmp_path, admin_token="boss") as app:
        refused = app.run("pause")
        assert (refused.returncode, refused.stdout) == (4, "")
        assert refused.stderr == "foreman: this needs the admin token: set FOREMAN_TOKEN to it, or give --token\n"
        assert app.run("pause", FOREMAN_TOKEN="boss").returncode == 0
