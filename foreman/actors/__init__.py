"""Actors: long-running tasks, each the only owner of its state."""
