"""Point clouds and meshes: whatever order they come in, from every kind of file, and everything that can be wrong."""

import io
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from closeness import assert_close, assert_digits_close, assert_within, is_close
from hypothesis import given
from hypothesis import strategies as st

from hiperceiver import Modality, create_model
from hiperceiver.data.encoders import ENCODERS, PointsEncoder, encoder_from_dict
from hiperceiver.data.encoders.meshes import MESH_STARTS, points_of_mesh, sample_surface
from hiperceiver.data.encoders.points import TABLE_ENDINGS

trimesh: Any = pytest.importorskip("trimesh")

CURVES = ("hilbert", "morton")
SQUARE = b"OFF\n4 2 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n3 0 1 2\n3 0 2 3\n"


def cloud(count: int = 100, features: int = 0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3 + features)).astype(np.float32)


def file_of(mesh: Any, kind: str) -> bytes:
    """A mesh in a file. `ply_ascii` and `stl_ascii` are text."""
    content = mesh.export(file_type="ply", encoding="ascii") if kind == "ply_ascii" else mesh.export(file_type=kind)
    return content if isinstance(content, bytes) else content.encode()


def fault(encoder: PointsEncoder, raw: Any) -> str:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is compared by the caller
        encoder.decode(raw)
    assert type(error.value) is ValueError
    assert "\n" not in str(error.value)
    return str(error.value)


# ------------------------------------------------------------------------------------------------- what comes in


def test_points_are_read_as_they_are() -> None:
    points = cloud(5, 2)
    encoder = PointsEncoder(num_features=2)
    for raw in (points, points.astype(np.float64), torch.from_numpy(points), points.tolist()):
        value = encoder.decode(raw)
        assert value.dtype == np.float32
        assert np.array_equal(value, points)
    assert np.array_equal(PointsEncoder().decode([[0, 0, 1], [1, 2, 3]]), [[0, 0, 1], [1, 2, 3]])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "x,y,z\n1,2,3\n4,5,6.5\n"),
        ("a.csv", "1;2;3\n4;5;6.5\n"),
        ("a.tsv", "1\t2\t3\n4\t5\t6.5\n"),
        ("a.txt", "# a comment\n1 2 3\n4 5 6.5"),
        ("A.XYZ", "1 2 3\r\n4 5 6.5\r\n"),
        ("a.xyz", "2\n1 2 3\n4 5 6.5\n"),
        ("a.pts", "2\n1 2 3\n4 5 6.5\n"),
    ],
)
def test_tables_of_text(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, newline="")
    assert PointsEncoder().decode(tmp_path / name).tolist() == [[1, 2, 3], [4, 5, 6.5]]
    assert PointsEncoder().decode(str(tmp_path / name)).shape == (2, 3)


def test_numpy_files(tmp_path: Path) -> None:
    points = cloud()
    np.save(tmp_path / "a.npy", points)
    np.savez(tmp_path / "a.npz", points)
    for name in ("a.npy", "a.npz"):
        assert np.array_equal(PointsEncoder().decode(tmp_path / name), points)
        assert np.array_equal(PointsEncoder().decode((tmp_path / name).read_bytes()), points)


@pytest.mark.parametrize("kind", ["off", "obj", "ply", "ply_ascii", "stl", "stl_ascii", "glb"])
def test_a_mesh_gives_points_of_its_surface(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"box.{kind.partition('_')[0]}"
    path.write_bytes(file_of(trimesh.creation.box((2, 4, 6)), kind))
    encoder = PointsEncoder(num_points=500)
    points = encoder.decode(path)
    assert points.shape == (500, 3)
    distance = np.abs(np.abs(points) / (1, 2, 3) - 1).min(1)
    assert distance.max() < 1e-5  # each lies on one of the faces
    assert np.array_equal(points, encoder.decode(path))
    if kind in ("off", "ply", "ply_ascii", "glb"):
        assert np.array_equal(points, encoder.decode(path.read_bytes()))
    assert len(PointsEncoder(num_points=7).decode(path)) == 7


@pytest.mark.parametrize("kind", ["ply", "glb"])
def test_a_cloud_in_a_file_for_meshes_gives_its_points(tmp_path: Path, kind: str) -> None:
    points = cloud()
    (tmp_path / f"a.{kind}").write_bytes(file_of(trimesh.PointCloud(points), kind))
    np.testing.assert_array_equal(PointsEncoder(num_points=7).decode(tmp_path / f"a.{kind}"), points)
    assert PointsEncoder().decode(b"OFF\n2 0 0\n0 0 0\n1 1 1\n").tolist() == [[0, 0, 0], [1, 1, 1]]


def test_parts_of_a_scene_lie_where_it_has_them() -> None:
    scene = trimesh.Scene()
    for place in (0, 10):
        scene.add_geometry(trimesh.creation.box(), transform=trimesh.transformations.translation_matrix([place, 0, 0]))
    points = PointsEncoder(num_points=400).decode(file_of(scene, "glb"))
    assert (points[:, 0] > 5).sum() == 200
    assert_within(points[points[:, 0] > 5].mean(0), (10, 0, 0), 0.1)  # 200 points drawn on a box


@pytest.mark.parametrize(
    "content",
    [
        SQUARE,
        SQUARE.replace(b"OFF\n4", b"OFF4"),  # as some files of ModelNet40 have it
        SQUARE.replace(b"\n", b"\r\n"),
        b"# \xe9 in Latin-1\n" + SQUARE.replace(b"4 2 0", b"\n# counts\n4 2 0 # so many"),
        SQUARE.replace(b"4 2 0", b"4 1 0").replace(b"3 0 1 2\n3 0 2 3", b"4 0 1 2 3"),
        SQUARE.replace(b"4 2 0", b"4 1 0").replace(b"3 0 1 2\n3 0 2 3", b"4 0 1 2 3 0.5 0.5 0.5"),
        SQUARE.replace(b"3 0 1 2\n", b"3 0 1 2 255 0 0\n"),
    ],
)
def test_off_files_of_all_kinds(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.off").write_bytes(content)
    points = PointsEncoder(num_points=100).decode(tmp_path / "a.off")
    assert_within(points.mean(0), (0.5, 0.5, 0), 0.05)  # 100 points spread over a square


def test_a_surface_is_sampled_evenly() -> None:
    big, small = np.array([[0, 0, 0], [3, 0, 0], [0, 3, 0]]), np.array([[0, 0, 1], [1, 0, 1], [0, 1, 1]])
    flat = np.zeros((3, 3))
    points = sample_surface(np.stack([flat, big, flat, small]).astype(float), 1000)
    assert (points[:, 2] == 1).sum() == 100  # a tenth of the area
    inside = points[points[:, 2] == 0][:, :2]
    assert (inside >= 0).all()
    assert (inside.sum(1) <= 3 + 1e-9).all()
    quarter = [
        ((inside - corner).min(1) >= 0) & ((inside - corner).sum(1) <= 1.5) for corner in ((0, 0), (1.5, 0), (0, 1.5))
    ]
    for each in quarter:
        assert each.mean() == pytest.approx(0.25, abs=0.05)


def test_a_sample_belongs_to_its_mesh() -> None:
    triangles = np.random.default_rng(0).normal(size=(10, 3, 3))
    np.random.seed(1)  # noqa: NPY002 - must not matter
    points = sample_surface(triangles, 50)
    np.random.seed(2)  # noqa: NPY002
    assert np.array_equal(points, sample_surface(triangles, 50))
    assert not is_close(points, sample_surface(triangles + 1, 50) - 1, terms=3).all()


# -------------------------------------------------------------------------------------------------------- order


@pytest.mark.parametrize("order", CURVES)
@pytest.mark.parametrize("normalise", ["sphere", "box", "none"])
@pytest.mark.parametrize("count", [40, 64, 500])
def test_a_shuffled_cloud_gives_the_same_bits(order: Any, normalise: Any, count: int) -> None:
    encoder = PointsEncoder(num_points=64, num_features=2, order=order, normalise=normalise)
    points = cloud(count, 2)
    points[::3, :3] = points[0, :3]  # of one place, told apart by features
    points[5::7] = points[5]  # the same altogether
    points[2::11] *= 0  # zeros of both signs
    points[2::22] *= -1
    points[1::9, :3] += 1e-6  # in one cell of the curve
    tokens, is_padding = encoder.encode(points)
    for seed in range(5):
        shuffled = np.random.default_rng(seed).permutation(points)
        again, absent = encoder.encode(shuffled)
        assert tokens.numpy().tobytes() == again.numpy().tobytes()
        assert (is_padding is None) == (absent is None)
        assert absent is None or int(absent.sum()) == 64 - count


PLACES = st.integers(-1000, 1000).map(lambda number: number * 0.37)  # none so near to another that 1e4 is absurd


@given(st.lists(st.tuples(*[PLACES] * 3), min_size=2, max_size=30), st.randoms())
def test_any_cloud_may_be_shuffled(points: list[tuple[float, float, float]], random: Any) -> None:
    points = [*points, (0.0, 0.0, 1e4)]
    encoder = PointsEncoder(num_points=16)
    tokens, _ = encoder.encode(points)
    random.shuffle(points)
    assert tokens.numpy().tobytes() == encoder.encode(points)[0].numpy().tobytes()
    assert tokens.norm(dim=1).max() <= 1 + 1e-6


def test_order_index_is_that_of_the_file() -> None:
    points = cloud(8)
    encoder = PointsEncoder(num_points=8, order="index", normalise="none")
    assert np.array_equal(encoder.encode(points)[0].numpy(), points)
    assert np.array_equal(encoder.encode(points[::-1])[0].numpy(), points[::-1])
    assert np.array_equal(
        PointsEncoder(num_points=4, order="index", normalise="none").encode(points)[0].numpy(), points[::2]
    )


def test_along_the_curve_neighbours_are_near() -> None:
    points = cloud(2048)
    steps = {}
    for order in (*CURVES, "index"):
        tokens = PointsEncoder(order=order).encode(points)[0]  # type: ignore[arg-type]
        steps[order] = tokens.diff(dim=0).norm(dim=1).mean().item()
    assert steps["hilbert"] < steps["morton"] < 0.35 * steps["index"]


def test_of_more_points_a_spread_is_kept_and_fewer_are_absent_at_the_end() -> None:
    points = np.stack([np.arange(100), np.zeros(100), np.zeros(100)], axis=1)
    encoder = PointsEncoder(num_points=10, order="morton", normalise="none")  # which follows an axis
    assert encoder.encode(points)[0][:, 0].tolist() == list(range(0, 100, 10))
    tokens, is_padding = encoder.encode(points[:7])
    assert is_padding is not None
    assert is_padding.tolist() == [False] * 7 + [True] * 3
    assert not tokens[7:].any()
    assert encoder.encode(points)[1] is None
    assert np.array_equal(encoder.to_value(tokens, is_padding), points[:7])


# ----------------------------------------------------------------------------------------------------- place and size


def test_sphere_and_box() -> None:
    points = cloud(64) * 7 + (100, -50, 3)
    sphere = PointsEncoder(num_points=64).encode(points)[0]
    assert_close(sphere.mean(0), 0.0, terms=64, scale=1)
    assert_close(sphere.norm(dim=1).max(), 1.0, terms=3)
    box = PointsEncoder(num_points=64, normalise="box").encode(points)[0]
    assert_close(box.amin(0), -box.amax(0), scale=1)
    assert_close(box.abs().max(), 1.0)
    for normalise in ("sphere", "box"):  # proportions are kept
        tokens = PointsEncoder(num_points=64, order="index", normalise=normalise).encode(points)[0]
        distances = np.linalg.norm(points[1:] - points[0], axis=1)
        ratio = distances / (tokens[1:] - tokens[0]).norm(dim=1).numpy()
        scale = ratio[0] * np.abs(points).max() / distances.min()
        assert_close(ratio, ratio[0], terms=3, scale=scale, dtype=torch.float32)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_any_unit_will_do(scale: float) -> None:
    points = cloud(64).astype(np.float64)
    for normalise in ("sphere", "box"):
        encoder = PointsEncoder(num_points=64, normalise=normalise)  # type: ignore[arg-type]
        assert_close(encoder.encode(points * scale)[0], encoder.encode(points)[0], terms=3)


@pytest.mark.parametrize("normalise", ["sphere", "box", "none"])
def test_an_augmentation_may_leave_one_place(normalise: Any) -> None:
    tokens, _ = PointsEncoder(num_points=4, normalise=normalise).to_tokens(np.ones((2, 3), dtype=np.float32))
    assert tokens.isfinite().all()


def test_fitted_takes_features_and_where_asked_coordinates() -> None:
    clouds = [cloud(50, 2, seed) * (1, 2, 3, 4, 5) + (0, 0, 7, 8, 9) for seed in range(3)]
    whole = np.concatenate(clouds)
    encoder = PointsEncoder(num_points=50, num_features=2).fitted([*clouds, "missing.npy"])
    assert_digits_close(encoder.mean, whole.mean(0)[3:])
    assert_digits_close(encoder.std, whole.std(0)[3:])
    encoder = PointsEncoder(num_points=50, num_features=2, normalise="none").fitted(clouds)
    assert_digits_close(encoder.mean, whole.mean(0), scale=whole.std(0) + np.abs(whole.mean(0)))
    tokens = torch.cat([encoder.encode(each)[0] for each in clouds])
    assert_digits_close(tokens.double().std(0, correction=0), 1.0)
    plain = PointsEncoder()
    assert plain.fitted(clouds) is plain
    with pytest.raises(ValueError, match="^nothing to take mean and std from: missing.npy: no such file"):
        encoder.fitted(["missing.npy"])


def test_decode_is_the_inverse() -> None:
    points = cloud(9, 1)
    encoder = PointsEncoder(
        num_points=12, num_features=1, order="index", normalise="none", mean=(1, 2, 3, 4), std=(2, 3, 4, 5)
    )
    assert_close(encoder.to_value(*encoder.encode(points)), points, terms=4, scale=8)
    encoder = PointsEncoder(num_points=9, num_features=1, order="index", mean=(4,), std=(5,))
    tokens = encoder.encode(points)[0]
    decoded = encoder.to_value(tokens)
    assert_close(decoded[:, 3], points[:, 3], terms=4, scale=8)
    assert np.array_equal(decoded[:, :3], tokens[:, :3].numpy())
    with pytest.raises(ValueError, match=re.escape("tokens: expected shape (9, 4), got (9, 3)")):
        encoder.to_value(tokens[:, :3])


def test_raw_points_and_values_are_not_changed() -> None:
    points = cloud(20, 1)
    before = points.copy()
    encoder = PointsEncoder(num_points=10, num_features=1, normalise="sphere")
    encoder.encode(points)
    assert np.array_equal(points, before)


# ------------------------------------------------------------------------------------------------------- settings


def test_its_modality_has_coordinates() -> None:
    assert PointsEncoder().modality == Modality(grid=(2048,), channels=3, num_coordinates=3)
    assert PointsEncoder(num_points=10, num_features=4).modality == Modality(grid=(10,), channels=7, num_coordinates=3)


def test_plain_values_and_back() -> None:
    assert ENCODERS["points"] is PointsEncoder
    encoder = PointsEncoder(num_points=9, num_features=1, order="morton", normalise="none", mean=(1, 2, 3, 4))
    assert encoder.std == (1.0,) * 4
    assert encoder_from_dict(encoder.to_dict()) == encoder
    assert encoder_from_dict({"kind": "points"}) == PointsEncoder()


@pytest.mark.parametrize(
    "settings",
    [
        {"order": "morton"},
        {"order": "index"},
        {"normalise": "box"},
        {"normalise": "none"},
        {"mean": (3,)},
        {"std": (2,)},
    ],
)
def test_every_setting_has_an_effect(settings: dict[str, Any]) -> None:
    points = cloud(64, 1)
    base: dict[str, Any] = {"num_points": 64, "num_features": 1}
    tokens = [PointsEncoder(**each).encode(points)[0] for each in (base, base | settings)]
    assert not torch.equal(*tokens)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_points": 0}, "num_points: expected a whole number >= 1, got 0"),
        ({"num_features": -1}, "num_features: expected a whole number >= 0, got -1"),
        ({"num_features": True}, "num_features: expected a whole number >= 0, got True"),
        ({"order": "random"}, "order: expected one of hilbert, morton, index, got 'random'"),
        ({"normalise": True}, "normalise: expected one of sphere, box, none, got True"),
        ({"mean": (1,)}, "mean: expected none without features, got (1,)"),
        ({"mean": (1,), "num_features": 2}, "mean: expected 2 numbers, one for each channel, got (1.0,)"),
        ({"std": (0,), "num_features": 1}, "std[0]: expected a number above 0, got 0"),
        ({"mean": (1,), "normalise": "none"}, "mean: expected 3 numbers, one for each channel, got (1.0,)"),
    ],
)
def test_mistakes_in_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        PointsEncoder(**settings)
    assert str(error.value) == message


# ------------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (np.zeros((0, 3)), "is empty (shape (0, 3))"),
        ([], "is empty (shape (0,))"),
        (np.ones((5, 4)), "expected points of shape (N, 3) with num_features=0, got (5, 4)"),
        (np.ones(3), "expected points of shape (N, 3) with num_features=0, got (3,)"),
        (np.ones((2, 5, 3)), "expected points of shape (N, 3) with num_features=0, got (2, 5, 3)"),
        (np.ones((5, 3)), "expected points in different places, got 5 in one"),
        (np.zeros((1, 3)), "expected points in different places, got 1 in one"),
        ([[0, 0, 0], [1, np.nan, 0]], "expected finite numbers, got nan at (1, 1)"),
        ([[0, 0, 0], [1, -np.inf, 0]], "expected finite numbers, got -inf at (1, 1)"),
        ([[0, 0, 0], [1, 1e300, 0]], "expected finite numbers, got 1e+300 at (1, 1)"),
        (np.array([["a", "b", "c"]]), "expected real numbers, got <U1 of shape (1, 3)"),
        (np.ones((2, 3), dtype=complex), "expected real numbers, got complex128 of shape (2, 3)"),
        (7, "expected an array, lists of numbers, a path or bytes, got int"),
        (None, "expected an array, lists of numbers, a path or bytes, got NoneType"),
        (b"", "is empty (0 bytes)"),
        (SQUARE[:-12], "is cut off: expected 4 vertices and 2 faces, got 5 lines of them"),
        (SQUARE[:-3], "is damaged: expected 3 numbers in each of the 2 lines of triangles"),
        (SQUARE.replace(b"1 1 0", b"1 1"), "is damaged: expected 3 numbers in each of the 4 lines of vertices"),
        (
            SQUARE.replace(b"3 0 2 3", b"4 0 2 3"),
            "is damaged: expected a number of corners and the corners, got '4 0 2 3'",
        ),
        (b"OFF\n3 1 0\n0 0 0\n1 1 1\n2 2 2\n3 0 1 2\n", "expected a surface, got 1 triangles without area"),
        (b"OFF\n0 0 0\n", "holds no points"),
        (SQUARE.replace(b"1 1 0", b"1 nan 0"), "expected finite numbers, got corners that are not"),
        (SQUARE.replace(b"3 0 2 3", b"3 0 2 9"), "expected faces of vertices 0 to 3, got 0 to 9"),
    ],
)
def test_bad_clouds(raw: Any, message: str) -> None:
    assert fault(PointsEncoder(), raw) == message


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.png", b"\x89PNG", "expected a file of points or a mesh (.csv, .glb, .npy, .npz, .obj, .off, .ply, .pts, "),
        ("a", b"1 2 3\n", "expected a file of points or a mesh (.csv, .glb, "),
        ("a.csv", b"", "is empty (0 bytes)"),
        ("a.off", b"", "is empty (0 bytes)"),
        ("a.csv", b"1,2,3\n4,5\n", "line 2: expected 3 cells, as in line 1, got 2"),
        ("a.xyz", b"1 2 3\n4 5 six\n", "line 2, cell 3: expected a number, got 'six'"),
        ("a.xyz", b"3\n1 2 3\n4 5 6\n", "its first line says 3 points, got 2"),
        ("a.pts", b"2\n", "its first line says 2 points, got none"),
        ("a.txt", b"\xff\xfe\x00", "expected text in UTF-8, got the byte 0x00 at 2"),
        ("a.csv", b"1,2,3\n4,,6\n", "expected finite numbers, got nan at (1, 1)"),
        ("a.off", b"PLY", "is damaged, or is no .off file: expected OFF and the numbers of vertices and faces"),
        ("a.off", b"OFF BINARY\n\x00\x01", "is damaged, or is no .off file: expected OFF and the numbers of "),
        ("a.stl", b"", "is empty (0 bytes)"),
        ("a.obj", b"nothing at all", "holds no points"),
        ("a.ply", b"plywood", ""),
        ("a.glb", b"glTF", ""),
        ("a.npy", b"\x93NUMPY", ""),
        ("a.npz", b"PK\x03\x04", ""),
    ],
)
def test_bad_files_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert fault(PointsEncoder(), tmp_path / name).startswith(f"{tmp_path / name}: {message}")


def test_places_where_there_is_no_file(tmp_path: Path) -> None:
    assert fault(PointsEncoder(), tmp_path / "a.off") == f"{tmp_path / 'a.off'}: no such file or directory"
    (tmp_path / "folder.npy").mkdir()
    assert fault(PointsEncoder(), tmp_path / "folder.npy") == f"{tmp_path / 'folder.npy'}: is a directory"


def test_nothing_is_unpickled() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert fault(PointsEncoder(), buffer.getvalue()) == "expected real numbers, got pickled Python objects"


def test_meshes_have_no_features() -> None:
    assert fault(PointsEncoder(num_features=3), SQUARE) == (
        "expected points of shape (N, 6) with num_features=3, got (2048, 3)"
    )


@pytest.mark.parametrize("kind", ["off", "obj", "ply", "ply_ascii", "stl", "stl_ascii", "glb", "npy", "npz", "xyz"])
def test_a_sweep_of_damage(tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Cut off or overwritten anywhere, a file gives finite points or a fault of one line, and nothing is printed."""
    if kind in ("npy", "npz", "xyz"):
        buffer = io.BytesIO()
        save = {"npy": np.save, "npz": np.savez, "xyz": np.savetxt}[kind]
        save(buffer, cloud(20))  # type: ignore[operator]
        content = buffer.getvalue()
    else:
        content = file_of(trimesh.creation.box(), kind)
    path = tmp_path / f"a.{kind.partition('_')[0]}"
    encoder = PointsEncoder(num_points=20)
    rng = np.random.default_rng(0)
    damaged = [content[:length] for length in np.linspace(0, len(content) - 2, 60).astype(int)]
    for _ in range(100):
        bytes_ = bytearray(content)
        for place in rng.integers(0, len(content), size=rng.integers(1, 8)):
            bytes_[place] = rng.integers(0, 256)
        damaged.append(bytes(bytes_))
    faults = []
    for each in [*damaged, rng.bytes(500)]:
        path.write_bytes(each)
        try:
            assert np.isfinite(encoder.decode(path)).all()
        except ValueError as error:
            faults.append(error)
    assert len(faults) > 30
    for error in faults:
        assert type(error) is ValueError
        assert str(error).startswith(f"{path}: ")
        assert "\n" not in str(error)
    printed = capfd.readouterr()
    assert printed.out == printed.err == ""


def test_a_cut_off_mesh_of_known_length_is_never_read(tmp_path: Path) -> None:
    mesh = trimesh.creation.box()
    for kind in ("off", "ply", "ply_ascii", "stl", "glb"):
        content = file_of(mesh, kind)
        path = tmp_path / f"a.{kind.partition('_')[0]}"
        for length in np.linspace(1, len(content) - 9, 40).astype(int):
            path.write_bytes(content[:length])
            fault(PointsEncoder(), path)


def test_every_ending_is_read_somewhere_above() -> None:
    assert set(MESH_STARTS) == {".glb", ".obj", ".off", ".ply", ".stl"}
    assert set(TABLE_ENDINGS) == {".csv", ".npy", ".npz", ".pts", ".tsv", ".txt", ".xyz"}


# --------------------------------------------------------------------------------------------------------- a model


@pytest.mark.parametrize("positions", ["learned", "coordinate"])
@pytest.mark.parametrize("order", ["hilbert", "morton", "index"])
def test_shuffling_does_not_change_what_a_model_says(positions: str, order: Any) -> None:
    encoder = PointsEncoder(num_points=256, order=order)
    torch.manual_seed(0)
    model = create_model("hip-nano", modalities={"cloud": encoder.modality}, positions=positions).eval()
    head = torch.nn.Linear(model.processor.config.num_channels, 40)
    points = cloud(300)

    def say(raw: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            output = model({"cloud": encoder.encode(raw)[0][None]})
        return output.latents, head(output.processor_latents.mean(1))

    whole, shuffled = say(points), say(np.random.default_rng(5).permutation(points))
    for a, b in zip(whole, shuffled, strict=True):
        assert torch.equal(a, b) == (order != "index")


@pytest.mark.parametrize("normalise", ["sphere", "box"])
@pytest.mark.parametrize("place", [(3.5e6, 5.8e6, 100.0), (-1e9, 0.0, 0.0), (0.0, 1e4, -1e7)])
def test_a_cloud_far_from_the_origin_keeps_its_shape(normalise: str, place: tuple[float, float, float]) -> None:
    """In map coordinates, in double precision, it is as at the origin."""
    cloud = np.random.default_rng(0).random((256, 4)) * (1, 1, 0.2, 1)
    encoder = PointsEncoder(num_points=256, num_features=1, normalise=normalise)
    here, _ = encoder.encode(cloud)
    there, _ = encoder.encode(cloud + np.array([*place, 0.0]))
    step = np.spacing(max(map(abs, place)))  # of float64 there
    assert_within(np.abs(there.numpy() - here.numpy()), 0.0, 1e-6 + 4 * step)


def test_a_cloud_far_from_the_origin_is_refused_where_its_place_matters() -> None:
    cloud = np.random.default_rng(0).random((256, 3)) + np.array([3.5e6, 5.8e6, 100.0])
    with pytest.raises(ValueError, match=r"^expected numbers that float32 can tell apart, got numbers from 3500000"):
        PointsEncoder(num_points=256, num_features=0, normalise="none").encode(cloud)


@pytest.mark.parametrize("shape", [(3, 256), (6, 100), (4, 64), (3, 10)])
def test_points_in_columns_are_refused_until_they_are_said(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=rf"num_features: .*, got \({shape[0]}, {shape[1]}\); transpose them"):
        PointsEncoder.chosen_settings([np.zeros(shape)], {})
    assert PointsEncoder.chosen_settings([np.zeros(shape[::-1])], {})["num_features"] == shape[0] - 3


@pytest.mark.parametrize("names", ["x,y,z,n", "n,x,y,z", "Z,n,Y,X", "id,x,y,z"])
def test_coordinates_are_found_by_their_names(names: str) -> None:
    rng = np.random.default_rng(0)
    columns = dict(zip("xyzn", rng.normal(size=(4, 20)).round(6), strict=True))
    columns["id"] = columns["n"]
    table = np.stack([columns[name.lower() if name != "id" else "id"] for name in names.split(",")], 1)
    text = f"{names}\n" + "".join(",".join(map(str, row)) + "\n" for row in table.tolist())
    found = PointsEncoder(num_points=20, num_features=1).decode(text.encode())
    np.testing.assert_array_equal(found, np.stack([columns[name] for name in "xyzn"], 1).astype(np.float32))


@pytest.mark.parametrize("place", [(3.5e6, 5.8e6, 100.0), (-1e9, 0.0, 0.0), (0.0, 2e6, 0.0)])
def test_a_far_cloud_in_float32_has_lost_its_shape_and_is_refused(place: tuple[float, float, float]) -> None:
    cloud = np.random.default_rng(0).random((256, 3)) * (1, 1, 0.2) + place
    encoder = PointsEncoder(num_points=256)
    encoder.encode(cloud)
    with pytest.raises(ValueError, match=r"^expected points that float32 can tell apart, got a cloud .* wide in steps"):
        encoder.encode(cloud.astype(np.float32))
    wide = np.random.default_rng(0).random((256, 3)) * np.abs(place).max() / 100 + place
    encoder.encode(wide.astype(np.float32))


@pytest.mark.parametrize("name", ["a.pts", "a.xyz", "a.txt", "bytes"])
def test_features_are_counted_below_the_number_of_points(tmp_path: Path, name: str) -> None:
    content = b"9\n" + b"1 2 3 0.5\n4 5 6 0.25\n7 8 9.5 0\n" * 3
    (tmp_path / name).write_bytes(content)
    raw = content if name == "bytes" else tmp_path / name
    assert PointsEncoder.chosen_settings([raw], {})["num_features"] == 1
    assert PointsEncoder(num_features=1).decode(raw)[1].tolist() == [4, 5, 6, 0.25]


def test_features_are_matched_by_name() -> None:
    rows = [[1, 2, 3, 0.5, 7], [4, 5, 6, 0.25, 8], [7, 8, 10, 0.125, 9], [0, 1, 1, 0, 6], [2, 2, 2, 1, 5]]
    forms = {"x,y,z,n,ring": (0, 1, 2, 3, 4), "Ring,Z,X,Y,N": (4, 2, 0, 1, 3), "ring,n,other,z,y,x": (4, 3, 0, 2, 1, 0)}
    raws = [
        "\n".join((names, *(",".join(str(row[column]) for column in columns) for row in rows))).encode()
        for names, columns in forms.items()
    ]
    chosen = PointsEncoder.chosen_settings(raws, {})
    assert (chosen["num_features"], chosen["feature_names"]) == (2, ("n", "ring"))
    encoder = PointsEncoder(**chosen)
    for raw in raws:
        assert encoder.decode(raw).tolist() == rows
    assert "expected the columns x, y, z, n, ring, got x, y, z, n; no 'ring'" in fault(encoder, b"x,y,z,n\n1,2,3,4\n")
    assert PointsEncoder.chosen_settings(raws, {"feature_names": ("n",)})["num_features"] == 1
    with pytest.raises(ValueError, match=r"^feature_names: expected 2, one for each feature, got 1"):
        PointsEncoder(num_features=2, feature_names=("n",))


@pytest.mark.parametrize(
    ("kind", "is_mesh"),  # an STL file has no points alone
    [("ply", True), ("ply", False), ("glb", True), ("glb", False), ("stl", True)],
)
def test_meshes_in_single_precision_far_from_the_origin_are_refused(tmp_path: Path, kind: str, is_mesh: bool) -> None:
    for name, place in (("far", (3.5e6, 5.8e6, 100.0)), ("near", (3.5e3, 5.8e3, 100.0))):
        ball = trimesh.creation.icosphere()
        ball.apply_translation(place)
        path = tmp_path / f"{name}.{kind}"
        path.write_bytes(file_of(ball if is_mesh else trimesh.PointCloud(ball.vertices), kind))
        if name == "far":
            assert "expected points that float32 can tell apart, got a cloud 2 wide" in fault(PointsEncoder(), path)
        else:
            PointsEncoder().encode(path)
    exact = tmp_path / "a.off"  # text has all digits
    exact.write_bytes(file_of(trimesh.creation.icosphere().apply_translation((3.5e6, 5.8e6, 100.0)), "off"))
    PointsEncoder().encode(exact)


@pytest.mark.parametrize("shift", [0.0, 5.0])
def test_points_that_were_not_seen_are_refused(shift: float) -> None:
    cloud = np.random.default_rng(0).uniform(-1, 1, (100, 3)) + np.array([0, 0, shift])
    cloud[40:] = 0
    for normalise in ("sphere", "none"):
        encoder = PointsEncoder(num_points=64, normalise=normalise, mean=(0,) * 3 * (normalise == "none"))
        if shift:
            with pytest.raises(
                ValueError, match="^has 60 of 100 points at 0, 0, 0, beside all others: leave them out$"
            ):
                encoder.encode(cloud)
            encoder.encode(cloud[:41])  # one may be a place
        else:
            encoder.encode(cloud)


def test_copies_of_a_point_take_no_places() -> None:
    """Data sets fill clouds up to one size with copies."""
    cloud = np.random.default_rng(0).random((200, 3)).astype(np.float32)
    filled = np.concatenate([cloud, np.repeat(cloud[:1], 2000, 0)])
    encoder = PointsEncoder(num_points=64)
    assert torch.equal(encoder.encode(filled)[0], encoder.encode(cloud)[0])
    tokens, is_padding = encoder.encode(np.repeat(cloud[:10], 20, 0))
    assert is_padding is not None
    assert is_padding.tolist() == [False] * 10 + [True] * 54
    assert len(torch.unique(tokens[:10], dim=0)) == 10


def test_one_far_point_of_a_few_is_refused() -> None:
    cloud = np.random.default_rng(0).random((20, 3))
    PointsEncoder(num_points=32).encode(np.concatenate([cloud, [[1e4, 0, 0]]]))
    assert "has a point 2" in fault(PointsEncoder(num_points=32), np.concatenate([cloud, [[1e7, 0, 0]]]))


def test_faces_of_vertices_below_zero_are_refused() -> None:
    """Python would count these from the end."""
    head = "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    head += "element face 1\nproperty list uchar int vertex_indices\nend_header\n0 0 0\n1 0 0\n0 1 0\n"
    assert PointsEncoder(num_points=8).decode((head + "3 0 1 2\n").encode()).shape == (8, 3)
    assert fault(PointsEncoder(), (head + "3 0 1 -1\n").encode()) == "expected faces of vertices 0 and more, got -1"


def test_faces_of_the_last_vertices_so_far_are_where_they_are() -> None:
    """As some programs write OBJ files: each part with its vertices and their numbers from behind."""
    part = "v {0} 0 0\nv {1} 0 0\nv {0} 1 0\nvn 0 0 1\nf {2}\n"
    from_behind = "".join(part.format(x, x + 1, "-3//-1 -2//-1 -1//-1") for x in (0, 5))
    from_the_start = "".join(part.format(x, x + 1, f"{n}//1 {n + 1}//1 {n + 2}//1") for x, n in ((0, 1), (5, 4)))
    cloud, again = (points_of_mesh(text.encode(), ".obj", 100) for text in (from_behind, from_the_start))
    np.testing.assert_array_equal(cloud, again)
    assert cloud[:, 0].min() < 1 and cloud[:, 0].max() > 5


def test_more_lines_than_an_off_file_states_are_refused() -> None:
    text = "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n{}3 0 1 2\n"
    assert PointsEncoder(num_points=8).decode(text.format("").encode()).shape == (8, 3)
    expected = "is damaged: expected 3 vertices and 1 faces, got 5 lines of them"
    assert fault(PointsEncoder(), text.format("0 0 1\n").encode()) == expected


@pytest.mark.parametrize("order", ["little", "big"])
def test_binary_ply_files_may_mix_polygons(order: str) -> None:
    """As modelling programs write them."""
    corners, polygons = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [3, 0, 0]]), [(0, 1, 2, 3), (1, 4, 2)]
    head = f"ply\nformat binary_{order}_endian 1.0\nelement vertex 5\n"
    head += "property uchar red\n" + "".join(f"property float {axis}\n" for axis in "xyz")
    head += "element face 2\nproperty uchar flags\nproperty list uchar int vertex_indices\nend_header\n"
    sign = ">" if order == "big" else "<"
    rows = [struct.pack(f"{sign}B3f", 7, *corner) for corner in corners]
    rows += [struct.pack(f"{sign}BB{len(each)}i", 0, len(each), *each) for each in polygons]
    content = head.encode() + b"".join(rows)
    expected = sample_surface(corners[[[0, 1, 2], [0, 2, 3], [1, 4, 2]]], 50)
    np.testing.assert_array_equal(points_of_mesh(content, ".ply", 50), expected)
    assert fault(PointsEncoder(), content + b"xy").startswith("is damaged: expected ")
    with pytest.raises(ValueError, match=r"."):
        PointsEncoder().decode(content[:-3])
