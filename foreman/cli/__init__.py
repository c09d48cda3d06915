"""The command line: one file per family of commands."""

from foreman.cli.root import main as main
