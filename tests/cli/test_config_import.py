"""`foreman config import llama-swap`: every field has a setting or a warning, and the result loads."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from foreman.config.settings import Settings
from foreman.config.sources import load
from tests.cli.conftest import ROOT, Invoke

# Every field of llama-swap's config.example.yaml, with values of its kind.
EVERYTHING = r"""
healthCheckTimeout: 500
logLevel: warn
logTimeFormat: "rfc3339"
logToStdout: "proxy"
metricsMaxInMemory: 1000
captureBuffer: 15
startPort: 10001
sendLoadingState: true
includeAliasesInList: true
globalTTL: 300
macros:
  "server": >
    /opt/llama/llama-server
    --port ${PORT}
    --api-key "two words"
  "default_ctx": 4096
  "default_args": "--ctx-size ${default_ctx}"
  "models_dir": "${env.MODELS}/gguf"
  "port": 1
apiKeys:
  - "sk-hunter2"
  - "${env.API_KEY}"
models:
  "large":
    macros:
      "default_ctx": 16384
      "temp": 0.7
    cmd: |
      # the server is a macro
      ${server} ${default_args}
      --model ${models_dir}/${MODEL_ID}.gguf \
      --temperature ${temp}   # as the card says
      --grammar '{"a": "${PORT}"}' --one=${port}
    name: "Large"
    description: "A large one"
    env:
      - "CUDA_VISIBLE_DEVICES=0,1"
      - "CACHE=${models_dir}/cache=1"
    proxy: http://127.0.0.1:8999
    checkEndpoint: /custom
    ttl: 60
    useModelName: "openai/large"
    filters:
      stripParams: "temperature, top_p, model, stream"
      setParams:
        temperature: ${temp}
        nested: { list: [1, "x ${temp}", true, null], date: 2026-01-01 }
        model: other
      setParamsByID:
        "${MODEL_ID}:high": { reasoning_effort: high }
    aliases:
      - id: "gpt-4o-mini"
        name: "shown"
        unlisted: false
      - plain
    metadata: { port: "${PORT}" }
    concurrencyLimit: 4
    sendLoadingState: true
    timeouts: { connect: 30 }
  "hidden":
    unlisted: true
    cmd: llama-server --port ${PORT} -m hidden.gguf
    ttl: 0
    proxy: http://other.example:80
    checkEndpoint: none
  "vectors":
    cmd: ${server} --embedding
  "docker":
    proxy: "http://127.0.0.1:${PORT}"
    cmd: docker run --name ${MODEL_ID} -p ${PORT}:8080 server
    cmdStop: docker stop ${MODEL_ID}
groups:
  "pair": { swap: false, exclusive: true, persistent: false, members: [large, hidden] }
matrix:
  sets: { pair: "l & h" }
hooks:
  on_startup:
    preload: [hidden, missing]
peers:
  "other box":
    proxy: "http://192.168.1.23"
    models: [m, org/n]
    apiKey: sk-peer
    timeouts: { connect: 30 }
  cloud:
    proxy: "https://api.example.org/api"
    models: [big]
    apiKey: ${env.CLOUD_KEY}
    filters: { stripParams: top_p }
"""


def imported(invoke: Invoke, text: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Settings, list[str]]:
    """The settings that the result is read as, and the warnings."""
    result = invoke("config", "import", "llama-swap", "-", given=text)
    assert result.exit_code == 0, result.output
    file = Path("foreman.toml")
    file.write_text(result.stdout)
    tomllib.loads(result.stdout)
    monkeypatch.setenv("MODELS", "/models")
    return load(file), result.stderr.splitlines()


def test_a_configuration_with_every_field_becomes_settings(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, _ = imported(invoke, EVERYTHING, monkeypatch)
    assert settings.log_level == "warning"
    assert [token.get_secret_value() for token in settings.token] == ["sk-hunter2"]
    large, hidden, vectors, docker = settings.models
    server = ["/opt/llama/llama-server", "--port", "{port}", "--api-key", "two words"]
    assert large.command[: len(server)] == server
    rest = ["--ctx-size", "16384", "--model", "/models/gguf/{name}.gguf", "--temperature", "0.7", "--grammar"]
    assert large.command[len(server) :] == [*rest, '{"a": "{port}"}', "--one=1"]
    assert (large.port, large.ready, large.ready_timeout, large.ttl) == (8999, "/custom", 500, 60)
    assert (large.model, large.aliases, large.concurrency) == ("openai/large", ["gpt-4o-mini", "plain"], 4)
    assert large.env == {"CUDA_VISIBLE_DEVICES": "0,1", "CACHE": "/models/gguf/cache=1"}
    assert large.strip == ["temperature", "top_p"]
    assert large.set == {"temperature": 0.7, "nested": {"list": [1, "x 0.7", True], "date": "2026-01-01"}}
    assert hidden.command == ["llama-server", "--port", "{port}", "-m", "hidden.gguf"]
    assert (hidden.ttl, hidden.preload, hidden.ready, hidden.port) == (0, True, "/health", None)
    assert vectors.embedding and vectors.command == [*server, "--embedding"] and vectors.ttl == 300
    assert docker.command == ["docker", "run", "--name", "{name}", "-p", "{port}:8080", "server"]
    assert docker.stop_command == ["docker", "stop", "{name}"]


def test_peers_become_targets(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, _ = imported(invoke, EVERYTHING, monkeypatch)
    managed, other, cloud = settings.all_targets
    assert managed.managed and managed.name == "managed"
    assert (other.name, other.url, other.models) == ("other-box", "http://192.168.1.23", ("m", "org/n"))
    assert other.token.get_secret_value() == "sk-peer" and cloud.token.get_secret_value() == ""
    only, _ = imported(invoke, "peers: { a: { proxy: 'http://127.0.0.1:1', models: [m] } }", monkeypatch)
    assert [target.name for target in only.all_targets] == ["a"]


def test_each_field_without_a_counterpart_is_named(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    _, warnings = imported(invoke, EVERYTHING, monkeypatch)
    named = [re.sub(r" has no counterpart.*", "", line.removeprefix("foreman: ")) for line in warnings]
    assert named == [
        "apiKeys",
        "peers.other box.timeouts",
        "peers.cloud.apiKey",
        "peers.cloud.filters",
        "hooks.on_startup.preload",
        "models.large.aliases.gpt-4o-mini.name",
        "models.large.filters",
        "models.large.filters.setParamsByID",
        "models.large.name",
        "models.large.description",
        "models.large.metadata",
        "models.large.sendLoadingState",
        "models.large.timeouts",
        "models.hidden.proxy",
        "models.hidden.checkEndpoint",
        "models.hidden.unlisted",
        "logTimeFormat",
        "logToStdout",
        "metricsMaxInMemory",
        "captureBuffer",
        "startPort",
        "sendLoadingState",
        "includeAliasesInList",
        "groups",
        "matrix",
    ]


def test_an_unknown_field_is_named_too(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    _, warnings = imported(invoke, "later: 1\nmodels: { a: { cmd: x, newer: true } }", monkeypatch)
    assert warnings == ["foreman: models.a.newer has no counterpart", "foreman: later has no counterpart"]


def test_the_name_of_an_unknown_field_sends_no_bell_to_the_terminal(invoke: Invoke) -> None:
    result = invoke("config", "import", "llama-swap", "-", given='"newer\\a": 1\nmodels: {}')
    assert result.stderr == "foreman: newer has no counterpart\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("models: [", "not a configuration of llama-swap"),
        ("- a", "it must be a table"),
        ("models: [a]", "models must be a table"),
        ("models: { a: {} }", "models.a.cmd is missing"),
        ('models: { a: { cmd: "x \'y" } }', "models.a.cmd: no closing quotation"),
        ("models: { a: { cmd: x, env: [A] } }", "must be a list of NAME=value"),
        ("macros: { a: '${a}' }\nmodels: { a: { cmd: '${a}' } }", "the macro a contains itself"),
        ("models: { a: { cmd: x, ttl: '60' } }", "models.a.ttl must be a number"),
        ("models: { a: { cmd: x, concurrencyLimit: yes } }", "models.a.concurrencyLimit must be a number"),
        ("models: { a: { cmd: x, aliases: b } }", "models.a.aliases must be a list"),
        ("models: { a: { cmd: x, aliases: [{}] } }", "models.a.aliases must be names, or tables with an id"),
        ("models: { a: { cmd: x, env: { A: b } } }", "models.a.env must be a list"),
        ("apiKeys: 5", "apiKeys must be a list"),
    ],
)
def test_what_is_no_configuration_is_refused(invoke: Invoke, text: str, why: str) -> None:
    result = invoke("config", "import", "llama-swap", "-", given=text)
    assert result.exit_code == 2 and result.stdout == ""
    assert why in " ".join(result.stderr.split())


def test_the_page_has_a_line_for_each_field() -> None:
    text = (ROOT / "docs" / "howto" / "from-llama-swap.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\|(.*?)\|", text, re.MULTILINE)
    known = {part for cell in cells for name in re.findall(r"`([\w.]+)`", cell) for part in name.split(".")}
    fields = set(re.findall(r"^ *\"?(\w+)\"?:", EVERYTHING, re.MULTILINE))
    names = {"large", "hidden", "vectors", "docker", "pair", "cloud", "server", "port", "temp"}
    names |= {"nested", "temperature", "model", "default_ctx", "default_args", "models_dir"}
    assert fields - known - names == set()
