"""The built-in real set `instruments`: single notes as raw sound, and which instrument plays them.

The 128 programmes of General MIDI, eight in each of 16 families, play 13 notes from C2 to C6 (every fourth) on the
soundfont TimGM6mb of the package `pretty_midi`, whose samples are recordings; `midirenderer` renders it, in 17 seconds
of one core, once: the clips are kept in the user's cache folder. Each is one second at 16 kHz, mono: the note is held
for 0.7 seconds, without reverberation, as loud as it comes. Three silent ones (notes that an instrument does not have)
are left out.

**The split is by programmes**: of each family's eight, one is for validation and two are for test, drawn by
`split_seed` (0 by default). Neighbouring notes of one programme come from the same recording, so that a split of notes
would test little that is new. Programmes of a soundfont share recordings, too: with seed 0, 15 of the 32 for test play
some that a programme in training plays, eight of them one of the same family. With `target="programme"` the classes are
the 128 programmes themselves, which no split can hold out: then three of the 13 notes are for test and two for
validation.

| target | train / validation / test clips |
| --- | --- |
| family | 1,039 / 208 / 414 |
| programme | 1,021 / 256 / 384 |

Tasks: `classification` (the family, or the programme); for families also `regression` (the pitch, in octaves above
middle C) and `joint` (`family` and `pitch`).

Baseline on the test split, in one second: the nearest training clip, by the logarithm of its energy in bands of
frequency and stretches of time, is of the same family for 24.4% (24.7% balanced; chance is 6%), of the same programme
for 27.3%, and its pitch is 0.30 octaves off on average. **Much hangs on which programmes are held out**: with seeds 0
to 9 the baseline of families is 24% to 41%, 30.6% on average. Compare only results of one seed.
"""

import contextlib
import hashlib
import io
import os
import sys
import tempfile
import wave
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np

from hiperceiver.data.augment.signals import Speed
from hiperceiver.data.baselines import nearest_sound_baseline
from hiperceiver.data.encoders.audio import SILENT, AudioEncoder
from hiperceiver.data.media import resampled, to_floats
from hiperceiver.data.packages import import_extra, packaged_files
from hiperceiver.data.record import TEST, TRAIN, VALIDATION, Table
from hiperceiver.data.sources.source import Baseline, Source, SourceOptions, make_source
from hiperceiver.settings.data import InstrumentsSettings

FAMILIES = (
    *("piano", "chromatic percussion", "organ", "guitar", "bass", "strings", "ensemble", "brass", "reed", "pipe"),
    *("synth lead", "synth pad", "synth effects", "ethnic", "percussive", "sound effects"),
)
"""The families of General MIDI in their order."""
PROGRAMMES, FAMILY_SIZE = 128, 8
NOTES = tuple(range(36, 85, 4))  # C2 to C6 as MIDI numbers
MIDDLE_C = 60
RATE, SECONDS = 16000, 1.0
SHAPE = (PROGRAMMES, len(NOTES), round(RATE * SECONDS))
_HELD, _ENDS, _NEXT = 700, 1000, 1050  # milliseconds: a note is let go, is cut off, is followed by the next one
NOTE = "Notes of one soundfont; for test are programmes that training has not heard, though some share recordings."
NOTE_OF_PROGRAMMES = "The sounds are notes of one soundfont; training has heard each programme play other notes."


@cache
def read_clips() -> np.ndarray:
    """All clips, int16 (128 programmes, 13 notes, 16000 samples), 53 MB; silent where there is no sound.

    Rendered once and kept in the user's cache folder (see `cache_folder`); a file there that is missing or damaged is
    rendered again, and where nothing can be written nothing is kept.
    """
    soundfont = packaged_files("pretty_midi", "*.sf2", source="instruments")[0].read_bytes()
    renderer = import_extra("midirenderer", extra="instruments")
    import_extra("mido", extra="instruments")
    made_of = f"{version('midirenderer')} {NOTES} {RATE} {SECONDS} {_HELD} {_ENDS} {_NEXT}".encode()
    path = cache_folder() / f"instruments-{hashlib.sha256(soundfont + made_of).hexdigest()[:16]}.npz"
    clips = _kept(path)
    if clips is None:
        clips = np.zeros(SHAPE, dtype=np.int16)
        for programme in range(PROGRAMMES):
            rendered = renderer.render_wave_from(soundfont, _midi(programme))
            with wave.open(io.BytesIO(rendered)) as file:
                samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
                mono = to_floats(samples.reshape(-1, file.getnchannels())).mean(1, keepdims=True)
                sound = resampled(mono, file.getframerate(), RATE)[:, 0]
            for index in range(len(NOTES)):
                part = sound[_NEXT * RATE // 1000 * index :][: SHAPE[2]]
                clips[programme, index, : len(part)] = (part * 32767).round().clip(-32768, 32767)
        _keep(path, clips)
    clips.setflags(write=False)
    return clips


def cache_folder() -> Path:
    """Where what was made once is kept: the platform's folder for such files, `XDG_CACHE_HOME` first.

    >>> cache_folder().name
    'hiperceiver'
    """
    home = Path(os.path.expanduser("~"))
    if folder := os.environ.get("XDG_CACHE_HOME"):
        base = Path(folder)
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData/Local")
    else:
        base = home / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    return base / "hiperceiver"


def _kept(path: Path) -> np.ndarray | None:
    """The clips that an earlier run kept, if they are whole: the file has a checksum."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            clips = arrays["clips"]
    except Exception:  # missing, cut off, changed: whatever it is, the clips are rendered again
        return None
    return clips if clips.shape == SHAPE and clips.dtype == np.int16 else None


def _keep(path: Path, clips: np.ndarray) -> None:
    """Write at once or not at all, also if another process does the same."""
    with contextlib.suppress(OSError):  # no room, or not our folder
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            np.savez(Path(folder, path.name), clips=clips)
            Path(folder, path.name).replace(path)


def open_instruments(own: InstrumentsSettings, options: SourceOptions) -> Source:
    """Notes of 128 instruments; one modality, `sound`. Tasks: `classification`, `regression` and `joint`.

    `split_seed` draws the programmes (or notes) for test.
    """
    options.check_task("instruments", ("classification", "regression", "joint"))
    if options.task in ("regression", "joint") and any(isinstance(each, Speed) for each in options.augmentations):
        raise ValueError("speed: makes notes higher or lower, which the pitch would not follow; leave it out")
    is_family = own.target == "family"
    if not is_family and options.task in ("regression", "joint"):
        raise ValueError(f"target: 'programme' is for the task classification, got the task {options.task}")
    clips = read_clips()
    programme, index = np.nonzero(np.abs(clips.astype(np.int32)).max(-1) >= SILENT * 32768)
    family, note = programme // FAMILY_SIZE, np.array(NOTES)[index]
    pitch = (note - MIDDLE_C) / 12
    rows = range(len(note))
    programmes = [f"{FAMILIES[number // FAMILY_SIZE]} {number % FAMILY_SIZE + 1}" for number in range(PROGRAMMES)]
    label, classes = (family, FAMILIES) if is_family else (programme, programmes)
    return make_source(
        name="instruments",
        table=Table(
            names=[f"programme {programme[row] + 1} ({FAMILIES[family[row]]}), note {note[row]}" for row in rows],
            raws={"sound": [(clips[programme[row], index[row]], RATE) for row in rows]},
            targets={"label": label, "values": pitch[:, None], "family": family, "pitch": pitch},
            splits=_splits(is_family, options.split_seed or 0)[programme, index],
        ),
        encoders={"sound": AudioEncoder(rate=RATE, seconds=SECONDS)},
        options=options,
        classes=("pitch",) if options.task == "regression" else classes,
        labels={"family": FAMILIES, "pitch": ()},
        baseline=lambda it: Baseline(name="nearest spectrum", metrics=nearest_sound_baseline(it, modality="sound")),
        note=NOTE if is_family else NOTE_OF_PROGRAMMES,
    )


def _splits(is_family: bool, seed: int) -> np.ndarray:
    """The number of each clip's split: (programmes, notes)."""
    rng = np.random.default_rng(seed)
    splits = np.full(SHAPE[:2], TRAIN)
    if is_family:
        for first in range(0, PROGRAMMES, FAMILY_SIZE):
            order = first + rng.permutation(FAMILY_SIZE)
            splits[order[0]], splits[order[1:3]] = VALIDATION, TEST
    else:
        order = rng.permutation(len(NOTES))
        splits[:, order[:2]], splits[:, order[2:5]] = VALIDATION, TEST
    return splits


def _midi(programme: int) -> bytes:
    """All notes of a programme, one after the other, as a MIDI file of one tick a millisecond."""
    mido = import_extra("mido", extra="instruments")
    file = mido.MidiFile(ticks_per_beat=500)  # 120 beats a minute, the default of MIDI files
    track = mido.MidiTrack([mido.Message("program_change", program=programme)])
    file.tracks.append(track)
    for effect in (91, 93):  # no reverberation and no chorus: what rings on would be heard in the next clip
        track.append(mido.Message("control_change", control=effect, value=0))
    for note in NOTES:
        track.append(mido.Message("note_on", note=note, velocity=100))
        track.append(mido.Message("note_off", note=note, time=_HELD))
        track.append(mido.Message("control_change", control=120, value=0, time=_ENDS - _HELD))  # all sound off
        track.append(mido.Message("control_change", control=120, value=0, time=_NEXT - _ENDS))
    content = io.BytesIO()
    file.save(file=content)
    return content.getvalue()
