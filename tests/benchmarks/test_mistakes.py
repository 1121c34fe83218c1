"""Mistakes at the command line: one line on stderr, exit status 2, nothing measured."""

from pathlib import Path

import pytest

from benchmarks.command import main


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["peer"], ["WHAT", "peers", "'peer'"]),
        (
            ["--models", "hiperceiver:hip-17"],
            ["--models", "'hiperceiver:hip-17'", "did you mean 'hiperceiver:hip-16'?"],
        ),
        (["--models", "hip-16"], ["--models", "'hip-16'"]),
        (["--models", "jax:hip-16"], ["--reference", "jax:hip-16"]),
        (["--reference", "/nowhere"], ["--reference", "perceiver.py", "'/nowhere'"]),
        (["masking", "--models", "vit:tiny"], ["--models", "masking"]),
        (["values", "--models", "vit:tiny"], ["--models", "values"]),
        (["--sides", "0"], ["--sides", "'0'"]),
        (["--sides", "many"], ["--sides", "'many'"]),
        (["--limit", "-1"], ["--limit", "'-1'"]),
        (["--max-memory", "much"], ["--max-memory", "'much'"]),
        (["--modes", "sleeping"], ["--modes", "'sleeping'"]),
        (["--out", "/dev/null/results"], ["--out", "/dev/null"]),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str],
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    for word in words:
        assert word in printed.err
    assert not list(tmp_path.iterdir())
