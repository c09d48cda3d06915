"""The command line: its commands, their options, and their output."""

from foreman.cli.root import main as main
