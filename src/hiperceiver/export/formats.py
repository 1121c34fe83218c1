"""The two formats: a file, and a function that runs it."""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from torch.export import ExportedProgram

from hiperceiver.export.program import ExportModule
from hiperceiver.extras import import_part

OPSET = 18
_INSIDE = 1_900_000_000  # bytes of weights that fit into an ONNX file, whose limit is 2 GiB
Run = Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], dict[str, Tensor]]  # inputs and padding to outputs


def padding_name(modality: str) -> str:
    """The ONNX input that says which tokens of a modality are absent."""
    return f"{modality}.is_padding"


def export_torch(module: ExportModule, program: ExportedProgram, folder: Path) -> tuple[Path, Run]:
    """Write `model.pt2`; what runs it is loaded from there."""
    path = folder / "model.pt2"
    torch.export.save(program, path)
    loaded = torch.export.load(path).module()
    return path, lambda inputs, is_padding: loaded(dict(inputs), dict(is_padding))


def export_onnx(module: ExportModule, program: ExportedProgram, folder: Path) -> tuple[Path, Run]:
    """Write `model.onnx`, with its weights inside where they fit; onnxruntime runs it from there."""
    for package in ("onnx", "onnxscript"):
        import_part(package)
    runtime = import_part("onnxruntime")
    path = folder / "model.onnx"
    outputs = [*module(*module.random_tensors())]
    inputs = [*module.names, *map(padding_name, module.names)]
    size = sum(each.numel() * each.element_size() for each in program.state_dict.values())
    with warnings.catch_warnings(), _quiet("torch.onnx"), _quiet("onnxscript"), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's, on its own code
        torch.onnx.export(
            program,
            (),
            str(path),
            input_names=inputs,
            output_names=outputs,
            opset_version=OPSET,
            dynamo=True,
            external_data=size > _INSIDE,
            verbose=False,
        )
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    taken = {each.name for each in session.get_inputs()}

    def run(inputs: Mapping[str, Tensor], is_padding: Mapping[str, Tensor]) -> dict[str, Tensor]:
        feed = {**inputs, **{padding_name(name): x for name, x in is_padding.items()}}
        arrays = session.run(outputs, {name: x.numpy() for name, x in feed.items() if name in taken})
        return {name: torch.from_numpy(x) for name, x in zip(outputs, arrays, strict=True)}

    return path, run


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Without a logger's warnings, such as of operators of packages that are not there."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
