"""Install the wheel in dist/ with every Python and tool that is here, and run a real job with each (`make dist-check`).

Needs the network: what the wheel requires is fetched, and once the embedded model.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from foreman import __version__

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
TIMEOUT = 900.0  # seconds for one step
ANSWERED = "A real answer through a durable queue"

Install = Callable[[str, str, Path], Iterator[list[str]]]


def by_pip(python: str, wheel: str, place: Path) -> Iterator[list[str]]:
    """Yield the commands that install into an environment of its own."""
    yield [python, "-m", "venv", str(place)]
    yield [str(place / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", wheel]


def by_pipx(python: str, wheel: str, _place: Path) -> Iterator[list[str]]:
    """Yield the command of pipx."""
    yield ["pipx", "install", "--quiet", "--python", python, wheel]


def by_uv(python: str, wheel: str, _place: Path) -> Iterator[list[str]]:
    """Yield the command of uv."""
    yield ["uv", "tool", "install", "--quiet", "--python", python, wheel]


TOOLS: Mapping[str, Install] = {"pip": by_pip, "pipx": by_pipx, "uv": by_uv}


def main() -> int:
    """Try all; print a line for each, and return 1 if one failed or none could be tried."""
    wheels = [*Path("dist").glob(f"foreman_llm-{__version__}-*.whl")]
    if not wheels:
        print("there is no wheel in dist/; run `make dist`", file=sys.stderr)
        return 1
    wheel = f"{wheels[0].absolute()}[embedded]"
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="foreman-dist-") as folder:
        for version in PYTHONS:
            python = _works(f"python{version}")
            for name, install in TOOLS.items():
                if python is None or (name != "pip" and shutil.which(name) is None):
                    print(f"Python {version}  {name:<5} not here: {name if python else f'python{version}'}", flush=True)
                    continue
                outcomes.append(_try(Path(folder, version, name), Path(folder, "cache"), python, wheel, install))
                print(f"Python {version}  {name:<5} {outcomes[-1]}", flush=True)
    return int(not outcomes or any(not one.startswith("ok") for one in outcomes))


def _try(place: Path, cache: Path, python: str, wheel: str, install: Install) -> str:
    place.mkdir(parents=True)
    bin_folder = str(place / "bin")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("FOREMAN_", "PYTHON", "VIRTUAL"))}
    env |= {"PATH": os.pathsep.join([bin_folder, env.get("PATH", "")]), "XDG_CACHE_HOME": str(cache)}
    env |= {"PIPX_HOME": str(place / "pipx"), "PIPX_BIN_DIR": bin_folder}
    env |= {"UV_TOOL_DIR": str(place / "uv"), "UV_TOOL_BIN_DIR": bin_folder}
    try:
        began = time.monotonic()
        for command in install(python, wheel, place):
            _run(command, place, env)
        installed = time.monotonic()
        program = str(place / "bin" / "foreman")
        if _run([program, "--version"], place, env).strip() != f"foreman {__version__}":
            return "FAILED: another version runs"
        _run([program, "docs", "settings"], place, env)
        if ANSWERED not in _run([program, "demo"], place, env):
            return "FAILED: the demo has no answer"
    except (OSError, subprocess.SubprocessError) as error:
        said = str(getattr(error, "stderr", "") or error).strip().splitlines()
        return f"FAILED: {said[-1] if said else error!r}"
    return f"ok: installed in {installed - began:.0f} s, first answer after {time.monotonic() - began:.0f} s"


def _run(command: list[str], place: Path, env: Mapping[str, str]) -> str:
    done = subprocess.run(command, cwd=place, env=env, capture_output=True, text=True, timeout=TIMEOUT, check=True)
    return done.stdout


def _works(python: str) -> str | None:
    """Return the path of an interpreter; None if it is not here, or is a name for nothing."""
    found = shutil.which(python)
    if found is None:
        return None
    asked = subprocess.run(
        [found, "-c", "import sys, venv; print(sys.executable)"], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() if asked.returncode == 0 else None


if __name__ == "__main__":
    sys.exit(main())
