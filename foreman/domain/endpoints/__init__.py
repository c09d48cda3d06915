"""The endpoints: one module for each, collected here by their paths.

A module with an `ENDPOINT` is all that it takes to add one.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules

from foreman.domain.endpoints.endpoint import Endpoint


def _found() -> Mapping[str, Endpoint]:
    modules = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
    endpoints = [module.ENDPOINT for module in modules if hasattr(module, "ENDPOINT")]
    return {endpoint.path: endpoint for endpoint in sorted(endpoints, key=lambda endpoint: endpoint.path)}


EVERY: Mapping[str, Endpoint] = _found()  # by path
ENDPOINTS = tuple(path for path, endpoint in EVERY.items() if endpoint.job)  # those that a job may have


def at(path: str) -> Endpoint:
    """Return the endpoint at a path. Raise KeyError if there is none."""
    return EVERY[path]
