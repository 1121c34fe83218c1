"""Kinetics: HiP-16 names the action in 16 frames of 224 x 224 raw pixels.

Commands (CSV and clips, see `hiperceiver.data.sources.kinetics`):
    hip pretrain --recipe kinetics --data /path/to/kinetics
    hip finetune --recipe kinetics --data /path/to/kinetics

From the paper ("HiP", the experiments on Kinetics): raw pixels of video, masked auto-encoding first, 85% hidden group
by group. Ours: frames spread over the clip, the optimizer, its rates and the lengths.

Cost and result: not run at full length. A few steps were run on a small folder in this layout.
"""

BOTH = {"batch_size": 8, "precision": "bf16"}
PRETRAIN = {
    "model": "hip-16",
    "mask_ratio": 0.85,
    "augment": {"crop": True, "flip": True},
    "accumulate": 32,
    "learning_rate": 1.5e-3,
    "steps": 200_000,
}
FINETUNE = {
    "task": "classification",
    "augment": {"crop": True, "flip": True, "randaugment": {"operations": 4, "magnitude": 5}},
    "task_settings": {"label_smoothing": 0.1, "mixup": 0.2, "cutmix": 1.0},
    "accumulate": 16,
    "learning_rate": 5e-4,
    "steps": 50_000,
    "ema": 0.9999,
}
