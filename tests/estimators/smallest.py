"""A model that takes milliseconds a step."""

from typing import Any

_BLOCK = {"num_self_attention_layers": 1, "num_self_attention_heads": 1, "num_channels": 8}
_OUTER, _MIDDLE = ({**_BLOCK, "num_groups": groups, "num_latents": latents} for groups, latents in ((4, 4), (1, 8)))

SMALLEST: dict[str, Any] = {"embedding_channels": 8, "blocks": [_OUTER, _MIDDLE, _OUTER]}
"""Its settings."""
FAST: dict[str, Any] = {"model_settings": SMALLEST, "steps": 2, "random_state": 0}
"""Parameters of an estimator."""
