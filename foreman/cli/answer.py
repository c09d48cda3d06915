"""Show the answer of a job as it comes, its place in the queue before that, and its figures at the end."""

from __future__ import annotations

from typing import Any

import click
import msgspec
from rich.text import Text

from foreman.cli.console import StatusLine, Typed, ago, console, span
from foreman.cli.follow import Away, Waiting, follow
from foreman.cli.plain import one_line
from foreman.client import Chunk, Client, Event, Job, StartsOver, text_of
from foreman.domain.job import State

SHORT_ID = 8  # characters of the end of an id; enough to name a job
MOST_SAID = 1000  # the largest position that is known

_STATUSES = {State.QUEUED: "queued", State.LOADING: "loading model {model}", State.WORKING: "working"}


def show_answer(
    client: Client, job_id: str, model: str, *, text: Typed | None, thinking: Typed | None = None, silent: bool = False
) -> Job:
    """Show the progress of a job until it ends, and return it.

    Its text is written to `text` and its reasoning to `thinking`, as far as they are given. With `silent`, show no
    progress.
    """
    with StatusLine(silent=silent) as status:
        for news in follow(client, job_id):
            match news:
                case Chunk():
                    _write(news, status, text, thinking)
                case Waiting():
                    status.show(place(news))
                case Event():
                    if news.state in _STATUSES:
                        again = " again" if news.state is State.QUEUED and news.previous_state else ""
                        status.show(_STATUSES[news.state].format(model=model) + again)
                case StartsOver():
                    for typed in filter(None, (text, thinking)):
                        typed.start_over()
                    status.show(f"attempt {news.attempt}")
                case Away():
                    status.show(f"no answer from {client.url}, trying again")
                case Job():
                    status.clear()
                    _end(news, text)
                    return news
    raise AssertionError("follow ends with the job")


def _write(chunk: Chunk, status: StatusLine, text: Typed | None, thinking: Typed | None) -> None:
    if text and chunk.text:
        status.clear()
        if thinking:
            thinking.end_line()
        text.add(chunk.text)
    elif thinking and chunk.thinking:
        status.clear()
        thinking.add(chunk.thinking)
    elif chunk.thinking:
        status.show("thinking")


def _end(job: Job, text: Typed | None) -> None:
    if text and job.state is State.DONE:
        text.finish(text_of(job.result) or as_json(job.result))
    elif text:
        text.end_line()


def place(news: Waiting) -> str:
    """Return where a job waits: how many go before it and for how long, or why nothing moves."""
    about = f", about {ago(news.eta_seconds)}" if news.eta_seconds and news.eta_seconds >= 1 else ""
    if news.why:
        return f"queued: {news.why}{about}"
    ahead = news.position - 1
    some = f"{ahead:,}" + (" or more" if news.position >= MOST_SAID else "")
    return (f"waits behind {some}" if ahead else "queued, next to start") + about


def how_it_ended(job: Job) -> str:
    """Return the end of a job that is not done, in words, with its error."""
    ended = {State.FAILED: "failed", State.CANCELLED: "was cancelled", State.EXPIRED: "expired"}
    why = f": {job.error}" if job.error else ""
    return f"{ended.get(job.state, job.state)}{why}"


def figures(job: Job) -> str:
    """Return the figures of an ended job in a line: tokens, their speed, its wait, its time, its target, its id."""
    usage, rate = job.usage, job.usage.tokens_per_second
    tokens = f"{usage.prompt_tokens:,} tokens in, {usage.answer_tokens:,} out" + (f", {rate:,.1f}/s" if rate else "")
    said = [tokens] if usage.prompt_tokens or usage.answer_tokens else []
    if job.started_at:
        said.append(f"waited {span((job.started_at - job.created_at).total_seconds())}")
        if job.completed_at:
            said.append(f"ran {span((job.completed_at - job.started_at).total_seconds())}")
    if job.attempt > 1:
        said.append(f"{job.attempt} attempts")
    said += [job.target] if job.target else []
    return one_line(" · ".join([*said, job.job_id[-SHORT_ID:]]))


def show_figures(job: Job) -> None:
    """Print the figures of an ended job on standard error."""
    console(err=True).print(Text(figures(job), style="dim"))


def as_json(result: Any) -> str:
    """Return an answer without text, such as embeddings or tool calls, as JSON."""
    return msgspec.json.format(msgspec.json.encode(result)).decode() if result is not None else ""


def say_failed(job: Job) -> None:
    """Print on standard error how a job ended that is not done."""
    click.echo(one_line(f"foreman: job {job.job_id} {how_it_ended(job)}"), err=True)
