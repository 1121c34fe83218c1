"""`hip serve`: what the model answers on the page, and the page itself in a browser, with good files and bad ones."""

import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from closeness import assert_within

from hiperceiver.cli import answering
from hiperceiver.cli.answering import AnsweringModel, open_model
from hiperceiver.data.encoders import SeriesEncoder, VectorEncoder
from hiperceiver.data.encoders.audio import write_wav
from hiperceiver.serve.answers import Question, Refused
from hiperceiver.settings.commands import ServeSettings
from hiperceiver.tasks import label_modalities

from .conftest import Hip
from .saved_models import ENCODERS, save
from .test_predict import MASKED, series, write_clip

TWO = {"kind": "classification", "num_classes": 2}


def opened(checkpoint: Path, tmp_path: Path, **settings: Any) -> AnsweringModel:
    return open_model(ServeSettings(checkpoint=str(checkpoint), **settings), tmp_path / f"written-{checkpoint.name}")


def bomb(path: Path) -> Path:
    """A PNG of a few kB that becomes 3.6 GB."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(60_001 * 100), 9)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b""))
    return path


def truncated_wav(path: Path) -> Path:
    """A header that promises a second, and the beginning of its first sample."""
    write_wav(path, np.zeros(8000), 8000)
    path.write_bytes(path.read_bytes()[:45])
    return path


# --------------------------------------------------------------------------------------------------------- what is said


def test_a_classifier_says_what_predict_says(finetuned: Path, pictures: Path, tmp_path: Path, hip: Hip) -> None:
    file = pictures / "checks" / "3.jpg"
    reply = opened(finetuned, tmp_path).answer(Question(files={"image": str(file)}))
    assert hip("predict", finetuned, file).out == f"{file}: {reply.text.removeprefix('3.jpg: ')}\n"
    assert sum(reply.labels["probability"].values()) == pytest.approx(1, abs=1e-5)  # of values with six digits
    assert reply.seen is not None and reply.seen.shape == (16, 16, 3)
    assert not reply.drawn and not reply.files


def test_examples_of_its_data_come_along(finetuned: Path, tmp_path: Path) -> None:
    model = opened(finetuned, tmp_path, num_examples=2)
    assert len(model.about.examples) == 2
    replies = [model.answer(Question(example=number)) for number in range(2)]
    assert [re.findall(r"in the data: (\w+)", reply.text) for reply in replies] == [["checks"], ["stripes"]]
    with pytest.raises(Refused, match="not there"):
        model.answer(Question(example=2))


def test_a_masked_autoencoder_hides_as_much_as_asked(pretrained: Path, pictures: Path, tmp_path: Path) -> None:
    model = opened(pretrained, tmp_path, num_examples=1)
    assert model.about.mask_ratio == 0.85
    file = {"image": str(pictures / "checks" / "3.jpg")}
    for ratio in (0.25, 0.75):
        for question in (Question(files=file, mask_ratio=ratio), Question(example=0, mask_ratio=ratio)):
            reply = model.answer(question)
            assert f"reconstructed with {100 * ratio:.0f}% hidden" in reply.text
            assert list(reply.drawn) == ["image"]
    assert model.about.mask_ratio == 0.85
    first, again, other = (model.answer(Question(files=file, seed=seed)).drawn["image"] for seed in (0, 0, 1))
    assert first.tobytes() == again.tobytes() != other.tobytes()


def test_segments_lie_over_what_is_seen(segmenter: Path, masks: Path, tmp_path: Path) -> None:
    model = opened(segmenter, tmp_path)
    assert model.about.is_overlaid
    for question in (Question(files={"image": str(masks / "test" / "images" / "8.png")}), Question(example=0)):
        reply = model.answer(question)
        assert reply.seen is not None and {each.name for each in reply.segments} <= {"dark", "bright"}
        covered = np.sum([each.is_part for each in reply.segments], axis=0)
        assert covered.shape == reply.seen.shape[:2] and (covered == 1).all()
        assert all(re.fullmatch(r"#[0-9a-f]{6}", each.colour) for each in reply.segments)


@pytest.mark.parametrize("kind", ["points", "series", "audio", "volume", "video"])
def test_segments_of_what_is_no_plane_are_an_array(kind: str, tmp_path: Path, hip: Hip) -> None:
    """As of a task that was trained in Python; what was read is shown beside it."""
    model, rng = (
        save(tmp_path / "m", {"kind": "segmentation", "num_classes": 2}, kind, classes=("a", "b")),
        np.random.default_rng(0),
    )
    shapes = {"points": (100, 3), "series": (40, 2), "volume": (4, 8, 8)}
    file = tmp_path / f"x.{ {'audio': 'wav', 'video': 'mp4'}.get(kind, 'npy') }"
    if kind == "audio":
        write_wav(file, 0.1 * rng.normal(size=8000), 8000)
    elif kind == "video":
        write_clip(file, has_sound=False)
    else:
        np.save(file, rng.normal(size=shapes[kind]))
    said = hip("predict", model, file, "--out", tmp_path / "said").out
    labels = np.load(tmp_path / "said" / "x.npy")
    assert labels.shape == ENCODERS[kind].modality.grid
    shares = {name: np.mean(labels[labels >= 0] == number) for number, name in enumerate("ab")}
    assert all(f"{name} {share:.1%}" in said for name, share in shares.items() if share)
    reply = opened(model, tmp_path).answer(Question(files={kind: str(file)}))
    assert list(reply.read) == [kind] and not reply.drawn and not reply.segments
    assert np.array_equal(np.load(reply.files[0]), labels)
    assert labels[labels < 0].size == {"points": 28, "series": 24}.get(kind, 0)


def test_numbers_and_several_labels(tmp_path: Path) -> None:
    file = tmp_path / "vector.npy"
    np.save(file, np.random.default_rng(0).normal(size=60))
    regression = {"kind": "regression", "num_values": 2, "target_mean": [0.0, 0.0], "target_std": [1.0, 1.0]}
    reply = opened(save(tmp_path / "r", regression, "vector", classes=("width", "height")), tmp_path).answer(
        Question(files={"vector": str(file)})
    )
    assert [name for name, _ in reply.numbers] == ["width", "height"] and not reply.labels
    joint = {
        "kind": "joint",
        "labels": {"colour": 3, "size": 0},
        "class_names": {"colour": ["red", "green", "blue"]},
    }
    labels = label_modalities(joint["labels"])
    model = opened(save(tmp_path / "j", joint, "vector", labels=labels), tmp_path)
    reply = model.answer(Question(files={"vector": str(file)}))
    assert model.about.labels == ("colour",)
    assert set(reply.labels["colour"]) == {"red", "green", "blue"}
    assert [name for name, _ in reply.numbers] == ["size"]


def test_a_forecast_is_drawn_and_can_be_taken_along(tmp_path: Path) -> None:
    model = opened(save(tmp_path / "model", {"kind": "forecasting", "horizon": 16}, "series"), tmp_path)
    np.savetxt(tmp_path / "s.csv", series(80), delimiter=",", header="a,b", comments="")
    reply = model.answer(Question(files={"series": str(tmp_path / "s.csv")}))
    assert list(reply.drawn) == ["series"]
    (table,) = reply.files
    assert np.loadtxt(table, delimiter=",", skiprows=1).shape == (16, 2)


def test_sound_is_given_back_and_text_can_be_typed(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", np.sin(np.arange(2000) / 5) / 2, 8000)
    model = opened(save(tmp_path / "audio", MASKED, "audio"), tmp_path)
    (sound,) = model.answer(Question(files={"audio": str(tmp_path / "a.wav")})).sounds
    assert Path(sound).read_bytes()[:4] == b"RIFF"
    model = opened(save(tmp_path / "bytes", TWO, "bytes", classes=("prose", "verse")), tmp_path)
    (asked,) = model.about.inputs
    assert asked.is_text
    typed = model.answer(Question(texts={"bytes": "To be\x00, or not to be: süß"}))
    (tmp_path / "t.txt").write_text("To be\x00, or not to be: süß", encoding="utf-8")
    assert typed.labels == model.answer(Question(files={"bytes": str(tmp_path / "t.txt")})).labels


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replies have figures for pictures."""
    monkeypatch.setattr(answering, "picture_of", lambda figure: figure)


@pytest.mark.usefixtures("figures")
def test_what_is_read_of_signals_is_resampled_and_cut(tmp_path: Path) -> None:
    """Of a second at 16 kHz the middle quarter at 8 kHz; of 100 steps the middle 64, in their own units."""
    time = np.arange(16_000) / 16_000
    write_wav(tmp_path / "a.wav", np.sin(2 * np.pi * 440 * time) * np.linspace(0, 1, 16_000), 16_000)
    model = opened(save(tmp_path / "audio", TWO, "audio", classes=("a", "b")), tmp_path)
    reply = model.answer(Question(files={"audio": str(tmp_path / "a.wav")}))
    (curve,) = [line for line in reply.read["audio"].axes[0].lines if np.isfinite(line.get_ydata()).sum() > 2]
    seconds, heights = map(np.asarray, curve.get_data())
    assert len(seconds) == 2000 and seconds[-1] - seconds[0] == pytest.approx(1999 / 8000)
    whole = 0.375 + seconds
    expected = np.sin(2 * np.pi * 440 * whole) * whole
    assert np.abs(heights - expected).max() < 0.05  # a filter's
    assert reply.read["audio"].axes[0].get_xlabel() == "seconds"

    values = np.stack([np.arange(100.0), 1000 - np.arange(100.0)], axis=1)
    np.savetxt(tmp_path / "s.csv", values, delimiter=",", header="up,down", comments="")
    encoder = SeriesEncoder(length=64, channels=2, channel_names=("up", "down"), mean=(50, 950), std=(20, 20))
    model = opened(save(tmp_path / "s", TWO, encoders={"series": encoder}, classes=("a", "b")), tmp_path)
    (ax,) = model.answer(Question(files={"series": str(tmp_path / "s.csv")})).read["series"].axes
    assert ax.get_xlim() == (-0.5, 63.5)
    assert [label.get_text().partition("\n")[0] for label in ax.get_yticklabels()] == ["up", "down"]
    low, high = map(float, ax.get_yticklabels()[0].get_text().partition("\n")[2].split(" to "))
    assert (low + high) / 2 == pytest.approx(49.5, abs=0.5) and high - low == pytest.approx(63 * 1.24, abs=1)


@pytest.mark.usefixtures("figures")
def test_what_is_read_of_clouds_and_clips(tmp_path: Path) -> None:
    cloud = np.random.default_rng(0).normal(size=(60, 3)) * 40 + 7
    np.savetxt(tmp_path / "cloud.xyz", cloud)
    model = opened(save(tmp_path / "points", TWO, "points", classes=("a", "b")), tmp_path)
    (ax,) = model.answer(Question(files={"points": str(tmp_path / "cloud.xyz")})).read["points"].axes
    (dots,) = ax.collections
    cloud -= cloud.mean(axis=0)
    cloud /= np.linalg.norm(cloud, axis=1).max()
    shown = np.stack(dots._offsets3d, axis=1)
    assert_within(shown[shown[:, 0].argsort()], cloud[cloud[:, 0].argsort()], 1e-5)  # written with few digits
    write_clip(tmp_path / "clip.mp4", has_sound=False)
    model = opened(save(tmp_path / "video", TWO, "video", classes=("a", "b")), tmp_path)
    frames = model.answer(Question(files={"video": str(tmp_path / "clip.mp4")})).read["video"].axes
    assert [ax.get_title() for ax in frames] == ["0.00 s", "0.50 s", "1.00 s", "1.50 s"][: len(frames)]
    assert all(ax.images[0].get_array().shape == (8, 8, 3) for ax in frames)


def test_what_is_read_of_texts_and_rows_of_tables(tmp_path: Path) -> None:
    model = opened(save(tmp_path / "bytes", TWO, "bytes", classes=("a", "b")), tmp_path)
    text = "süß <b>\n" * 20
    assert model.about.inputs[0].read_as == "text"
    read = model.answer(Question(texts={"bytes": text})).read["bytes"]
    assert read == text.encode()[:64].decode(errors="replace")
    names = tuple(f"feature {number}" for number in range(12))
    encoder = VectorEncoder(features=12, split=12, feature_names=names, mean=(3.0,) * 12, std=(2.0,) * 12)
    model = opened(save(tmp_path / "row", TWO, encoders={"row": encoder}, classes=("a", "b")), tmp_path)
    assert model.about.inputs[0].read_as == "table"
    values = np.arange(12) * 1.5
    np.savetxt(tmp_path / "row.csv", values[None, ::-1], delimiter=",", header=",".join(names[::-1]), comments="")
    read = model.answer(Question(files={"row": str(tmp_path / "row.csv")})).read["row"]
    assert read == [[name, f"{value:g}"] for name, value in zip(names, values, strict=True)]


def test_what_is_read_is_not_shown_twice(finetuned: Path, pictures: Path, tmp_path: Path) -> None:
    """A reconstruction and a forecast have it, and so has the picture that can be clicked."""
    assert not opened(finetuned, tmp_path).answer(Question(files={"image": str(pictures / "checks" / "3.jpg")})).read
    np.savetxt(tmp_path / "s.csv", series(80), delimiter=",", header="a,b", comments="")
    for name, task in {"m": MASKED, "f": {"kind": "forecasting", "horizon": 16}}.items():
        model = opened(save(tmp_path / name, task, "series"), tmp_path)
        reply = model.answer(Question(files={"series": str(tmp_path / "s.csv")}))
        assert list(reply.drawn) == ["series"] and not reply.read


def test_each_modality_has_its_file_and_a_clip_brings_its_sound(tmp_path: Path) -> None:
    model = opened(save(tmp_path / "model", TWO, "video", "audio", classes=("a", "b")), tmp_path)
    assert [each.name for each in model.about.inputs] == ["video", "audio"]
    write_clip(tmp_path / "loud.mp4", has_sound=True)
    write_clip(tmp_path / "silent.mp4", has_sound=False)
    write_wav(tmp_path / "a.wav", np.sin(np.arange(2000) / 5) / 2, 8000)
    sound = str(tmp_path / "a.wav")
    loud, silent = ({"video": str(tmp_path / f"{name}.mp4")} for name in ("loud", "silent"))
    replies = [model.answer(Question(files=each)) for each in (loud, silent, {**silent, "audio": sound})]
    assert ["without" in reply.text for reply in replies] == [False, True, False]
    assert "(without video)" in model.answer(Question(files={"audio": sound})).text
    assert len({str(reply.labels) for reply in replies}) == 3


BAD: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "bomb.png": ("image", bomb, "million pixels"),
    "text.png": ("image", lambda path: path.write_text("To be, or not to be"), "known format"),
    "empty.png": ("image", lambda path: path.touch(), "empty"),
    "truncated.wav": ("audio", truncated_wav, ""),
    "table.csv": ("series", lambda path: path.write_text("a,b\n1,2\n<script>,4\n"), ""),
    "noise.ply": ("points", lambda path: path.write_bytes(bytes(range(256))), ""),
    "clip.mp4": ("video", lambda path: path.write_bytes(b"\0\0\0\x20ftypisom" + bytes(64)), ""),
}
"""Name -> the modality that it is given for, what makes it, and words of its line."""


@pytest.mark.parametrize("name", BAD)
def test_bad_files_get_a_line(name: str, tmp_path: Path) -> None:
    kind, make, words = BAD[name]
    make(tmp_path / name)
    model = opened(save(tmp_path / "model", TWO, kind, classes=("a", "b")), tmp_path)
    with pytest.raises(Refused) as caught:
        model.answer(Question(files={kind: str(tmp_path / name)}))
    line = str(caught.value)
    assert line.startswith(f"{name}: ") and words in line
    assert "\n" not in line and str(tmp_path) not in line


def test_attention_of_a_place(pretrained: Path, tmp_path: Path) -> None:
    model = opened(pretrained, tmp_path, num_examples=1)
    assert model.about.place == "row,column" and model.about.clicked == "image"
    corner, middle = (model.attention(Question(example=0, place=place)) for place in ("0,0", None))
    assert len(corner) == len(middle) == 2
    assert corner[0].tobytes() == middle[0].tobytes()  # of latents, whatever the place
    assert corner[1].tobytes() != middle[1].tobytes()
    for place in ("99,0", "1,2,3", "<b>", "1e9"):
        with pytest.raises(Refused, match="expected a place"):
            model.attention(Question(example=0, place=place))


def test_attention_of_a_point(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "cloud.xyz", np.random.default_rng(0).normal(size=(60, 3)))
    model, asked = opened(save(tmp_path / "model", MASKED, "points"), tmp_path), {"points": str(tmp_path / "cloud.xyz")}
    assert model.about.place == "point" and model.about.clicked is None
    first, middle = (model.attention(Question(files=asked, place=place)) for place in ("0", None))
    assert first[0].tobytes() == middle[0].tobytes() and first[1].tobytes() != middle[1].tobytes()
    with pytest.raises(Refused, match=r"^expected the number of a point of 'points', from 0 to 59, got '60'$"):
        model.attention(Question(files=asked, place="60"))


def test_positions_are_shown_where_there_are_some(tmp_path: Path) -> None:
    shown = opened(save(tmp_path / "a", TWO, "image", classes=("a", "b")), tmp_path).positions()
    assert len(shown) == 2 and all(min(each.size) > 100 for each in shown)
    none = save(tmp_path / "b", TWO, "image", classes=("a", "b"), positions="none")
    assert opened(none, tmp_path).positions() == []


def test_files_of_answers_do_not_pile_up(tmp_path: Path) -> None:
    model = opened(save(tmp_path / "model", TWO, "bytes", classes=("a", "b")), tmp_path)
    for number in range(40):
        model.answer(Question(texts={"bytes": f"text {number}"}))
    assert 1 < len(list((tmp_path / "written-model").iterdir())) < 40


def test_mistakes_are_a_line(hip: Hip, finetuned: Path) -> None:
    for arguments, words in {
        ("nowhere",): "no such folder",
        (finetuned, "--host", "no.such.host.invalid"): "--host: expected a name or address of this machine",
        (finetuned, "--port", "0"): "--port",
        (finetuned, "--host", "192.0.2.1"): "--host: cannot be listened at",  # of nobody
        (finetuned, "--data", "nowhere/"): "nowhere/: no such folder",
    }.items():
        outcome = hip("serve", *arguments)
        assert outcome.code == 2 and words in outcome.err and outcome.err.count("\n") == 1, outcome.err


# ------------------------------------------------------------------------------------------------------------- the page


@contextmanager
def served(*arguments: object) -> Iterator[str]:
    """The address of a `hip serve` in a process of its own, which ends by itself when interrupted."""
    pytest.importorskip("gradio", reason="gradio is not installed")
    words = [sys.executable, "-m", "hiperceiver.cli", "serve", *map(str, arguments)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        found = re.search(r"answers at (http://127\.0\.0\.1:\d+/)", line)
        assert found, line + (process.communicate(timeout=10)[1] if process.poll() is not None else "")
        yield found[1]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out.strip()) == (0, "ended")
        assert "Traceback" not in err, err
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, Debian's or Playwright's own."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        try:
            chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        except api.Error as error:
            pytest.skip(f"no Chromium: apt install chromium, or playwright install chromium ({str(error)[:80]!r})")
        yield chromium
        chromium.close()


class Reader:
    """Somebody before the page."""

    def __init__(self, browser: Any, address: str):
        self.page = browser.new_page(viewport={"width": 1200, "height": 900})
        self.asked: set[str | None] = set()  # hosts; None: what the page itself holds, as `data:`
        self.page.on("request", lambda request: self.asked.add(urlsplit(request.url).hostname))
        self.page.set_default_timeout(60_000)
        self.page.goto(address)
        self.line("Drop a file")

    def line(self, words: str) -> str:
        """The line of the page, once it has these words."""
        return self.page.locator(".line").filter(has_text=re.compile(words)).first.inner_text()

    def drop(self, *files: Path, number: int = 0) -> None:
        self.page.locator("input[type=file]").nth(number).set_input_files(list(map(str, files)))

    def empty(self) -> None:
        self.page.get_by_label("Clear").first.click()
        self.line("Drop a file")


def test_a_classifier_in_the_browser(browser: Any, finetuned: Path, pictures: Path, tmp_path: Path) -> None:
    with served(finetuned, "--max-upload", 1) as address:
        reader = Reader(browser, address)
        reader.drop(pictures / "checks" / "3.jpg")
        assert re.fullmatch(r"3\.jpg: (checks|stripes) [\d.]+%, (checks|stripes) [\d.]+%", reader.line("%"))
        assert reader.page.locator("[data-testid=label-output-value]").inner_text().strip() in ("checks", "stripes")
        reader.page.locator(".seen img").first.wait_for()  # the picture comes after the words

        hostile = [
            (bomb(tmp_path / "bomb.png"), r"bomb\.png: .*million pixels"),
            (truncated_wav(tmp_path / "sound.wav"), r"sound\.wav: "),
            (tmp_path / "<img src=x onerror=alert(1)>\x1b[31m\n.png", r"known format|cannot be decoded"),
            (pictures / "checks" / "truncated.jpg", r"truncated\.jpg: cannot be decoded"),
        ]
        hostile[2][0].write_text("no picture")
        reader.page.on("dialog", lambda dialog: pytest.fail("a name of a file was executed"))
        for file, words in hostile:
            reader.empty()
            reader.drop(file)
            line = reader.line(words)
            assert "Traceback" not in line and str(tmp_path) not in line and line.isprintable()
            assert not reader.page.get_by_text("probability").is_visible()

        reader.empty()
        (tmp_path / "huge.png").write_bytes(bytes(3 * 2**20))
        reader.drop(tmp_path / "huge.png")
        reader.page.get_by_text(re.compile("exceed the maximum allowed size")).first.wait_for()

        reader.page.reload()
        reader.page.get_by_label("or take an example").click()
        reader.page.get_by_role("option").first.click()
        assert "(in the data: checks)" in reader.line("in the data")
        assert reader.asked - {None} == {"127.0.0.1"}

        for path in ("/etc/passwd", str(Path(__file__)), str(finetuned / "settings.yaml")):
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(f"{address}gradio_api/file={path}")
            caught.value.close()
            assert caught.value.code in (403, 404)


def test_a_masked_autoencoder_in_the_browser(browser: Any, pretrained: Path, pictures: Path) -> None:
    with served(pretrained) as address:
        reader = Reader(browser, address)
        reader.drop(pictures / "checks" / "3.jpg")
        reader.line("88% hidden")  # of 16 slots of a group, 14
        slider = reader.page.get_by_role("slider").first
        slider.focus()
        slider.fill("0.5")
        slider.dispatch_event("pointerup")
        reader.line("50% hidden")
        reader.page.get_by_text("Where it looks").click()
        reader.page.locator(".seen img").first.click(position={"x": 5, "y": 5})
        place = reader.page.get_by_label("Place (row,column)")
        reader.page.wait_for_function("document.querySelectorAll('.attention img').length == 2")
        assert place.input_value() == "0,0"
        place.fill("999,1")
        place.press("Enter")
        reader.line("expected a place on the grid")


def test_what_it_reads_in_the_browser(browser: Any, tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", np.sin(np.arange(4000) / 5) / 2, 8000)
    (tmp_path / "t.txt").write_text("To be, or not to be: " * 9)
    with served(save(tmp_path / "model", TWO, "audio", "bytes", classes=("a", "b"))) as address:
        reader = Reader(browser, address)
        reader.drop(tmp_path / "a.wav")
        reader.page.wait_for_function("document.querySelectorAll('.drawn img').length == 1")
        text = reader.page.get_by_label("what it reads of bytes")
        assert not text.is_visible()
        reader.drop(tmp_path / "t.txt")
        text.wait_for()
        assert text.input_value() == ("To be, or not to be: " * 9)[:64]
