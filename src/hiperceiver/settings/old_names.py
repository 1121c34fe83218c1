"""Names in saved models and runs of earlier versions, and today's."""

TASK_FIELDS: dict[str, dict[str, str]] = {
    "masked-autoencoding": {"ratio": "mask_ratio", "strategy": "mask_strategy"},
}
"""Kind of task -> old name of a field -> its name."""

ENCODER_FIELDS: dict[str, dict[str, str]] = {"image": {"mode": "colours"}, "video": {"mode": "colours"}}
"""Kind of encoder -> old name of a field -> its name."""
OLD_FULL_SCALE = 65535.0
"""The full scale of pictures of more than 8 bits, before it was measured."""
