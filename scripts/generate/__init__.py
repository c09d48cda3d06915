"""Files that are generated from other files; `make generate` writes them anew."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
