"""The command line: one file per family of verbs."""

from foreman.cli.root import main as main
