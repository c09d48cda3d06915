"""Foreman killed again and again while it is given jobs and runs them: `python -m tests.crash`."""
