"""The verbs against a real Foreman in front of a scripted server."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from foreman.cli.answer import place
from foreman.cli.follow import Waiting, follow
from foreman.client import Chunk, Client, Refused, StartsOver
from foreman.client.requests import Ask
from foreman.domain.endpoints import ENDPOINTS
from foreman.domain.job import State
from tests.cli.conftest import ROOT, TOKEN, App, Invoke, an_app, environment
from tests.support.foreman import until
from tests.support.ports import held_port


def test_the_answer_goes_to_standard_output_and_how_it_stands_to_the_other(app: App) -> None:
    done = app.run("submit", "-m", "a", "hello #chunks=3 #every=0.05")
    assert (done.returncode, done.stdout) == (0, "w0 w1 w2 \n")
    told = [line for line in done.stderr.splitlines() if "next to start" not in line]
    assert told[:-1] == ["queued", "loading model a", "working"]
    assert re.fullmatch(r"\d+ tokens in, 3 out, [\d.,]+/s · waited .* · ran .* · ollama · \w{8}", told[-1])


@pytest.mark.parametrize("words", [[], ["-"]])
def test_a_prompt_may_come_from_standard_input(app: App, words: list[str]) -> None:
    done = app.run("submit", "-m", "a", *words, given="#echo ünïcode\n")
    assert done.stdout.split() == ["#echo", "ünïcode"]


@pytest.mark.parametrize("endpoint", [path for path in ENDPOINTS if path.startswith("/api/") and "embed" not in path])
def test_the_text_is_shown_whatever_the_endpoint(app: App, endpoint: str) -> None:
    assert app.run("submit", "-m", "a", "--endpoint", endpoint, "hi").stdout == "w0 w1 w2 \n"


def test_an_answer_without_words_is_shown_as_json(app: App) -> None:
    done = app.run("submit", "-m", "a", "--endpoint", "/api/embed", "hi")
    assert msgspec.json.decode(done.stdout)["embeddings"] == [[2.0, 0.5, -1.0]]


def test_no_wait_prints_the_id_and_show_tells_the_rest(app: App) -> None:
    job_id = app.run("submit", "-m", "a", "--no-wait", "--priority", "low", "hi #slow=0.2").stdout.strip()
    with app.client() as client:
        client.wait(job_id)
    shown = app.run("show", job_id).stdout
    assert re.search(rf"^job +{job_id}$", shown, re.MULTILINE)
    assert re.search(r"^priority +low$", shown, re.MULTILINE)
    told = re.findall(r"^\d\d:.*  (queued|loading|working|done)\b", shown, re.MULTILINE)
    assert told == ["queued", "loading", "working", "done"]
    assert shown.endswith("\nw0 w1 w2 \n")


def test_show_as_json_has_the_job_and_its_events(app: App) -> None:
    job = msgspec.json.decode(app.run("submit", "-m", "a", "--json", "hi").stdout)
    assert (job["state"], job["result"]["message"]["content"]) == ("done", "w0 w1 w2 ")
    shown = msgspec.json.decode(app.run("show", "--json", job["job_id"]).stdout)
    assert [event["state"] for event in shown["events"]] == ["queued", "loading", "working", "done"]


def test_the_accepted_job_as_json(app: App) -> None:
    accepted = msgspec.json.decode(app.run("submit", "-m", "a", "--json", "--no-wait", "hi").stdout)
    assert accepted["links"]["self"] == f"/jobs/{accepted['job_id']}"


def test_a_start_by_that_cannot_be_met_is_warned_of(tmp_path: Path) -> None:
    with an_app(tmp_path / "data", slots=1) as app, app.client() as client:
        client.wait(client.submit("a", "hi #slow=1").job_id)  # from now on there is an estimate
        for _ in range(30):
            client.submit("a", "hi #slow=60")
        soon = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
        done = app.run("submit", "-m", "a", "--no-wait", "--start-by", soon, "hi")
        assert done.returncode == 0
        told = f"foreman: job {done.stdout.strip()}: it will not start by the time given in start_by: by the forecast"
        assert done.stderr.startswith(told)
        wrong = app.run("submit", "-m", "a", "--no-wait", "--start-by", "soon", "hi")
        assert wrong.returncode != 0 and "start_by" in wrong.stderr


def test_options_reach_the_target(app: App) -> None:
    done = app.run("submit", "-m", "a", "-o", "seed=7", "-o", "stop=now", "--json", "hi")
    assert done.returncode == 0
    with Client(app.upstream.url) as upstream:
        log = msgspec.json.decode(upstream.raw(Ask(bytes, "/_log")))
    assert {"seed": 7, "stop": "now"} in [(entry["payload"] or {}).get("options") for entry in log["requests"]]


def test_what_belongs_to_a_job_is_given_by_options(app: App, tmp_path: Path) -> None:
    schema, picture = tmp_path / "schema.json", tmp_path / "cat.png"
    schema.write_text('{"type": "object", "properties": {"n": {"type": "integer"}}}')
    picture.write_bytes(b"\x89PNG")
    words = ["--custom-id", "mine", "--metadata", "team=red", "--not-before", "2100-01-01T00:00:00Z"]
    files = ["--schema", str(schema), "--image", str(picture)]
    job_id = app.run("submit", "-m", "a", "-q", "--no-wait", *words, *files, "hi").stdout.strip()
    with app.client() as client:
        job, request = client.job(job_id), client.payload(job_id)
        assert (job.custom_id, job.metadata) == ("mine", {"team": "red"})
        assert job.not_before == datetime(2100, 1, 1, tzinfo=UTC)
        assert request["format"]["properties"] == {"n": {"type": "integer"}}
        assert request["messages"][0]["images"] == ["iVBORw=="]
        assert next(item.why for item in follow(client, job_id) if isinstance(item, Waiting)).startswith(
            "it is not to start"
        )
        assert app.run("open", "mine", DISPLAY="", WAYLAND_DISPLAY="").stdout == f"{client.url}/#/jobs/{job_id}\n"
        assert app.run("open", "-n").stdout == f"{client.url}/\n"
        client.cancel(job_id)


@pytest.mark.parametrize(
    ("news", "said"),
    [
        (Waiting(1, None), "queued, next to start"),
        (Waiting(4, 20.0), "waits behind 3, about 20 s"),
        (Waiting(1000, 7200.0), "waits behind 999 or more, about 2 h"),
        (Waiting(1, 3.0, "b has its turn"), "queued: b has its turn, about 3 s"),
    ],
)
def test_a_wait_is_said(news: Waiting, said: str) -> None:
    assert place(news) == said


def test_a_failed_job_is_one_line_with_the_targets_words_and_exit_code_1(app: App) -> None:
    done = app.run("submit", "-m", "a", "hi #status=400")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"foreman: job \w{26} failed: told to by hi #status=400", done.stderr.splitlines()[-1])


def test_a_target_that_breaks_off_is_tried_again_and_the_text_is_shown_once(app: App) -> None:
    done = app.run("submit", "-m", "a", "again #break=1 #chunks=5")
    assert (done.returncode, done.stdout) == (0, "w0 w1 w2 w3 w4 \n")
    assert "queued again" in done.stderr


def test_an_unknown_model_is_one_line_with_the_known_ones(app: App) -> None:
    done = app.run("submit", "-m", "nope", "hi")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == "foreman: model 'nope' not found: the target has: a, b, c\n"


def test_a_wrong_field_is_one_line(app: App) -> None:
    done = app.run("submit", "-m", "a", "--max-attempts", "99", "hi")
    assert done.returncode == 4
    assert done.stderr == "foreman: max_attempts: must be a whole number from 1 to 20; given: 99\n"


@pytest.mark.parametrize(("token", "why"), [("", "a token is needed"), ("wrong", "the token is not known here")])
def test_a_wrong_token_is_one_line_that_says_what_to_do(app: App, token: str, why: str) -> None:
    done = app.run("jobs", FOREMAN_TOKEN=token)
    assert done.returncode == 4
    assert done.stderr == f"foreman: {why}: set FOREMAN_TOKEN, or give --token\n"


def test_an_unknown_job_is_one_line(app: App) -> None:
    done = app.run("show", "01ARZ3NDEKTSV4RRFFQ69G5FAV")
    assert (done.returncode, done.stderr) == (4, "foreman: job not found: 01ARZ3NDEKTSV4RRFFQ69G5FAV\n")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["submit", "-m", "a", "--timeout", "nan", "hi"], 2, "foreman: timeout is nan: JSON has no such number"),
        (["submit", "-m", "a\udcff", "hi"], 4, "foreman: model 'a\ufffd' not found: did you mean a?"),
        (["show", "\udcff"], 4, "foreman: job not found: \ufffd"),
        (["logs", "-f", "one\ntwo"], 4, "foreman: job not found: one two"),
        (["jobs", "--token", "\u2603"], 2, "foreman: the token cannot be sent: use visible ASCII"),
        (["jobs", "--url", "http://a..b"], 3, "foreman: cannot reach foreman at http://a..b: not a valid URL"),
        (["submit", "-m", "a", "--endpoint", "/api/embed", "-s", "x", "hi"], 2, "has no place for 'system'"),
    ],
)
def test_whatever_is_typed_is_answered_and_not_a_crash(here: Invoke, words: list[str], code: int, said: str) -> None:
    done = here(*words)
    assert (done.exit_code, done.stdout) == (code, "")
    assert said in done.stderr.splitlines()[-1]


def test_bytes_that_are_no_text_cost_their_character(app: App) -> None:
    assert app.run("submit", "-m", "a", "#echo caf\udce9").stdout.split() == ["#echo", "caf\ufffd"]


def test_a_full_disk_is_one_line(app: App) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "foreman", "jobs", "--json"],
            cwd=ROOT,
            env=environment(FOREMAN_URL=app.url, FOREMAN_TOKEN=TOKEN),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "foreman: no space left on device\n")


def test_jobs_are_listed_newest_first_filtered_and_by_pages(app: App) -> None:
    with app.client() as client:
        ids = [client.submit("b", f"page {n}").job_id for n in range(5)]
        for job_id in ids:
            client.wait(job_id)
    listed = app.run("jobs", "--model", "b", "--state", "done", "-n", "3")
    assert re.findall(r"^(\w{26})  done ", listed.stdout, re.MULTILINE) == ids[:1:-1]
    assert listed.stdout.startswith("ID      ")
    assert "\x1b" not in listed.stdout
    after = re.search(r"--after (\w{26})", listed.stderr)
    assert after
    rest = msgspec.json.decode(app.run("jobs", "--model", "b", "--json", "--after", after[1]).stdout)
    assert [job["job_id"] for job in rest["jobs"]] == ids[1::-1]
    assert rest["next"] is None


def test_whoever_stops_waiting_is_told_that_the_job_goes_on(app: App) -> None:
    waiting = subprocess.Popen(
        [sys.executable, "-m", "foreman", "submit", "-m", "a", "hi #slow=2"],
        cwd=ROOT,
        env=environment(FOREMAN_URL=app.url, FOREMAN_TOKEN=TOKEN),
        stderr=subprocess.PIPE,
        text=True,
    )
    with waiting:
        assert waiting.stderr is not None
        assert waiting.stderr.readline() == "queued\n"
        waiting.send_signal(signal.SIGINT)
        said = waiting.stderr.read()
    assert waiting.returncode == 130
    left = re.search(r"the job goes on without you: \S*foreman show (\w{26})\n$", said)
    assert left
    with app.client() as client:
        assert not client.job(left[1]).ended
        client.cancel(left[1])
        assert client.job(left[1]).state is State.CANCELLED
        with pytest.raises(Refused):
            client.job("nonsense")


def test_a_stream_lives_through_a_killed_foreman(tmp_path: Path) -> None:
    with an_app(tmp_path) as app, app.client() as client:
        job_id = client.submit("a", "long #chunks=40 #every=0.05").job_id
        pieces = client.stream(job_id)
        assert [next(pieces) for _ in range(3)]
        app.daemon.kill()
        app.daemon.start()
        rest = list(pieces)
        over = max(n for n, piece in enumerate(rest) if isinstance(piece, StartsOver))
        text = "".join(piece.text for piece in rest[over:] if isinstance(piece, Chunk))
        assert text == "".join(f"w{n} " for n in range(40))
        assert client.job(job_id).attempt == 2
        app.daemon.terminate()
        assert app.daemon.wait() == 0


def test_only_a_target_with_the_jobs_model_is_named_as_the_one_that_it_waits_for(tmp_path: Path) -> None:
    gone = f"http://127.0.0.1:{held_port()}"
    with an_app(tmp_path, slots=1, openai_url=gone) as app, app.client() as client:
        client.submit("a", "long #slow=600")
        until(lambda: client.queue().running)
        news = follow(client, client.submit("a", "waits").job_id)
        told = (item.why for item in news if isinstance(item, Waiting))
        assert next(told) == ""
        app.upstream.stop()
        assert next(why for why in told if why).startswith("cannot reach ollama")


def test_why_nothing_moves_is_told(app: App) -> None:
    with app.client() as client:
        client.pause()
        waiting = subprocess.Popen(
            [sys.executable, "-m", "foreman", "submit", "-m", "a", "later"],
            cwd=ROOT,
            env=environment(FOREMAN_URL=app.url, FOREMAN_TOKEN=TOKEN),
            stderr=subprocess.PIPE,
            text=True,
        )
        with waiting:
            assert waiting.stderr is not None
            assert waiting.stderr.readline() == "queued\n"
            assert waiting.stderr.readline().startswith("queued: the queue is paused")
            assert client.job(client.jobs().jobs[0].job_id).eta_seconds is None
            client.resume()
            assert "working" in waiting.stderr.read()
        assert waiting.returncode == 0
