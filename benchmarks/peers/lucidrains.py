"""`PerceiverIO` of perceiver-pytorch, as large as ours of the same name.

Its latents, their channels, its layers and heads are ours, and so are the embedding and the table of positions around
it, which are the queries as in ours. What its arguments do not allow: its feed-forward layers are gated (GEGLU, four
times as wide, half as many parameters again); the readout has as many heads as the cross-attention (ours has one); and
the width of a feed-forward is fixed. With `perceiver-io-50m` it has 68.2 M parameters at 224 x 224, ours 56.2 M.
"""

from __future__ import annotations

from perceiver_pytorch import PerceiverIO
from torch import Tensor, nn

from benchmarks.peers.flat import Embedded, sizes


class PerceiverPytorch(nn.Module):
    def __init__(self, variant: str, side: int):
        super().__init__()
        config = sizes(variant)
        block, width = config.block, config.embedding_channels
        self.embedded = Embedded(side, width)
        self.model = PerceiverIO(
            depth=block.num_self_attention_layers,
            dim=width,
            queries_dim=width,
            logits_dim=3,
            num_latents=block.num_latents,
            latent_dim=block.num_channels,
            cross_heads=block.num_cross_attention_heads,
            latent_heads=block.num_self_attention_heads,
            cross_dim_head=width // block.num_cross_attention_heads,
            latent_dim_head=block.num_channels // block.num_self_attention_heads,
            decoder_ff=True,
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.model(self.embedded(x), queries=self.embedded.positions.expand(len(x), -1, -1))


def make_model(variant: str, side: int) -> nn.Module:
    return PerceiverPytorch(variant, side)
