"""`foreman batch list`, `show`, `cancel` and `results`, beside `submit`."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import click
import msgspec
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from foreman.cli.batch_watch import errors_of, lines_of, rest_of, watch
from foreman.cli.commands.batch_submit import submit
from foreman.cli.commands.shell_completion import batch_ids
from foreman.cli.console import between, clock, console, show_hanging, show_table, state_text
from foreman.cli.exit_codes import FAILED, INTERRUPTED, REFUSED, epilog
from foreman.cli.options import quiet, reaches_foreman
from foreman.cli.plain import one_line, plain
from foreman.cli.script_output import escaped, print_ids, print_json
from foreman.client import Batched, Busy, Client, NotFound, Refused, Unauthorized, batch_requests
from foreman.client.reading import decode
from foreman.client.writing import text
from foreman.domain.batches import BATCH_ID, BatchState

T = TypeVar("T")

LONGEST_PAGE = 500  # batches in one page of the API
LEAST_PART = 6  # characters of the ULID that name a batch
EXAMPLE = "batch_01M851ES4ND9PVJWPF0KQPVXTA"


@click.group(
    epilog=epilog(
        "foreman batch submit questions.jsonl --wait",
        "foreman batch results batch_01M851ES4ND9PVJWPF0KQPVXTA > answers.jsonl",
    ),
    short_help="Submit files of requests, and fetch their answers.",
)
def batch() -> None:
    """Run a file of requests as one batch: each line is a durable job of low priority.

    The commands work with the batches of every API: OpenAI's, Anthropic's and Foreman's own.
    """


batch.add_command(submit)


@batch.command("list", epilog=epilog("foreman batch list", "foreman batch list --state in_progress --quiet"))
@click.option("--state", type=click.Choice([state.value for state in BatchState]), help="Only batches in this state.")
@click.option("-n", "--limit", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="Batches.")
@click.option("--after", metavar="ID", help="Only batches older than this one.")
@click.option("--json", "as_json", is_flag=True, help='Print {"batches": […], "next": ID or null}.')
@quiet()
@reaches_foreman
def list_(
    state: str | None,
    limit: int,
    after: str | None,
    as_json: bool,
    quiet: bool,
    url: str | None,
    token: str | None,
) -> None:
    """List batches, newest first."""
    found: list[msgspec.Raw] = []
    with Client(url, token) as client:
        while True:
            size = min(limit - len(found), LONGEST_PAGE)
            page = decode(client.raw(batch_requests.batches(state, size, after)), _RawPage)
            found += page.batches
            after = page.next
            if not (page.batches and after) or len(found) >= limit:
                break
    if as_json:
        print_json(_RawPage(found, after))
        return
    rows = [decode(bytes(one), Batched) for one in found]
    if quiet:
        print_ids(one.batch_id for one in rows)
        return
    if not rows:
        click.echo("no batches", err=True)
        return
    heads = ("ID", "STATE", "ENDED", "FAILED", "LEFT", "AGE", "KIND", "MODEL", "NAME")
    show_table(heads, map(_row, rows), spare=("KIND", "AGE", "MODEL", "NAME", "LEFT"))
    if after:
        click.echo(one_line(f"more: --after {after}"), err=True)


@batch.command("show", epilog=epilog(f"foreman batch show {EXAMPLE}", f"foreman batch show {EXAMPLE} --watch"))
@click.argument("batch_id", metavar="ID", shell_complete=batch_ids)
@click.option("-w", "--watch", "to_its_end", is_flag=True, help="Show its progress until it has ended.")
@click.option("--json", "as_json", is_flag=True, help="Print the batch as JSON, with --watch once it has ended.")
@reaches_foreman
def show(batch_id: str, to_its_end: bool, as_json: bool, url: str | None, token: str | None) -> None:
    """Show a batch: its lines by their end, its speed and what is wrong with it.

    With --watch, show its progress until it has ended; the exit code then is 1 unless all its lines are done.
    """
    with Client(url, token) as client:
        found = _with_batch(client, batch_id, client.batch)
        if to_its_end:
            try:
                found = watch(client, found.batch_id)
            except KeyboardInterrupt:
                sys.exit(INTERRUPTED)
        if as_json:
            print_json(client.raw(batch_requests.batch(found.batch_id)))
        else:
            _show(found)
    if to_its_end and found.done != found.total:
        sys.exit(FAILED)


@batch.command("cancel", epilog=epilog(f"foreman batch cancel {EXAMPLE}"))
@click.argument("batches", metavar="ID...", nargs=-1, required=True, shell_complete=batch_ids)
@click.option(
    "--json", "as_json", is_flag=True, help='Print {"batches": […], "errors": [{"batch_id", "error", "code"}]}.'
)
@quiet()
@reaches_foreman
def cancel(batches: tuple[str, ...], as_json: bool, quiet: bool, url: str | None, token: str | None) -> None:
    """Cancel batches: running lines are cut off, the others never start. What was answered stays in the results.

    Batches that cannot be cancelled are reported; the others are cancelled.
    """
    cancelled: list[Batched] = []
    errors: list[dict[str, str]] = []
    try:
        with Client(url, token) as client:
            for name in dict.fromkeys(batches):
                try:
                    found = _with_batch(client, name, client.cancel_batch)
                except (Unauthorized, Busy):  # would refuse the others too
                    raise
                except Refused as error:
                    errors.append({"batch_id": name, "error": str(error), "code": error.code})
                    if not as_json:
                        about = "" if name in str(error) else f"{name}: "
                        click.echo(one_line(f"foreman: {about}{error}"), err=True)
                    continue
                cancelled.append(found)
                if not as_json:
                    click.echo(one_line(found.batch_id) + ("" if quiet else f"  {found.state}"))
    finally:
        if as_json and (cancelled or errors):
            print_json({"batches": cancelled, "errors": errors})
    if errors:
        sys.exit(REFUSED)


@batch.command(
    "results",
    epilog=epilog(
        f"foreman batch results {EXAMPLE} > answers.jsonl", f"foreman batch results {EXAMPLE} --output answers.jsonl"
    ),
    short_help="Print the results of an ended batch.",
)
@click.argument("batch_id", metavar="ID", shell_complete=batch_ids)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write to FILE, whole or not at all; an existing one is replaced.",
)
@reaches_foreman
def results(batch_id: str, output: Path | None, url: str | None, token: str | None) -> None:
    """Print the results of an ended batch: a line of JSON for each request, in their order, answers and errors.

    The lines are those of the API that made the batch.
    """
    with Client(url, token) as client:
        found = _with_batch(client, batch_id, client.batch)
        if found.state is BatchState.FAILED and not found.total:
            for fault in errors_of(found, "input"):
                click.echo(fault, err=True)
            click.echo(f"foreman: {found.batch_id} has no results: correct its input and submit it again", err=True)
            sys.exit(FAILED)
        lines = client.batch_lines(found.batch_id)
        if output is None:
            for line in lines:
                click.echo(escaped(line.decode(errors="replace")))
        else:
            _write(output, lines, found.total or 0)


def _write(path: Path, lines: Iterable[bytes], total: int) -> None:
    """Write lines to a file that appears once it is whole. Raise OSError."""
    err = console(err=True)
    shown = TextColumn("lines"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with (
        Progress(*shown, console=err, transient=True, disable=not err.is_terminal) as bar,
        tempfile.NamedTemporaryFile(dir=path.absolute().parent, prefix=f".{path.name}.", delete=False) as file,
    ):
        task = bar.add_task("", total=total)
        try:
            for line in lines:
                file.write(line + b"\n")
                bar.advance(task)
            file.flush()
            os.fsync(file.fileno())
            os.chmod(file.name, 0o666 & ~_umask())
            os.replace(file.name, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(file.name)
            raise


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


class _RawPage(msgspec.Struct):
    batches: list[msgspec.Raw]
    next: str | None = None


def _with_batch(client: Client, name: str, do: Callable[[str], T]) -> T:
    """Call `do` with the id of the batch named `name`, and return its result.

    A name is a whole id, or 6 or more characters of the beginning or end of what follows `batch_` or `msgbatch_`, in
    any case. Raise Refused when it matches several batches, NotFound when it matches none.
    """
    prefix, _, part = text(name).rpartition("_")
    part = part.upper()
    if BATCH_ID.fullmatch(whole_id := f"{prefix.lower()}_{part}"):
        return do(whole_id)
    ids: list[str] = []
    after: str | None = None
    while len(part) >= LEAST_PART:
        page = client.batches(limit=LONGEST_PAGE, after=after)
        within = ((one.batch_id, one.batch_id.rpartition("_")[2]) for one in page.batches)
        ids += [whole for whole, rest in within if rest.startswith(part) or rest.endswith(part)]
        after = page.next
        if not after:
            break
    if not ids:
        raise NotFound(404, "batch_not_found", f"no batch {name}", "'foreman batch list' shows all")
    if len(ids) > 1:
        raise Refused(400, "ambiguous", f"{name} may be any of {', '.join(ids[:5])}", "give more of its id")
    return do(ids[0])


def _row(one: Batched) -> Sequence[str | Text]:
    age = between(one.created_at, datetime.now(UTC))
    ended = one.done + one.failed + one.cancelled + one.expired
    of = "" if one.total is None else f"/{one.total:,}"
    failed = f"{one.failed:,}" if one.failed else ""
    return (
        one.batch_id,
        state_text(one.state),
        f"{ended:,}{of}",
        failed,
        rest_of(one).removeprefix("about "),
        age,
        one.kind,
        one.model or "",
        one.name or "",
    )


def _show(one: Batched) -> None:
    lines: dict[str, str | Text | None] = {
        "batch": one.batch_id,
        "state": state_text(one.state),
        "name": one.name,
        "kind": one.kind,
        "endpoint": one.endpoint,
        "model": one.model,
        "lines": lines_of(one),
        "speed": f"{one.lines_per_minute:,.1f} lines a minute" if one.lines_per_minute else None,
        "left": rest_of(one),
        "tokens": f"{one.prompt_tokens:,} in, {one.answer_tokens:,} out" if one.prompt_tokens else None,
        "owner": one.owner,
        "metadata": ", ".join(f"{name}={value}" for name, value in (one.metadata or {}).items()),
        "created": clock(one.created_at, day=True),
        "ended": clock(one.ended_at, day=True) if one.ended_at else None,
        "ends by": clock(one.ends_by, day=True) if one.ends_by and not one.ended_at else None,
        "kept until": clock(one.expires_at, day=True) if one.expires_at else None,
    }
    for name, value in lines.items():
        if value:
            shown = Text(one_line(value)) if isinstance(value, str) else value
            show_hanging(Text(f"{name:<12}", style="bold"), shown)
    for line in errors_of(one, "input"):
        show_hanging(Text(f"{'error':<12}", style="bold"), Text(plain(line), style="red"))
