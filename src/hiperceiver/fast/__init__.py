"""The same numbers as the formulas in `hiperceiver.model`, computed quicker or in less memory.

Every function here stands in for a plain formula that is written under its call in `model/`. One switch turns all of
them off: HIPERCEIVER_FAST=0 in the environment, or `with fast.plain():`. This package knows tensors and the weights of
layers; it imports nothing of the model.
"""

from hiperceiver.fast.absorbed import cross_attend
from hiperceiver.fast.chunked import attend_in_chunks, read_in_chunks
from hiperceiver.fast.kernels import embed_and_attend, read_tokens, share_gradient
from hiperceiver.fast.layers import float32_attention, prefers_float32, squared_relu
from hiperceiver.fast.permutation import permute
from hiperceiver.fast.switch import is_on, plain

__all__ = [
    "attend_in_chunks",
    "cross_attend",
    "embed_and_attend",
    "float32_attention",
    "is_on",
    "permute",
    "plain",
    "prefers_float32",
    "read_in_chunks",
    "read_tokens",
    "share_gradient",
    "squared_relu",
]
