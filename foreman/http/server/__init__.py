"""The HTTP server: Hypercorn behind a guard."""
