"""Names in saved models and runs of earlier versions, and today's."""

TASK_FIELDS: dict[str, dict[str, str]] = {
    "masked-autoencoding": {"ratio": "mask_ratio", "strategy": "mask_strategy"},
}
"""Kind of task -> old name of a field -> its name."""
