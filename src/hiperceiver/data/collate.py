"""Examples to a batch."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hiperceiver.data.example import BadExample, Example
from hiperceiver.modality import Batch


def collate(examples: Sequence[Example | BadExample]) -> Batch:
    """Stacks examples; bad ones are left out and named in `Batch.skipped`. If all are bad, it has no inputs.

    Raises:
        ValueError: two examples differ in modalities, shapes or targets.

    >>> x = Example(inputs={"image": torch.zeros(4, 3)}, targets={"label": torch.tensor(1)})
    >>> batch = collate([x, BadExample("b.jpg", "is empty (0 bytes)"), x])
    >>> len(batch), batch.inputs["image"].shape, batch.skipped
    (2, torch.Size([2, 4, 3]), ('b.jpg: is empty (0 bytes)',))
    """
    good = [example for example in examples if isinstance(example, Example)]
    skipped = tuple(str(example) for example in examples if isinstance(example, BadExample))
    if not good:
        return Batch(inputs={}, skipped=skipped)
    inputs = _stack("inputs", good, [example.inputs for example in good])
    # An example without a mark has no padding there; it meets others that have some.
    padded = [name for name in inputs if any(name in example.is_padding for example in good)]
    is_padding = {
        name: torch.stack([x.is_padding.get(name, torch.zeros(len(x.inputs[name]), dtype=torch.bool)) for x in good])
        for name in padded
    }
    targets = _stack("targets", good, [example.targets for example in good])
    seeds = [example.seed for example in good]
    return Batch(
        inputs=inputs,
        is_padding=is_padding,
        targets=targets,
        skipped=skipped,
        seeds=None if None in seeds else torch.tensor(seeds),
        names=tuple(example.name for example in good),
        places=torch.tensor([place for place, example in enumerate(examples) if isinstance(example, Example)]),
    )


def _stack(what: str, examples: Sequence[Example], values: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    shapes = [{name: tuple(x.shape) for name, x in tensors.items()} for tensors in values]
    for example, found in zip(examples, shapes, strict=True):
        if found != shapes[0]:
            raise ValueError(
                f"{what}: examples of a batch must have the same names and shapes, got {shapes[0]} in "
                f"{examples[0].name!r} and {found} in {example.name!r}"
            )
    return {name: torch.stack([tensors[name] for tensors in values]) for name in shapes[0]}
