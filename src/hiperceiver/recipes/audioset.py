"""AudioSet: one HiP-16 for sound and pictures, 524,288 raw values of 2.56 s; several labels, mean average precision.

Commands (the folder as downloaders leave it, see `hiperceiver.data.sources.audioset`):
    hip pretrain --recipe audioset --data /path/to/audioset
    hip finetune --recipe audioset --data /path/to/audioset
    hip evaluate runs/audioset/finetune --each-modality

From the paper ("HiP", the experiments on AudioSet): 8 frames of 224 x 224 and 122,880 samples at 48 kHz, given to the
model as they are; 85% hidden group by group in pretraining; labels of several classes. Modality dropout, with which
one model answers for sound alone and for pictures alone, is ours, and so are the optimizer, its rates and the lengths.

Cost and result: not run at full length. A few steps were run on a small folder in this layout.
"""

BOTH = {"missing": "absent", "batch_size": 8, "accumulate": 64, "precision": "bf16"}
PRETRAIN = {"model": "hip-16", "mask_ratio": 0.85, "learning_rate": 1.5e-3, "steps": 200_000}
FINETUNE = {
    "task": "multilabel",
    "augment": {"modality_dropout": {"probability": 0.3}, "crop": True, "flip": True, "gain": True},
    "learning_rate": 5e-4,
    "steps": 50_000,
    "ema": 0.9999,
}
