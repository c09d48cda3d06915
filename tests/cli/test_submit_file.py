"""`foreman submit --file` against a real Foreman."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from foreman.client import Client
from foreman.client.splitting import LINES
from tests.cli.conftest import ROOT, TOKEN, App, an_app, environment

LATER = "2099-01-01T00:00:00Z"  # nothing here has to run


def line(custom_id: str, **more: object) -> str:
    said = {"role": "user", "content": "hi"}
    return msgspec.json.encode(
        {"model": "a", "messages": [said], "custom_id": custom_id, "not_before": LATER} | more
    ).decode()


@pytest.mark.parametrize("from_pipe", [False, True])
def test_every_line_becomes_a_job(app: App, tmp_path: Path, from_pipe: bool) -> None:
    text = "\n".join(line(f"job {n}") for n in range(3)) + "\n"
    (tmp_path / "jobs.ndjson").write_text(text, encoding="utf-8")
    file = "-" if from_pipe else str(tmp_path / "jobs.ndjson")
    done = app.run("submit", "--file", file, given=text if from_pipe else None)
    assert (done.returncode, done.stdout, done.stderr) == (0, "accepted 3, rejected 0\n", "")


def test_what_became_of_each_line_as_json(app: App) -> None:
    given = f"{line('one')}\n\n{{}}\n{line('four')}"
    done = app.run("submit", "--file", "-", "--json", given=given)
    assert (done.returncode, done.stderr) == (4, "")
    told = msgspec.json.decode(done.stdout)
    assert (told["accepted"], told["rejected"], told["last_line"]) == (2, 1, 4)
    assert [(job["line"], job["custom_id"]) for job in told["jobs"]] == [(1, "one"), (4, "four")]
    assert told["errors"] == [{"line": 3, "error": "model is required", "code": "model_required"}]
    with app.client() as client:
        assert client.job(told["jobs"][1]["job_id"]).custom_id == "four"


def test_bad_lines_are_told_by_their_number_in_the_file_whichever_request_they_were_in(
    app: App, tmp_path: Path
) -> None:
    lines = [line(f"{n}") for n in range(LINES + 5)]
    lines[6], lines[LINES + 2] = "nonsense", line("x", model="nope")
    file = tmp_path / "jobs.ndjson"
    file.write_text("\n".join(lines), encoding="utf-8")
    done = app.run("submit", "--file", str(file))
    assert (done.returncode, done.stdout) == (4, f"accepted {LINES + 3:,}, rejected 2\n")
    first, second = done.stderr.splitlines()
    assert first.startswith(f"{file}:7: invalid JSON body")
    assert second.startswith(f"{file}:{LINES + 3}: model not found: the target has: a, b, c")


def test_of_many_bad_lines_the_first_are_told(app: App) -> None:
    done = app.run("submit", "--file", "-", given="{}\n" * 100)
    assert (done.returncode, done.stdout) == (4, "accepted 0, rejected 100\n")
    *told, more = done.stderr.splitlines()
    assert told == [f"standard input:{n}: model is required" for n in range(1, 21)]
    assert more == "… and 80 more; --json lists them all"


def test_a_terminal_sees_how_far_it_is(app: App, tmp_path: Path) -> None:
    (tmp_path / "jobs.ndjson").write_text(line("one"), encoding="utf-8")
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "foreman", "submit", "--file", str(tmp_path / "jobs.ndjson")]
    env = environment(FOREMAN_URL=app.url, FOREMAN_TOKEN=TOKEN, TERM="xterm")
    with subprocess.Popen(words, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=theirs, text=True) as sending:
        os.close(theirs)
        shown = read_all(ours)
        assert sending.stdout is not None
        assert sending.stdout.read() == "accepted 1, rejected 0\n"
    assert re.search(r"1 jobs .*100%", shown)


def test_a_foreman_that_takes_less_than_most_gets_it_in_smaller_requests(tmp_path: Path) -> None:
    with an_app(tmp_path, max_body="2 KiB") as app:
        lines = [line(f"{n}") for n in range(50)]
        lines[30] = line("large", extra="x" * 3000)
        done = app.run("submit", "--file", "-", "--json", given="\n".join(lines))
        told = msgspec.json.decode(done.stdout)
        assert (done.returncode, told["accepted"], told["rejected"]) == (4, 49, 1)
        assert [(error["line"], error["code"]) for error in told["errors"]] == [(31, "body_too_large")]
        assert [job["custom_id"] for job in told["jobs"]] == [str(n) for n in range(50) if n != 30]


def test_whoever_loses_foreman_in_the_middle_is_told_how_far_it_came(tmp_path: Path) -> None:
    with an_app(tmp_path) as app, app.begin("submit", "--file", "-") as sending:
        assert sending.stdin is not None
        assert sending.stderr is not None
        assert sending.stdout is not None
        sending.stdin.write(f"{line('x')}\n" * (2 * LINES + 1))  # one more, for the second request to be whole
        sending.stdin.flush()
        with app.client() as client:
            wait_queued(client, LINES + 1)  # the first request was answered, or there would be no second one
        app.daemon.kill()
        sending.stdin.close()
        assert sending.wait(60) == 3
        told = re.fullmatch(r"accepted ([12]0,000), rejected 0\n", sending.stdout.read())
        assert told
        no_foreman, rest = sending.stderr.read().splitlines()
        assert no_foreman.startswith("foreman: ")
        after = int(told[1].replace(",", ""))
        assert rest.startswith(f"foreman: of standard input from line {after + 1} on ")


def wait_queued(client: Client, count: int) -> None:
    deadline = time.monotonic() + 60
    while client.queue().queued < count:
        assert time.monotonic() < deadline


def read_all(terminal: int) -> str:
    pieces = []
    try:
        while data := os.read(terminal, 65536):
            pieces.append(data)
    except OSError:  # how Linux says that nobody writes to it any more
        pass
    os.close(terminal)
    return b"".join(pieces).decode()
