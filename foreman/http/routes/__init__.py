"""Foreman's own routes."""
