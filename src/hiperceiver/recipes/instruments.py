"""Sixteen families of instruments from raw sound: one second at 16 kHz, instruments that were not heard in training.

Commands:
    hip pretrain --recipe instruments
    hip finetune --recipe instruments
"""

PRETRAIN = {
    "data": "instruments",
    "model": "hip-nano",
    "encoders": {"sound": {"samples_per_token": 16}},
    "mask_ratio": 0.5,
    "augment": {"speed": True, "gain": True, "shift": True},
    "max_time": "2m",
    "batch_size": 32,
    "learning_rate": 2e-3,
    "out": "runs/instruments/pretrain",
}
FINETUNE = {
    "data": "instruments",
    "task": "classification",
    "from": "runs/instruments/pretrain",
    "augment": {"speed": True, "gain": True, "shift": True},
    "max_time": "3m",
    "batch_size": 32,
    "learning_rate": 5e-4,
    "test": True,
    "out": "runs/instruments/finetune",
}
