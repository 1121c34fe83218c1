"""ModelNet40 as meshes and as HDF5 files of points."""

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from closeness import assert_equal

from hiperceiver.data.encoders.points import PointsEncoder
from hiperceiver.data.loading import eval_loader

from ..pictures import write
from .reading import bad, counts, examples, labels, layout

open_modelnet40, matches = layout("modelnet40")

SMALL = {"points": {"num_points": 64}}


def off(height: float, *, is_glued: bool = False) -> bytes:
    """A box of a height; half of the real files have the counts in the line of the word OFF."""
    corners = [(x, y, z * height) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
    faces = ["4 0 1 3 2", "4 4 6 7 5", "4 0 4 5 1", "4 2 3 7 6", "4 0 2 6 4", "4 1 5 7 3"]
    lines = ["OFF8 6 0" if is_glued else "OFF\n8 6 0", *(f"{x} {y} {z}" for x, y, z in corners), *faces]
    return ("\n".join(lines) + "\n").encode()


def meshes(base: Path, names: tuple[str, ...] = ("flower_pot", "lamp"), count: int = 10) -> Path:
    for height, name in enumerate(names, 1):
        for number in range(count):
            write(base / name / "train" / f"{name}_{number:04}.off", off(height + number, is_glued=number % 2 == 0))
        for number in range(count, count + 3):
            write(base / name / "test" / f"{name}_{number:04}.off", off(height + number))
    write(base / "README.txt", b"words")
    return base


def points(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 2048, 3)).astype(np.float32)


def hdf5(base: Path, *, has_normals: bool = True, has_lists: bool = True) -> Path:
    """Two files of 8 clouds for training and one of 4 for test, compressed as the real ones."""
    base.mkdir(parents=True, exist_ok=True)
    for split, number, count in (("train", 0, 8), ("train", 1, 8), ("test", 0, 4)):
        with h5py.File(base / f"ply_data_{split}{number}.h5", "w") as file:
            file.create_dataset("data", data=points(count, number), compression="gzip", chunks=True)
            file.create_dataset("label", data=(np.arange(count, dtype=np.uint8) % 2)[:, None])
            if has_normals:
                file.create_dataset("normal", data=points(count, 100 + number))
            file.create_dataset("faceId", data=np.zeros((count, 2048), dtype=np.int32))
    (base / "shape_names.txt").write_text("airplane\nbathtub\n")
    if has_lists:
        for split, names in (("train", (1, 0)), ("test", (0,))):
            lines = [f"data/modelnet40_ply_hdf5_2048/ply_data_{split}{number}.h5" for number in names]
            (base / f"{split}_files.txt").write_text("\n".join(lines) + "\n")
    return base


@pytest.mark.parametrize("inside", [".", "ModelNet40"])
def test_meshes(tmp_path: Path, inside: str) -> None:
    meshes(tmp_path / inside)
    (tmp_path / inside / "empty").mkdir()
    assert matches(tmp_path)
    source = open_modelnet40(tmp_path, task="classification", encoder_settings=SMALL)
    assert source.classes == ("flower_pot", "lamp")
    assert counts(source) == {"train": 18, "validation": 2, "test": 6}
    assert source.warnings == ()
    assert labels(source, "test")["lamp/test/lamp_0011.off"] == "lamp"
    for split in source.splits:
        for example in examples(source, split):
            assert example.inputs["points"].shape == (64, 3)
            assert torch.isfinite(example.inputs["points"]).all()


@pytest.mark.parametrize("inside", [".", "modelnet40_ply_hdf5_2048"])
def test_hdf5(tmp_path: Path, inside: str) -> None:
    hdf5(tmp_path / inside)
    assert matches(tmp_path)
    settings = {"points": {"order": "index", "normalise": "none", "mean": [0, 0, 0], "std": [1, 1, 1]}}
    source = open_modelnet40(tmp_path, task="classification", encoder_settings=settings)
    assert source.classes == ("airplane", "bathtub")
    assert counts(source) == {"train": 14, "validation": 2, "test": 4}
    for number, example in enumerate(examples(source, "test")):
        assert example.name == f"ply_data_test0.h5 row {number}"
        assert int(example.targets["label"]) == number % 2
        np.testing.assert_array_equal(example.inputs["points"].numpy(), points(4)[number])
    stored = {f"ply_data_train{number}.h5 row {row}": points(8, number)[row] for number in (0, 1) for row in range(8)}
    found = [*examples(source, "train"), *examples(source, "validation")]
    assert {example.name for example in found} == set(stored)
    for example in found:
        np.testing.assert_array_equal(example.inputs["points"].numpy(), stored[example.name])


def test_the_defaults_are_the_papers_but_for_the_order(tmp_path: Path) -> None:
    encoder = open_modelnet40(hdf5(tmp_path)).encoders["points"]
    assert encoder == PointsEncoder(num_points=2048, order="hilbert")
    ordered = open_modelnet40(tmp_path, encoder_settings={"points": {"order": "index"}})
    assert ordered.encoders["points"] == PointsEncoder(num_points=2048, order="index")


def test_normals(tmp_path: Path) -> None:
    hdf5(tmp_path / "with")
    settings = {"points": {"order": "index", "mean": [0, 0, 0], "std": [1, 1, 1]}}
    source = open_modelnet40(tmp_path / "with", normals=True, encoder_settings=settings)
    for number, example in enumerate(examples(source, "test")):
        assert example.inputs["points"].shape == (2048, 6)
        np.testing.assert_array_equal(example.inputs["points"][:, 3:].numpy(), points(4, 100)[number])
    hdf5(tmp_path / "without", has_normals=False)
    open_modelnet40(tmp_path / "without")
    with pytest.raises(ValueError, match=r"ply_data_train1\.h5: expected the array 'normal', found none$"):
        open_modelnet40(tmp_path / "without", normals=True)
    with pytest.raises(ValueError, match="^normals: expected HDF5 files, got meshes in"):
        open_modelnet40(meshes(tmp_path / "meshes"), normals=True)


def test_hdf5_without_lists(tmp_path: Path) -> None:
    hdf5(tmp_path, has_lists=False)
    assert matches(tmp_path)
    assert counts(open_modelnet40(tmp_path)) == {"train": 14, "validation": 2, "test": 4}


def test_hdf5_in_other_processes(tmp_path: Path) -> None:
    source = open_modelnet40(hdf5(tmp_path), task="classification", encoder_settings=SMALL)
    whole = [batch.inputs["points"] for batch in eval_loader(source.splits["train"], batch_size=5)]
    forked = [batch.inputs["points"] for batch in eval_loader(source.splits["train"], batch_size=5, num_workers=2)]
    assert_equal(torch.cat(forked), torch.cat(whole))
    assert len(pickle.dumps(source.splits["train"])) < 10_000


def test_a_file_that_was_changed_is_read_again(tmp_path: Path) -> None:
    hdf5(tmp_path)
    before = examples(open_modelnet40(tmp_path, encoder_settings=SMALL), "test")[0]
    with h5py.File(tmp_path / "ply_data_test0.h5", "a") as file:
        file["data"][:] = points(4, 7)
    after = examples(open_modelnet40(tmp_path, encoder_settings=SMALL), "test")[0]
    assert not torch.equal(before.inputs["points"], after.inputs["points"])


def test_odd_classes(tmp_path: Path) -> None:
    meshes(tmp_path)
    write(tmp_path / "stool" / "test" / "stool_1.off", off(3))
    source = open_modelnet40(tmp_path, task="classification", encoder_settings=SMALL)
    assert source.classes == ("flower_pot", "lamp", "stool")
    assert source.warnings == (
        "classes without meshes for train: stool",
        "classes without training examples: stool",
    )


def test_damaged_meshes_are_bad_examples(tmp_path: Path) -> None:
    meshes(tmp_path)
    contents = (b"", off(2)[:40], b"OFF0 0 0\n")
    for number, content in enumerate(contents, 10):
        write(tmp_path / "lamp" / "test" / f"lamp_{number:04}.off", content)
    lines = bad(open_modelnet40(tmp_path, encoder_settings=SMALL), "test")
    assert [line.split(": ")[0] for line in lines] == [f"lamp/test/lamp_{number:04}.off" for number in (10, 11, 12)]


def test_damaged_clouds_are_bad_examples(tmp_path: Path) -> None:
    hdf5(tmp_path)
    with h5py.File(tmp_path / "ply_data_test0.h5", "a") as file:
        file["data"][1, 5, 0] = np.nan
        file["data"][2] = 0
    lines = bad(open_modelnet40(tmp_path, encoder_settings=SMALL), "test")
    assert [line.split(": ")[0] for line in lines] == ["ply_data_test0.h5 row 1", "ply_data_test0.h5 row 2"]


def test_damaged_blocks_are_bad_examples(tmp_path: Path) -> None:
    """The file opens, but its points cannot be unpacked."""
    path = hdf5(tmp_path) / "ply_data_test0.h5"
    with h5py.File(path) as file:
        block = file["data"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[block.byte_offset : block.byte_offset + block.size] = bytes(block.size)
    path.write_bytes(content)
    lines = bad(open_modelnet40(tmp_path, encoder_settings=SMALL), "test")
    assert len(lines) == 4
    assert all(f"{path}: cannot be decoded: " in line for line in lines)


def test_every_cut_of_an_hdf5_file_is_one_line(tmp_path: Path) -> None:
    path = hdf5(tmp_path) / "ply_data_train0.h5"
    whole = path.read_bytes()
    for end in (0, 1, 8, 100, 2000, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(ValueError, match=rf"^{path}: (is empty|cannot be decoded)") as caught:
            open_modelnet40(tmp_path, encoder_settings=SMALL)
        assert "\n" not in str(caught.value)


def test_bad_layouts_are_one_line(tmp_path: Path) -> None:
    def refused(pattern: str, folder: Path = tmp_path, **options: object) -> None:
        with pytest.raises(ValueError, match=pattern) as caught:
            open_modelnet40(folder, encoder_settings=SMALL, **options)
        assert "\n" not in str(caught.value)

    refused(rf"^{tmp_path}/gone: no such folder$", tmp_path / "gone")
    refused(r"expected CLASS/train/\*\.off or ply_data_train\*\.h5, found neither")
    assert not matches(tmp_path)
    one = meshes(tmp_path / "one", ("lamp",))
    refused("expected at least two classes with training examples, found only 'lamp'", one, task="classification")
    refused("task: the source 'modelnet40' has targets for classification; got 'regression'", one, task="regression")

    base = hdf5(tmp_path / "hdf5")
    train = base / "ply_data_train0.h5"

    def changed(**arrays: np.ndarray) -> None:
        with h5py.File(train, "w") as file:
            for name, array in arrays.items():
                file[name] = array

    good = np.arange(8, dtype=np.uint8)[:, None] % 2
    for arrays, reason in (
        ({}, "expected the array 'label', found none"),
        ({"label": good}, "expected the array 'data', found none"),
        (
            {"label": good[:5], "data": points(8)},
            r"data: expected floats of shape \(5, points, 3\), got float32 of shape",
        ),
        ({"label": good, "data": points(8)[..., :2]}, "data: expected floats of shape"),
        ({"label": good, "data": points(8).astype(np.int16)}, "data: expected floats .* got int16"),
        ({"label": good + 1, "data": points(8)}, "label: expected 0 to 1, got 1 to 2"),
        ({"label": good.astype(np.float32), "data": points(8)}, "label: expected whole numbers, got float32"),
    ):
        changed(**arrays)
        refused(rf"^{train}: {reason}", base)
    train.unlink()
    refused(rf"^{train}: no such file or directory$", base)
    (base / "train_files.txt").write_text("\n")
    refused(r"train_files\.txt: has no line$", base)
    (base / "shape_names.txt").unlink()
    refused(r"shape_names\.txt: no such file or directory$", base)
