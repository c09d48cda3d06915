"""`foreman models` in front of each kind of target: what is known is told, and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from foreman.cli.commands.models import size
from tests.cli.conftest import Invoke
from tests.client.conftest import StaticAnswer
from tests.client.conftest import told as told
from tests.support.foreman import Daemon


def listed(invoke: Invoke, daemon: Daemon) -> dict[str, tuple[int | None, int | None]]:
    """Size and context of each model."""
    shown = msgspec.json.decode(invoke("models", "--json", "--url", daemon.url).stdout)
    return {model["name"]: (model["size"], model["context"]) for model in shown["models"]}


def test_of_a_managed_model_its_settings_and_its_files_tell(invoke: Invoke, tmp_path: Path) -> None:
    for name, length in {"one.gguf": 1000, "two-00001-of-00002.gguf": 70, "two-00002-of-00002.gguf": 7}.items():
        (tmp_path / name).write_bytes(b"x" * length)
    (tmp_path / "three-00001-of-00002.gguf").write_bytes(b"x")
    serve = [sys.executable, "-c", "pass"]
    models: list[dict[str, Any]] = [
        {"name": "one", "command": [*serve, "-m", str(tmp_path / "one.gguf")], "context": 8192},
        {"name": "two", "command": [*serve, "{model}"], "model": str(tmp_path / "two-00001-of-00002.gguf")},
        {"name": "gone", "command": [*serve, "-m", str(tmp_path / "gone.gguf")]},
        {"name": "other", "command": [*serve, "org/weights"]},
    ]
    with Daemon(tmp_path / "data", models=models) as daemon:
        assert listed(invoke, daemon) == {
            "one": (1000, 8192),
            "two": (77, None),
            "gone": (None, None),
            "other": (None, None),
        }
        rows = invoke("models", "--url", daemon.url).stdout.splitlines()
        assert [row.split() for row in rows[1:]] == [
            ["ready", "1.0", "KB", "8,192", "one"],
            ["ready", "77", "B", "two"],
            ["ready", "gone"],
            ["ready", "other"],
        ]
        asked = httpx2.post(f"{daemon.url}/api/show", json={"model": "other"}, trust_env=False).json()
        assert asked["model_info"] == {"general.architecture": "unknown"}


def test_of_a_server_its_own_words_tell(invoke: Invoke, told: StaticAnswer, tmp_path: Path) -> None:
    told.answer(
        "GET /v1/models",
        {
            "data": [
                {"id": "vllm", "max_model_len": 32768},
                {"id": "llama-server", "meta": {"n_ctx_train": 131072, "size": 4_000_000_000}},
                {"id": "lm-studio", "max_context_length": 65536},
                {"id": "silent"},
                {"id": "odd", "max_model_len": "many", "meta": None, "size": -1},
            ]
        },
    )
    with Daemon(tmp_path / "data", openai_url=told.url) as daemon:
        assert listed(invoke, daemon) == {
            "vllm": (None, 32768),
            "llama-server": (4_000_000_000, 131072),
            "lm-studio": (None, 65536),
            "silent": (None, None),
            "odd": (None, None),
        }


def test_the_embedded_model_is_as_large_as_its_file(invoke: Invoke, tmp_path: Path) -> None:
    with Daemon(tmp_path / "data") as daemon:
        ((bytes_, context),) = listed(invoke, daemon).values()
    assert context == 2048
    assert bytes_ is not None
    assert bytes_ > 50_000_000


@pytest.mark.parametrize(
    ("count", "said"),
    [(None, ""), (0, ""), (1, "1 B"), (999, "999 B"), (4_661_000_000, "4.7 GB"), (42_000_000_000, "42 GB")],
)
def test_a_size_is_told_as_people_write_it(count: int | None, said: str) -> None:
    assert size(count) == said
