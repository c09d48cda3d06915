"""The usage of one job: what its answer says of tokens, and how fast it came; no I/O."""

from __future__ import annotations

from foreman.domain.job import JobUsage
from foreman.domain.usage import Tokens

LEAST_STREAMED = 0.01  # seconds; an answer that came within less was not streamed, which tells nothing of its speed


def job_usage(tokens: Tokens, first_chunk: float | None, seconds: float) -> JobUsage:
    """Return the usage of a job; `first_chunk` and `seconds` are from the request to the begin and end of the answer.

    The first token takes the computation of the prompt: the speed is that of the tokens after it.
    """
    if not tokens.prompt and not tokens.answer:  # the server counts none
        return JobUsage(None, None, None, _rounded(first_chunk), None)
    streamed = 0.0 if first_chunk is None else seconds - first_chunk
    known = streamed >= LEAST_STREAMED and tokens.answer > 1
    return JobUsage(
        tokens.prompt,
        tokens.cached,
        tokens.answer,
        _rounded(first_chunk) if tokens.answer else None,
        round((tokens.answer - 1) / streamed, 2) if known else None,
    )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(max(seconds, 0.0), 3)
