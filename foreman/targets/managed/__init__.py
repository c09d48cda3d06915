"""Managed models: child servers that Foreman starts, checks, swaps and stops."""
