"""Small real files of sounds, arrays and shards, made by the tests that read them."""

import struct
import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np


def wav(pitch: float = 440.0, *, seconds: float = 0.1, rate: int = 16000) -> bytes:
    """A tone as a WAV file of 16 bits, mono."""
    times = np.arange(round(seconds * rate)) / rate
    samples = (20000 * np.sin(2 * np.pi * pitch * times)).astype("<i2").tobytes()
    header = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    body = b"WAVE" + header + struct.pack("<4sI", b"data", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", len(body)) + body


def npy(values: np.ndarray) -> bytes:
    """An array as an .npy file."""
    file = BytesIO()
    np.save(file, values)
    return file.getvalue()


def off(points: np.ndarray) -> bytes:
    """A mesh of triangles over points (N, 3), N >= 3, as an OFF file."""
    rows = [" ".join(f"{x:.6f}" for x in point) for point in points]
    faces = [f"3 0 {n} {n + 1}" for n in range(1, len(points) - 1)]
    return "\n".join(["OFF", f"{len(points)} {len(faces)} 0", *rows, *faces, ""]).encode()


def tar(path: Path, files: dict[str, bytes]) -> Path:
    """Writes a tar file of these files, in their order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, BytesIO(content))
    return path
