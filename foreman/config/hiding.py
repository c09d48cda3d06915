"""Secrets in texts: found by the names beside them, and hidden wherever settings are shown."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

from foreman.config.macros import FILLED_LATER

HIDDEN = "***"  # shown in place of a secret
SHORTEST = 6  # characters of a variable's value that is looked for in texts

_NAME = re.compile(
    r"(?:token|secret|passw(?:or)?d|passphrase|passcode|pwd|auth|authorization|authentication|credential|bearer|signature"
    r"|cookie|jwt|(?<!com)(?<!by)pass|(?<!mon)(?<!tur)(?<!hot)(?<!don)key|(?<![a-z])(?:pw|sig|sas|pin|otp|cred))s?(?![a-z])",
    re.IGNORECASE,
)
_COUNT = re.compile(
    r"(?<![a-z])(?:max|min|num|n|special)[\w.-]*?tokens(?![a-z])|token[-_.]threshold|tokens[-_.]per", re.IGNORECASE
)
_DIRECTORIES = frozenset({"PWD", "OLDPWD"})  # set by shells, and no passwords

# A password may hold any character, so it ends at the last `@`; the digest of an image begins with one.
_ADDRESS = re.compile(r"//.*@", re.DOTALL)
_ACCOUNT = re.compile(r"(?<![^\s=,\"'/])[^\s:@=,\"'/]*(?<![\"']):(?!//|[\"'])\S*@(?!sha256:)")
_LOGIN = re.compile(
    r"(?:^|(?<=[\s\"']))(?P<kept>(?:-[a-z]*?u|--?[\w-]*(?:user|login)(?:name)?)[\s=\"']*(?![a-z][\w+.-]*://)[^\s:]*:).+",
    re.DOTALL | re.IGNORECASE,
)
_NESTED = re.compile(r"[\[{(]\s*[\[{(\"'\\]|(?<![^\s=:\"'])[\[{](?![\w.-]*[\]}])")
_RUN = re.compile(r"(?<![\w.-])(?<!//)[\w.-]+")
_SIGN = re.compile(r"[\"'\])}\\]*\s*(?:[:=,]|%3[ad])[=>]?\s*|[\"'\\]*\s+[\"']?", re.IGNORECASE)
_FILLED_LATER = re.compile(rf"(?:\w+ +)?\{{(?:{'|'.join(sorted(FILLED_LATER))})\}}(?=[\s\"'&]|$)")
_LAST = re.compile(r"(?<![\w./-])([\w.-]+)[\"']?\s*[:=]?\s*$")
_OPTION = re.compile(r"--[a-z]|-[a-z]\S{0,5}$", re.IGNORECASE)
_USER_OPTION = re.compile(r"-[a-z]*u|--?[\w-]*(?:user|login)(?:name)?", re.IGNORECASE)


def is_secret(name: str) -> bool:
    """Return True where the name of an option, a header, a variable or a key is that of a secret."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name)
    return _NAME.search(_COUNT.sub("", words)) is not None


def hidden_text(text: str) -> str:
    """Return a text without the secrets in it: of addresses, logins, headers, options, variables and JSON.

    Nobody knows how a program reads its words, so what follows the name of a secret is hidden up to the end.
    """
    for value in _secrets_of_environment():
        text = text.replace(value, HIDDEN)
    text = _LOGIN.sub(rf"\g<kept>{HIDDEN}", _without_tables(text))
    text = _without_password(_ADDRESS, _without_password(_ACCOUNT, text))
    return _without_values(text)


def hidden_value(name: str, value: Any) -> Any:
    """Return the JSON value of a key without secrets: hidden where the key has the name of one."""
    if value is None or isinstance(value, bool) or value == "":
        return value
    if is_secret(name):
        return value if isinstance(value, str) and _is_filled_later(value) else HIDDEN
    match value:
        case str():
            return hidden_text(value)
        case dict():
            return {key: hidden_value(key, one) for key, one in value.items()}
        case list() if all(isinstance(one, str) for one in value):
            return hidden_words(value)
        case list():
            return [hidden_value("", one) for one in value]
    return value


def hidden_words(words: Sequence[str]) -> list[str]:
    """Return the words of a command without the secrets in them, and those that an option before them names."""
    return list(_hidden_words(words))


def _hidden_words(words: Sequence[str]) -> Iterator[str]:
    follows = False  # whether a word before has the name of a secret, and no option came since
    before = ""
    for word in words:
        if follows and not _OPTION.match(word):
            yield word if _is_filled_later(word) else HIDDEN
            continue
        if _USER_OPTION.fullmatch(before):
            yield hidden_text(f"{before} {word}").removeprefix(f"{before} ")
        else:
            yield hidden_text(word)
        last = _LAST.search(word)
        follows, before = last is not None and is_secret(last[1]), word


def _without_tables(text: str) -> str:
    """Return the text up to a table or list, such as of JSON, that names a secret: its value may be anywhere in it."""
    found = _NESTED.search(text)
    if found and any(is_secret(run[0]) for run in _RUN.finditer(text, found.start())):
        return text[: found.start()] + HIDDEN
    return text


def _without_password(pattern: re.Pattern[str], text: str) -> str:
    """Return the text without what an address has before its `@`, or without its end where that may be a secret's."""
    for found in pattern.finditer(text):
        if _without_values(found[0]) != found[0]:
            text = text[: found.start()] + HIDDEN
            break
    return pattern.sub(lambda found: f"//{HIDDEN}@" if found[0].startswith("//") else f"{HIDDEN}@", text)


def _without_values(text: str) -> str:
    """Return the text without what follows the names of secrets; the parameter of an address ends at the next `&`."""
    at = 0
    while run := _RUN.search(text, at):
        at = run.end()
        sign = _SIGN.match(text, at) if is_secret(run[0]) else None
        if not sign or sign.end() == len(text) or _FILLED_LATER.match(text, sign.end()):
            continue
        is_parameter = text[: run.start()].endswith(("?", "&"))
        end = text.find("&", sign.end()) if is_parameter else -1
        rest = text[end:] if end >= 0 else ""
        text, at = text[: sign.end()] + HIDDEN + rest, sign.end() + len(HIDDEN)
    return text


def _is_filled_later(text: str) -> bool:
    return _FILLED_LATER.fullmatch(text) is not None


def _secrets_of_environment() -> list[str]:
    """Return the values, longest first, of variables with the name of a secret: `{env.NAME}` may have brought them."""
    found = (value for name, value in os.environ.items() if name not in _DIRECTORIES and is_secret(name))
    return sorted((value for value in found if len(value) >= SHORTEST), key=len, reverse=True)
