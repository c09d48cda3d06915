"""Foreman: a durable, observable job queue in front of your own inference server."""

__version__ = "0.1.0"
