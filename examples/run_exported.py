"""Run a model that `hip export` wrote on a picture or a sound, without PyTorch."""

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime


def picture_tokens(path: str, encoder: dict) -> np.ndarray:
    """The middle of a picture of 8 bits, or all of it squashed, as normalised pixels: (h, w, C)."""
    from PIL import Image, ImageOps

    rows, columns = encoder["size"]
    with Image.open(path) as file:
        picture = ImageOps.exif_transpose(file).convert(encoder["colours"])
    scale = max(rows / picture.height, columns / picture.width)
    height, width = picture.height, picture.width
    if encoder["fit"] == "crop":
        height, width = min(height, rows / scale), min(width, columns / scale)
    left, top = (picture.width - width) / 2, (picture.height - height) / 2
    resampling = Image.Resampling[encoder["resample"].upper()]
    box = (left, top, left + width, top + height)
    pixels = np.asarray(picture.resize((columns, rows), resampling, box=box, reducing_gap=3.0), np.float32)
    return (pixels.reshape(rows, columns, -1) / 255 - np.float32(encoder["mean"])) / np.float32(encoder["std"])


def sound_tokens(path: str, encoder: dict) -> np.ndarray:
    """The middle of a sound that has the model's rate, as normalised samples: (n, channels)."""
    import soundfile

    wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
    if rate != encoder["rate"] or wave.shape[1] != encoder["channels"]:
        raise SystemExit(f"{path}: expected {encoder['rate']} Hz and {encoder['channels']} channel(s), got {rate} Hz")
    count = int(encoder["rate"] * encoder["seconds"])
    wave = wave[max(0, len(wave) - count) // 2 :][:count]
    if encoder["normalise"] == "example":
        deviation = max(float((wave - wave.mean(0)).std()), 1e-4)
        return (wave - wave.mean(0)) / deviation
    return (wave - np.float32(encoder["mean"])) / np.float32(encoder["std"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="what `hip export --out` wrote")
    parser.add_argument("file", help="a picture or a sound")
    parser.add_argument("--out", help="JSON file for the outputs; by default they are printed")
    arguments = parser.parse_args()
    about = json.loads((Path(arguments.folder) / "preprocessing.json").read_text(encoding="utf-8"))
    session = onnxruntime.InferenceSession(Path(arguments.folder) / about["model"], providers=["CPUExecutionProvider"])
    ((name, each),) = about["inputs"].items()  # a model of one modality
    read = {"image": picture_tokens, "audio": sound_tokens}[each["encoder"]["kind"]]
    values = read(arguments.file, each["encoder"]).reshape(-1)
    tokens = np.zeros((1, each["tokens"], each["channels"]), np.float32)
    tokens.reshape(-1)[: values.size] = values
    used = -(-values.size // each["channels"])  # a shorter sound: the rest is absent
    is_padding = np.arange(each["tokens"])[None] >= used
    outputs = session.run(None, {name: tokens, each["padding"]: is_padding})
    found = {key: np.asarray(value)[0].tolist() for key, value in zip(about["outputs"], outputs, strict=True)}
    text = json.dumps({"classes": about["classes"], **found})
    if arguments.out:
        Path(arguments.out).write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
