"""Crafted meshes and clouds of points."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hiperceiver.data.encoders import PointsEncoder

from .harness import assert_refused, run_apart

POINTS = PointsEncoder(num_points=64)
TRIANGLE = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], "<f4").tobytes()


def _glb(nodes: list[dict[str, Any]], *, text: bytes = b"", **changed: Any) -> bytes:
    """A binary glTF file of one triangle, which nodes show."""
    scene = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": nodes,
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "mode": 4}]}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}],
        "bufferViews": [{"buffer": 0, "byteOffset": 0, "byteLength": 36}],
        "buffers": [{"byteLength": 36}],
        **changed,
    }
    text = text or json.dumps(scene).encode()
    text += b" " * (-len(text) % 4)
    body = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", 36, 0x004E4942) + TRIANGLE
    return b"glTF" + struct.pack("<II", 2, 12 + len(body)) + body


def _laughing(depth: int) -> list[dict[str, Any]]:
    """Nodes of which each has two children, both of which have the same two, and so on: 2 to the depth triangles."""
    nodes: list[dict[str, Any]] = [{"children": [1, 2]}]
    for level in range(depth):
        below = [3 + 2 * level, 4 + 2 * level]
        nodes += [{"children": below}, {"children": below}]
    return [*nodes, {"mesh": 0}, {"mesh": 0}]


@pytest.fixture(scope="module", autouse=True)
def _readers_are_loaded() -> None:
    POINTS.read(_glb([{"mesh": 0}]))
    POINTS.read(_ply("2", kind="ascii", content=b"0 0 0\n1 1 1\n"))


def _ply(vertices: str, faces: str = "0", *, kind: str = "binary_little_endian", content: bytes = TRIANGLE) -> bytes:
    axes = "".join(f"property float {axis}\n" for axis in "xyz")
    header = f"ply\nformat {kind} 1.0\ncomment TextureFile ../../canary\nelement vertex {vertices}\n{axes}"
    return f"{header}element face {faces}\nproperty list int int vertex_indices\nend_header\n".encode() + content


FILES = {
    "huge.ply": _ply("1000000000000"),
    "huge_faces.ply": _ply("3", "1000000000"),
    "polygon.ply": _ply("3", "1", content=TRIANGLE + struct.pack("<iiii", 2**31 - 1, 0, 1, 2)),
    "negative.ply": _ply("-3"),
    "digits.ply": _ply("9" * 5000),
    "text.ply": _ply("1000000000000", kind="ascii", content=b"0 0 0\n"),
    "huge.off": b"OFF\n1000000000000 1000000000000 0\n0 0 0\n",
    "digits.off": b"OFF\n" + b"9" * 4000 + b" 1 0\n0 0 0\n",
    "polygon.off": b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n1000000000 0 1 2\n",
    "huge.stl": bytes(80) + struct.pack("<I", 2**32 - 1) + bytes(50),
    "outside.obj": b"mtllib ../../canary\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 1000000000\n",
    "huge.glb": _glb([{"mesh": 0}], accessors=[{"componentType": 5126, "count": 10**10, "type": "VEC3"}]),
    "many.glb": _glb([{"mesh": 0}], accessors=[{"componentType": 5126, "count": 5 * 10**7, "type": "VEC3"}]),
    "view.glb": _glb([{"mesh": 0}], bufferViews=[{"buffer": 0, "byteOffset": 0, "byteLength": 2**40}]),
    "outside.glb": _glb([{"mesh": 0}], buffers=[{"byteLength": 36, "uri": "../../../../etc/passwd"}]),
    "circle.glb": _glb([{"children": [0]}]),
    "nested.glb": _glb([], text=b"[" * 100_000),
    "chunk.glb": b"glTF" + struct.pack("<IIII", 2, 2**32 - 1, 2**32 - 1, 0x4E4F534A) + b"{}",
}


@pytest.mark.parametrize("name", FILES)
def test_meshes_that_promise_too_much_are_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIPERCEIVER_MAX_FILE_MB", "128")
    path = tmp_path / name
    path.write_bytes(FILES[name])
    assert_refused(lambda: POINTS.read(str(path)), path)


def test_a_scene_that_shows_a_mesh_a_billion_times_is_read_or_refused_in_no_time(tmp_path: Path) -> None:
    content = _glb(_laughing(30))

    def read() -> list[int]:
        try:
            return list(POINTS.read(content).shape)
        except ValueError:
            return []

    assert run_apart(read).result in ([], [64, 3])


def test_a_scene_of_many_copies_of_a_large_mesh_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIPERCEIVER_MAX_FILE_MB", "1")
    nodes = [{"children": [*range(1, 15_001)]}, *({"mesh": 0} for _ in range(15_000))]
    path = tmp_path / "copies.glb"
    path.write_bytes(_glb(nodes))
    # A megabyte of JSON becomes as many objects of Python, and the library looks at each.
    assert_refused(lambda: POINTS.read(str(path)), path, "its scene shows", seconds=5)
