"""The generated files are what `make generate` writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.generate import sync_client
from scripts.generate.__main__ import FILES, committed


@pytest.mark.parametrize("path", FILES)
def test_a_generated_file_is_as_it_is_generated(path: str) -> None:
    assert committed(path) == FILES[path](), f"run `make generate`: {path} is not as it is generated"


def test_what_cannot_be_made_synchronous_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / sync_client.CLIENT.replace("sync_", "async_")
    source.parent.mkdir(parents=True)
    source.write_text('"""Doc."""\nasync with a() as b: pass\n', encoding="utf-8")
    monkeypatch.setattr(sync_client, "ROOT", tmp_path)
    with pytest.raises(ValueError, match="'async' stays in the generated client"):
        sync_client.sync_client()
