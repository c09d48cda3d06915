"""`foreman run`: a chat with a model, or one question."""

from foreman.cli.chat.command import run as run
