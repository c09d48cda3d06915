"""`foreman watch`: a live view of a Foreman."""

from foreman.cli.watch.command import show as show
from foreman.cli.watch.command import watch as watch
