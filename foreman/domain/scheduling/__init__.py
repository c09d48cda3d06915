"""Scheduling: the choice of the next job, and forecasts for the others."""
