"""ModelNet40: HiP-16 names the class of 2,048 points, laid along a space-filling curve.

Commands (meshes or the HDF5 release, see `hiperceiver.data.sources.modelnet40`):
    hip pretrain --recipe modelnet40 --data /path/to/modelnet40
    hip finetune --recipe modelnet40 --data /path/to/modelnet40

From the paper ("HiP", the experiments on ModelNet40): 2,048 points, masked auto-encoding first, which helps much there.
There a point's position is its place in the file; to repeat that, say `--encoders.points.order index`. Ours: order
along a Hilbert curve, which does not care about the file; the optimizer, its rates and the lengths.

Cost and result: not run at full length. A few steps were run on small folders in both layouts.
"""

BOTH = {"batch_size": 64, "precision": "bf16"}
PRETRAIN = {
    "model": "hip-16",
    "mask_ratio": 0.85,
    "augment": {"rotate": {"axis": "z"}, "scale": True, "jitter": True},
    "accumulate": 4,
    "learning_rate": 1e-3,
    "steps": 50_000,
}
FINETUNE = {
    "task": "classification",
    "augment": {"rotate": {"axis": "z"}, "scale": True, "jitter": True, "drop_points": True},
    "task_settings": {"label_smoothing": 0.1},
    "learning_rate": 5e-4,
    "steps": 20_000,
    "ema": 0.999,
}
