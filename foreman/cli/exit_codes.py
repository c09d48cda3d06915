"""Exit codes, and how the help of a command tells of them."""

from __future__ import annotations

from foreman.program import install

FAILED = 1
MISUSED = 2  # click uses the same for wrong usage
NO_DAEMON = 3
REFUSED = 4
INTERRUPTED = 130  # 128 + SIGINT, as in shells

INSTALL = install("server")

EXIT_CODES = (
    "Exit codes: 0 done; 1 the job failed, was cancelled or expired, a check found something wrong, or the program "
    "failed; 2 wrong usage or settings; 3 no Foreman could be reached; 4 Foreman refused (token, unknown model or job, "
    "full queue, wrong state), also one of several jobs; 130 interrupted."
)


def epilog(*examples: str) -> str:
    """Return the end of a command's help: examples and exit codes."""
    lines = "\n".join(f"  {example}" for example in examples)
    return f"\b\n{'Examples' if len(examples) > 1 else 'Example'}:\n{lines}\n\n{EXIT_CODES}"
