"""`hip export`: a trained model for other runtimes, compared with PyTorch, with its preprocessing."""

import shutil
from pathlib import Path

import torch

from hiperceiver.cli.errors import UserError
from hiperceiver.cli.models import locate, run_settings
from hiperceiver.cli.predict import own_inputs, read_file
from hiperceiver.cli.results import check_beside_data, write_json
from hiperceiver.data.collate import collate
from hiperceiver.export import ExportModule, card, check, export_onnx, export_torch, preprocessing, trace
from hiperceiver.extras import import_part
from hiperceiver.settings.commands import ExportSettings
from hiperceiver.tasks import load_task
from hiperceiver.writing import write_text

_WRITERS = {"onnx": export_onnx, "torch-export": export_torch}


def run(settings: ExportSettings) -> int:
    """Write the folder, and print how near the exported model comes to PyTorch."""
    folder = Path(settings.out)
    if folder.exists():
        raise UserError(f"--out: {folder} exists already; name another folder")
    check_beside_data(folder, run_settings(settings.checkpoint).get("data"), what="its files")
    if settings.format == "onnx":
        for package in ("onnx", "onnxscript", "onnxruntime"):
            import_part(package)
    task = load_task(locate(settings.checkpoint))
    module = ExportModule(task, settings.modalities, settings.what).eval()
    inputs, is_padding = module.random_tensors()
    if settings.examples:
        encoders = own_inputs(task, settings.checkpoint)
        batch = collate([read_file(task, encoders, Path(file)).example for file in settings.examples])
        inputs = {name: batch.inputs[name] for name in module.names}
        is_padding = {name: ~batch.is_present(name) for name in module.names}
    program = trace(module)
    folder.mkdir(parents=True)
    try:
        path, exported = _WRITERS[settings.format](module, program, folder)
        result = check(module, exported, inputs, is_padding)
        with torch.no_grad():
            values = preprocessing(module, module(inputs, is_padding), path)
        write_json(str(folder / "preprocessing.json"), values)
        write_text(folder / "README.md", card(values))
    except BaseException as error:  # half an export, or one that says something else, is none
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError) and error.filename is None:  # a failed write does not know its file
            raise OSError(error.errno, error.strerror, str(folder)) from None
        raise
    count = len(next(iter(inputs.values())))
    kind = "files" if settings.examples else "random examples (name files with --examples)"
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB; compared on {count} {kind}")
    for name, difference in result.differences.items():
        print(f"{name}: largest difference {difference:.2g}")
    print(f"{settings.format:12}  {1000 * result.seconds:8.1f} ms")
    print(f"{'PyTorch':12}  {1000 * result.torch_seconds:8.1f} ms")
    return 0
