"""PASCAL VOC 2012: HiP-256 names the class of every pixel of 512 x 512 pictures, pretrained on ImageNet.

Commands (the folder as it is published, see `hiperceiver.data.sources.voc`):
    hip pretrain --recipe imagenet --model hip-256 --data /path/to/imagenet --out runs/voc/pretrain
    hip finetune --recipe voc --data /path/to/VOCdevkit/VOC2012

`hip pretrain --recipe voc` pretrains on VOC's own pictures instead, all of them, where ImageNet is not at hand.

From the paper ("HiP", the experiments on PASCAL VOC): the resolution and pretraining on ImageNet. The learned positions
are interpolated from 224 to 512. Ours: the optimizer, its rates and the lengths.

Cost and result: not run at full length. A few steps were run on a small folder in this layout.
"""

BOTH = {"size": 512, "precision": "bf16"}
PRETRAIN = {
    "model": "hip-256",
    "mask_ratio": 0.85,
    "augment": {"crop": True, "flip": True},
    "batch_size": 16,
    "accumulate": 16,
    "learning_rate": 1.5e-3,
    "steps": 50_000,
}
FINETUNE = {
    "task": "segmentation",
    "fit": "pad",
    "augment": {"crop": {"scale": [0.5, 1.0]}, "flip": True, "colour": True},
    "batch_size": 8,
    "accumulate": 4,
    "learning_rate": 3e-4,
    "steps": 20_000,
}
