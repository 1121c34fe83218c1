"""Land cover of the Earth: every pixel of 64 x 64 tiles, 17 classes.

Commands:
    hip pretrain --recipe earth
    hip finetune --recipe earth

Cost: 2 and 3 minutes on 2 cores.
Result: `examples/earth_demo.py` is the same run with all its baselines and pictures, and says what it reached.
"""

BOTH = {"data": "earth", "augment": {"flip": True, "turn": True}, "batch_size": 8, "learning_rate": 3e-3}
PRETRAIN = {"model": "hip-nano", "size": 64, "mask_ratio": 0.75, "max_time": "2m"}
FINETUNE = {"task": "segmentation", "data_settings": {"min_land": 0.02}, "balance": 0.5, "max_time": "3m"}
