"""docs/command-line.md is a story that can be told again: its commands run, and print what it says."""

import re
import shlex
from pathlib import Path

from .conftest import Hip, picture

PAGE = Path(__file__).parents[2] / "docs" / "command-line.md"
ELSEWHERE = {"earth", "runs/land-cover", "--recipe", "sensors/", "instruments", "runs/audio-video", "--modality"}
"""Words of commands that are too slow here: the same is run in test_runs, test_info, test_signals and test_recipes."""
QUICK = {"pretrain": ["--steps", "2"], "finetune": ["--steps", "2"]}
"""Added to a command, so that it takes no time."""


def scenes() -> list[tuple[list[str], list[str]]]:
    """Each command of the page and the lines that it prints there."""
    told: list[tuple[list[str], list[str]]] = []
    for block in re.findall(r"^```console\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.S | re.M):
        for line in block.splitlines():
            if line.startswith("$ hip "):
                told.append((shlex.split(line)[2:], []))
            else:
                told[-1][1].append(line)
    return told


def test_the_page_runs(hip: Hip) -> None:
    for kind in ("checks", "stripes"):
        Path("pictures", kind).mkdir(parents=True)
        for seed in range(8):
            picture(kind, seed).save(f"pictures/{kind}/{seed}.jpg")
    Path("new").mkdir()
    for number, kind in [(1, "checks"), (2, "stripes")]:
        picture(kind, 20 + number).save(f"new/{number}.jpg")
    Path("new/3.jpg").write_bytes(Path("new/2.jpg").read_bytes()[:500])

    num_run = 0
    for words, printed in scenes():
        if ELSEWHERE & set(words):
            continue
        target = words[words.index(">") + 1] if ">" in words else None
        words = words[: words.index(">")] if target else words
        is_run = words[0] in QUICK and not any(word.startswith("--print-config") for word in words)
        outcome = hip(*words, *(QUICK[words[0]] if is_run else []))
        assert outcome.code == int("new/3.jpg" in words), (words, outcome.err)
        if target:
            Path(target).write_text(outcome.out)
        if not is_run and words[0] != "evaluate":  # numbers differ, everything else is as told
            ours, theirs = (re.sub(r"\d+\.\d%", "-%", text) for text in (outcome.out + outcome.err, "\n".join(printed)))
            ours = re.sub(r"^data: .*\n(?:(?:classes: |\w+ has no ).*\n)*image: .*$", "...", ours, flags=re.M)
            assert not printed or sorted(ours.splitlines()) == sorted(theirs.splitlines())
        num_run += 1
    assert num_run >= 15


def test_the_table_of_the_page_is_printed(hip: Hip) -> None:
    for words, printed in scenes():
        if "--modality" in words:
            outcome = hip(*words)
            assert outcome.code == 0
            if printed:
                assert [line.rstrip() for line in outcome.out.splitlines()] == printed
