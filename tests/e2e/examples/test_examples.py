"""Every program in examples/ runs as it stands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.foreman import Daemon, an_upstream
from tests.support.receiver import SECRET

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
MODEL = "a"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    data = tmp_path_factory.mktemp("examples") / "data"
    with an_upstream() as upstream, Daemon(data, ollama_url=upstream.url, webhook_secret=SECRET) as daemon:
        yield daemon


def run(daemon: Daemon, name: str, *arguments: str, stdin: str = "", **variables: str) -> str:
    """Return what the example printed; it must end well."""
    shell = ["sh"] if name.endswith(".sh") else [sys.executable]
    env = {key: value for key, value in os.environ.items() if not key.startswith("FOREMAN_")}
    done = subprocess.run(
        [*shell, str(EXAMPLES / name), *arguments],
        env=env | {"FOREMAN_URL": daemon.url, "MODEL": MODEL} | variables,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_background_stream_is_taken_up_again_and_continued(daemon: Daemon) -> None:
    left, answer, then = run(daemon, "background_responses.py", MODEL).splitlines()
    assert left.startswith("left resp_") and left.endswith(": w0 ")
    assert (answer, then) == ("the whole answer: w0 w1 w2 ", "and then: w0 w1 w2 ")


def test_a_batch_of_messages_is_made_and_its_results_are_printed(daemon: Daemon) -> None:
    made, *answers = run(daemon, "anthropic_batch.py", MODEL).splitlines()
    assert made.startswith("made msgbatch_") and made.endswith(" of 3 requests")
    assert answers == [f"{name}: w0 w1 w2 " for name in ("colours", "rivers", "cities")]


def test_a_folder_is_summarized_once_however_often_it_is_asked_for(daemon: Daemon, tmp_path: Path) -> None:
    for name in ("one.txt", "two.txt"):
        tmp_path.joinpath(name).write_text(f"The text of {name}.")
    said = run(daemon, "summarize_folder.py", str(tmp_path), MODEL)
    assert [line.partition(": ")[0] for line in said.splitlines()] == ["one.txt", "two.txt"]
    assert run(daemon, "summarize_folder.py", str(tmp_path), MODEL) == said
    for name in ("one.txt", "two.txt"):
        (job,) = daemon.http.get("/jobs", params={"custom_id": name}).json()["jobs"]
        assert job["priority"] == "low"


def test_a_night_of_prompts_is_submitted_and_fetched(daemon: Daemon, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts"
    prompts.write_text('"Name three colours."\n"Say \\"hello\\"."\n')
    ids = run(daemon, "nightly.sh", "submit", str(prompts))
    assert len(ids.split()) == 2
    answers = [json.loads(line) for line in run(daemon, "nightly.sh", "fetch", stdin=ids).splitlines() if line]
    assert [answer["done"] for answer in answers] == [True, True]


def test_prompts_may_wait_for_their_time(daemon: Daemon, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts"
    prompts.write_text('"Later."\n')
    (job_id,) = run(daemon, "nightly.sh", "submit", str(prompts), "2035-01-01T00:00:00Z").split()
    job = daemon.http.get(f"/jobs/{job_id}").json()
    assert (job["state"], job["not_before"]) == ("queued", "2035-01-01T00:00:00.000Z")


def test_signed_webhooks_are_received(daemon: Daemon) -> None:
    said = run(daemon, "webhook_receiver.py", MODEL, WEBHOOK_SECRET=SECRET)
    assert said.splitlines()[:2] == ["new → queued", "queued → loading"]
    assert "working → done" in said


def test_every_change_is_printed_as_it_comes(daemon: Daemon) -> None:
    env = {key: value for key, value in os.environ.items() if not key.startswith("FOREMAN_")}
    command = [sys.executable, str(EXAMPLES / "follow_everything.py"), "1"]
    with subprocess.Popen(command, env=env | {"FOREMAN_URL": daemon.url}, stdout=subprocess.PIPE, text=True) as process:
        try:
            while process.poll() is None:  # it follows from now on, whenever that is
                daemon.http.post("/jobs", json={"model": MODEL, "messages": [{"role": "user", "content": "hello"}]})
            assert process.stdout is not None
            assert " → " in process.stdout.read()
        finally:
            process.kill()


def test_the_openai_sdk_streams_a_job(daemon: Daemon) -> None:
    said = run(daemon, "openai_sdk.py", MODEL)
    words, _, job = said.strip().rpartition("\njob ")
    assert words
    assert daemon.http.get(f"/jobs/{job}").json()["state"] == "done"


def test_every_example_is_listed_and_tried() -> None:
    page, tried = EXAMPLES.joinpath("README.md").read_text(), Path(__file__).read_text()
    for file in EXAMPLES.iterdir():
        assert file.name == "README.md" or (f"({file.name})" in page and f'"{file.name}"' in tried), file.name
