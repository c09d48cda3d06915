"""Scheduling: which job goes next, and when the others can be expected."""
