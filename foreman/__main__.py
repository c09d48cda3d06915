"""The program: `foreman` and `python -m foreman`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command in the arguments and exit the process."""
    match sys.argv[1:]:
        # Started by Foreman itself, often and on the critical path: imports nothing else.
        case ["leash", *rest]:
            _let_go(rest)
            from foreman.targets.managed import leash

            sys.exit(leash.main(rest))
        case ["engine", *rest]:
            from foreman.targets.managed import engine

            sys.exit(engine.main(rest))
        case _:
            _command_line()


def _let_go(leashed: list[str]) -> None:
    """Remove the executable's library paths from the environment of other programs.

    From source the leash is started by its path and needs no such step.
    """
    import os

    from foreman import program

    if program.frozen() and sys.executable not in leashed[:2]:  # after `--`
        program.forget_unpacking(os.environ)


def _command_line() -> None:
    import signal

    from foreman import program
    from foreman.garbage import collection_paused

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # leave an ignored SIGINT ignored
        # Until a command begins, Ctrl-C ends the process at once, without the traceback of an interrupted import.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if program.frozen():
        program.die_with_outer()
    with collection_paused():
        from foreman.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
