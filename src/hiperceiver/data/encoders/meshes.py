"""Files of meshes: read, and sampled evenly over their surface."""

import json
import logging
import re
import zlib
from io import BytesIO
from itertools import pairwise, product
from typing import Any

import numpy as np

from hiperceiver import limits
from hiperceiver.data.packages import import_extra

MESH_STARTS = {".glb": b"glTF", ".obj": None, ".off": b"OFF", ".ply": b"ply", ".stl": None}
"""Endings of files of meshes -> how such a file begins, where that tells it from others."""

_LAST_SO_FAR = re.compile(r"^\s*[flp]\s.*-\d", re.MULTILINE)
_COARSEST = 0.01  # what float32 may round a place by, as a share of the cloud's extent
_QUIET = logging.NullHandler()
_PLY_TYPES = {
    name.encode(): kind
    for names, kind in (
        *(("char int8", "i1"), ("uchar uint8", "u1"), ("short int16", "i2"), ("ushort uint16", "u2")),
        *(("int int32", "i4"), ("uint uint32", "u4"), ("float float32", "f4"), ("double float64", "f8")),
    )
    for name in names.split()
}
"""Numbers in a PLY file, as NumPy calls them."""


def points_of_mesh(content: bytes, ending: str, count: int) -> np.ndarray:
    """`count` points of a mesh's surface, or all points of a file without faces: (N, 3). Faults: see `faults_of`."""
    if ending == ".off":
        vertices, faces = _read_off(content)
        surfaces, clouds = ([vertices[faces]] if len(faces) else []), [vertices]
    else:
        parts = _read_with_trimesh(content, ending)
        surfaces = [part.triangles for part in parts if len(getattr(part, "faces", ()))]
        if (least := min((int(part.faces.min()) for part in parts if len(getattr(part, "faces", ()))), default=0)) < 0:
            raise ValueError(f"expected faces of vertices 0 and more, got {least}")
        clouds = [np.asarray(part.vertices) for part in parts if len(getattr(part, "vertices", ()))]
    vertices = np.concatenate([*clouds, np.zeros((0, 3))])
    with np.errstate(over="ignore"):
        is_single = bool((vertices.astype(np.float32) == vertices).all())  # as these files mostly store it
    if is_single and len(vertices):
        check_places(vertices)
    if surfaces:
        return sample_surface(np.concatenate(surfaces), count)
    if not len(vertices):
        raise ValueError("holds no points")
    return vertices


def check_places(coordinates: np.ndarray) -> None:
    """Refuse a cloud in float32 that lies so far away that few places are left to its points."""
    extent = float(np.ptp(coordinates.astype(np.float64), axis=0).max())
    step = float(np.spacing(np.float32(np.abs(coordinates).max())))
    if np.isfinite(step) and step > _COARSEST * extent > 0:
        found = f"got a cloud {extent:.3g} wide in steps of {step:.3g}"
        raise ValueError(f"expected points that float32 can tell apart, {found}: store them as float64")


def sample_surface(triangles: np.ndarray, count: int) -> np.ndarray:
    """Points spread evenly over triangles (T, 3, 3): float64 (count, 3). The same triangles give the same points.

    Every point stands for the same area; where in its share of the surface it lies is drawn at random.
    """
    corners = np.ascontiguousarray(triangles, dtype=np.float64)
    if not np.isfinite(corners).all():
        raise ValueError("expected finite numbers, got corners that are not")
    a, ab, ac = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    with np.errstate(over="ignore", invalid="ignore"):
        ends = np.cumsum(np.linalg.norm(np.cross(ab, ac), axis=1))  # of each triangle's share of twice the area
    if not (ends[-1] > 0 and np.isfinite(ends[-1])):
        raise ValueError(f"expected a surface, got {len(corners)} triangles without area")
    rng = np.random.default_rng(zlib.crc32(corners.tobytes()))
    at = (np.arange(count) + rng.random(count)) / count * ends[-1]
    chosen = np.minimum(np.searchsorted(ends, at, side="right"), len(corners) - 1)
    u, v = rng.random((2, count, 1))
    is_outside = u + v > 1  # in the other half of the parallelogram
    u, v = np.where(is_outside, 1 - u, u), np.where(is_outside, 1 - v, v)
    return a[chosen] + u * ab[chosen] + v * ac[chosen]


def _read_with_trimesh(content: bytes, ending: str) -> list[Any]:
    """The parts of a file's scene, each where the scene has it."""
    trimesh = import_extra("trimesh", extra="data")
    logging.getLogger("trimesh").addHandler(_QUIET)  # its warnings would be printed where nobody set up logging
    if ending == ".obj":
        content = _counted_from_the_start(content.decode("utf-8", errors="replace")).encode()  # comments: any encoding
    if ending == ".ply":
        _check_ply(content)
    if ending == ".glb":
        _check_glb(content)
    try:
        scene = trimesh.load_scene(BytesIO(content), file_type=ending[1:], process=False)
        shown = [scene.geometry[scene.graph[node][1]] for node in scene.graph.nodes_geometry]
        sizes = (72 * len(getattr(part, "faces", ())) + 24 * len(getattr(part, "vertices", ())) for part in shown)
        limits.FILE.check(sum(sizes), "its scene shows")  # a mesh may be in it any number of times
        return scene.dump()
    except ValueError as error:
        if ending == ".ply" and "unexpected length" in str(error):
            return [trimesh.Trimesh(*_read_mixed_ply(content), process=False)]
        raise
    except (ImportError, MemoryError):  # of a package that guesses the encoding of text; of a size that is damaged
        raise ValueError(f"is damaged, or is no {ending} file") from None


def _read_mixed_ply(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) and triangles (T, 3) of a binary PLY file whose faces have several numbers of corners.

    trimesh does not read it.
    """
    header, _, body = content.partition(b"end_header")
    order, at = ">" if b"binary_big_endian" in header else "<", body.index(b"\n") + 1
    elements: list[tuple[bytes, int, list[list[bytes]]]] = []
    for words in map(bytes.split, header.splitlines()):
        if words[:1] == [b"element"]:
            elements.append((words[1], int(words[2]), []))
        elif words[:1] == [b"property"]:
            elements[-1][2].append(words[1:])
    vertices, triangles = np.zeros((0, 3)), []
    for name, count, properties in elements:
        if not any(each[0] == b"list" for each in properties):
            dtype = np.dtype([(each[1].decode(), order + _PLY_TYPES[each[0]]) for each in properties])
            rows = np.frombuffer(body, dtype, count, at)
            at += rows.nbytes
            if name == b"vertex":
                vertices = np.stack([rows[axis] for axis in "xyz"], 1).astype(np.float64)
            continue
        for _, each in product(range(count), properties):
            length = 1
            if each[0] == b"list":
                (length,) = lengths = np.frombuffer(body, order + _PLY_TYPES[each[1]], 1, at)
                at += lengths.nbytes
            corners = np.frombuffer(body, order + _PLY_TYPES[each[-2]], length, at)
            at += corners.nbytes
            if name == b"face" and each[-1] in (b"vertex_indices", b"vertex_index"):
                triangles += [(corners[0], b, c) for b, c in pairwise(corners[1:])]
    if at != len(body):
        raise ValueError(f"is damaged: expected {at} bytes after its header, got {len(body)}")
    return vertices, np.array(triangles, dtype=np.int64).reshape(-1, 3)


def _counted_from_the_start(text: str) -> str:
    """An OBJ file without faces of the last vertices so far, -1 and so on, which trimesh takes for the file's last."""
    if not _LAST_SO_FAR.search(text):
        return text
    counts, lines = {"v": 0, "vt": 0, "vn": 0}, text.splitlines()
    for number, line in enumerate(lines):
        kind, *corners = line.split() or [""]
        if kind in counts:
            counts[kind] += 1
        elif kind in ("f", "l", "p") and "-" in line:
            parts = [zip(corner.split("/"), counts.values(), strict=False) for corner in corners]
            places = [[str(int(p) + count + 1) if p.startswith("-") else p for p, count in each] for each in parts]
            lines[number] = " ".join([kind, *map("/".join, places)])
    return "\n".join(lines)


def _read_off(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) and triangles (T, 3) of an OFF file.

    Not with trimesh, which reads what is left of a file that is cut off, and takes five times as long.
    """
    text = content.decode("utf-8", errors="replace")  # comments may be in any encoding
    lines = [line for each in text.splitlines() if (line := each.partition("#")[0].strip())]
    _, is_off, counts = lines.pop(0).partition("OFF") if lines else ("", "", "")
    if not counts.strip() and lines:  # else they are glued to the OFF, as in some files of ModelNet40
        counts = lines.pop(0)
    sizes = [int(each) for each in counts.split()[:2] if each.isdecimal()]
    if not is_off or len(sizes) < 2:
        raise ValueError("is damaged, or is no .off file: expected OFF and the numbers of vertices and faces")
    num_vertices, num_faces = sizes
    if len(lines) != num_vertices + num_faces:
        is_cut = len(lines) < num_vertices + num_faces
        expected = f"{num_vertices} vertices and {num_faces} faces"
        raise ValueError(
            f"is {'cut off' if is_cut else 'damaged'}: expected {expected}, got {len(lines)} lines of them"
        )
    vertices = _columns(lines[:num_vertices], (0, 1, 2), np.float64, "vertices")
    faces = _triangles(lines[num_vertices : num_vertices + num_faces])
    if len(faces) and (faces.min() < 0 or faces.max() >= num_vertices):
        raise ValueError(f"expected faces of vertices 0 to {num_vertices - 1}, got {faces.min()} to {faces.max()}")
    return vertices, faces


def _triangles(lines: list[str]) -> np.ndarray:
    """Lines of "3 a b c", or of polygons with more corners, which become fans: (T, 3)."""
    if all(line.startswith("3 ") for line in lines):
        return _columns(lines, (1, 2, 3), np.int64, "triangles")
    triangles = []
    for line in lines:
        count, *cells = line.split()  # colours may follow the corners
        if not count.isdecimal() or len(cells) < int(count):
            raise ValueError(f"is damaged: expected a number of corners and the corners, got {line[:40]!r}")
        corners = [int(each) for each in cells[: int(count)]]
        triangles += [(corners[0], b, c) for b, c in pairwise(corners[1:])]
    return np.array(triangles, dtype=np.int64).reshape(-1, 3)


def _columns(lines: list[str], columns: tuple[int, int, int], dtype: type, name: str) -> np.ndarray:
    """Three columns of a table: (L, 3)."""
    if not lines:
        return np.zeros((0, 3), dtype=dtype)
    try:
        return np.loadtxt(lines, dtype=dtype, usecols=columns, ndmin=2)
    except ValueError:
        raise ValueError(f"is damaged: expected 3 numbers in each of the {len(lines)} lines of {name}") from None


def _check_glb(content: bytes) -> None:
    """Refuse a glTF file with arrays of zeros that are not in the file, and large."""
    description = json.loads(content[20 : 20 + int.from_bytes(content[12:16], "little")])
    zeros = [each["count"] for each in description.get("accessors", ()) if "bufferView" not in each]
    limits.FILE.check(64 * sum(zeros), "it has arrays of")


def _check_ply(content: bytes) -> None:
    """Refuse a PLY file that is cut off, of which trimesh would read the rest."""
    header, _, body = content.partition(b"end_header")
    words = [line.split() for line in header.splitlines()]
    counts, sizes = [], []
    for line in words:
        if line[:1] == [b"element"] and len(line) == 3 and line[2].isdigit():
            counts.append(int(line[2]))
            sizes.append(0)
        elif line[:1] == [b"property"] and len(line) > 2 and sizes:
            kind = line[2 if line[1] == b"list" else 1]  # of a list at least its length
            sizes[-1] += np.dtype(_PLY_TYPES.get(kind, "u1")).itemsize
    if [b"format", b"ascii", b"1.0"] in words:
        num_lines = len([line for line in body.splitlines() if line.strip()])
        if num_lines != sum(counts):
            raise ValueError(f"is cut off or damaged: expected {sum(counts)} lines after its header, got {num_lines}")
    elif len(body) < (least := sum(count * size for count, size in zip(counts, sizes, strict=True))):
        raise ValueError(f"is cut off or damaged: expected at least {least} bytes after its header, got {len(body)}")
