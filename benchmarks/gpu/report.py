"""What was measured on a GPU, as Markdown and in a few words. Python's own packages only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.gpu.plan import SIDES
from benchmarks.report import Table, number
from benchmarks.report import seconds as in_seconds

Measured = Mapping[str, Any]
"""A measurement's fields, status, note and numbers."""

PAPER = {
    "resnet-50": {224: 46.0, 384: 20.7, 512: 12.5, 1024: 3.4},
    "perceiver-io-50m": {224: 2.9, 384: 2.4, 512: 2.0},
    "hip-16:fourier": {224: 8.6, 384: 6.2, 512: 4.3},
    "hip-256:fourier": {224: 6.7, 384: 4.6, 512: 4.2},
    "hip-16": {224: 10.8, 384: 8.9, 512: 7.0, 1024: 2.9},
    "hip-256": {224: 8.9, 384: 8.1, 512: 7.7, 1024: 4.7, 2048: 0.9},
}
"""Training steps a second at batch 8 on a TPUv3, by side; where there is none it ran out of memory."""
_WITHIN = {"32": 1e-5, "bf16": 5e-2}
"""Distances to the formulas that are rounding alone."""


def markdown(measurements: Sequence[Measured], *, seconds: float) -> str:
    """All tables. Shares of the rate are of the median of the matrix-product rates of the run."""
    rate = matmul_rate(measurements)
    tables = [
        _device([each for each in measurements if each["part"] == "device"]),
        _values([each for each in measurements if each["part"] == "values"]),
        _throughput([each for each in measurements if each["part"] in ("throughput", "compiled")], rate),
        _cost([each for each in measurements if each["part"] == "cost"], rate),
        *(table for each in measurements if each["part"] == "profile" for table in _profile(each)),
        _problems(measurements),
    ]
    lines = [f"# hiperceiver on {_device_name(measurements)}", ""]
    if any(each["device"] == "cpu" for each in measurements):
        lines += [
            "This was measured on a CPU, to try the command out. It says nothing of a GPU: neither its rates, memory "
            "and values, nor CUDA graphs, nor whether anything waits for Python.",
            "",
        ]
    wall = sum(each["wall"] for each in measurements)
    lines += [f"Measured in {wall:.0f} of at most {seconds:.0f} s, each step in three windows of half a second.", ""]
    return "\n".join([*lines, *(table.markdown() for table in tables if table.rows)])


def in_short(each: Measured) -> str:
    """What came of a measurement, in a few words."""
    numbers = each["numbers"]
    if each["status"] != "measured":
        return f"{each['status']}: {each['note']}" if each["note"] else each["status"]
    if each["part"] == "device":
        return f"{numbers['device_name']}, {numbers['matmul_rate'] / 1e12:.3g} TFLOP/s"
    if each["part"] == "values":
        return f"gradients {numbers['gradients']:.1e} from the formulas, the CPU's {numbers['cpu_gradients']:.1e}"
    if each["part"] == "profile":
        return ", ".join(f"{row['name']} {row['share']:.0%}" for row in numbers["operations"][:2])
    step = median(numbers["seconds"])
    words = f"{in_seconds(step)} a step, {number(each['batch'] / step)} pictures/s"
    if "graph_seconds" in numbers:
        words += f", as a graph {number(each['batch'] / median(numbers['graph_seconds']))}"
    return words


def matmul_rate(measurements: Sequence[Measured]) -> float | None:
    """Operations a second of large matrix products in the precision of the steps; None: not measured."""
    rates = [each["numbers"]["matmul_rate"] for each in measurements if "matmul_rate" in each["numbers"]]
    return median(rates) if rates else None


def share_of(rate: float | None, flops: float, step: float) -> str:
    """Share of the rate that a step's operations take, in percent."""
    return f"{flops / step / rate:.0%}" if rate else ""


def _device_name(measurements: Sequence[Measured]) -> str:
    names = (each["numbers"]["device_name"] for each in measurements if "device_name" in each["numbers"])
    return next(names, "an unknown device")


def _device(measured: Sequence[Measured]) -> Table:
    """One column for each time that the device was measured."""
    units = {
        "matmul_rate": ("large matrix products, TFLOP/s", 1e12),
        "matmul_rate_32": ("the same in float32, TFLOP/s", 1e12),
        "narrow_rate": ("products with 32 x 128, TFLOP/s", 1e12),
        "copy_rate": ("copies, GB/s read and written", 1e9),
        "memory_bytes": ("memory, GB", 1e9),
    }
    names = dict.fromkeys(name for each in measured for name in each["numbers"])
    rows = []
    for name in names:
        values = [each["numbers"].get(name) for each in measured]
        words, unit = units.get(name, (name.replace("_", " "), None))
        cells = ["" if value is None else number(value / unit) if unit else str(value) for value in values]
        rows.append((words, *cells))
    places = ("before", "after")[: len(measured)]
    columns = ("device", *(f"{place}, {each['precision']}" for place, each in zip(places, measured, strict=True)))
    note = "matmul precision `highest`: float32 products do not use TF32; conv precision: that of convolutions."
    return Table(title="The device", columns=columns, rows=tuple(rows), note=note)


def _values(measured: Sequence[Measured]) -> Table:
    rows = []
    for each in measured:
        numbers = each["numbers"]
        if "cpu_gradients" not in numbers:
            continue
        worst = max(numbers["outputs"], numbers["gradients"])
        verdict = "yes" if worst < _WITHIN[each["precision"]] else "NO"
        cells = [f"{numbers[name]:.1e}" for name in ("outputs", "cpu_outputs", "gradients", "cpu_gradients", "worst")]
        rows.append((each["model"], each["precision"], *cells, verdict))
    return Table(
        title="Values",
        columns=("model", "precision", "outputs", "CPU", "gradients", "CPU", "worst weight", "rounding alone"),
        rows=tuple(rows),
        note="Distances to the plain formulas in float64 on the CPU, ||found - expected|| / ||expected||, of masked "
        f"auto-encoding with 75% hidden. Rounding alone: less than {_WITHIN['32']} (32) and {_WITHIN['bf16']} (bf16).",
    )


def _throughput(measured: Sequence[Measured], rate: float | None) -> Table:
    rows = []
    for each in measured:
        numbers = each["numbers"]
        words = (each["model"], str(each["side"]), each["mode"], str(each["batch"]))
        if "seconds" not in numbers:
            continue
        kind = "compiled" if each["part"] == "compiled" else "eager"
        first = f"first step {in_seconds(numbers['first_seconds'])}"
        times = {kind: (numbers["seconds"], first)}
        if "graph_seconds" in numbers:
            times[f"{kind}, CUDA graph"] = (numbers["graph_seconds"], "")
        for how, (windows, note) in times.items():
            step = median(windows)
            rows.append(
                (
                    *words,
                    how,
                    in_seconds(step),
                    f"{in_seconds(min(windows))} to {in_seconds(max(windows))}",
                    number(each["batch"] / step),
                    number(numbers["flops"] / step / 1e12),
                    share_of(rate, numbers["flops"], step),
                    f"{number(numbers['peak_bytes'] / 1e9)} GB" if note else "",
                    note,
                )
            )
    return Table(
        title="Throughput",
        columns=(
            *("model", "side", "step", "batch", "how", "time", "spread", "pictures / s", "TFLOP/s", "MFU"),
            *("peak memory", ""),
        ),
        rows=tuple(rows),
        note="Reconstruction of all pixels, nothing hidden; training: with backward pass and AdamW. TFLOP/s: matrix "
        "products that the step must do (training: three forward passes). MFU: of the rate of large matrix products "
        "in this run. Peak memory: the most that PyTorch had allocated, weights and optimizer included (on a CPU: "
        "resident memory of the process).",
    )  # fmt: skip


def _cost(measured: Sequence[Measured], rate: float | None) -> Table:
    rows = []
    for each in measured:
        numbers, paper = each["numbers"], PAPER.get(each["model"], {}).get(each["side"])
        cells = (each["status"], "", "", "", "")
        if "seconds" in numbers:
            step = median(numbers["seconds"])
            cells = (
                in_seconds(step),
                number(1 / step),
                share_of(rate, numbers["flops"], step),
                f"{number(numbers['peak_bytes'] / 1e9)} GB",
                f"{numbers['num_parameters'] / 1e6:.1f} M",
            )
        theirs = number(paper) if paper else "-" if each["model"] in PAPER and each["side"] in SIDES else ""
        rows.append((each["model"], str(each["side"]), *cells, theirs))
    return Table(
        title="Cost of a training step",
        columns=("model", "side", "time", "steps / s", "MFU", "peak memory", "weights", "paper, TPUv3, steps / s"),
        rows=tuple(rows),
        note="Classification of 8 pictures in 1000 classes with AdamW; HiP and Perceiver IO read the class from the "
        "processor, without a decoder. The paper does not say what its steps hold; - is out of memory there.",
    )


def _profile(each: Measured) -> list[Table]:
    numbers = each["numbers"]
    found = []
    for kind in ("operations", "kernels"):
        rows = [(row["name"], f"{row['share']:.1%}", number(row["calls"])) for row in numbers.get(kind, ())]
        note = ""
        if kind == "kernels" and rows:
            note = (
                f"{number(numbers['num_kernels'])} kernels a step, which take {numbers['busy_share']:.0%} of its "
                f"{in_seconds(numbers['seconds'])} without the profiler; the rest is waiting for Python."
            )
        title = f"Where the time goes: {kind} of a training step, {each['model']}, batch {each['batch']}, eager"
        found.append(Table(title=title, columns=(kind, "share", "calls a step"), rows=tuple(rows), note=note))
    return found


def _problems(measurements: Sequence[Measured]) -> Table:
    """Everything that was not measured, and graphs that could not be made."""
    rows = []
    for each in measurements:
        words = " ".join(
            [each["part"], each["model"], each["mode"], str(each["side"]), f"batch {each['batch']}", each["precision"]]
        )
        if each["status"] != "measured":
            rows.append((words, each["status"], each["note"]))
        if "graph_problem" in each["numbers"]:
            rows.append((f"{words}, CUDA graph", "failed", each["numbers"]["graph_problem"]))
    return Table(title="Not measured", columns=("what", "why", "note"), rows=tuple(rows))
