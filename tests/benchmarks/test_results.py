"""What is said of answers: ratios, shares, exponents, tables; from made-up numbers."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.jobs import Answer, Job
from benchmarks.pictures import draw
from benchmarks.report import machine_table, number, seconds, tables
from benchmarks.results import exponent, row

OURS = Job(kind="step", name="hiperceiver:hip-16", side=224, mode="training")
VIT = replace(OURS, name="vit:base")
MACHINE = Job(kind="machine")


def step(*times: float, peak: float, rate: float = 100e9) -> Answer:
    numbers = {
        "seconds": list(times),
        "peak_bytes": peak,
        "import_bytes": 1e8,
        "num_parameters": 10**7,
        "compile_seconds": 0.0,
        "matmul_rate": rate,
    }
    return Answer(status="measured", numbers=numbers)


ANSWERS = {
    MACHINE: [
        Answer(status="measured", numbers={"matmul_rate": rate, "narrow_rate": 1e9, "copy_rate": 2e9})
        for rate in (90e9, 100e9, 130e9)
    ],
    OURS: [step(0.9, 1.0, 5.0, peak=2e9, rate=150e9), step(2.0, peak=2e9, rate=120e9), step(3.0, peak=3e9, rate=90e9)],
    replace(OURS, kind="count"): [Answer(status="measured", numbers={"flops": 120e9, "forward_flops": 30e9})],
    VIT: [step(5.0, peak=1e9)],
    replace(OURS, side=512): [Answer(status="does not fit", note="more than 9.0 GB")],
}


def test_a_row_has_medians_ratios_and_shares() -> None:
    ours, vit = row(OURS, ANSWERS), row(VIT, ANSWERS)
    assert (ours.seconds, ours.fastest, ours.slowest, ours.peak_bytes) == (2.0, 1.0, 3.0, 2e9)
    assert (ours.time_ratio, ours.memory_ratio) == (1.0, 1.0)
    assert ours.limit_share == pytest.approx(120e9 / 120e9 / 2.0)
    assert ours.utilisation == pytest.approx(3 * 30e9 / 120e9 / 2.0)
    assert (vit.time_ratio, vit.memory_ratio) == (2.5, 0.5)
    assert math.isnan(vit.limit_share)


def test_what_did_not_fit_is_a_row() -> None:
    large = row(replace(OURS, side=512), ANSWERS)
    assert (large.status, large.problem) == ("does not fit", "more than 9.0 GB")


@pytest.mark.parametrize("power", [0.5, 1.0, 1.37])
def test_exponent_of_a_power_law(power: float) -> None:
    assert exponent((x, 7 * x**power) for x in (10, 100, 500, 3000)) == pytest.approx(power)


def test_exponent_of_noise_is_the_slope_of_numpy() -> None:

    x, noise = np.array([1.0, 3.0, 10.0, 50.0]), np.array([1.1, 0.9, 1.3, 0.8])
    slope = np.polyfit(np.log(x), np.log(x * noise), 1)[0]
    assert exponent(zip(x, x * noise, strict=True)) == pytest.approx(slope)


def test_exponent_of_one_point_is_unknown() -> None:
    assert math.isnan(exponent([(2, 3), (2, 4)]))


def test_the_table_says_it() -> None:
    (table,) = tables("peers", list(ANSWERS), ANSWERS)
    cells = {each[0] + each[1]: dict(zip(table.columns, each, strict=True)) for each in table.rows}
    assert cells["hiperceiver:hip-16224"]["time"] == "2.00 s"
    assert cells["hiperceiver:hip-16224"]["of the limit"] == "50%"
    assert cells["vit:base224"]["time / ours"] == "2.50 x"
    assert cells["hiperceiver:hip-16512"]["time"] == "does not fit"
    assert cells["hiperceiver:hip-16512"]["note"] == "more than 9.0 GB"
    assert "| vit:base | 224 | 5.00 s |" in table.markdown()


def test_tokens_have_an_exponent() -> None:
    jobs = {replace(OURS, side=side): [step(side**2 / 1e5, peak=1e8 + side**2)] for side in (256, 512, 1024)}
    (table,) = tables("tokens", list(jobs), jobs)
    assert "time ~ tokens^1.00" in table.note
    assert "memory beyond the imports ~ tokens^1.00" in table.note


def test_masking_is_compared_with_nothing_hidden() -> None:
    whole = replace(OURS, kind="masked")
    masked = replace(whole, ratio=0.85, compared=0.25)
    answers = {whole: [step(2.0, peak=4e9)], masked: [step(0.5, peak=1e9)]}
    (table,) = tables("masking", list(answers), answers)
    assert dict(zip(table.columns, table.rows[1], strict=True))["of its time"] == "25%"
    assert dict(zip(table.columns, table.rows[1], strict=True))["hidden"] == "85%"
    assert dict(zip(table.columns, table.rows[1], strict=True))["compared"] == "25%"


def test_loading_and_startup() -> None:
    recipe, command = Job(kind="loading", name="watch"), Job(kind="command", name="hip --help")
    rates = {"loading_rate": 300.0, "step_rate": 100.0, "num_workers": 0}
    answers = {
        recipe: [Answer(status="measured", numbers=rates)],
        command: [Answer(status="measured", numbers={"seconds": [0.1, 0.3, 0.2]})],
    }
    assert tables("loading", [recipe], answers)[0].rows == (("watch", "300", "100", "3.00 x", "0", ""),)
    assert tables("startup", [command], answers)[0].rows == (("hip --help", "200 ms", "100 ms to 300 ms", ""),)
    assert tables("startup", [command], {}) == []


def test_optimizers_are_set_beside_the_step() -> None:
    muon, other = (Job(kind="optimizer", name=f"{name}:hip-nano", side=32, batch=32) for name in ("muon", "lamb"))
    numbers = {"seconds": [0.1, 0.3, 0.2], "step_seconds": 0.4, "num_parameters": 3_000_000}
    answers = {muon: [Answer(status="measured", numbers=numbers)], other: [Answer(status="failed", note="no LAMB")]}
    (table,) = tables("optimizers", [muon, other], answers)
    assert table.rows[0] == ("hip-nano", "muon", "3.0 M", "200 ms", "100 ms to 300 ms", "50%", "")
    assert table.rows[1] == ("hip-nano", "lamb", "", "", "", "", "no LAMB")
    assert tables("optimizers", [muon], {}) == []


def test_values_are_shown_with_where_they_come_from() -> None:
    found, missing = (Job(kind="values", name="hiperceiver:hip-nano", side=8, precision=p) for p in ("32", "bf16"))
    numbers = {"outputs": 1.5e-7, "loss": 0.0, "gradients": 2e-7, "worst": 3e-6, "worst_name": "a.weight"}
    answers = {
        found: [Answer(status="measured", numbers={**numbers, "device_name": "a device"})],
        missing: [Answer(status="failed", note="no memory")],
    }
    (table,) = tables("values", list(answers), answers)
    assert table.rows[0][2:] == ("a device", "32", "1.5e-07", "0.0e+00", "2.0e-07", "3.0e-06", "a.weight")
    assert table.rows[1][2:] == ("cpu", "bf16", "", "", "", "", "no memory")


def test_the_machine_from_first_to_last() -> None:
    (table,) = machine_table(ANSWERS)
    assert table.rows[0][1:] == ("100", "90.0", "130", "90.0 100 130")


def test_numbers_for_people() -> None:
    assert [number(value) for value in (1234.6, 99.96, 1.0, 0.01234, math.nan)] == [
        "1,235",
        "100",
        "1.00",
        "0.0123",
        "",
    ]
    assert [seconds(value) for value in (0.0123, 2.5, math.nan)] == ["12.3 ms", "2.50 s", ""]


def test_a_picture_of_what_was_measured(tmp_path: Path) -> None:
    path = draw("training", [row(job, ANSWERS) for job in ANSWERS if job.kind == "step"], tmp_path / "a.png")
    with Image.open(path) as image:
        assert image.width > 2 * image.height * 0.7
        assert len(image.convert("RGB").getcolors(10**6) or ()) > 10  # lines were drawn
