"""Ours on a GPU, within ten minutes: `python -m benchmarks gpu`. Needs PyTorch, NumPy and safetensors alone."""
