"""Sound and pictures of one film, reconstructed from a quarter of their values.

Command:
    hip pretrain --recipe clip
"""

PRETRAIN = {
    "data": "clip",
    "model": "hip-nano",
    "mask_ratio": 0.75,
    "max_time": "1m",
    "batch_size": 4,
    "learning_rate": 2e-3,
    "out": "runs/clip/pretrain",
}
