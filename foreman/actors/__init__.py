"""The actors: each owns one thing and is told about the rest."""
