"""The program: `foreman` and `python -m foreman`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run what the arguments say; ends the process."""
    match sys.argv[1:]:
        # What Foreman starts for itself, many times and in a hurry: nothing else is imported for it.
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
    """Give other programs an environment without our libraries; from source the leash is run by its path instead."""
    import os

    from foreman import program

    if program.frozen() and sys.executable not in leashed[:2]:  # after `--`
        program.forget_unpacking(os.environ)


def _command_line() -> None:
    import signal

    from foreman import program

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not when it is to be ignored
        # Until a verb begins, Ctrl-C just ends the process: an import that it breaks into would tell in a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if program.frozen():
        program.die_with_outer()
    from foreman.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
