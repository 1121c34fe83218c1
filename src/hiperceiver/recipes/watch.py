"""Seven exercises of ten people from a smartwatch: 6 channels at 50 Hz, windows of 128 steps.

Commands:
    hip pretrain --recipe watch
    hip finetune --recipe watch
"""

PRETRAIN = {
    "data": "watch",
    "model": "hip-nano",
    "mask_ratio": 0.5,
    "augment": {"gain": True, "shift": True},
    "max_time": "2m",
    "batch_size": 32,
    "learning_rate": 2e-3,
    "out": "runs/watch/pretrain",
}
FINETUNE = {
    "data": "watch",
    "task": "classification",
    "from": "runs/watch/pretrain",
    "augment": {"gain": True, "noise": True, "shift": True},
    "task_settings": {"label_smoothing": 0.1},
    "model_settings": {"drop_path": 0.1},
    "max_time": "2m",
    "batch_size": 32,
    "learning_rate": 5e-4,
    "test": True,
    "out": "runs/watch/finetune",
}
