"""Crafted folders of saved models."""

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hiperceiver import Modality, create_model
from hiperceiver.cli import main
from hiperceiver.data.encoders import ImageEncoder
from hiperceiver.model import load_model
from hiperceiver.tasks import load_task, save_task, task_from_settings

from .harness import assert_command_refuses, assert_refused, run_apart

Values = dict[str, Any]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model, as it lies on disk after training."""
    model = create_model("hip-nano", modalities={"image": Modality(grid=(16, 16), channels=3)})
    task = task_from_settings({"kind": "classification", "num_classes": 2}, model)
    encoder = ImageEncoder(size=16)
    folder = tmp_path_factory.mktemp("models") / "whole"
    save_task(folder, task, encoders={"image": encoder.to_dict()}, classes=["cat", "dog"])
    Image.new("RGB", (8, 8)).save(folder.parent / "a.png")
    assert main(["predict", str(folder), str(folder.parent / "a.png")]) == 0  # loads what it needs
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "model"))


def _change(folder: Path, change: Callable[[Values], object]) -> None:
    path = folder / "config.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def _blocks(**changed: Any) -> Callable[[Values], object]:
    """Every block but the processor, or where groups stay as they are all, with other settings."""

    def change(values: Values) -> None:
        for block in values["config"]["blocks"]:
            if "num_groups" not in changed or block["num_groups"] > 1:
                block.update(changed)

    return change


def _config(**changed: Any) -> Callable[[Values], object]:
    return lambda values: values["config"].update(changed)


def _image(**changed: Any) -> Callable[[Values], object]:
    return lambda values: values["modalities"]["image"].update(changed)


def _both(first: Callable[[Values], object], second: Callable[[Values], object]) -> Callable[[Values], object]:
    return lambda values: (first(values), second(values))


def _more_blocks(count: int) -> Callable[[Values], object]:
    def change(values: Values) -> None:
        blocks = values["config"]["blocks"]
        values["config"]["blocks"] = [blocks[0]] * count + blocks + [blocks[-1]] * count

    return change


CONFIGS: dict[str, Callable[[Values], object]] = {
    "channels": _blocks(num_channels=10**9),
    "more channels": _blocks(num_channels=10**18),
    "latents": _blocks(num_latents=10**9),
    "groups": _blocks(num_groups=10**9),
    "heads": _blocks(num_self_attention_heads=10**9),
    "widening": _blocks(self_attention_widening=10**9),
    "layers": _blocks(num_self_attention_layers=10**9),
    "blocks": _more_blocks(2000),
    "more blocks": _more_blocks(20_000),
    "embedding": _config(embedding_channels=10**9),
    "grid": _image(grid=[10**6, 10**6]),
    "axes": _image(grid=[2] * 60),
    "many axes": _image(grid=[1] * 100_000),
    "order": _both(_image(grid=[10**5, 10**5]), _config(token_order="hilbert")),
    "shuffled": _both(_image(grid=[10**5, 10**5]), _config(token_order="shuffled", token_order_seed=0)),
    "fourier": _both(_image(grid=[10**5, 10**5]), _config(positions="fourier")),
    "bands": _config(positions="fourier", fourier_bands=10**9),
    "no positions": _both(_image(grid=[10**5, 10**5]), _config(positions="none")),
    "raw channels": _image(channels=10**9),
    "categories": _image(num_categories=2**24),
    "modalities": lambda values: values.update(
        modalities={f"m{n}": {"grid": [1], "channels": 1} for n in range(20_000)}
    ),
    "classes": lambda values: values["task"].update(num_classes=10**9),
    "infinite": _config(dropout=float("inf")),
    "nan": _config(position_scale=float("nan")),
    "kind": lambda values: values["task"].update(kind="\x1b[2J" + "x" * 10**6),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_model_of_absurd_size_is_refused(name: str, folder: Path) -> None:
    _change(folder, CONFIGS[name])
    assert_refused(lambda: load_task(folder), folder)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"architecture": "HiP", "format": ' + "9" * 5000 + "}",
        '{"architecture": "HiP", "format": 1e999}',
        '{"architecture": {"HiP": 1}, "format": 2}',
        '{"architecture": "\\u001b[2J", "format": 2, "config": {}, "modalities": {}}',
        "\x00" * 10**6,
        "x" * 10**7,
    ],
)
def test_a_config_that_is_no_config_is_refused(text: str, folder: Path) -> None:
    (folder / "config.json").write_text(text)
    assert_refused(lambda: load_model(folder), folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_file_of_terabytes_is_refused(name: str, folder: Path) -> None:
    os.truncate(folder / name, 2**43)
    assert_refused(lambda: load_model(folder), folder, name)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("kind", ["fifo", "zero"])
def test_a_file_that_never_ends_is_refused(name: str, kind: str, folder: Path) -> None:
    (folder / name).unlink()
    if kind == "fifo":
        os.mkfifo(folder / name)
    else:
        (folder / name).symlink_to("/dev/zero")
    assert_refused(lambda: load_model(folder), folder, name)


def _weights(header: bytes | Values, content: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + content


WEIGHTS = {
    "header": _weights(b"{}", length=2**63),
    "nested": _weights(b'{"a":' * 100_000),
    "terabytes": _weights({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}),
    "overflow": _weights({"a": {"dtype": "F32", "shape": [2**32, 2**32], "data_offsets": [0, 4]}}, bytes(4)),
    "offsets": _weights({"a": {"dtype": "F32", "shape": [1], "data_offsets": [2**40, 2**40 + 4]}}, bytes(4)),
    "dtype": _weights({"a": {"dtype": "\x1b[2J", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
    "name": _weights({"\x1b[2J" + "n" * 10**5: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
    "pickle": b"\x80\x04cposix\nsystem\nX\x0c\x00\x00\x00touch canary\x85R.",
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_that_promise_too_much_are_refused(name: str, folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(WEIGHTS[name])
    assert_refused(lambda: load_model(folder), folder)


def test_weights_of_terabytes_that_the_config_does_not_have_are_not_read(folder: Path) -> None:
    path = folder / "model.safetensors"
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    end = len(content) - 8 - length
    header["more"] = {"dtype": "F32", "shape": [2**40], "data_offsets": [end, end + 2**42]}
    path.write_bytes(_weights(header, content[8 + length :]))
    os.truncate(path, path.stat().st_size + 2**42)  # all holes
    assert_refused(lambda: load_model(folder), folder)


def test_an_index_that_points_outside_is_not_followed(folder: Path) -> None:
    os.rename(folder / "model.safetensors", folder.parent / "other.safetensors")
    index = {"weight_map": {"embedding.image.weight": "../other.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert_refused(lambda: load_model(folder), folder, "without it")


@pytest.mark.parametrize(
    "changed",
    [
        {"size": [10**6, 10**6]},
        {"size": [10**30, 1]},
        {"colours": "RGBA"},
        {"mean": [0.0] * 10**6},
        {"kind": "x" * 10**6},
    ],
    ids=["size", "overflow", "colours", "mean", "kind"],
)
def test_an_encoder_that_does_not_fit_its_model_is_refused(changed: Values, folder: Path, tmp_path: Path) -> None:
    _change(folder, lambda values: values["encoders"]["image"].update(changed))
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert_command_refuses(["predict", folder, "a.png"], folder)


def test_names_of_classes_do_not_reach_the_terminal_as_they_are(folder: Path, tmp_path: Path) -> None:
    _change(folder, lambda values: values.update(classes=["\x1b[2Jcat\r\n", "\x9b31mdog\u202e"]))
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
    outcome = run_apart(lambda: main(["predict", str(folder), "a.png"]))
    assert outcome.result == 0
    assert outcome.shown.count("\n") == 1 and outcome.shown.rstrip("\n").isprintable(), repr(outcome.shown)
