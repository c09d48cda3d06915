"""Answers of targets: parsed, decoded, joined."""
