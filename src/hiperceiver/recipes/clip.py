"""Sound and pictures of one film, reconstructed from a quarter of their values.

Command:
    hip pretrain --recipe clip

Cost: 1 minute on 2 cores.
Result: none is claimed; it is one film of five seconds. `hip plot runs/clip/pretrain` shows what was reconstructed.
"""

PRETRAIN = {
    "data": "clip",
    "model": "hip-nano",
    "mask_ratio": 0.75,
    "max_time": "1m",
    "batch_size": 4,
    "learning_rate": 2e-3,
}
