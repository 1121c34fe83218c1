"""Perceiver IO, the flat model that HiP is compared with: a HiP of one block, whose one group all modalities share."""

from collections.abc import Mapping

from hiperceiver.model.grouping import GroupPlan
from hiperceiver.model.hip import HiP
from hiperceiver.settings.model import PerceiverIOConfig


class PerceiverIO(HiP):
    """Perceiver IO (arXiv 2107.14795): all tokens of all modalities meet one set of latents.

    Args:
        config: its block and what goes around it; `hiperceiver.create_model` knows the published ones.
        modalities: every modality that a call may have, by name.

    >>> import torch
    >>> from hiperceiver import Modality, create_model
    >>> model = create_model("perceiver-io-mini", modalities={"sound": Modality(grid=(500,), channels=1)})
    >>> model({"sound": torch.randn(2, 500, 1)}).latents.shape
    torch.Size([2, 1, 128, 128])
    """

    config: PerceiverIOConfig  # type: ignore[assignment]
    config_class = PerceiverIOConfig

    def plan(self, num_tokens: Mapping[str, int]) -> GroupPlan:
        """Put all modalities into one group."""
        return GroupPlan.pool(num_tokens)
