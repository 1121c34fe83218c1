"""ImageNet: HiP-16 on 224 x 224 raw pixels, pretrained by masked auto-encoding, then classified.

Commands (the folder as the data comes, see `hiperceiver.data.sources.imagenet`):
    hip pretrain --recipe imagenet --data /path/to/imagenet
    hip finetune --recipe imagenet --data /path/to/imagenet

From the paper ("HiP", the experiments on ImageNet): the model, the resolution, learned positions of 32 channels, 85% of
the pixels hidden group by group; from the training code published with Perceiver: RandAugment with 4 operations of
magnitude 5, mixup, cutmix, label smoothing. Ours: the optimizer, its rates, and the lengths, which are those of a
masked auto-encoder of this size elsewhere. A batch of 1,024 is 16 batches of 64, which fit one GPU of 80 GB.

Cost and result: not run at full length. A few steps were run on a small folder in this layout.
"""

BOTH = {"batch_size": 64, "accumulate": 16, "warmup": 0.05, "precision": "bf16"}
PRETRAIN = {
    "model": "hip-16",
    "size": 224,
    "mask_ratio": 0.85,
    "augment": {"crop": True, "flip": True},
    "learning_rate": 1.5e-3,
    "steps": 250_000,
    "weight_decay": 0.05,
}
FINETUNE = {
    "task": "classification",
    "augment": {"crop": True, "flip": True, "randaugment": {"operations": 4, "magnitude": 5}},
    "task_settings": {"label_smoothing": 0.1, "mixup": 0.2, "cutmix": 1.0},
    "model_settings": {"drop_path": 0.1},
    "learning_rate": 1e-3,
    "steps": 125_000,
    "weight_decay": 0.1,
    "ema": 0.9999,
}
