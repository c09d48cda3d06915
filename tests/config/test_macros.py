"""Macros in the commands of managed models."""

from __future__ import annotations

from pathlib import Path

import pytest

from foreman.config.macros import fill_text, fill_words
from foreman.config.sources import load
from foreman.domain.errors import SettingInvalid

TOML = """
[macros]
folder = "/models"
context = 4096
flash = true
server = ["llama-server", "--port", "{port}", "--ctx-size", "{context}"]

[[models]]
name = "a"
command = ["{server}", "--model", "{folder}/{name}.gguf", "-fa", "{flash}"]
stop_command = ["stop", "{pid}"]
model = "{folder}/a"
ready = "/{context}"
env = { A = "{folder}", B = "{env.SOME}" }

[[models]]
name = "b"
macros = { context = 8192 }
command = ["{server}"]
"""


def loaded(folder: Path, text: str) -> list[dict[str, object]]:
    file = folder / "foreman.toml"
    file.write_text(text)
    return [model.model_dump() for model in load(file).models]


def test_they_are_filled_in_when_the_settings_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME", "thing")
    first, second = loaded(tmp_path, TOML)
    server = ["llama-server", "--port", "{port}", "--ctx-size"]
    assert first["command"] == [*server, "4096", "--model", "/models/{name}.gguf", "-fa", "true"]
    assert first["stop_command"] == ["stop", "{pid}"]
    assert (first["model"], first["ready"], first["env"]) == ("/models/a", "/4096", {"A": "/models", "B": "thing"})
    assert second["command"] == [*server, "8192"]


def test_what_is_no_macro_stays() -> None:
    words = ["{port}", '{"a": 1}', "{unknown}", "${HOME}", "{}", "{a b}"]
    assert fill_words(words, {"a": "x"}) == words


@pytest.mark.parametrize(
    ("macros", "text", "why"),
    [
        ({"a": "{b}", "b": "x{a}"}, "{a}", "the macro a contains itself"),
        ({"a": ["{a}"]}, "{a}", "the macro a is a list of words"),
        ({"a": ["x", "y"]}, "--{a}", "the macro a is a list of words: {a} must be a word of its own"),
        ({}, "{env.NOT_SET_ANYWHERE}", "needs the environment variable NOT_SET_ANYWHERE, which is not set"),
    ],
)
def test_what_cannot_be_filled_in_says_why(macros: dict[str, object], text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        fill_text(text, macros)  # type: ignore[arg-type]


def test_a_list_that_contains_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="the macro a contains itself"):
        fill_words(["{a}"], {"a": ["x", "{a}"]})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('macros = { port = "1" }', "no macro may be named port"),
        ('macros = { "a b" = "1" }', "must be letters, digits"),
        ('macros = { a = "{a}" }\n[[models]]\nname = "m"\ncommand = ["{a}"]', "contains itself"),
        ('[[models]]\nname = "m"\ncommand = ["{env.NOT_SET_ANYWHERE}"]', "NOT_SET_ANYWHERE"),
        ('[[models]]\nname = "m"\ncommand = ["x"]\nstrip = ["model"]', "must not name model: Foreman sets it"),
        ('[[models]]\nname = "m"\ncommand = ["x"]\nset = { stream = true }', "must not name stream: Foreman sets it"),
    ],
)
def test_a_wrong_macro_is_a_wrong_setting(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(SettingInvalid, match=why):
        loaded(tmp_path, text)
