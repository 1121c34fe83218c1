"""Sixteen families of instruments from raw sound: one second at 16 kHz, instruments that were not heard in training.

Commands:
    hip pretrain --recipe instruments
    hip finetune --recipe instruments
"""

PRETRAIN = {
    "data": "instruments",
    "model": "hip-micro",
    "mask_ratio": 0.75,
    "augment": {"gain": True, "shift": True},
    "max_time": "4m",
    "batch_size": 16,
    "learning_rate": 1e-3,
    "out": "runs/instruments/pretrain",
}
FINETUNE = {
    "data": "instruments",
    "task": "classification",
    "from": "runs/instruments/pretrain",
    "augment": {"gain": True, "shift": True, "noise": True},
    "max_time": "4m",
    "batch_size": 16,
    "learning_rate": 1e-3,
    "test": True,
    "out": "runs/instruments/finetune",
}
