"""`PerceiverModel` and `PerceiverBasicDecoder` of transformers, as large as ours of the same name.

Sizes, widening, activation and the absence of a query residual at the readout are ours, and so are the embedding and
the table of positions around it, which are the queries. Dropout is off, as in ours.
"""

from __future__ import annotations

from torch import Tensor, nn
from transformers import PerceiverConfig, PerceiverModel
from transformers.models.perceiver.modeling_perceiver import PerceiverBasicDecoder

from benchmarks.peers.flat import Embedded, sizes


class TransformersPerceiver(nn.Module):
    def __init__(self, variant: str, side: int):
        super().__init__()
        config = sizes(variant)
        block, width = config.block, config.embedding_channels
        self.embedded = Embedded(side, width)
        theirs = PerceiverConfig(
            num_latents=block.num_latents,
            d_latents=block.num_channels,
            d_model=width,
            num_blocks=1,
            num_self_attends_per_block=block.num_self_attention_layers,
            num_self_attention_heads=block.num_self_attention_heads,
            num_cross_attention_heads=block.num_cross_attention_heads,
            self_attention_widening_factor=block.self_attention_widening,
            cross_attention_widening_factor=block.cross_attention_widening,
            hidden_act="relu2",
            attention_probs_dropout_prob=0.0,
            layer_norm_eps=1e-5,
        )
        self.model = PerceiverModel(theirs)
        self.decoder = PerceiverBasicDecoder(
            theirs, output_num_channels=3, position_encoding_type="none", num_channels=width, use_query_residual=False
        )

    def forward(self, x: Tensor) -> Tensor:
        latents = self.model(self.embedded(x)).last_hidden_state
        return self.decoder(self.embedded.positions.expand(len(x), -1, -1), latents).logits


def make_model(variant: str, side: int) -> nn.Module:
    return TransformersPerceiver(variant, side)
