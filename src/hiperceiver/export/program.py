"""What is exported: a task's predictions or its model's latents as a function of tensors alone."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from hiperceiver import fast
from hiperceiver.modality import Batch
from hiperceiver.tasks import MaskedAutoencoding, Task

WHATS = ("predictions", "encoder", "processor")
"""What can be exported. `encoder`: the latents of its last block (B, G, N, D); `processor`: its latents (B, N, D)."""


class ExportModule(nn.Module):
    """Tokens (B, M, C) and which are absent, bool (B, M), both by modality, to tensors by name.

    Predictions are those of `Task.predict`, with a dot before the names inside one, such as `labels.pitch`; of a masked
    auto-encoder the reconstruction of each modality by the model, such as `reconstruction.image`, where absent tokens
    are the hidden ones. An output that has the name of a modality is called `predicted.NAME`.

    Args:
        task: in evaluation mode.
        modalities: the inputs, some of the model's; empty: all of them.
        what: one of `WHATS`.

    Raises:
        ValueError: a modality that the model lacks or the task misses, or something else than `WHATS` has.
    """

    def __init__(self, task: Task, modalities: Sequence[str] = (), what: str = "predictions"):
        super().__init__()
        known = task.model.input_names
        for name in modalities:
            if name not in known:
                raise ValueError(f"modalities: expected names among {', '.join(known)}, got {name!r}")
        if what not in WHATS:
            raise ValueError(f"what: expected one of {', '.join(WHATS)}, got {what!r}")
        if what == "predictions" and modalities and task.input_modality not in (None, *modalities):
            raise ValueError(f"modalities: expected the task's {task.input_modality!r}, got {', '.join(modalities)}")
        if what == "encoder" and task.model.processor_index == 0:
            raise ValueError("what: expected predictions or processor, as this model has no encoder, got 'encoder'")
        self.task, self.what = task, what
        self.names = tuple(name for name in known if not modalities or name in modalities)

    def forward(self, inputs: dict[str, Tensor], is_padding: dict[str, Tensor]) -> dict[str, Tensor]:
        """The outputs by name."""
        outputs = self._outputs(inputs, is_padding)
        return {f"predicted.{name}" if name in self.names else name: value for name, value in outputs.items()}

    def _outputs(self, inputs: dict[str, Tensor], is_padding: dict[str, Tensor]) -> dict[str, Tensor]:
        model = self.task.model
        if self.what == "predictions":
            if isinstance(self.task, MaskedAutoencoding):
                return _flat({"reconstruction": model(inputs, is_padding=is_padding).reconstruction})
            batch = Batch(inputs=dict(inputs), is_padding=dict(is_padding))
            return _flat(self.task.predict(batch)._asdict())  # type: ignore[attr-defined]
        encoded = model.encode(inputs, is_padding=is_padding)
        if self.what == "encoder":
            return {"encoder_latents": encoded.skips[-1]}
        return {"processor_latents": encoded.processor_latents.squeeze(1)}

    def random_tensors(self, batch_size: int = 2) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Tokens of the right shapes, of which the last quarter is absent."""
        generator = torch.Generator().manual_seed(0)
        inputs, is_padding = {}, {}
        for name in self.names:
            modality = self.task.model.modalities[name]
            shape = (batch_size, modality.num_tokens, modality.channels)
            if modality.num_categories:
                inputs[name] = torch.randint(modality.num_categories + 1, shape, generator=generator).float()
            else:
                inputs[name] = torch.randn(shape, generator=generator)
            absent = torch.arange(modality.num_tokens) >= modality.num_tokens - modality.num_tokens // 4
            is_padding[name] = absent.repeat(batch_size, 1)
        return inputs, is_padding


def trace(module: ExportModule) -> ExportedProgram:
    """The program of a module on the CPU, in the plain formulas, for any batch size."""
    batch = Dim("batch")
    shapes = {name: {0: batch} for name in module.names}
    with fast.plain(), torch.no_grad():
        arguments = module.random_tensors()
        return torch.export.export(module, arguments, dynamic_shapes=(shapes, dict(shapes)), strict=False)


def _flat(values: Mapping[str, Tensor | Mapping[str, Tensor]]) -> dict[str, Tensor]:
    flat: dict[str, Tensor] = {}
    for name, value in values.items():
        if isinstance(value, Tensor):
            flat[name] = value
        else:
            flat |= {f"{name}.{key}": each for key, each in value.items()}
    return flat
