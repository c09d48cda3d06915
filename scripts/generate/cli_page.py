"""Generate the sections of commands in docs/cli.md from their `--help`."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from foreman.cli.exit_codes import EXIT_CODES
from foreman.cli.root import COMMANDS, foreman
from foreman.config.settings import Settings
from scripts.generate import ROOT

PAGE = "docs/cli.md"
END = "<!-- end of the generated part -->"
QUOTE, BAR = "'", "\\|"

CODE = re.compile(
    r"""
      \{.*\}                                  # JSON
    | (?<!\w)'[^']+'(?!\w)                    # quoted
    | (?<![\w-])--?[a-z][a-z-]*               # an option
    | (?<=[\s(])-(?=[\s,)])                   # standard input
    | (?:GET|POST)\ /\w+ | /(?:api|v1)/[\w/]+ # a request
    | \w+_\w+ | \w+=\w+ | \*\*\* | foreman\.db(?:-\w+)? | 127\.0\.0\.1
    """,
    re.VERBOSE,
)


def page() -> str:
    """Return the text of cli.md; each section of a command is replaced up to its end marker."""
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    for name in COMMANDS:
        heading = f"### foreman {name}\n"
        before, found, after = text.partition(heading)
        if not found:
            raise ValueError(f"{PAGE} needs a heading {heading!r}")
        end = re.search(rf"^(?:{END}$|##{{1,2}} )|\Z", after, re.MULTILINE)
        assert end
        text = f"{before}{heading}\n{_section(name)}{after[end.start() :]}"
    return text.rstrip() + "\n"


def _section(name: str) -> str:
    context = click.Context(foreman, **foreman.context_settings)
    command = foreman.get_command(context, name)
    assert command is not None
    section = _described(command)
    if isinstance(command, click.Group) and not command.invoke_without_command:
        for sub, inner in command.commands.items():
            section += f"#### foreman {name} {sub}\n\n{_described(inner)}"
    return section


def _described(command: click.Command) -> str:
    words = [_marked(" ".join(paragraph.split())) for paragraph in (command.help or "").split("\n\n")]
    examples = [line[2:] for line in (command.epilog or "").replace(EXIT_CODES, "").split("\n") if line[:2] == "  "]
    parts = [*words, "\n".join(["```sh", *examples, "```"])]
    if rows := list(_rows(command)):
        parts.append("\n".join(["| option | meaning |", "|---|---|", *rows]))
    return "\n\n".join(parts) + "\n\n"


def _rows(command: click.Command) -> Iterator[str]:
    takes_settings = any(param.name == "addr" for param in command.params)
    explained_elsewhere = {"config", *Settings.model_fields} if takes_settings else {"url", "token", "no_color"}
    for param in command.params:
        record = param.get_help_record(click.Context(command)) if isinstance(param, click.Option) else None
        if record is None or param.name in explained_elsewhere:
            continue
        *short, long = record[0].split(", ")
        names = ", ".join(f"`{name}`" for name in (long, *short))
        meaning, *extras = re.split(r"  \[", record[1])
        notes = [note for extra in extras for note in _notes(extra.rstrip("] "))]
        cells = (names, " ".join([_marked(meaning), *notes]))
        yield f"| {' | '.join(cell.replace('|', BAR) for cell in cells)} |"


def _notes(extra: str) -> Iterator[str]:
    """Yield the sentences for what click shows in brackets after the help of an option."""
    for part in extra.split("; "):
        title, _, value = part.partition(": ")
        if title in ("default", "env var"):
            code = value if " " in value else f"`{value}`"
            yield f"{'Default' if title == 'default' else 'Environment'}: {code}."


def _marked(text: str) -> str:
    """Return the text of a help as Markdown, with what a person types or reads in code marks."""
    return CODE.sub(lambda found: f"`{found[0].strip(QUOTE)}`", text)
