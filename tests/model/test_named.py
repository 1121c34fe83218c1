"""Models by name: found, compared with their checksums, and refused in a line."""

import hashlib
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import torch

from hiperceiver import HiP, Modality, create_model
from hiperceiver.model import named, read_model


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of weights with two models: `tiny`, and `card-only`, whose weights are not given out."""
    folder = tmp_path / "package"
    torch.manual_seed(0)
    model = create_model("hip-nano", modalities={"image": Modality(grid=(4, 8), channels=1)})
    model.save_pretrained(folder / "tiny")
    files = ("config.json", "model.safetensors")
    sums = [f"{hashlib.sha256((folder / 'tiny' / each).read_bytes()).hexdigest()}  {each}\n" for each in files]
    (folder / "tiny" / "SHA256SUMS").write_text("".join(sums))
    (folder / "card-only").mkdir()
    (folder / "card-only" / "README.md").write_text("# card-only\n")
    (folder / "no-card").mkdir()
    spec = ModuleSpec(named.PACKAGE, None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    monkeypatch.setattr(named, "find_spec", lambda name: spec if name == named.PACKAGE else None)
    monkeypatch.chdir(tmp_path)
    return folder


def test_a_name_is_loaded_as_its_folder_is(package: Path) -> None:
    assert [*named.named_models()] == ["card-only", "tiny"]
    by_name, by_folder = HiP.from_pretrained("tiny").state_dict(), HiP.from_pretrained(package / "tiny").state_dict()
    assert by_name.keys() == by_folder.keys()
    assert all(torch.equal(by_name[each], by_folder[each]) for each in by_name)


def test_a_folder_with_a_model_goes_before_a_name_and_one_without_does_not(package: Path) -> None:
    Path("tiny").mkdir()
    assert [*read_model("tiny").modalities] == ["image"]
    create_model("hip-nano", modalities={"sound": Modality(grid=(64,), channels=1)}).save_pretrained("tiny")
    assert [*read_model("tiny").modalities] == ["sound"]


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_file_that_was_changed_or_removed_is_refused(package: Path, file: str) -> None:
    path = package / "tiny" / file
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ValueError, match=f"^tiny: expected the {file} that was published, got another file: install "):
        read_model("tiny")
    path.unlink()
    with pytest.raises(ValueError, match=f"^tiny: expected the {file} that was published, got none: install "):
        read_model("tiny")


def test_what_is_no_model(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="^card-only: its weights are not given out; hip models card-only says why"):
        read_model("card-only")
    names = "of which there are card-only, tiny; did you mean tiny\\?"
    with pytest.raises(ValueError, match=f"^tyny: no such folder and no model of that name, {names}$"):
        read_model("tyny")
    with pytest.raises(ValueError, match="^./tyny: no such folder$"):
        read_model("./tyny")
    monkeypatch.setattr(named, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="^tiny: no such folder; models by name need the package hiperceiver-weights"):
        read_model("tiny")
