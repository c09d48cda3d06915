"""The settings, as the command line takes and shows them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from foreman import supervisor
from foreman.cli.setting_options import NOT_FLAGS
from foreman.config.settings import Settings
from foreman.config.shown import summary
from foreman.config.sources import load
from tests.cli.conftest import ROOT, Invoke

EXAMPLE = ROOT / "config" / "foreman.toml"
ELSEWHERE = {"data_dir", "node_name"}  # the platform's


def test_every_setting_is_in_the_example_file_with_its_default() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    shown = tomllib.loads(
        "\n".join(re.findall(r"^# ([a-z_]+ = .*)$", text.partition("# ---- Targets,")[0], re.MULTILINE))
    )
    assert shown.keys() == Settings.model_fields.keys()
    given = {name: value for name, value in shown.items() if name not in ELSEWHERE}
    defaults = load()
    assert {name: getattr(Settings(**given), name) for name in given} == {
        name: getattr(defaults, name) for name in given
    }


def test_the_example_file_changes_nothing_and_its_tables_are_valid(tmp_path: Path) -> None:
    assert tomllib.loads(EXAMPLE.read_text(encoding="utf-8")) == {}
    text = EXAMPLE.read_text(encoding="utf-8").partition("# ---- Targets,")[2]
    tables = re.findall(r"^# (\[.*\]|[a-z_]+ = .*)$", text, re.MULTILINE)
    (tmp_path / "f.toml").write_text("\n".join(tables), encoding="utf-8")
    settings = load(tmp_path / "f.toml")
    assert [target.name for target in settings.targets] == ["box", "rack", "gpu0"]
    assert settings.quotas["batch"].running == 2
    assert [model.name for model in settings.models] == ["qwen3:8b", "llama3.1:8b"]


def test_every_setting_but_tables_is_a_flag_with_a_sentence_of_help(invoke: Invoke) -> None:
    told = " ".join(re.sub(r"(?<=-)\n\s+", "", invoke("serve", "--help").stdout).split())
    for name in Settings.model_fields.keys() - NOT_FLAGS:
        assert summary(name).endswith(".")
        assert f"--{name.replace('_', '-')} " in told
        assert summary(name) in told


def test_flags_reach_the_supervisor(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Settings] = []

    def serve(settings: Settings, *, reread: Callable[[], Settings]) -> int:
        seen.extend((settings, reread()))
        return 7

    monkeypatch.setattr(supervisor, "serve", serve)
    result = invoke("serve", "--addr", ":9", "--insecure", "--slots", "4", "--job-ttl", "2 h", "--token", "a,b")
    assert result.exit_code == 7
    assert (seen[0].addr, seen[0].insecure, seen[0].slots, seen[0].job_ttl) == (":9", True, 4, 7200)
    assert [token.get_secret_value() for token in seen[0].token] == ["a", "b"]
    assert dict(seen[0]) == dict(seen[1])  # a reload has the same flags


def test_config_tells_where_each_value_comes_from(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "f.toml").write_text("slots = 2\nmax_queue = 5\n", encoding="utf-8")
    (tmp_path / "secret").write_text("s3cret", encoding="utf-8")
    (tmp_path / ".env").write_text("FOREMAN_LOG_LEVEL=debug\n", encoding="utf-8")
    monkeypatch.setenv("FOREMAN_MAX_QUEUE", "6")
    monkeypatch.setenv("FOREMAN_TOKEN_FILE", str(tmp_path / "secret"))
    result = invoke("config", "--json", "--config", "f.toml", "--stall-timeout", "90")
    found = msgspec.json.decode(result.stdout)
    assert found["file"] == "f.toml"
    told = {name: (entry["value"], entry["from"]) for name, entry in found["settings"].items()}
    assert told["slots"] == (2, "file")
    assert told["max_queue"] == (6, "environment")
    assert told["token"] == (["***"], "secret file")
    assert told["log_level"] == ("debug", ".env")
    assert told["stall_timeout"] == (90, "flag")
    assert told["addr"] == ("127.0.0.1:8080", "default")


def test_config_names_the_file_of_the_environment(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "g.toml").write_text("slots = 2\n", encoding="utf-8")
    monkeypatch.setenv("FOREMAN_CONFIG", "g.toml")
    result = invoke("config")
    assert "file: g.toml" in result.stderr
    assert re.search(r"^slots +file +2 *$", result.stdout, re.MULTILINE)


def test_secrets_are_hidden_wherever_they_are_set(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "f.toml").write_text(
        'token = ["hush1"]\nopenai_token = "hush2"\nollama_token = "hush3"\n'
        '[[models]]\nname = "m"\ncommand = ["x"]\nenv = { KEY = "hush4" }\n',
        encoding="utf-8",
    )
    for words in (["config"], ["config", "--json"]):
        result = invoke(*words, "--config", "f.toml")
        assert result.exit_code == 0
        assert "hush" not in result.output
        assert "***" in result.output
    assert "hush" not in invoke("config", "--ollama-url", "http://me:hush5@127.0.0.1:1").output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--slots", "many"], "setting slots: "),
        (["--stall-timeout", "soon"], "setting stall_timeout: must be a number or text like '10 min'; given: 'soon'"),
        (["--addr", ":8080"], "setting addr: a public address needs a token (or insecure = true); given: ':8080'"),
        (["--config", "none.toml"], "setting config: must be a TOML file that exists; given: 'none.toml'"),
    ],
)
@pytest.mark.parametrize("verb", ["serve", "config"])
def test_a_wrong_setting_is_one_line_and_exit_code_2(invoke: Invoke, verb: str, words: list[str], said: str) -> None:
    result = invoke(verb, *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"foreman: {said}")
    assert result.stderr.count("\n") == 1


def test_a_misspelt_variable_is_named(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREMAN_SLOT", "2")
    result = invoke("serve")
    assert result.exit_code == 2
    assert "did you mean FOREMAN_SLOTS?" in result.stderr
