"""`foreman doctor`: each thing that can be wrong is named, with what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from foreman.store.sqlite.writer import SqliteWriter
from tests.cli.conftest import TOKEN, App, Invoke
from tests.client.scripted import Script, a_server, dripping, endless
from tests.support.foreman import Daemon, Upstream, an_upstream
from tests.support.ports import held_port
from tests.support.receiver import Receiver

Findings = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with an_upstream("--kind", "ollama", "--models", "a,b") as upstream:
        yield upstream


def examine(invoke: Invoke, folder: Path, *words: str, **settings: object) -> Findings:
    """What each check found; the exit code must agree with `well`."""
    well = settings.pop("well", False)
    chosen = {"addr": f"127.0.0.1:{held_port()}", "data-dir": str(folder / "data"), **settings}
    flags = [word for name, value in chosen.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    result = invoke("doctor", "--json", *flags, *words)
    told = msgspec.json.decode(result.stdout)
    assert (result.exit_code, told["ok"]) == ((0, True) if well else (1, False)), told
    assert all(check["do"] for check in told["checks"] if check["status"] != "ok")
    return {check["check"]: check for check in told["checks"]}


def wrong(found: Findings) -> list[str]:
    return [name for name, check in found.items() if check["status"] == "fail"]


def test_where_all_is_well_it_says_so_and_leaves_nothing(invoke: Invoke, tmp_path: Path, upstream: Upstream) -> None:
    found = examine(invoke, tmp_path, "--model", "a", well=True, ollama_url=upstream.url)
    assert list(found) == ["settings", "token", "store", "port", "target", "model"]
    assert {check["status"] for check in found.values()} == {"ok"}
    assert list(tmp_path.iterdir()) == []


def test_for_people_each_is_one_line_with_the_next_step(invoke: Invoke, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{held_port()}"
    result = invoke("doctor", "--ollama-url", url, "--data-dir", str(tmp_path), "--addr", f"127.0.0.1:{held_port()}")
    assert (result.exit_code, result.stderr) == (1, "")
    lines = result.stdout.splitlines()
    assert [line[:1] for line in lines] == ["✓", "✓", "✓", "✓", "✗"]
    assert f"✗ target    cannot reach ollama at {url}" in lines[-1]
    assert "→ start it, or set ollama_url to where it listens" in lines[-1]


@pytest.mark.parametrize("kind", ["ollama", "openai"])
def test_a_target_that_is_down(invoke: Invoke, tmp_path: Path, kind: str) -> None:
    found = examine(invoke, tmp_path, "--model", "a", **{f"{kind}_url": f"http://127.0.0.1:{held_port()}"})
    assert wrong(found) == ["target", "model"]
    assert "cannot reach" in found["target"]["what"]
    assert f"{kind}_url" in found["target"]["do"]


@pytest.mark.parametrize(
    ("kind", "form"), [("openai", "http://127.0.0.1:{port}/v1"), ("ollama", "http://localhost:{port}")]
)
def test_a_target_that_is_foreman_itself(invoke: Invoke, tmp_path: Path, kind: str, form: str) -> None:
    port = held_port()
    found = examine(invoke, tmp_path, addr=f"127.0.0.1:{port}", **{f"{kind}_url": form.format(port=port)})
    assert wrong(found) == ["target"]
    assert found["target"]["what"] == f"{form.format(port=port)} is this foreman itself"
    assert f"set {kind}_url to where the inference server listens" in found["target"]["do"]


def test_a_target_that_is_the_foreman_which_runs(invoke: Invoke, tmp_path: Path, upstream: Upstream) -> None:
    with Daemon(tmp_path / "running", ollama_url=upstream.url) as daemon:
        own = urlsplit(daemon.url).netloc
        found = examine(invoke, tmp_path, addr=own, openai_url=f"http://localhost:{urlsplit(daemon.url).port}")
    assert found["target"]["what"].endswith("is this foreman itself")


def test_a_foreman_that_runs_with_other_targets(invoke: Invoke, tmp_path: Path, upstream: Upstream) -> None:
    with Daemon(tmp_path / "running", ollama_url=upstream.url) as daemon:
        here = ("doctor", "--data-dir", str(tmp_path / "data"), "--addr", urlsplit(daemon.url).netloc, "--model", "b")
        with an_upstream("--kind", "openai", "--models", "c") as other:
            lines = invoke(*here, "--openai-url", other.url).stdout.splitlines()
        alike = invoke(*here, "--ollama-url", upstream.url).stdout
    theirs = f"ollama at {upstream.url}"
    assert lines[5].startswith(f"! target    the foreman that runs has others than these settings: {theirs} → ")
    assert lines[6] == f"✓ target    the OpenAI-compatible server at {other.url}, models: c"
    assert lines[7] == "✓ model     b"
    assert "others than these" not in alike


def test_each_of_several_targets_is_looked_at(
    invoke: Invoke, tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = f"http://127.0.0.1:{held_port()}"
    targets = [
        {"name": "box", "ollama_url": upstream.url},
        {"name": "cloud", "openai_url": away},
        {"name": "gpu", "managed": True},
    ]
    monkeypatch.setenv("FOREMAN_TARGETS", msgspec.json.encode(targets).decode())
    monkeypatch.setenv("FOREMAN_MODELS", '[{"name": "m", "command": ["/bin/sh"]}]')
    here = ["--addr", f"127.0.0.1:{held_port()}", "--data-dir", str(tmp_path / "data")]
    result = invoke("doctor", *here, "--model", "b")
    lines = result.stdout.splitlines()[4:]
    assert result.exit_code == 1
    assert lines[0] == f"✓ target    box at {upstream.url}, models: a, b"
    assert lines[1].startswith(f"✗ target    cannot reach cloud at {away}")
    assert lines[1].endswith("→ start it, or set targets.cloud.openai_url to where it listens")
    assert lines[2] == "✓ target    gpu: foreman starts 1 model itself: m"
    assert lines[3] == "✓ model     b"
    assert "cannot check x while a target does not answer" in invoke("doctor", *here, "--model", "x").stdout


def test_a_target_of_the_other_kind(invoke: Invoke, tmp_path: Path, upstream: Upstream) -> None:
    with an_upstream("--kind", "openai") as other:
        found = examine(invoke, tmp_path, ollama_url=other.url)
    assert wrong(found) == ["target"]
    assert found["target"]["do"] == "is ollama_url the right address?"


def test_a_model_that_is_unknown(invoke: Invoke, tmp_path: Path, upstream: Upstream) -> None:
    found = examine(invoke, tmp_path, "--model", "nope", ollama_url=upstream.url)
    assert wrong(found) == ["model"]
    assert found["model"]["what"] == "the target has no model nope; it has: a, b"
    assert "ollama pull nope" in found["model"]["do"]


def test_programs_and_files_of_managed_models_that_are_not_there(invoke: Invoke, tmp_path: Path) -> None:
    table = tmp_path / "f.toml"
    for line, said in (('command = ["no-such"]', "no-such"), ('command = ["sh"]\nmodel = "/no/file"', "/no/file")):
        table.write_text(f'[[models]]\nname = "m"\n{line}\n', encoding="utf-8")
        found = examine(invoke, tmp_path, "--config", str(table))
        assert wrong(found) == ["target"]
        assert said in found["target"]["what"]


def test_a_port_that_another_program_has(invoke: Invoke, tmp_path: Path, upstream: Upstream) -> None:
    with Receiver() as other:
        found = examine(invoke, tmp_path, ollama_url=upstream.url, addr=f"127.0.0.1:{other.port}")
    assert wrong(found) == ["port"]
    assert "is taken by another program" in found["port"]["what"]
    assert "--addr" in found["port"]["do"]


def test_with_tls_the_one_that_listens_may_be_a_foreman(invoke: Invoke, tmp_path: Path, upstream: Upstream) -> None:
    with Receiver() as other:
        addr = f"127.0.0.1:{other.port}"
        found = examine(invoke, tmp_path, ollama_url=upstream.url, addr=addr, tls_cert=str(tmp_path / "none.pem"))
    assert wrong(found) == ["tls"]
    assert found["port"]["status"] == "warn"
    assert "--url https://" in found["port"]["do"]


def test_an_address_that_this_machine_has_not(invoke: Invoke, tmp_path: Path, upstream: Upstream) -> None:
    found = examine(invoke, tmp_path, ollama_url=upstream.url, addr="192.0.2.1:8080", token="x")
    assert wrong(found) == ["port"]


@pytest.mark.parametrize("below", ["a file", "a file/data"])
def test_a_data_folder_that_cannot_be_written_to(
    invoke: Invoke, tmp_path: Path, upstream: Upstream, below: str
) -> None:
    """A file in its place stops root too."""
    (tmp_path / "a file").touch()
    found = examine(invoke, tmp_path, ollama_url=upstream.url, data_dir=str(tmp_path / below))
    assert wrong(found) == ["store"]
    assert found["store"]["what"].startswith(f"cannot write to {tmp_path / below} (")
    assert "--data-dir" in found["store"]["do"]


@pytest.mark.parametrize(("newer", "said"), [(True, "schema 99 is newer than this foreman"), (False, "cannot be read")])
def test_a_database_that_is_newer_or_damaged(
    invoke: Invoke, tmp_path: Path, upstream: Upstream, newer: bool, said: str
) -> None:
    if newer:
        with closing(sqlite3.connect(tmp_path / "foreman.db")) as db:
            db.execute("PRAGMA user_version = 99")
    else:
        (tmp_path / "foreman.db").write_bytes(b"no database at all, for certain" * 100)
    found = examine(invoke, tmp_path, ollama_url=upstream.url, data_dir=str(tmp_path))
    assert wrong(found) == ["store"]
    assert said in found["store"]["what"]


@pytest.mark.parametrize("insecure", [False, True])
def test_a_public_address_without_a_token(invoke: Invoke, tmp_path: Path, upstream: Upstream, insecure: bool) -> None:
    words = ["--insecure"] if insecure else []
    addr = f"0.0.0.0:{held_port()}"
    found = examine(invoke, tmp_path, *words, well=insecure, ollama_url=upstream.url, addr=addr)
    assert found["token"]["status"] == ("warn" if insecure else "fail")
    assert "foreman token" in found["token"]["do"]
    assert "FOREMAN_TOKEN" in found["token"]["do"]


def test_a_running_foreman_that_asks_for_a_token(invoke: Invoke, tmp_path: Path, app: App, upstream: Upstream) -> None:
    here = {"ollama_url": upstream.url, "addr": app.url.removeprefix("http://")}
    found = examine(invoke, tmp_path, **here)
    assert wrong(found) == ["foreman"]
    assert "asks for a token, and none is given" in found["foreman"]["what"]
    assert "FOREMAN_TOKEN" in found["foreman"]["do"]
    assert "refuses the token" in examine(invoke, tmp_path, **here, token="wrong")["foreman"]["what"]
    found = examine(invoke, tmp_path, **here, token=TOKEN, well=True)
    assert "a foreman 0." in found["port"]["what"]
    assert "0 running, 0 waiting" in found["foreman"]["what"]


def test_a_running_foreman_whose_target_is_drained(
    invoke: Invoke, tmp_path: Path, app: App, upstream: Upstream
) -> None:
    here = {"ollama_url": upstream.url, "addr": app.url.removeprefix("http://"), "token": TOKEN}
    with app.client() as client:
        client.drain("ollama")
        try:
            found = examine(invoke, tmp_path, **here, well=True)["foreman"]
        finally:
            client.resume_target("ollama")
    assert (found["status"], found["do"]) == ("warn", "foreman resume ollama")
    assert found["what"] == f"the one at {app.url} gives no jobs to ollama, which is drained"


def test_a_foreman_elsewhere_that_does_not_run(invoke: Invoke, tmp_path: Path, upstream: Upstream) -> None:
    found = examine(invoke, tmp_path, "--url", f"http://127.0.0.1:{held_port()}", ollama_url=upstream.url)
    assert wrong(found) == ["foreman"]
    assert "foreman serve" in found["foreman"]["do"]


def test_a_foreman_elsewhere_is_judged_by_what_it_tells(invoke: Invoke, tmp_path: Path, app: App) -> None:
    nowhere = {"ollama_url": f"http://127.0.0.1:{held_port()}", "token": TOKEN}  # what would be started here
    there = ("--url", app.url, "--model")
    found = examine(invoke, tmp_path, *there, "a", **nowhere, well=True)
    assert list(found) == ["foreman", "target", "model"]
    assert "models: a" in found["target"]["what"]
    found = examine(invoke, tmp_path, *there, "aa", "--webhook", "http://10.1.2.3/", **nowhere)
    assert wrong(found) == ["model"]
    assert (found["webhook"]["status"], "on its machine" in found["webhook"]["do"]) == ("warn", True)


def test_the_name_of_this_machine_is_not_elsewhere(
    invoke: Invoke, tmp_path: Path, app: App, upstream: Upstream
) -> None:
    here = {"ollama_url": upstream.url, "addr": app.url.removeprefix("http://"), "token": TOKEN}
    found = examine(invoke, tmp_path, "--url", f"http://localhost:{urlsplit(app.url).port}", **here, well=True)
    assert list(found) == ["settings", "token", "store", "port", "foreman", "target"]


@pytest.mark.parametrize(
    ("url", "what", "do"),
    [
        ("http://10.1.2.3:5678/hook", "webhook_allow allows networks", "FOREMAN_WEBHOOK_ALLOW=10.1.2.3"),
        ("http://169.254.169.254/", "not even webhook_allow", "another address"),
        ("ftp://example.org/", "must be an http:// or https:// address", "correct the URL"),
        ("http://no-such.invalid/", "cannot be resolved", "DNS"),
    ],
)
def test_a_webhook_address_that_is_blocked(
    invoke: Invoke, tmp_path: Path, upstream: Upstream, url: str, what: str, do: str
) -> None:
    found = examine(invoke, tmp_path, "--webhook", url, ollama_url=upstream.url)
    assert wrong(found) == ["webhook"]
    assert what in found["webhook"]["what"]
    assert do in found["webhook"]["do"]


def test_a_receiver_that_answers_and_one_that_does_not(invoke: Invoke, tmp_path: Path, upstream: Upstream) -> None:
    with Receiver() as receiver:
        found = examine(invoke, tmp_path, "--webhook", receiver.url, well=True, ollama_url=upstream.url)
        assert "nothing was posted" in found["webhook"]["what"]
        public = {"addr": f"0.0.0.0:{held_port()}", "token": "x"}
        found = examine(invoke, tmp_path, "--webhook", receiver.url, ollama_url=upstream.url, **public)
        assert "is not a public address" in found["webhook"]["what"]
        examine(
            invoke, tmp_path, "--webhook", receiver.url, well=True, ollama_url=upstream.url, **public,
            webhook_allow="127.0.0.0/8",
        )  # fmt: skip
    found = examine(invoke, tmp_path, "--webhook", receiver.url, ollama_url=upstream.url)
    assert "does not answer" in found["webhook"]["what"]


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "no answer in time"),
        (endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100), "an endless answer"),
    ],
    ids=["drips", "floods"],
)
def test_a_receiver_that_does_not_end_its_answer(
    invoke: Invoke, tmp_path: Path, upstream: Upstream, script: Script, why: str
) -> None:
    with a_server(script) as url:
        found = examine(invoke, tmp_path, "--webhook", url, ollama_url=upstream.url, webhook_timeout="1")
    assert f"does not answer ({why})" in found["webhook"]["what"]


def test_a_setting_that_is_wrong(invoke: Invoke, tmp_path: Path) -> None:
    found = examine(invoke, tmp_path, slots="0")
    assert wrong(found) == ["settings"]
    assert "setting slots" in found["settings"]["what"]


def test_how_far_the_index_of_words_is(invoke: Invoke, tmp_path: Path, upstream: Upstream) -> None:
    settings: dict[str, Any] = {"well": True, "ollama_url": upstream.url}
    assert "full text" not in examine(invoke, tmp_path, **settings)
    said = []
    (tmp_path / "data").mkdir()
    with closing(SqliteWriter(tmp_path / "data" / "foreman.db")) as store:
        for _ in range(2):
            with store.transaction():
                assert store.keep_index(wanted=True, most=1)
            said.append(examine(invoke, tmp_path, "--full-text", **settings)["full text"]["what"])
    assert said == ["0 older jobs are indexed so far", "all jobs are indexed"]


def test_a_damaged_index_of_words_is_made_anew_without_a_backup(
    invoke: Invoke, tmp_path: Path, upstream: Upstream
) -> None:
    (tmp_path / "data").mkdir()
    database = tmp_path / "data" / "foreman.db"
    with closing(SqliteWriter(database)) as store, store.transaction():
        store.keep_index(wanted=True, most=1)
    with closing(sqlite3.connect(database)) as db, db:
        db.execute("DELETE FROM search_data")
    found = examine(invoke, tmp_path, "--full-text", ollama_url=upstream.url)
    assert wrong(found) == ["full text"]
    assert "the index of words is damaged" in found["full text"]["what"]
    assert found["full text"]["do"].startswith("start Foreman with full_text off")
