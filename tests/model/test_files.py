"""Saved models: a round trip, every kind of damage, and nothing from strangers that could run."""

import errno
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import safetensors.torch
import torch
from small_models import IMAGE, LABEL, MODALITIES, hip, perceiver_io, random_inputs, refusal
from torch import nn

from hiperceiver.model import HiP, PerceiverIO, create_model, read_model, save_model


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save_model(tmp_path / "model", hip())


def rewrite(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the values in config.json in place."""
    values = json.loads((folder / "config.json").read_text())
    change(values)
    (folder / "config.json").write_text(json.dumps(values))


def rewrite_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = {
        name: tensor.clone() for name, tensor in safetensors.torch.load_file(folder / "model.safetensors").items()
    }
    change(tensors)
    safetensors.torch.save_file(tensors, folder / "model.safetensors")


# --------------------------------------------------------------------------------------------- round trips


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (hip, {}),
        (hip, {"positions": "fourier", "fourier_bands": 3, "regrouping": "transpose", "mask_padding": False}),
        (hip, {"positions": "none", "dropout": 0.1, "drop_path": 0.2, "activation": "gelu"}),
        (perceiver_io, {"position_channels": 4}),
    ],
    ids=["learned", "fourier", "none", "PerceiverIO"],
)
def test_round_trip(make: Callable[..., HiP], settings: dict[str, Any], tmp_path: Path) -> None:
    model = make(**settings)
    assert model.save_pretrained(tmp_path / "deep" / "model") is None
    again = type(model).from_pretrained(tmp_path / "deep" / "model")
    assert type(again) is type(model)
    assert again.config == model.config
    assert again.modalities == model.modalities
    assert not again.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)
    assert torch.equal(again(random_inputs()).latents, model(random_inputs()).latents)


@pytest.mark.parametrize("settings", [{}, {"positions": "fourier"}, {"positions": "none"}], ids=str)
def test_a_model_moved_to_another_grid_comes_back_the_same(settings: dict[str, Any], tmp_path: Path) -> None:
    model = hip({"image": IMAGE}, **settings)
    model.resize_positions({"image": (8, 9)})
    again = HiP.from_pretrained(save_model(tmp_path, model))
    x = {"image": torch.randn(2, 72, 3)}
    assert torch.equal(again(x).latents, model(x).latents)


def test_what_belongs_to_using_it_is_kept(tmp_path: Path) -> None:
    encoders = {"image": {"kind": "image", "mean": [0.5, 0.4, 0.3]}}
    head = nn.Linear(4, 2)
    save_model(
        tmp_path,
        hip(),
        encoders=encoders,
        classes=("land", "water"),
        task={"kind": "classification"},
        head=head.state_dict(),
    )
    saved = read_model(tmp_path)
    assert saved.encoders == encoders
    assert saved.classes == ("land", "water")
    assert saved.task == {"kind": "classification"}
    assert saved.head.keys() == {"weight", "bias"}
    assert torch.equal(saved.head["weight"], head.weight)
    model = HiP.from_pretrained(tmp_path)
    assert model.metadata == {"encoders": encoders, "classes": ["land", "water"]}
    again = read_model(save_model(tmp_path / "again", model))
    assert (again.encoders, again.classes) == (encoders, ("land", "water"))
    assert (again.task, again.head) == (None, {})


def test_the_config_is_plain_and_complete(saved: Path) -> None:
    values = json.loads((saved / "config.json").read_text())
    assert values["format"] == 2
    assert values["architecture"] == "HiP"
    assert values["modalities"]["label"] == {
        "grid": [2],
        "channels": 4,
        "num_categories": 0,
        "role": "label",
        "num_coordinates": 0,
        "is_overlapping": False,
    }
    assert values["config"]["blocks"][1]["num_latents"] == 8
    assert sorted(path.name for path in saved.iterdir()) == ["config.json", "model.safetensors"]


def test_a_subclass_is_saved_as_what_it_is(tmp_path: Path) -> None:
    class MyHiP(HiP):
        pass

    model = MyHiP(hip().config, MODALITIES)
    assert type(HiP.from_pretrained(save_model(tmp_path, model))) is HiP


def test_a_model_card_is_written_once(tmp_path: Path) -> None:
    hip().save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert "library_name: hiperceiver" in card
    assert "license: apache-2.0" in card
    (tmp_path / "README.md").write_text("mine")
    hip().save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"
    with refusal("push_to_hub: expected True with private, got False"):
        hip().save_pretrained(tmp_path, private=True)


# ---------------------------------------------------------------------------------------------------- damage


def test_another_class_of_model(saved: Path) -> None:
    with refusal(f"{saved}: expected a PerceiverIO, got a HiP; load it with HiP.from_pretrained"):
        PerceiverIO.from_pretrained(saved)
    assert isinstance(HiP.from_pretrained(saved), HiP)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with refusal(f"{saved}: expected a saved model's folder with {name}, got one without it"):
        HiP.from_pretrained(saved)


def test_no_folder(tmp_path: Path) -> None:
    with refusal(f"{tmp_path / 'nothing'}: no such folder"):
        HiP.from_pretrained(tmp_path / "nothing")
    with refusal("nothing: no such folder"):
        HiP.from_pretrained("nothing")
    (tmp_path / "file").write_text("")
    with refusal(f"{tmp_path / 'file'}: expected a saved model's folder, got a file"):
        HiP.from_pretrained(tmp_path / "file")


def test_a_hub_id_that_cannot_be_had() -> None:
    with refusal("nobody/nothing: no such folder, and it cannot be had from the Hugging Face hub: "):
        HiP.from_pretrained("nobody/nothing", local_files_only=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "config.json cannot be read: Expecting value: line 1 column 1 (char 0)"),
        (b'{"format": 1, "archi', "config.json cannot be read: Unterminated string"),
        (b"\xff\xfe\x00", "config.json cannot be read: expected text in UTF-8, got invalid start byte at byte 0"),
        (b"[" * 100_000, "config.json cannot be read: "),
        (b"[]", "config.json does not describe a hiperceiver model"),
        (b'{"model_type": "bert"}', "config.json does not describe a hiperceiver model"),
        (b'{"architecture": "HiP"}', "expected format 2, got None; a newer hiperceiver may read it"),
        (b'{"architecture": "HiP", "format": 3}', "expected format 2, got 3; a newer hiperceiver may read it"),
        (
            b'{"architecture": "os.system", "format": 1}',
            "expected an architecture among HiP, PerceiverIO, got 'os.system'",
        ),
        (b'{"architecture": ["HiP"], "format": 1}', "expected an architecture among HiP, PerceiverIO, got ['HiP']"),
        (b'{"architecture": "HiP", "format": 1}', "config.json is not valid: lacks 'modalities'"),
    ],
    ids=lambda value: value[:30].decode(errors="replace") if isinstance(value, bytes) else "",
)
def test_a_damaged_config(saved: Path, text: bytes, message: str) -> None:
    (saved / "config.json").write_bytes(text)
    with refusal(f"{saved}: {message}"):
        HiP.from_pretrained(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v["config"].update(depth=3), "depth: not a setting of HiPConfig; known: "),
        (lambda v: v["config"].update(dropout="high"), "dropout: expected a number from 0 to below 1, got 'high'"),
        (
            lambda v: v["config"].update(embedding_channels=-6),
            "embedding_channels: expected a whole number >= 1, got -6",
        ),
        (lambda v: v["config"].update(blocks=7), "blocks: expected a list of values, each a mapping such as "),
        (lambda v: v["config"]["blocks"].pop(), "blocks: expected an odd number of blocks, at least 3, got 2"),
        (lambda v: v["config"]["blocks"][0].pop("num_latents"), "blocks[0].num_latents: required by BlockConfig"),
        (
            lambda v: v["config"]["blocks"][0].update(num_latents="3"),
            "blocks[0].num_latents: expected a whole number >= 1, got '3'",
        ),
        (lambda v: v.update(config=None), "'NoneType' object "),
        (lambda v: v.update(modalities=[]), "'list' object has no attribute 'items'"),
        (lambda v: v["modalities"]["image"].pop("grid"), "grid: required by Modality, got nothing"),
        (lambda v: v["modalities"]["image"].update(grid=[5, -7]), "grid[1]: expected a whole number >= 1, got -7"),
        (lambda v: v["modalities"]["label"].update(role="spy"), "role: expected one of input, label, got 'spy'"),
        (lambda v: v.update(encoders=[1]), "'list' object has no attribute 'items'"),
        (lambda v: v.update(classes=5), "'int' object is not iterable"),
        (lambda v: v.update(task="classification"), "dictionary update sequence element #0 has length 1"),
    ],
)
def test_a_config_that_makes_no_sense(saved: Path, change: Callable[[dict[str, Any]], Any], message: str) -> None:
    rewrite(saved, change)
    with refusal(f"{saved}: config.json is not valid: {message}"):
        HiP.from_pretrained(saved)


@pytest.mark.parametrize("keep", [0, 4, 100, 2000, -1])
def test_truncated_weights(saved: Path, keep: int) -> None:
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with refusal(f"{saved}: model.safetensors cannot be read: "):
        HiP.from_pretrained(saved)


def test_weights_that_are_no_safetensors(saved: Path) -> None:
    torch.save(hip().state_dict(), saved / "model.safetensors")
    with refusal(f"{saved}: model.safetensors cannot be read: "):
        HiP.from_pretrained(saved)


def test_a_config_that_asks_for_more_than_there_is(saved: Path) -> None:
    rewrite(saved, lambda values: values["config"]["blocks"][1].update(num_latents=8 * 10**12))
    with refusal(
        f"{saved}: expected shape (8000000000000, 12) for blocks.1.latents by config.json, got (8, 12) in model"
    ):
        HiP.from_pretrained(saved)


@pytest.mark.parametrize("number", [torch.nan, torch.inf])
def test_weights_that_are_not_finite(saved: Path, number: float) -> None:
    rewrite_weights(saved, lambda tensors: tensors["blocks.1.latents"].view(-1)[3].fill_(number))
    with refusal(f"{saved}: blocks.1.latents in model.safetensors holds numbers that are not finite; its training"):
        HiP.from_pretrained(saved)
    with refusal(f"{saved}: blocks.1.latents in model.safetensors holds numbers that are not finite; its training"):
        read_model(saved)  # by which fine-tuning and export begin


def test_weights_that_do_not_fit(saved: Path) -> None:
    original = (saved / "model.safetensors").read_bytes()
    rewrite_weights(saved, lambda tensors: tensors.pop("blocks.1.latents"))
    with refusal(f"{saved}: model.safetensors lacks blocks.1.latents, which config.json calls for"):
        HiP.from_pretrained(saved)
    (saved / "model.safetensors").write_bytes(original)
    rewrite_weights(saved, lambda tensors: tensors.update(extra=torch.zeros(3)))
    with refusal(f"{saved}: model.safetensors holds extra, which config.json does not have"):
        HiP.from_pretrained(saved)
    (saved / "model.safetensors").write_bytes(original)
    rewrite_weights(saved, lambda tensors: tensors.update({"blocks.1.latents": torch.zeros(8, 13)}))
    with refusal(
        f"{saved}: expected shape (8, 12) for blocks.1.latents by config.json, got (8, 13) in model.safetensors"
    ):
        HiP.from_pretrained(saved)


# ----------------------------------------------------------------------------------------------- strangers


class Bomb:
    """Makes a file where it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("has_weights", [True, False], ids=["beside the weights", "in place of the weights"])
def test_a_pickle_in_the_folder_is_never_opened(
    saved: Path, tmp_path: Path, has_weights: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    struck = tmp_path / "struck"
    for name in ("pytorch_model.bin", "model.bin", "model.pt", "model.ckpt", "config.pkl", "model.safetensors.partial"):
        (saved / name).write_bytes(pickle.dumps(Bomb(struck)))

    def refuse(*args: Any, **settings: Any) -> None:
        raise AssertionError("something was unpickled")

    monkeypatch.setattr(torch, "load", refuse)
    monkeypatch.setattr(pickle, "load", refuse)
    monkeypatch.setattr(pickle, "loads", refuse)
    if has_weights:
        HiP.from_pretrained(saved)
    else:
        (saved / "model.safetensors").write_bytes(pickle.dumps(Bomb(struck)))
        with refusal(f"{saved}: model.safetensors cannot be read: "):
            HiP.from_pretrained(saved)
    assert not struck.exists()


def test_only_two_files_are_asked_of_the_hub(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def snapshot_download(repo_id: str, **settings: Any) -> str:
        asked.update(settings, repo_id=repo_id)
        return str(saved)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    model = HiP.from_pretrained("somebody/model", revision="v1")
    assert asked == {
        "repo_id": "somebody/model",
        "allow_patterns": ["config.json", "model.safetensors"],
        "revision": "v1",
    }
    assert torch.equal(model(random_inputs()).latents, hip()(random_inputs()).latents)


class FakeHub:
    """What a model calls of huggingface_hub.HfApi; it keeps the files that it is given."""

    files: dict[str, bytes]
    repo_id: str

    def __init__(self, token: str | None = None):
        self.token = token

    def create_repo(self, repo_id: str, **settings: Any) -> SimpleNamespace:
        return SimpleNamespace(repo_id=repo_id)

    def upload_folder(self, *, repo_id: str, folder_path: Path, **settings: Any) -> str:
        FakeHub.repo_id = repo_id
        FakeHub.files = {path.name: path.read_bytes() for path in Path(folder_path).iterdir()}
        return f"https://example.org/{repo_id}"


@pytest.mark.parametrize("way", ["push_to_hub", "save_pretrained"])
def test_pushing_writes_a_model_that_can_be_loaded(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "HfApi", FakeHub)
    model = hip()
    if way == "push_to_hub":
        address = model.push_to_hub("somebody/model", private=True)
    else:
        address = model.save_pretrained(tmp_path / "local", repo_id="somebody/model", push_to_hub=True)
    assert address == "https://example.org/somebody/model"
    assert FakeHub.files.keys() == {"README.md", "config.json", "model.safetensors"}
    for name, data in FakeHub.files.items():
        (tmp_path / name).write_bytes(data)
    again = HiP.from_pretrained(tmp_path)
    assert torch.equal(again(random_inputs()).latents, model(random_inputs()).latents)


# ------------------------------------------------------------------------------------------------ full disks


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("full_at", ["model.safetensors", "config.json"])
@pytest.mark.parametrize("save", [save_model, lambda folder, model: model.save_pretrained(folder)])
def test_a_full_disk_leaves_the_old_model_whole(
    saved: Path, full_at: str, save: Callable[[Path, HiP], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(saved)
    write_bytes = Path.write_bytes

    def write_half(path: Path, data: bytes) -> int:
        if path.name.startswith(full_at):
            write_bytes(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(OSError, match="No space left on device"):
        save(saved, hip({"image": IMAGE, "label": LABEL}))
    monkeypatch.undo()
    assert contents(saved) == before
    assert HiP.from_pretrained(saved).modalities == MODALITIES


def test_an_unwritable_folder_leaves_the_old_model_whole(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(saved)

    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target))

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PermissionError, match="Permission denied"):
        save_model(saved, hip({"image": IMAGE}))
    assert contents(saved) == before


def test_saving_over_an_old_model_replaces_it(saved: Path) -> None:
    save_model(saved, perceiver_io({"image": IMAGE}))
    assert isinstance(PerceiverIO.from_pretrained(saved), PerceiverIO)
    assert contents(saved).keys() == {"config.json", "model.safetensors"}


def test_a_model_may_be_saved_where_it_was_read(saved: Path) -> None:
    model = HiP.from_pretrained(saved)
    save_model(saved, model)
    assert torch.equal(HiP.from_pretrained(saved)(random_inputs()).latents, model(random_inputs()).latents)


def test_the_front_page_offers_it(tmp_path: Path) -> None:
    create_model("hip-nano", {"image": IMAGE}).save_pretrained(tmp_path)
    assert HiP.from_pretrained(str(tmp_path)).config == create_model("hip-nano", {"image": IMAGE}).config
