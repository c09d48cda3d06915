"""Secrets in settings: whatever holds one, none of it is shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel

from foreman.config.cost_settings import CostSettings
from foreman.config.hiding import HIDDEN, hidden_text, hidden_value, hidden_words, is_secret
from foreman.config.managed_model import ManagedModel
from foreman.config.quota_settings import QuotaSettings
from foreman.config.settings import Settings
from foreman.config.shown import every
from foreman.config.sources import load
from foreman.config.target_settings import TargetSettings

HUSH = "hush-hush"
TABLES: dict[str, type[BaseModel]] = {
    "targets": TargetSettings,
    "models": ManagedModel,
    "quotas": QuotaSettings,
    "cost": CostSettings,
}
NO_SECRETS = {"max_answer", "tls_key", "tokens_per_hour"}  # whose names look like those of secrets


def secret_fields(kind: type[BaseModel], path: str = "") -> Iterator[str]:
    for name, field in kind.model_fields.items():
        if "SecretStr" in str(field.annotation):
            yield path + name
        yield from secret_fields(TABLES[name], f"{name}.") if not path and name in TABLES else ()


def shown(settings: Settings) -> str:
    return json.dumps(msgspec.to_builtins(list(every(settings))))


def test_every_setting_with_the_name_of_a_secret_is_kept_as_one() -> None:
    found = set(secret_fields(Settings))
    assert {"token", "admin_token", "ollama_token", "openai_token", "webhook_secret", "database_url"} <= found
    assert "targets.token" in found
    kinds: dict[str, type[BaseModel]] = {"": Settings} | {f"{name}.": kind for name, kind in TABLES.items()}
    for path, kind in kinds.items():
        named = {path + name for name in kind.model_fields if is_secret(name) and name not in NO_SECRETS}
        assert named <= found


def test_no_setting_that_holds_a_secret_shows_it() -> None:
    given: dict[str, Any] = {name: HUSH for name in secret_fields(Settings) if "." not in name}
    given |= {
        "database_url": f"postgresql://me:{HUSH}@db/foreman",
        "targets": [{"name": "one", "openai_url": "http://a", "token": HUSH}, {"name": "gpu", "managed": True}],
        "macros": {"hf-token": HUSH, "serve": ["vllm", "--api-key", HUSH]},
        "models": [
            {
                "name": "m",
                "command": ["{serve}", f"--token={HUSH}", "-H", f"Authorization: Bearer {HUSH}", f"http://me:{HUSH}@a"],
                "stop_command": ["curl", f"http://a/stop?api_key={HUSH}&now=1"],
                "env": {"HF_TOKEN": HUSH, "PLAIN": HUSH},
                "set": {"api_key": HUSH, "seed": 1},
            }
        ],
    }
    told = shown(Settings(**given))
    assert HUSH not in told
    for left in ("--api-key", "--token=***", "Authorization: ***", "http://***@a", "now=1", '"seed": 1', "one"):
        assert left in told
    assert told.count(HIDDEN) >= len(set(secret_fields(Settings)))


def test_what_a_variable_brought_into_a_command_is_hidden_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", HUSH)
    model = ManagedModel(name="m", command=["serve", "--hub=x{env.HF_TOKEN}y"])
    settings = Settings(models=[model])
    assert HUSH in str(settings.models[0].command)
    assert HUSH not in shown(settings)


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        *((name, True) for name in ("token", "HF_TOKEN", "--api-key", "X-Api-Key", "apiKey", "admin_password")),
        *(
            (name, True)
            for name in ("--tokens", "--api-keys", "MYTOKEN", "sslpassword", "--pwd", "--passphrase", "sig")
        ),
        *(
            (name, True)
            for name in ("dbpass", "--authkey", "oauth2", "Cookie", "X-Amz-Signature", "AccountKey", "secrets")
        ),
        *((name, False) for name in ("--tokenizer", "max_tokens", "keep_alive", "--monkey", "author", "compass")),
        *((name, False) for name in ("--max-num-batched-tokens", "tokens_per_hour", "signal", "--pinned", "--keep")),
    ],
)
def test_names_of_secrets_are_told_from_others(name: str, secret: bool) -> None:
    assert is_secret(name) is secret


def test_what_is_no_secret_stays_as_it_is() -> None:
    words = ["serve", "--model", "a/b", "--max-tokens=100", "--api-key", "{key}", "--token={port}", "http://a?b=c"]
    assert hidden_words(words) == words
    assert hidden_text("a: b") == "a: b"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([f"--header=X-Api-Key: {HUSH}"], ["--header=X-Api-Key: ***"]),
        ([f"-HAuthorization: Bearer {HUSH}"], ["-HAuthorization:***"]),
        (["-H", "Authorization:", "Bearer", HUSH], ["-H", "Authorization:", "***", "***"]),
        (["-H", "Authorization: Bearer", HUSH], ["-H", "Authorization: ***", "***"]),
        ([f"--env=HF_TOKEN={HUSH}", f"-eHF_TOKEN={HUSH}"], ["--env=HF_TOKEN=***", "-eHF_TOKEN=***"]),
        ([f"MYTOKEN={HUSH}", f"-Da.keyStorePassword={HUSH}"], ["MYTOKEN=***", "-Da.keyStorePassword=***"]),
        (["sh", "-c", f"foo --api-key {HUSH}"], ["sh", "-c", "foo --api-key ***"]),
        (["sh", "-c", f"A_KEY='{HUSH}' foo"], ["sh", "-c", "A_KEY=***"]),
        (["sh", "-c", f"curl -u 'me:{HUSH}' a"], ["sh", "-c", "curl -u 'me:***"]),
        (["--headers", f'{{"Authorization":"Bearer {HUSH}"}}'], ["--headers", "***"]),
        ([f'--headers=[{{"value":"{HUSH}","name":"Authorization"}}]'], ["--headers=***"]),
        ([f"--headers={{value: {HUSH}, name: X-Api-Key}}"], ["--headers=***"]),
        (["-u", f"me:{HUSH}", "x"], ["-u", "me:***", "x"]),
        ([f"-sume:{HUSH}", f"--proxy-user=me:{HUSH}"], ["-sume:***", "--proxy-user=me:***"]),
        (["--tokens", HUSH, HUSH, "--port", "1"], ["--tokens", "***", "***", "--port", "1"]),
        (["--api-keys", HUSH, "--pwd", HUSH], ["--api-keys", "***", "--pwd", "***"]),
        (["--passphrase", f"-{HUSH}", "authtoken", HUSH], ["--passphrase", "***", "***", "***"]),
        (["--api-key", "{key}", HUSH, "--token", "{hush}"], ["--api-key", "{key}", "***", "--token", "***"]),
        ([f"http://u:a/{HUSH}@h/v1", f"http://u:a?{HUSH} b@h"], ["http://***@h/v1", "http://***@h"]),
        ([f"--redis=me:{HUSH}@h:1", f"host=h password={HUSH}"], ["--redis=***@h:1", "host=h password=***"]),
        (["-u", f"me:a@{HUSH}", f"Authorization:a@{HUSH}"], ["-u", "me:***", "***"]),
        ([f"http://h?token=a@{HUSH}", f'{{"password":"a:b@{HUSH}"}}'], ["http:***", "***"]),
        ([f"'password':a:b@{HUSH}", f"TOKEN=a:b@{HUSH}"], ["'password':***", "TOKEN=***"]),
        ([f"redis://:{HUSH}@h,redis://:{HUSH}@i"], ["redis://***@i"]),
        ([f"a:{HUSH}@h,b:{HUSH}@i", f"a:{HUSH}@h b:{HUSH}@i"], ["***@i", "***@h ***@i"]),
        ([f"postgres://h/d?sslpassword={HUSH}&a=1"], ["postgres://h/d?sslpassword=***&a=1"]),
        ([f"https://h/x?a=1&sig={HUSH}&b=2#c"], ["https://h/x?a=1&sig=***&b=2#c"]),
        ([f"https://h/x#access_token={HUSH}"], ["https://h/x#access_token=***"]),
    ],
)
def test_secrets_in_the_words_of_commands_are_hidden(words: list[str], told: list[str]) -> None:
    assert hidden_words(words) == told


@pytest.mark.parametrize(
    "command",
    [
        "llama-server --model /m.gguf --host 127.0.0.1 --port 9000 --ctx-size 4096 -ngl 99 -fa on",
        "llama-server -hf ggml-org/gemma-3-1b-it-GGUF:Q4_K_M --alias m --api-key {key} --parallel {slots}",
        "vllm serve Qwen/Qwen3-8B --max-num-batched-tokens 8192 --tokenizer-mode auto --dtype=auto",
        'vllm serve {model} --speculative-config {"method":"ngram","num_speculative_tokens":5}',
        "docker run --rm -p 127.0.0.1:{port}:8080 -v /m:/m ghcr.io/a/b:c@sha256:12 --api-key {key} --model /m",
        "python -u serve.py http://127.0.0.1:9000/v1?a=b",
    ],
)
def test_the_commands_of_ordinary_models_stay_readable(command: str) -> None:
    assert hidden_words(command.split()) == command.split()
    script = ["sh", "-c", f"exec {command}"]
    assert hidden_words(script) == script


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"api_key": HUSH, "seed": 1}, {"api_key": HIDDEN, "seed": 1}),
        ({"auth": {"user": "me", "value": HUSH}}, {"auth": HIDDEN}),
        (
            {"tools": [{"url": f"http://me:{HUSH}@h", "keys": [HUSH]}]},
            {"tools": [{"url": "http://***@h", "keys": HIDDEN}]},
        ),
        ({"args": ["--api-key", HUSH], "max_tokens": 5}, {"args": ["--api-key", HIDDEN], "max_tokens": 5}),
    ],
)
def test_secrets_in_tables_are_hidden(value: dict[str, Any], told: dict[str, Any]) -> None:
    assert hidden_value("", value) == told


def test_macros_of_any_name_show_no_value() -> None:
    model: dict[str, Any] = {
        "name": "m",
        "command": ["foo", "--api-key", "{secretmac}", "--model", "{folder}/m.gguf"],
        "ready": "/health?sig={tok}",
        "macros": {"tok": HUSH},
    }
    given: dict[str, Any] = {"macros": {"secretmac": HUSH, "pair": ["x", HUSH], "folder": "/models"}, "models": [model]}
    told = shown(Settings(**given))
    assert HUSH not in told
    assert "/models/m.gguf" in told
    assert "/health?sig=***" in told
    assert '"secretmac": "***"' in told


def test_the_working_directory_is_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PWD", "/srv/foreman")
    assert hidden_text("/srv/foreman/data") == "/srv/foreman/data"


def test_each_setting_has_its_source_its_unit_and_its_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f.toml").write_text('stall_timeout = "2 min"\nslots = 1\n', encoding="utf-8")
    monkeypatch.setenv("FOREMAN_MAX_BODY", "1 MiB")
    settings = load(tmp_path / "f.toml", {"job_ttl": "1 d"})
    found = {one.name: one for one in every(settings)}
    assert found.keys() == Settings.model_fields.keys()
    stall, body, ttl = found["stall_timeout"], found["max_body"], found["job_ttl"]
    assert (stall.text, stall.default, stall.source, stall.unit, stall.is_default) == (
        "2 min",
        "2 min",
        "file",
        "seconds",
        True,
    )
    assert (body.text, body.source, body.unit, body.is_default) == ("1 MiB", "environment", "bytes", False)
    assert (ttl.text, ttl.source, found["slots"].unit) == ("1 d", "flag", None)
    assert (found["lease"].text, found["addr"].changes_at_reload) == ("20 s", False)
    assert "](" not in "".join(one.description for one in found.values())
    assert settings.origins.file == tmp_path / "f.toml"
