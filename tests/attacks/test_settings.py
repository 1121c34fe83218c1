"""Crafted files of settings, and what else a command reads before it starts."""

import os
from pathlib import Path

import pytest

from hiperceiver.cli.arguments import read_config
from hiperceiver.plots.curves import read_metrics

from .harness import assert_command_refuses, assert_refused

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
MERGES = "m0: &m0 {a: 1}\n" + "".join(f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 9)}]}}\n" for n in range(1, 12))
CONFIGS = {
    "laughs": (LAUGHS, "references"),
    "merges": (MERGES, "references"),
    "itself": ("steps: &a [*a]\n", "part of itself"),
    "nested": ("steps: " + "[" * 100_000, ""),
    "nested mappings": ("steps: " + "{a: " * 100_000, ""),
    "nested lists": ("steps:\n " + "- " * 100_000, ""),
    "digits": ("steps: " + "9" * 100_000, "digits"),
    "base 60": ("steps: 1" + ":59" * 50_000, "expected"),
    "base 16": ("steps: 0x" + "f" * 100_000, "digits"),
    "object": ("steps: !!python/object/apply:os.system ['touch canary']\n", "not valid YAML"),
    "name": ("steps: !!python/name:os.system\n", "not valid YAML"),
    "date": ("steps: 9999-99-99\n", "expected"),
    "binary": ("steps: !!binary x\n", "not valid YAML"),
    "escapes": ('"\\e[2J": 1\n', "not a setting"),
    "long": ("steps: " + "x" * 200_000, "expected"),
    "large": ("a: 1\n" * 100_000, "HIPERCEIVER_MAX_SETTINGS_KB"),
    "bytes": ("\x00\x01", "not valid YAML"),
}


@pytest.fixture(scope="module", autouse=True)
def _settings_are_loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    from hiperceiver.cli import main

    assert main(["pretrain", "--steps", "0"]) == 2


@pytest.mark.parametrize("name", CONFIGS)
def test_settings_that_stand_for_too_much_or_hold_code_are_refused(name: str, tmp_path: Path) -> None:
    text, words = CONFIGS[name]
    path = tmp_path / "config.yaml"
    path.write_text(text)
    named = tmp_path / "--steps" if words == "expected" else path
    # PyYAML looks a thousand brackets ahead, again and again.
    seconds = 3 if name.startswith("nested") else 1
    assert_command_refuses(
        ["pretrain", "--data", "watch", "--out", "run", "--config", path], named, words, seconds=seconds
    )


def test_references_are_still_read(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("usual: &usual {steps: 3}\nfirst: {<<: *usual, seed: 1}\n")
    assert read_config(path)["first"] == {"steps": 3, "seed": 1}


@pytest.mark.parametrize("kind", ["fifo", "zero", "terabytes", "folder"])
def test_settings_that_never_end_are_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "zero":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        path.touch()
        os.truncate(path, 2**43)
    assert_command_refuses(["pretrain", "--data", "watch", "--out", "run", "--config", path], path)


def test_metrics_of_terabytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.touch()
    os.truncate(path, 2**43)
    assert_refused(lambda: read_metrics(path), path, "HIPERCEIVER_MAX_FILE_MB")


def test_a_recipe_is_one_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text("open('canary', 'w').close()\n")
    for name in ("own", "../own", str(path), "os", "\x1b[2J", "x" * 100_000):
        arguments = ["pretrain", "--recipe", name, "--out", "run"]
        assert_command_refuses(arguments, tmp_path / "--recipe", "expected one of")


def test_a_run_that_is_gone_on_with_is_held_to_the_same_limits(tmp_path: Path) -> None:
    path = tmp_path / "run" / "settings.yaml"
    path.parent.mkdir()
    path.write_text(LAUGHS)
    assert_command_refuses(["pretrain", "--out", path.parent, "--resume"], path, "references")
