"""Write what a release offers beside its packages: the install script, the formula, the composition, the checksums.

python -m scripts.release dist --url https://…/releases/download/v0.1.0 --image registry/owner/foreman
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from pathlib import Path

from foreman import __version__

ROOT = Path(__file__).parents[1]
BUILT = "    build:\n      context: ..\n      dockerfile: config/Dockerfile\n"
CHECKSUMS = "SHA256SUMS"


def write(folder: Path, url: str, image: str) -> list[Path]:
    """Write the files of a release into the folder that has its packages and executables; return them."""
    sdist = folder / f"foreman_llm-{__version__}.tar.gz"
    known = {"URL": url, "SDIST": sdist.name, "SHA256": _digest(sdist)}
    texts = {name: _filled((ROOT / "packaging" / name).read_text(), known) for name in ("install.sh", "foreman.rb")}
    texts["compose.yaml"] = _without_build((ROOT / "config" / "compose.yaml").read_text(), f"{image}:{__version__}")
    for name, text in texts.items():
        (folder / name).write_text(text)
    files = sorted(file for file in folder.iterdir() if file.is_file() and file.name != CHECKSUMS)
    (folder / CHECKSUMS).write_text("".join(f"{_digest(file)}  {file.name}\n" for file in files))
    return [folder / name for name in (*texts, CHECKSUMS)]


def _filled(text: str, known: dict[str, str]) -> str:
    return re.sub(r"@([A-Z0-9]+)@", lambda found: known[found[1]], text)


def _without_build(text: str, image: str) -> str:
    """Return the composition with an image in the place of a build, and the commands for a file that lies alone."""
    if BUILT not in text:
        raise ValueError(f"config/compose.yaml must build by {BUILT!r}")
    return text.replace(BUILT, f"    image: {image}\n").replace("--file config/compose.yaml ", "")


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def main() -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m scripts.release", description="Write the files of a release.")
    parser.add_argument("folder", type=Path, help="with the sdist and all else that is released")
    parser.add_argument("--url", required=True, help="where the files of the release will be")
    parser.add_argument("--image", required=True, help="the container image, without its tag")
    asked = parser.parse_args()
    for file in write(asked.folder, asked.url.rstrip("/"), asked.image):
        print(f"wrote {file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
