"""The commands within a chat, such as /set and /bye."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from foreman.cli.chat.chat import Chat
from foreman.cli.chat.conversation import Conversation
from foreman.cli.options import value_of
from foreman.cli.plain import one_line, plain

HELP = '''\
/set system TEXT          a system prompt, from the next question on
/set parameter NAME VALUE  such as temperature 0
/set think [low|medium|high], /set nothink
/set format json, /set noformat
/set verbose, /set quiet  figures after each answer, or none
/show info                the model; also system, parameters, messages
/model NAME               go on with another model
/image FILE               show an image with the next question
/save FILE, /load FILE    the conversation, as JSON
/clear                    forget the conversation
/bye                      leave; so does Ctrl-D

"""                       begins and ends several lines
Ctrl-C                    stops an answer and cancels its job'''
OFFERED = (
    *("/?", "/help", "/model ", "/image ", "/save ", "/load ", "/clear", "/bye", "/show info", "/show system"),
    *("/show parameters", "/show messages", "/set system ", "/set parameter ", "/set think", "/set nothink"),
    *("/set format json", "/set noformat", "/set verbose", "/set quiet"),
)
_COMMAND = re.compile(r"(/\?|/[a-z]+)(?:\s+(.*))?", re.DOTALL)


class Leave(Exception):
    """The chat is over."""


class CommandInvalid(Exception):
    """A command is unknown or incomplete; the text says what is right."""


def is_command(line: str) -> bool:
    """Return True for a command; a path that begins with a slash is none."""
    return _COMMAND.fullmatch(line.strip()) is not None


def obey(line: str, chat: Chat) -> str:
    """Do what the command says, and return the text to show. Raise Leave, CommandInvalid, ClientError or OSError."""
    match = _COMMAND.fullmatch(line.strip())
    assert match
    name, rest = match[1], (match[2] or "").strip()
    if name not in _DO:
        raise CommandInvalid(f"unknown command {name}: /? lists the commands")
    return _DO[name](chat, rest)


def _leave(_chat: Chat, _rest: str) -> str:
    raise Leave


def _help(_chat: Chat, _rest: str) -> str:
    return HELP


def _set(chat: Chat, rest: str) -> str:
    talk = chat.conversation
    what, value = [*rest.split(None, 1), "", ""][:2]
    match what, value:
        case "system", str() if value:
            talk.system = value
            return "The system prompt is set."
        case "parameter", str():
            return _set_parameter(talk, value)
        case "think", "" | "low" | "medium" | "high":
            talk.think = value or True
            return f"The model thinks{f', {value}' if value else ''}."
        case "nothink", "":
            talk.think = False
            return "The model does not think."
        case "format", "json":
            talk.format = "json"
            return "Answers are JSON."
        case "noformat", "":
            talk.format = None
            return "Answers are of any form."
        case "verbose" | "quiet", "":
            chat.verbose = what == "verbose"
            return "Figures follow each answer." if chat.verbose else "No figures follow."
    raise CommandInvalid(f"cannot set {one_line(rest) or 'nothing'}: /? lists what can be set")


def _set_parameter(talk: Conversation, given: str) -> str:
    name, value = [*given.split(None, 1), "", ""][:2]
    if not value:
        raise CommandInvalid("give a name and a value, such as /set parameter temperature 0")
    talk.options[name] = value_of(value)
    return f"{one_line(name)} is {_json(talk.options[name])}."


def _show(chat: Chat, rest: str) -> str:
    talk = chat.conversation
    match rest:
        case "system":
            return plain(talk.system or "There is no system prompt.")
        case "parameters":
            return _columns({name: _json(value) for name, value in talk.options.items()}) or "No parameters are set."
        case "messages":
            return (
                "\n".join(f"{turn['role']}: {plain(turn['content'])}" for turn in talk.messages) or "Nothing was said."
            )
        case "info" | "":
            return _info(chat)
    raise CommandInvalid("/show shows info, system, parameters or messages")


def _info(chat: Chat) -> str:
    told = chat.describe()
    size, bits = told.details.get("parameter_size"), told.details.get("quantization_level")
    own = chat.conversation.model
    targets = [
        target.name + (" (loaded)" if any(loaded.model == own for loaded in target.loaded) else "")
        for target in chat.client.targets()
        if own in target.models or f"{own}:latest" in target.models
    ]
    return _columns(
        {
            "model": own,
            "parameters": str(size or ""),
            "quantization": str(bits or ""),
            "context": f"{told.context:,} tokens" if told.context else "",
            "can": ", ".join(told.capabilities),
            "targets": ", ".join(targets),
            "said": _said(chat.conversation),
        }
    )


def _model(chat: Chat, rest: str) -> str:
    if not rest:
        return "\n".join(map(one_line, chat.client.models()))
    before = chat.conversation.model
    chat.conversation.model = rest
    try:
        chat.describe()
    except BaseException:
        chat.conversation.model = before
        raise
    return f"From now on {one_line(rest)} answers."


def _image(chat: Chat, rest: str) -> str:
    if not rest:
        raise CommandInvalid("give a file, such as /image photo.png")
    chat.add_images([Path(rest).expanduser()])
    return ""


def _save(chat: Chat, rest: str) -> str:
    path = _file(rest)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(chat.conversation)) + b"\n")
    return f"The conversation is in {one_line(str(path))}."


def _load(chat: Chat, rest: str) -> str:
    path = _file(rest)
    try:
        chat.conversation = msgspec.json.decode(path.read_bytes(), type=Conversation)
    except msgspec.DecodeError as error:
        raise CommandInvalid(f"{path} holds no conversation: {error}") from None
    return f"{_said(chat.conversation)}, with {one_line(chat.conversation.model)}."


def _said(conversation: Conversation) -> str:
    count = len(conversation.messages) // 2
    return "1 question and its answer" if count == 1 else f"{count} questions and answers"


def _file(rest: str) -> Path:
    if not rest:
        raise CommandInvalid("give a file, such as /save talk.json")
    return Path(rest).expanduser()


def _clear(chat: Chat, _rest: str) -> str:
    chat.conversation.messages = []
    chat.images = []
    return "The conversation is forgotten."


def _columns(lines: dict[str, str]) -> str:
    width = max([0, *map(len, lines)]) + 2
    return "\n".join(f"{one_line(name):<{width}}{one_line(value)}" for name, value in lines.items() if value)


def _json(value: Any) -> str:
    return plain(msgspec.json.encode(value).decode())


_DO: dict[str, Callable[[Chat, str], str]] = {
    "/?": _help,
    "/help": _help,
    "/set": _set,
    "/show": _show,
    "/model": _model,
    "/image": _image,
    "/save": _save,
    "/load": _load,
    "/clear": _clear,
    "/bye": _leave,
    "/exit": _leave,
    "/quit": _leave,
}
