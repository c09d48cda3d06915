"""`foreman watch`: what a Foreman does, as it happens."""

from foreman.cli.watch.command import watch as watch
