"""Small real files of every kind that is read, as real programs write them."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import av
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet
import scipy.io
import soundfile
import trimesh
from PIL import Image

from ..data.media import clip, sine, write_media
from ..data.pictures import encoded, gradient
from ..data.signals import npy, off, wav
from .mutations import mutated, mutated_png, mutated_zip


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A whole file."""

    name: str  # whose ending says of which kind it is
    content: bytes
    mutate: Callable[[bytes, Random], bytes] = mutated


def _sample(name: str, content: bytes) -> Sample:
    mutate = {".png": mutated_png, ".npz": mutated_zip}.get(Path(name).suffix, mutated)
    return Sample(name=name, content=content, mutate=mutate)


def _all(**contents: bytes) -> list[Sample]:
    """`flat_png=...` is the file `flat.png`."""
    return [_sample(".".join(name.rsplit("_", 1)), content) for name, content in contents.items()]


def pictures() -> list[Sample]:
    colours = Image.fromarray(gradient())
    grey, palette = colours.convert("L"), colours.quantize(16)
    clear = colours.convert("RGBA")
    clear.putalpha(grey)
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 200)
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = [colours.rotate(90 * turn) for turn in range(3)]
    return _all(
        plain_png=encoded(colours),
        grey_png=encoded(grey),
        bits_png=encoded(grey.convert("1")),
        palette_png=encoded(palette, transparency=0),
        alpha_png=encoded(clear),
        deep_png=encoded(deep),
        colours16_png=_ffmpeg_picture("png", "rgb48be"),
        plain_jpg=encoded(colours, "JPEG"),
        turned_jpg=encoded(colours, "JPEG", exif=exif),
        progressive_jpg=encoded(colours, "JPEG", progressive=True),
        ink_jpg=encoded(colours.convert("CMYK"), "JPEG"),
        plain_tif=encoded(colours, "TIFF"),
        turned_tif=encoded(colours, "TIFF", exif=exif),
        lzw_tif=encoded(colours, "TIFF", compression="tiff_lzw"),
        jpeg_tif=encoded(colours, "TIFF", compression="jpeg"),
        deep_tif=encoded(deep, "TIFF", compression="tiff_adobe_deflate"),
        float_tif=encoded(Image.fromarray(np.asarray(grey).astype(np.float32) / 255), "TIFF"),
        fax_tif=encoded(grey.convert("1"), "TIFF", compression="group4"),
        colours16_tif=_ffmpeg_picture("tiff", "rgb48le"),
        plain_gif=encoded(colours, "GIF"),
        film_gif=encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        plain_webp=encoded(colours, "WEBP"),
        lossless_webp=encoded(clear, "WEBP", lossless=True),
        film_webp=encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
        plain_bmp=encoded(colours, "BMP"),
        palette_bmp=encoded(palette, "BMP"),
        plain_ppm=encoded(colours, "PPM"),
        plain_pgm=encoded(grey, "PPM"),
        words_pgm=b"P2\n# words\n3 2\n255\n0 50 100\n150 200 255\n",
        plain_tga=encoded(colours, "TGA", compression="tga_rle"),
        plain_jp2=encoded(colours, "JPEG2000"),
        plain_avif=encoded(colours, "AVIF"),
    )


def _ffmpeg_picture(codec: str, pixel_format: str) -> bytes:
    """A picture of 16 bits a colour, which Pillow does not write."""
    pixels = gradient().astype(np.uint16) * 257
    encoder: Any = av.CodecContext.create(codec, "w")
    encoder.height, encoder.width = pixels.shape[:2]
    encoder.pix_fmt, encoder.time_base = pixel_format, 1
    frame = av.VideoFrame.from_ndarray(pixels, format=pixel_format)
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


def masks() -> list[Sample]:
    labels = (np.add.outer(np.arange(24), np.arange(36)) // 10 % 3).astype(np.uint8)
    picture, palette = Image.fromarray(labels), Image.fromarray(labels, "P")
    palette.putpalette(list(range(256)) * 3)
    return _all(
        grey_png=encoded(picture),
        palette_png=encoded(palette),
        bits_png=encoded(Image.fromarray(labels > 0)),
        deep_png=encoded(Image.fromarray(labels.astype(np.uint16))),
        grey_tif=encoded(picture, "TIFF", compression="tiff_lzw"),
        palette_gif=encoded(palette, "GIF"),
        grey_bmp=encoded(picture, "BMP"),
    )


def sounds(folder: Path) -> list[Sample]:
    stereo = sine(0.2, 8000, channels=2)

    def written(kind: str, subtype: str) -> bytes:
        file = BytesIO()
        soundfile.write(file, stereo, 8000, format=kind, subtype=subtype)
        return file.getvalue()

    def coded(ending: str, codec: str, kind: str | None = None, rate: int = 8000) -> bytes:
        path = folder / f"sound.{ending}"
        write_media(path, audio=sine(0.2, rate, channels=2), rate=rate, codecs=("", codec), kind=kind)
        return path.read_bytes()

    return _all(
        plain_wav=wav(rate=8000),
        deep_wav=written("WAV", "PCM_24"),
        float_wav=written("WAV", "FLOAT"),
        law_wav=written("WAV", "ULAW"),
        ima_wav=written("WAV", "IMA_ADPCM"),
        plain_flac=written("FLAC", "PCM_16"),
        vorbis_ogg=written("OGG", "VORBIS"),
        plain_aiff=written("AIFF", "PCM_16"),
        plain_w64=written("W64", "PCM_16"),
        plain_caf=written("CAF", "PCM_16"),
        plain_au=written("AU", "PCM_16"),
        plain_opus=coded("opus", "libopus", "ogg", 48000),
        plain_mp3=coded("mp3", "libmp3lame"),
        plain_m4a=coded("m4a", "aac"),
        lossless_m4a=coded("m4a", "alac"),
        plain_aac=coded("aac", "aac", "adts"),
        plain_wma=coded("wma", "libmp3lame", "asf"),
        plain_ac3=coded("ac3", "ac3", rate=32000),
        plain_tta=coded("tta", "tta"),
        plain_wv=coded("wv", "wavpack"),
    )


def clips(folder: Path) -> list[Sample]:
    def coded(name: str, picture: str, sound: str = "", rate: int = 8000, **options: Any) -> Sample:
        path = folder / name
        audio = sine(0.8, rate) if sound else None
        write_media(path, video=clip(8, 24, 32), audio=audio, rate=rate, codecs=(picture, sound), **options)
        return _sample(name, path.read_bytes())

    return [
        coded("h264.mp4", "libx264", "aac"),
        coded("alone.mp4", "libx264"),
        coded("fragments.mp4", "libx264", "aac", muxer_options={"movflags": "frag_keyframe+empty_moov"}),
        coded("turned.mp4", "libx264", rotation=90),
        coded("h264.mkv", "libx264", "flac"),
        coded("vp8.webm", "libvpx", "libopus", 48000),
        coded("vp9.webm", "libvpx-vp9"),
        coded("mpeg4.avi", "mpeg4", "libmp3lame"),
        coded("mjpeg.avi", "mjpeg", "pcm_s16le", options={"strict": "unofficial"}),
        coded("mpeg4.mov", "mpeg4", "aac"),
        coded("mpeg1.mpg", "mpeg1video", fps=25),
        coded("h264.ts", "libx264", "aac", kind="mpegts"),
        coded("h264.flv", "libx264", "aac", 44100),
        coded("mpeg4.asf", "mpeg4", "libmp3lame", kind="asf"),
        coded("ffv1.mkv", "ffv1"),
        coded("film.gif", "gif"),
    ]


def clouds() -> list[Sample]:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(40, 3))
    mesh = trimesh.creation.icosphere(subdivisions=1)
    cloud = trimesh.PointCloud(points)

    def exported(shape: Any, kind: str, **how: Any) -> bytes:
        content = shape.export(file_type=kind, **how)
        return content if isinstance(content, bytes) else content.encode()

    rows = "\n".join(" ".join(f"{x:.5f}" for x in point) for point in points) + "\n"
    return _all(
        plain_off=off(points),
        mesh_off=exported(mesh, "off"),
        words_ply=exported(mesh, "ply", encoding="ascii"),
        binary_ply=exported(mesh, "ply"),
        cloud_ply=exported(cloud, "ply"),
        mesh_obj=exported(mesh, "obj"),
        binary_stl=exported(mesh, "stl"),
        words_stl=exported(mesh, "stl_ascii"),
        mesh_glb=exported(trimesh.Scene([mesh, cloud]), "glb"),
        plain_xyz=rows.encode(),
        counted_pts=f"40\n{rows}".encode(),
        plain_csv=rows.replace(" ", ",").encode(),
        plain_npy=npy(points),
        plain_npz=_npz(points=points),
    )


def _npz(**arrays: np.ndarray) -> bytes:
    file = BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def series() -> list[Sample]:
    values = np.random.default_rng(1).normal(size=(30, 2))
    table = "\n".join(f"{a:.4f},{b:.4f}" for a, b in values) + "\n"
    return _all(
        plain_csv=table.encode(),
        named_csv=f"# a comment\ntime,level\n{table}".encode(),
        pandas_csv=("\n".join([",a,b", *(f"{n},{line}" for n, line in enumerate(table.split()))]) + "\n").encode(),
        missing_csv=table.replace("-", "NA,", 1).replace("NA,", "", 1).encode() + b"NA,1.5\n,2\n",
        quoted_csv=table.replace("\n", '"\n').replace(",", ',"').encode(),
        plain_tsv=table.replace(",", "\t").encode(),
        blanks_txt=table.replace(",", " ").encode(),
        semicolons_csv=table.replace(",", ";").encode(),
        marked_csv=b"\xef\xbb\xbf" + table.encode(),
        floats_npy=npy(values.astype(np.float32)),
        shorts_npy=npy((values * 100).astype(np.int16)),
        turned_npy=npy(np.asfortranarray(values)),
        plain_npz=_npz(values=values),
    )


def volumes() -> list[Sample]:
    values = np.random.default_rng(2).normal(size=(4, 6, 5))
    return _all(
        plain_npy=npy(values),
        bytes_npy=npy((values * 30).astype(np.int8)),
        channel_npy=npy(values[..., None].astype(np.float32)),
        plain_npz=_npz(scan=values),
    )


def vectors() -> list[Sample]:
    values = np.random.default_rng(3).normal(size=12)
    return _all(
        plain_npy=npy(values),
        column_npy=npy(values[:, None]),
        plain_csv=(",".join(map(str, values)) + "\n").encode(),
        plain_npz=_npz(vector=values),
    )


def texts() -> list[Sample]:
    words = "Some naïve words,\nin two lines.\n"
    return _all(
        plain_txt=words.encode(),
        utf16_txt=words.encode("utf-16"),
        plain_json=json.dumps({"words": words, "numbers": [1, 2.5, None]}).encode(),
        plain_bin=bytes(range(256)) * 2,
    )


# --------------------------------------------------------------------------------------------------- folders of files

Files = dict[str, bytes]
"""The files of a folder by their paths in it."""


def small_pictures(count: int) -> list[bytes]:
    return [encoded(Image.fromarray(np.roll(gradient(8, 10), n, axis=1))) for n in range(count)]


def tables() -> dict[str, Files]:
    """A table in a folder, and the files beside it."""
    drawn, rng = small_pictures(12), np.random.default_rng(4)
    kinds = [("cat", "dog")[n % 2] for n in range(12)]
    columns = {"image": [{"bytes": each, "path": f"{n}.png"} for n, each in enumerate(drawn)], "label": kinds}
    with_pictures = pa.table(columns)
    rows = [{"text": f"words of number {n}", "label": kind, "value": n / 3} for n, kind in enumerate(kinds)]
    waves = pa.table({"wave": [rng.normal(size=16).tolist() for _ in kinds], "label": [n % 2 for n in range(12)]})
    parquet, arrow, packed = BytesIO(), BytesIO(), BytesIO()
    pyarrow.parquet.write_table(with_pictures, parquet)
    pyarrow.parquet.write_table(waves, packed, compression="none", use_dictionary=False)
    with pa.ipc.new_stream(arrow, waves.schema) as writer:
        writer.write_table(waves)
    text = BytesIO()
    pyarrow.csv.write_csv(pa.Table.from_pylist(rows), text)
    named = "".join(f"{n}.png,{kind}\n" for n, kind in enumerate(kinds))
    listed = "".join(json.dumps({"file_name": f"{n}.png", "label": kind}) + "\n" for n, kind in enumerate(kinds))
    beside = {f"{n}.png": each for n, each in enumerate(drawn)}
    return {
        "pictures in parquet": {"train.parquet": parquet.getvalue()},
        "waves in parquet": {"train.parquet": packed.getvalue()},
        "waves in arrow": {"train.arrow": arrow.getvalue()},
        "texts in csv": {"train.csv": text.getvalue()},
        "texts in lines of json": {"train.jsonl": "".join(json.dumps(row) + "\n" for row in rows).encode()},
        "metadata.csv": {"metadata.csv": f"file_name,label\n{named}".encode(), **beside},
        "metadata.jsonl": {"metadata.jsonl": listed.encode(), **beside},
    }


def hdf5() -> dict[str, Files]:
    """ModelNet40 as HDF5."""

    def clouds(count: int, seed: int, **how: Any) -> bytes:
        file = BytesIO()
        with h5py.File(file, "w") as content:
            data = np.random.default_rng(seed).normal(size=(count, 32, 3)).astype(np.float32)
            content.create_dataset("data", data=data, **how)
            content.create_dataset("label", data=(np.arange(count) % 2).astype(np.uint8)[:, None])
        return file.getvalue()

    names = {"shape_names.txt": b"airplane\nbathtub\n"}
    lists = {"train_files.txt": b"data/ply_data_train0.h5\n", "test_files.txt": b"data/ply_data_test0.h5\n"}
    return {
        "plain": {"ply_data_train0.h5": clouds(8, 0), "ply_data_test0.h5": clouds(4, 1), **names},
        "packed": {
            "ply_data_train0.h5": clouds(8, 0, compression="gzip", chunks=True),
            "ply_data_test0.h5": clouds(4, 1, shuffle=True, fletcher32=True, chunks=True),
            **names,
            **lists,
        },
    }


def shards() -> dict[str, Files]:
    """WebDataset."""

    def packed(files: Files, form: int = tarfile.GNU_FORMAT) -> bytes:
        content = BytesIO()
        with tarfile.open(fileobj=content, mode="w", format=form) as archive:
            for name, each in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(each)
                archive.addfile(member, BytesIO(each))
        return content.getvalue()

    drawn = small_pictures(8)
    classes = {f"{n:04}.cls": str(n % 2).encode() for n in range(8)}
    files = {name: each for n, png in enumerate(drawn) for name, each in _one(n, png, classes)}
    texts = {f"a/{n:04}.txt": b"words" * (n + 1) for n in range(8)}
    texts |= {f"a/{n:04}.json": json.dumps({"label": ["cat", "dog"][n % 2], "x": n}).encode() for n in range(8)}
    long_names = {f"{'folder' * 30}/{name}": each for name, each in files.items()}
    return {
        "pictures": {"train-0000.tar": packed(files)},
        "texts": {"train-0000.tar": packed(dict(sorted(texts.items())), tarfile.USTAR_FORMAT)},
        "long names": {"0.tar": packed(long_names, tarfile.PAX_FORMAT)},
    }


def _one(number: int, picture: bytes, classes: Files) -> list[tuple[str, bytes]]:
    return [(f"{number:04}.png", picture), (f"{number:04}.cls", classes[f"{number:04}.cls"])]


def lists() -> dict[str, tuple[str, Files]]:
    """What describes files: task, and a folder of which the lists alone are damaged."""
    drawn = small_pictures(12)
    loose = {f"{n}.png": each for n, each in enumerate(drawn)}
    rows = [f"{n}.png,{('cat', 'dog')[n % 2]},{n / 7:.3f}" for n in range(12)]
    several = [f"{n}.png,{('cat', 'cat;dog')[n % 2]}" for n in range(12)]
    in_classes = {f"{('cat', 'dog')[n % 2]}/{n}.png": each for n, each in enumerate(drawn)}
    labels = [encoded(Image.fromarray((np.asarray(gradient(8, 10))[..., 0] > 100).astype(np.uint8))) for _ in drawn]
    masked = {f"images/{n}.png": each for n, each in enumerate(drawn)} | {
        f"masks/{n}.png": each for n, each in enumerate(labels)
    }
    return {
        "labels.csv": ("classification", {"labels.csv": "\n".join(["file,label,size", *rows, ""]).encode(), **loose}),
        "several labels": ("multilabel", {"labels.csv": "\n".join(["file,labels", *several, ""]).encode(), **loose}),
        "classes.txt": ("classification", {"classes.txt": b"cat\ndog\n", **in_classes}),
        "classes of masks": ("segmentation", {"classes.txt": b"sea\nland\n", **masked}),
        "voc": ("segmentation", _voc()),
        "voc with labels": ("multilabel", _voc()),
        "imagenet": ("classification", _imagenet()),
        "imagenet's kit": ("classification", _imagenet_kit()),
        "tiny imagenet": ("classification", _tiny_imagenet()),
        "kinetics": ("classification", _kinetics()),
        "audioset": ("multilabel", _audioset()),
    }


def _voc() -> Files:
    from hiperceiver.data.sources.voc import CLASSES

    names = [f"2007_{n:06}" for n in range(10)]
    drawn = [encoded(Image.fromarray(np.roll(gradient(8, 10), n, axis=1)), "JPEG") for n in range(10)]
    mask = encoded(Image.fromarray(np.tile(np.arange(10, dtype=np.uint8), (8, 1)), "P"))
    files = {f"JPEGImages/{name}.jpg": each for name, each in zip(names, drawn, strict=True)}
    files |= {f"SegmentationClass/{name}.png": mask for name in names}
    for split, part in {"train": names[:7], "val": names[7:]}.items():
        for kind in ("Segmentation", "Main"):
            files[f"ImageSets/{kind}/{split}.txt"] = ("\n".join(part) + "\n").encode()
        for number, each in enumerate(CLASSES):
            lines = [f"{name} {1 if n % 20 == number else -1:2}" for n, name in enumerate(part)]
            files[f"ImageSets/Main/{each}_{split}.txt"] = ("\n".join(lines) + "\n").encode()
    return files


_TENCH, _SHARK = "n01440764", "n01484850"


def _imagenet_pictures(train: str, val: str) -> Files:
    drawn = [encoded(Image.fromarray(np.roll(gradient(8, 10), n, axis=1)), "JPEG") for n in range(10)]
    files = {f"{train}/{name}/{name}_{n}.JPEG": drawn[n] for name in (_TENCH, _SHARK) for n in range(5)}
    return files | {f"{val}/ILSVRC2012_val_{n:08}.JPEG": drawn[n] for n in range(1, 5)}


def _imagenet() -> Files:
    rows = [f"ILSVRC2012_val_{n:08},{(_TENCH, _SHARK)[n % 2]} 85 1 499 272 " for n in range(1, 5)]
    return {
        "LOC_val_solution.csv": "\n".join(["ImageId,PredictionString", *rows, ""]).encode(),
        "LOC_synset_mapping.txt": f"{_TENCH} tench, Tinca tinca\n{_SHARK} great white shark\n".encode(),
        **_imagenet_pictures("ILSVRC/Data/CLS-LOC/train", "ILSVRC/Data/CLS-LOC/val"),
    }


def _imagenet_kit() -> Files:
    kinds = [("ILSVRC2012_ID", "i4"), ("WNID", "O"), ("words", "O")]
    synsets = np.array([(1, _TENCH, "tench"), (2, _SHARK, "shark")], dtype=kinds)
    content = BytesIO()
    scipy.io.savemat(content, {"synsets": synsets})
    kit = "ILSVRC2012_devkit_t12/data"
    return {
        f"{kit}/meta.mat": content.getvalue(),
        f"{kit}/ILSVRC2012_validation_ground_truth.txt": b"1\n2\n1\n2\n",
        **_imagenet_pictures("train", "val"),
    }


def _tiny_imagenet() -> Files:
    drawn = [encoded(Image.fromarray(np.roll(gradient(8, 10), n, axis=1)), "JPEG") for n in range(10)]
    files = {f"train/{name}/images/{name}_{n}.JPEG": drawn[n] for name in (_TENCH, _SHARK) for n in range(5)}
    files |= {f"val/images/val_{n}.JPEG": drawn[n] for n in range(4)}
    rows = [f"val_{n}.JPEG\t{(_TENCH, _SHARK)[n % 2]}\t0\t32\t44\t62" for n in range(4)]
    return {
        "val/val_annotations.txt": ("\n".join(rows) + "\n").encode(),
        "words.txt": f"{_TENCH}\ttench\n{_SHARK}\tshark\n".encode(),
        "wnids.txt": f"{_TENCH}\n{_SHARK}\n".encode(),
        **files,
    }


def _clip_with_sound() -> bytes:
    file = BytesIO()
    write_media(file, video=clip(8, 16, 16), audio=sine(0.8, 8000), rate=8000, kind="mp4")
    return file.getvalue()


def _kinetics() -> Files:
    content, files = _clip_with_sound(), {}
    for split, count in {"train": 6, "val": 4}.items():
        rows = [(("abseiling", "air drumming")[n % 2], f"-{split[:2]}_{n:06}k") for n in range(count)]
        lines = [f"{label},{name},{n},{n + 10},{split}" for n, (label, name) in enumerate(rows)]
        files[f"{split}.csv"] = "\n".join(["label,youtube_id,time_start,time_end,split", *lines, ""]).encode()
        for n, (label, name) in enumerate(rows):
            files[f"{split}/{label}/{name}_{n:06}_{n + 10:06}.mp4"] = content
    return files


def _audioset() -> Files:
    content, files = wav(seconds=10.0, rate=1000), {}
    names = {"/m/09x0r": "Speech", "/m/04rlf": "Music", "/m/0bt9lr": 'Dog, "barking"'}
    for split, count in {"balanced_train": 6, "eval": 3}.items():
        ids = [f"{'-Y_'[n % 3]}{split[:3]}_{n:06}" for n in range(count)]
        rows = [f'{each}, 30.000, 40.000, "{[*names][n % 3]},/m/04rlf"' for n, each in enumerate(ids)]
        files[f"{split}_segments.csv"] = "\n".join(["# Segments", "# n=1", "# YTID, start", *rows, ""]).encode()
        files |= {f"{each}.wav": content for each in ids}
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(("index", "mid", "display_name"))
    writer.writerows((index, *each) for index, each in enumerate(names.items()))
    return {"class_labels_indices.csv": table.getvalue().encode(), **files}
