"""`hip` as a process: quick help, versions, missing packages, closed pipes, and faults of our own."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from hiperceiver.cli import entry, main
from hiperceiver.cli.errors import UserError
from hiperceiver.settings.commands import InfoSettings
from hiperceiver.training.signals import STOP_SIGNALS

COMMANDS = list(entry.COMMANDS)


def python(program: str, *arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a program in a fresh interpreter."""
    return subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, cwd=folder)


def run_hip(arguments: Sequence[str], before: str = "") -> str:
    return f"{before}\nimport sys\nfrom hiperceiver.cli import main\ncode = main({list(arguments)!r})\n"


def test_help_loads_nothing_slow() -> None:
    """All of them in one process: what the first loads, the others would not show."""
    program = "".join(run_hip([command, "--help"]) for command in COMMANDS) + run_hip(["--help"])
    program += "print(code, *({'torch', 'numpy', 'lightning', 'rich', 'matplotlib', 'datasets'} & set(sys.modules)))"
    result = python(program)
    assert result.stdout.splitlines()[-1] == "0"
    for command, described in entry.COMMANDS.items():
        assert f"usage: hip {command}" in result.stdout
        assert f"  {command}" in result.stdout
        assert described.summary in result.stdout


def test_help_is_quick() -> None:
    """The best of three: other programs may be running."""

    def seconds() -> float:
        before = os.times()
        python(run_hip(["pretrain", "--help"]))
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    assert min(seconds() for _ in range(3)) < 1.0


def test_version_and_module() -> None:
    result = subprocess.run([sys.executable, "-m", "hiperceiver.cli", "--version"], capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "hip 0.1.0\n", "")


def test_help_fits_eighty_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for command in ([], *([each] for each in COMMANDS)):
        assert main([*command, "--help"]) == 0
        assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "a command is missing"),
        (
            ["finetone"],
            "expected a command among {}, got 'finetone'; did you mean finetune?".format(", ".join(COMMANDS)),
        ),
        (["--data", "x"], "expected a command among {}, got '--data'".format(", ".join(COMMANDS))),
    ],
)
def test_a_wrong_command(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err == f"hip: {message}\n"


@pytest.mark.parametrize(
    ("package", "extra", "arguments"),
    [
        ("yaml", "train", ["info", "--help"]),
        ("lightning_fabric", "train", ["pretrain", "--data", "earth"]),
        ("matplotlib", "plots", ["plot", "run"]),
        ("rich", "train", ["info"]),
    ],
)
def test_a_missing_package_is_named_with_its_command(package: str, extra: str, arguments: list[str]) -> None:
    hide = f"import sys; sys.modules[{package!r}] = None"
    result = python(run_hip(arguments, before=hide) + "sys.exit(code)")
    assert result.returncode == 2
    install = f"pip install 'hiperceiver[{extra}]'"
    assert result.stderr == f"hip: the package {package!r} is missing; install it with: {install}\n"


def test_a_reader_that_has_seen_enough_is_no_fault() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "hiperceiver.cli", "pretrain", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_our_own_faults_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(settings: InfoSettings) -> int:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("hiperceiver.cli.info.run", fail)
    with pytest.raises(ZeroDivisionError):
        main(["info"])


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_ends_any_command_in_a_line(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(settings: InfoSettings) -> int:
        os.kill(os.getpid(), number)
        return 0

    monkeypatch.setattr("hiperceiver.cli.info.run", told)
    before = signal.getsignal(number)
    assert (main(["info"]), capsys.readouterr().err) == (130, "hip: interrupted\n")
    assert signal.getsignal(number) is before


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        (UserError("two\nlines"), 2, "hip: two lines\n"),
        (UserError("batch_size: expected more"), 2, "hip: --batch-size: expected more\n"),
        (UserError("model: expected another"), 2, "hip: MODEL: expected another\n"),
        (FileNotFoundError(2, "No such file or directory", "x.jpg"), 2, "hip: x.jpg: No such file or directory\n"),
        (MemoryError("Unable to allocate 96.0 GiB"), 2, "hip: out of memory; "),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 2, "hip: out of memory; "),
        (KeyboardInterrupt(), 130, "hip: interrupted\n"),
    ],
)
def test_mistakes_are_one_line(
    raised: BaseException,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(settings: InfoSettings) -> int:
        raise raised

    monkeypatch.setattr("hiperceiver.cli.info.run", fail)
    assert main(["info"]) == code
    printed = capsys.readouterr().err
    assert printed.startswith(message)
    assert printed.count("\n") == 1


def test_mistakes_in_the_options_are_found_before_anything_slow() -> None:
    result = python(run_hip(["pretrain", "--data", "earth", "--stpes", "3"]) + "print('torch' in sys.modules)")
    assert result.stderr == "hip: --stpes is not an option of hip pretrain; did you mean --steps?\n"
    assert result.stdout == "False\n"


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "2000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "passive"}, None)],
)
def test_waiting_threads_sleep_soon_unless_the_user_says_otherwise(
    given: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert main(["--version"]) == 0
    assert os.environ.get("GOMP_SPINCOUNT") == expected
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
