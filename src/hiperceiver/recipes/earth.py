"""Land cover of the Earth: every pixel of 64 x 64 tiles, 17 classes.

Commands:
    hip pretrain --recipe earth
    hip finetune --recipe earth

Cost: 2 and 3 minutes on 2 cores.
Result: `examples/earth_demo.py` is the same run with all its baselines and pictures, and says what it reached.
"""

PRETRAIN = {
    "data": "earth",
    "model": "hip-nano",
    "size": 64,
    "augment": {"flip": True, "turn": True},
    "mask_ratio": 0.75,
    "max_time": "2m",
    "batch_size": 8,
    "learning_rate": 3e-3,
    "out": "runs/earth/pretrain",
}
FINETUNE = {
    "data": "earth",
    "task": "segmentation",
    "from": "runs/earth/pretrain",
    "augment": {"flip": True, "turn": True},
    "data_settings": {"min_land": 0.02},
    "balance": 0.5,
    "max_time": "3m",
    "batch_size": 8,
    "learning_rate": 3e-3,
    "test": True,
    "out": "runs/earth/finetune",
}
