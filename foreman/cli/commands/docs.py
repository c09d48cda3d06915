"""`foreman docs`: the documentation of this very version, without network."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

import click
from click.shell_completion import CompletionItem

import foreman
from foreman.cli.console import console
from foreman.cli.exit_codes import epilog


def pages() -> dict[str, Path]:
    """Return the file of every page by its name, such as `settings` or `howto/fleet`; the map of them is `index`."""
    package = Path(foreman.__file__).parent
    installed, source = package / "docs", package.parent / "docs"
    folder = installed if installed.is_dir() else source
    files = sorted([*folder.glob("*.md"), *folder.glob("howto/*.md")])
    return {file.relative_to(folder).with_suffix("").as_posix(): file for file in files}


def _complete(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in pages() if name.startswith(begun)]


@click.command(
    epilog=epilog("foreman docs", "foreman docs settings", "foreman docs settings | grep -A 3 retry_backoff"),
    short_help="List the pages of the documentation, or show one.",
)
@click.argument("page", required=False, shell_complete=_complete)
def docs(page: str | None) -> None:
    """Show PAGE of the documentation of this version, or list all pages.

    On a terminal it is set and scrolls; elsewhere it is Markdown. No network and no running Foreman is needed.
    """
    known = pages()
    if page is None:
        widest = max(map(len, known), default=0)
        for name, file in known.items():
            click.echo(f"{name:<{widest}}  {_title(file)}")
        return
    name = page.removeprefix("docs/").removesuffix(".md")
    if name not in known:
        near = [one for one in known if one.rpartition("/")[2] == name] or difflib.get_close_matches(name, known, n=1)
        mean = f"did you mean {near[0]}?" if near else "foreman docs lists them"
        raise click.BadParameter(f"there is no page {page}; {mean}", param_hint="PAGE")
    text = known[name].read_text(encoding="utf-8")
    if sys.stdout.isatty():
        click.echo_via_pager(_set(text), color=True)
    else:
        click.echo(text, nl=False)


def _title(file: Path) -> str:
    with file.open(encoding="utf-8") as lines:
        return next((line[2:].strip() for line in lines if line.startswith("# ")), "")


def _set(text: str) -> str:
    """Return Markdown as this terminal shows it."""
    from rich.markdown import Markdown  # imported here: it would slow down the list of commands

    out = console()
    with out.capture() as captured:
        out.print(Markdown(text, hyperlinks=False))
    return captured.get()
