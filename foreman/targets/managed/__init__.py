"""Managed models: servers that Foreman starts, checks, swaps and stops."""
