"""Sixty-eight languages from the raw bytes of short strings.

Commands:
    hip pretrain --recipe languages
    hip finetune --recipe languages
"""

PRETRAIN = {
    "data": "languages",
    "model": "hip-nano",
    "mask_ratio": 0.3,
    "max_time": "4m",
    "batch_size": 64,
    "learning_rate": 2e-3,
    "out": "runs/languages/pretrain",
}
FINETUNE = {
    "data": "languages",
    "task": "classification",
    "from": "runs/languages/pretrain",
    "max_time": "4m",
    "batch_size": 64,
    "learning_rate": 2e-3,
    "test": True,
    "out": "runs/languages/finetune",
}
