"""`foreman run`: a chat on a real terminal, and one question in a pipe."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from foreman.cli.chat.chat import Chat
from foreman.cli.chat.conversation import Conversation
from foreman.cli.chat.images import take_images
from foreman.cli.chat.slash_commands import CommandInvalid, Leave, is_command, obey
from foreman.cli.commands.models import Described
from foreman.cli.near_names import near
from foreman.client import Client
from foreman.domain.job import State
from tests.cli.conftest import TOKEN, App, environment
from tests.cli.terminal import Terminal
from tests.support.foreman import until


def chatting(app: App, *words: str, **env: str) -> Terminal:
    return Terminal("run", *words, env=environment(FOREMAN_URL=app.url, FOREMAN_TOKEN=TOKEN, **env))


def newest(client: Client, text: str) -> dict[str, Any]:
    """The request of the newest job, once that says `text`."""

    def found() -> dict[str, Any] | None:
        for job in client.jobs(limit=1).jobs:
            request = client.payload(job.job_id)
            return request if text in str(request) else None
        return None

    payload = until(found)
    assert payload is not None
    return payload


def test_a_chat_driven_by_keys(app: App, tmp_path: Path) -> None:
    """Streams, remembers, stops, is asked by several lines and commands, and leaves the terminal as it was."""
    picture = tmp_path / "cat.png"
    picture.write_bytes(b"\x89PNG")
    with chatting(app, "a", "--verbose", XDG_STATE_HOME=str(tmp_path)) as terminal, app.client() as client:
        terminal.shows(lambda lines: any(line.startswith(">>>") for line in lines))
        terminal.press("first #echo\r")
        terminal.shows(lambda lines: lines.count("first #echo".ljust(80)) == 1 and "waited" in "".join(lines))
        terminal.press('"""\rone\rtwo\r"""\r')
        terminal.shows(lambda lines: sum(line.startswith("w0 w1 w2") for line in lines) == 1)
        asked = newest(client, "two")
        assert [turn["content"].strip() for turn in asked["messages"]] == ["first #echo", "first #echo", "one\ntwo"]
        assert client.jobs(limit=1).jobs[0].priority == "high"
        terminal.press("once upon a time #stall #echo\r")
        terminal.shows(lambda lines: any(line.strip() == "once upon" for line in lines))
        terminal.press("\x03")
        terminal.shows(lambda lines: "stopped, the job is cancelled".ljust(80) in lines)
        assert until(lambda: client.jobs(limit=1).jobs[0].state is State.CANCELLED)
        terminal.press("/set system Be brief.\r/set parameter seed 7\r/set format json\r/clear\r/wrong\r")
        terminal.shows(lambda lines: "unknown command /wrong" in "".join(lines))
        terminal.press(f"what is {picture}\r")
        terminal.shows(lambda lines: "is not known to see images" in "".join(lines))
        asked = newest(client, "cat.png")
        assert [turn["role"] for turn in asked["messages"]] == ["system", "user"]
        assert (asked["options"], asked["format"]) == ({"seed": 7}, "json")
        terminal.shows(lambda lines: [line for line in lines if line.strip()][-1].strip() == ">>>")
        terminal.press("\x04")
        assert terminal.ends() == 0
        assert terminal.modes_restored
    assert "one\ntwo" in (tmp_path / "foreman" / "history").read_text(encoding="utf-8")


def test_the_terminal_is_put_right_whatever_ends_a_chat(app: App, tmp_path: Path) -> None:
    with chatting(app, "a", XDG_STATE_HOME=str(tmp_path)) as terminal, app.client() as client:
        terminal.shows(lambda lines: any(line.startswith(">>>") for line in lines))
        terminal.press("once upon a time #stall #echo\r")
        terminal.shows(lambda lines: any(line.strip() == "once upon" for line in lines))
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.ends() == 128 + signal.SIGTERM
        assert terminal.modes_restored
        assert until(lambda: client.jobs(limit=1).jobs[0].state is State.CANCELLED)
    with chatting(app, "a", "--no-history") as terminal:
        terminal.shows(lambda lines: any(line.startswith(">>>") for line in lines))
        terminal.process.send_signal(signal.SIGHUP)
        assert terminal.ends() == 128 + signal.SIGHUP
        assert terminal.modes_restored


HANGS_UP_UNSEEN = """
import ctypes, functools, readline, signal
readline.set_pre_input_hook(functools.partial(ctypes.CDLL(None)["raise"], int(signal.SIGHUP)))
"""  # between the prompt and the wait for a key, and without an instruction of Python's after it


def test_a_signal_just_before_the_wait_for_a_key_ends_a_chat(app: App, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(HANGS_UP_UNSEEN)
    with chatting(app, "a", "--no-history", PYTHONPATH=str(tmp_path)) as terminal:
        assert terminal.ends() == 128 + signal.SIGHUP
        assert b">>>" in terminal.written
        assert terminal.modes_restored


def test_one_question_in_a_pipe(app: App) -> None:
    done = app.run("run", "a", "summarize", "#echo", given="a long text\n")
    assert (done.returncode, done.stdout) == (0, "a long text summarize #echo \n")
    done = app.run("run", "a", "-v", "--quiet", "hi", given="")
    assert done.stdout == "w0 w1 w2 \n"
    assert "tokens in" in done.stderr and " · ran " in done.stderr and len(done.stderr.splitlines()) == 1
    job = msgspec.json.decode(app.run("run", "a", "--json", "--priority", "low", "hi", given="").stdout)
    assert (job["state"], job["priority"]) == ("done", "low")


def test_an_unknown_model_suggests_near_names(app: App) -> None:
    done = app.run("run", "a:7b", "hi", given="")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == "foreman: model 'a:7b' not found: did you mean a?\n"
    with chatting(app, "zzz") as terminal:
        assert terminal.ends() == 4
        assert b"model 'zzz' not found: see 'foreman models'" in terminal.written


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("llama", ["llama3:8b", "llama3:70b"]),
        ("lama3:8b", ["llama3:8b"]),
        ("Qwen3", ["qwen3:4b"]),
        ("gwen3", ["qwen3:4b"]),
        ("nothing like it", []),
    ],
)
def test_near_names(asked: str, found: list[str]) -> None:
    assert near(asked, ["llama3:8b", "qwen3:4b", "llama3:70b"])[: len(found)] == found
    assert near(asked, []) == []


@pytest.mark.parametrize(
    ("prompt", "rest", "paths"),
    [
        ("what is /tmp/a.png ?", "what is  ?", ["/tmp/a.png"]),
        ("compare 'my cat.jpg' and b\\ c.WEBP", "compare  and", ["my cat.jpg", "b c.WEBP"]),
        ("about none.png", "about none.png", []),
        ("a.png.txt", "a.png.txt", []),
    ],
)
def test_images_are_named_by_their_paths(prompt: str, rest: str, paths: list[str]) -> None:
    assert take_images(prompt, lambda path: path.name != "none.png") == (rest, [Path(path) for path in paths])


def test_the_commands_of_a_chat(tmp_path: Path) -> None:
    chat = Chat(Client("http://127.0.0.1:1"), Conversation("a"))
    file, picture = tmp_path / "talk.json", tmp_path / "a.png"
    picture.write_bytes(b"\x89PNG")
    for line in ("/set think low", "/set parameter stop END", "/set verbose", f"/image {picture}"):
        obey(line, chat)
    assert (chat.verbose, chat.images, chat.conversation.think) == (True, [b"\x89PNG"], "low")
    chat.conversation.add("hi \x1b[31m", chat.images, "ho")
    assert "in" in obey(f"/save {file}", chat)
    assert obey("/show messages", chat) == "user: hi [31m\nassistant: ho"
    assert obey("/show parameters", chat) == 'stop  "END"'
    obey("/clear", chat)
    assert (chat.conversation.messages, chat.images) == ([], [])
    assert obey(f"/load {file}", chat) == "1 question and its answer, with a."
    assert [turn.get("images") for turn in chat.conversation.messages] == [["iVBORw=="], None]
    assert obey("/?", chat).count("\n") > 10
    for wrong in (
        "/set",
        "/set parameter seed",
        "/set nothing",
        "/show x",
        "/save",
        "/image",
        f"/load {picture}",
        "/go",
    ):
        with pytest.raises(CommandInvalid):
            obey(wrong, chat)
    chat._known["a"] = Described(capabilities=["completion", "vision"])
    assert chat.take_images(f"what is '{picture}'") == "what is"
    assert chat.images.pop() == b"\x89PNG"
    with pytest.raises(Leave):
        obey("/bye", chat)
    assert not is_command("/home/me/cat.png what is it")
