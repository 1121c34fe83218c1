"""Masked auto-encoding of a model whose groups are divided among ranks."""

from typing import Any, NoReturn

import torch
from torch import Tensor

from hiperceiver.modality import Batch
from hiperceiver.model import build_model
from hiperceiver.settings.tasks import MaskedAutoencodingConfig
from hiperceiver.sharding import ShardedHiP
from hiperceiver.tasks.losses import LossTerm
from hiperceiver.tasks.masked_autoencoding import Mask, MaskedAutoencoding
from hiperceiver.tasks.task import Task


class ShardedAutoencoding(MaskedAutoencoding):
    """Masked auto-encoding of a rank's part of a model: the losses of all ranks add up to that of one process.

    Masks are drawn for all tokens, alike on every rank. Metrics and predictions are those of `whole_model()`.
    """

    model: ShardedHiP
    _whole: MaskedAutoencoding

    def __init__(self, model: ShardedHiP, config: MaskedAutoencodingConfig | None = None):
        Task.__init__(self, model, config or MaskedAutoencodingConfig())
        with torch.device("meta"):  # its shapes alone: masks and targets are those of all tokens
            whole = MaskedAutoencoding(build_model(model.config, model.whole_modalities), self.config)
        whole.model.orders = model.orders  # real, and on the model's device: masks follow them
        object.__setattr__(self, "_whole", whole)  # not a submodule: it has no weights
        self.num_position_channels = whole.num_position_channels

    @property
    def term_weights(self) -> dict[str, float]:
        """A term for each modality of the whole model."""
        return self._whole.term_weights

    def update(self, *_: Any, **__: Any) -> NoReturn:
        """Refused: a rank has its own tokens alone."""
        raise ValueError("model: expected a whole one for metrics and predictions, got one rank's part")

    predict = update

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The part of the loss that the local tokens add."""
        mask = self.draw(batch)
        counts = self.count_together([self.counts(batch, mask)], self.model.process_group)
        return self.weigh(self.terms(batch, mask), counts)

    def draw(self, batch: Batch) -> Mask:
        """The local part of the mask of all tokens."""
        mask, share = self._whole.train(self.training).draw(batch), self.model
        return Mask(share.local_slots(mask.visible), share.local(mask.is_masked), share.local_slots(mask.compared))

    def counts(self, batch: Batch, drawn: Mask | None = None) -> dict[str, Tensor]:
        """The number of local tokens that are compared."""
        inputs, is_padding = (self.model.local(each) for each in self._whole.input_tensors(batch))
        return self.count_compared(inputs, is_padding, drawn or self.draw(batch))

    def terms(self, batch: Batch, drawn: Mask | None = None) -> dict[str, LossTerm]:
        """Mask all tokens, reconstruct and compare the local ones; `drawn` is the local part of the mask.

        The batch has all tokens, or the local ones alone (without target normalisation, which is over all).
        """
        whole, share = self._whole, self.model
        inputs, is_padding = whole.input_tensors(batch)
        for name, x in inputs.items():
            count, normalised = share.whole_modalities[name].num_tokens, self.config.target_normalisation
            if normalised != "none" and x.shape[1] != count:
                over = f"over which target_normalisation={normalised!r} is done"
                raise ValueError(f"inputs: expected all {count} tokens of {name!r}, {over}, got {x.shape[1]}")
        targets = share.local(whole.targets(batch))
        return self.compare(share.local(inputs), share.local(is_padding), drawn or self.draw(batch), targets)
