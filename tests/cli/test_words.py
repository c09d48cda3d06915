"""Help, versions, and what a person sees."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys

import pytest

from foreman import __version__
from foreman.cli.console import Typed, span
from foreman.cli.exit_codes import EXIT_CODES
from foreman.cli.plain import plain
from foreman.cli.root import COMMANDS, GROUPS
from tests.cli.conftest import ROOT, Invoke, environment


@pytest.mark.parametrize("verb", COMMANDS)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_every_verb_explains_itself_and_its_exit_codes(invoke: Invoke, verb: str, flag: str) -> None:
    result = invoke(verb, flag)
    assert result.exit_code == 0, result.output
    assert f"Usage: foreman {verb}" in result.stdout
    assert "Exit codes: 0 done;" in result.stdout
    assert re.search(rf"\n  Examples?:\n    .*foreman {verb}\b", result.stdout)


def test_help_lists_every_verb_in_whole_sentences(invoke: Invoke) -> None:
    said = invoke("--help").stdout
    assert re.findall(r"^  ([a-z]+)  +[A-Z].*\.$", said, re.MULTILINE) == list(COMMANDS)
    assert re.findall(r"^(\w.*):$", said, re.MULTILINE) == ["Options", *GROUPS]
    assert "..." not in said.partition("Options:")[2]


def test_the_documentation_has_every_verb_in_order_and_every_exit_code() -> None:
    """What it says about each is generated."""
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert re.findall(r"^### foreman (\w+)\n", text, re.MULTILINE) == list(COMMANDS)
    codes = re.findall(r"(?:^|[:;] )(\d+) ", EXIT_CODES)
    assert re.findall(r"^\| (\d+) \|", text, re.MULTILINE) == codes


def test_the_version(invoke: Invoke) -> None:
    assert invoke("--version").stdout == f"foreman {__version__}\n"


@pytest.mark.parametrize(
    "words",
    [
        ["jobs"],
        ["ps"],
        ["watch"],
        ["models"],
        ["logs", "J1"],
        ["logs", "--follow", "J1"],
        ["history", "J1"],
        ["show", "J1"],
        ["submit", "hi"],
        ["submit", "-m", "a", "hi"],
        ["submit", "--file", __file__],
        ["cancel", "J1", "J2"],
        ["uncancel", "J1"],
        ["uncancel", "--changes", "1-2"],
        ["retry", "J1"],
        ["rm", "J1"],
        ["pause"],
        ["resume"],
        ["resume", "box"],
        ["targets"],
        ["targets", "log", "box"],
        ["drain", "box"],
        ["load", "a"],
        ["unload", "a", "--target", "box"],
        ["deliveries", "J1"],
        ["redeliver", "J1", "1"],
        ["open"],
        ["run", "a", "hi"],
        ["batch", "list"],
        ["batch", "show", "batch_01ARZ3NDEKTSV4RRFFQ69G5FAV"],
        ["batch", "cancel", "ARZ3NDEK"],
        ["batch", "results", "batch_01ARZ3NDEKTSV4RRFFQ69G5FAV"],
    ],
)
def test_no_daemon_is_one_line_that_says_what_to_do(invoke: Invoke, words: list[str]) -> None:
    with socket.socket() as probe:  # bound and not listening: refused for sure
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        result = invoke(*words, "--url", url)
    assert result.exit_code == 3
    assert result.output == f"foreman: no foreman at {url}: start one with 'foreman serve', or set FOREMAN_URL\n"


def test_an_address_that_is_none_is_one_line(invoke: Invoke) -> None:
    result = invoke("jobs", "--url", "http://[::1")
    assert result.exit_code == 3
    assert result.stderr.startswith("foreman: cannot reach foreman at http://[::1: not a valid URL")


def test_a_verb_that_is_none_is_wrong_usage(invoke: Invoke) -> None:
    assert invoke("frobnicate").exit_code == 2
    meant = invoke("sumbit")
    assert meant.exit_code == 2
    assert "Did you mean 'submit'?" in meant.stderr


@pytest.mark.parametrize(
    ("words", "given", "said"),
    [
        (["submit", "-o", "seed", "hi"], None, "must be NAME=VALUE; given: seed"),
        (["submit"], "  \n", "standard input holds no prompt"),
        (["submit", "--endpoint", "/api/chit", "hi"], None, "'/api/chit' is not one of"),
        (["submit", "--file", "-", "--priority", "low"], "{}", "--priority and --file do not go together"),
        (["submit", "--file", "-", "hi"], "{}", "prompt and --file do not go together"),
        (["submit", "--file", "-"], "", "standard input holds no jobs"),
        (["submit", "--file", "none.ndjson"], None, "No such file"),
        (["submit", "--metadata", "a", "hi"], None, "must be NAME=VALUE; given: a"),
        (["submit", "--schema", __file__, "hi"], None, "is no JSON object"),
        (["jobs", "--watch"], None, "--watch needs a terminal"),
        (["run", "a"], "", "give a PROMPT"),
        (["cancel"], None, "give either IDs or filters such as --state"),
        (["listen", "--secret", "whsec_*"], None, "must go on in base64"),
    ],
)
def test_wrong_usage_says_what_is_right(invoke: Invoke, words: list[str], given: str | None, said: str) -> None:
    result = invoke(*words, given=given)
    assert result.exit_code == 2
    assert said in result.stderr


def test_the_hidden_verbs_start_without_the_rest() -> None:
    """A leash is started with every child; what it must not wait for is not imported."""
    script = (
        "import sys; sys.argv = ['foreman', 'leash', '--', 'true']\n"
        "from foreman.__main__ import main\n"
        "try: main()\n"
        "except SystemExit as end: print(end.code, {'trio', 'click', 'httpx2', 'pydantic'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as leash:  # the end of its input would end it
        assert leash.stdout is not None
        assert leash.stdout.read() == "0 set()\n"


def test_ctrl_c_in_the_first_moments_says_nothing() -> None:
    """The import that it breaks into is one that never ends."""
    script = (
        "import importlib.abc, sys\n"
        "class Slow(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'foreman.cli': print('importing', flush=True); sys.stdin.read()\n"
        "sys.meta_path.insert(0, Slow()); sys.argv = ['foreman', 'jobs']\n"
        "from foreman.__main__ import main\n"
        "main()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as slow:
        assert slow.stdout is not None
        assert slow.stdout.readline() == "importing\n"
        slow.send_signal(signal.SIGINT)
        assert slow.wait(60) == -signal.SIGINT  # which a shell shows as 130
        assert slow.stderr is not None
        assert slow.stderr.read() == ""


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-1, "0.00 s"),
        (0.123, "0.12 s"),
        (9.96, "10.0 s"),
        (250, "4 min 10 s"),
        (7500, "2 h 5 min"),
        (273600, "3 d 4 h"),
    ],
)
def test_spans_are_told_in_two_units_at_most(seconds: float, said: str) -> None:
    assert span(seconds) == said


def test_a_terminal_gets_no_orders_from_a_model() -> None:
    assert plain("a\x1b[31mb\x07\x9b2J\r\n\tc\x7f") == "a[31mb2J\n\tc"


def test_an_answer_is_written_once_however_often_it_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    typed = Typed()
    for piece in ("one ", "two "):
        typed.add(piece)
    typed.start_over()
    for piece in ("one ", "two ", "three"):
        typed.add(piece)
    typed.finish("one two three four")
    assert capsys.readouterr().out == "one two three four\n"


def test_another_answer_of_another_attempt_is_set_apart(capsys: pytest.CaptureFixture[str]) -> None:
    typed = Typed()
    typed.add("one two")
    typed.start_over()
    typed.add("one")
    typed.add(" three")
    typed.finish("one three")
    assert capsys.readouterr().out == "one two\n\none three\n"
