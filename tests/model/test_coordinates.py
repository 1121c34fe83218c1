"""Positions from the tokens' own coordinates: against a literal version, and what they mean for a model."""

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from closeness import assert_close, is_close, terms_of
from small_models import IMAGE, LABEL, assert_same, awake, hip, hip_config, perceiver_io, random_inputs, refusal
from torch import Tensor, nn

from hiperceiver.modality import Modality
from hiperceiver.model import HiP, read_model, transfer_weights
from hiperceiver.model.positions import CoordinatePositions, LearnedPositions, make_positions
from hiperceiver.model.summary import summarise

POINTS = Modality(grid=(14,), channels=5, num_coordinates=3)
MODALITIES = {"points": POINTS, "image": IMAGE, "label": LABEL}
SMALL = {"positions": "coordinate", "fourier_bands": 4, "fourier_max_resolution": (6, 6, 6)}


def direct_features(point: list[float], bands: int, resolution: tuple[int, ...]) -> list[float]:
    """("Perceiver", section 3.2), of one point."""
    features = []
    for x, extent in zip(point, resolution, strict=True):
        top = max(extent / 2, 1)
        frequencies = [1 + (top - 1) * band / (bands - 1) if bands > 1 else 1.0 for band in range(bands)]
        features += [x, *(math.sin(math.pi * f * x) for f in frequencies)]
        features += [math.cos(math.pi * f * x) for f in frequencies]
    return features


@pytest.mark.parametrize("bands", [1, 4])
@pytest.mark.parametrize("resolution", [None, (9, 1, 20)])
def test_features_are_the_direct_ones(bands: int, resolution: tuple[int, ...] | None) -> None:
    positions = CoordinatePositions((7,), 6, num_coordinates=3, num_bands=bands, max_resolution=resolution)
    tokens = torch.rand(2, 7, 5) * 2 - 1
    rows = [
        direct_features(point, bands, resolution or (64, 64, 64)) for point in tokens[..., :3].flatten(0, 1).tolist()
    ]
    expected = (torch.tensor(rows) @ positions.projection.weight.T).unflatten(0, (2, 7))
    weight = positions.projection.weight.detach()
    scale = math.pi * max(resolution or (64,)) / 2 * weight.abs().max().item()  # a sine is off as much as its argument
    assert_close(positions(tokens), expected, terms=weight.shape[1], scale=scale)
    assert positions.projection.in_features == 3 * (2 * bands + 1)


def test_only_coordinates_count() -> None:
    positions = CoordinatePositions((7,), 6, num_coordinates=2, num_bands=3)
    tokens = torch.rand(2, 7, 5)
    changed = tokens.clone()
    changed[..., 2:] += 1
    assert torch.equal(positions(tokens), positions(changed))
    changed[..., 1] += 0.1
    assert not is_close(positions(tokens), positions(changed), terms=14).all()
    with refusal("tokens: expected them, for their coordinates are their positions, got None"):
        positions()


def test_phases_are_not_taken_in_half_precision() -> None:
    positions = CoordinatePositions((64,), 6, num_coordinates=3, num_bands=16, max_resolution=(512,) * 3)
    tokens = (torch.rand(1, 64, 3) * 2 - 1).bfloat16()  # exact in both
    exact = positions(tokens.float())
    close = positions.bfloat16()(tokens).float()
    assert (close - exact).abs().max() < 0.05 * exact.abs().max()


def test_modalities_without_coordinates_keep_a_table() -> None:
    model = hip(MODALITIES, **SMALL)
    assert {name: type(each) for name, each in model.positions.items()} == {
        "points": CoordinatePositions,
        "image": LearnedPositions,
        "label": LearnedPositions,
    }
    for other in ("learned", "fourier", "none"):  # coordinates are channels as any
        positions = make_positions(hip_config(positions=other), POINTS, 6)
        assert not isinstance(positions, CoordinatePositions)
        assert positions().shape == (POINTS.num_tokens, 6)


def test_mistakes() -> None:
    with refusal("modalities: expected one with num_coordinates > 0 for positions='coordinate', got none"):
        hip({"image": IMAGE}, positions="coordinate")
    with refusal("fourier_max_resolution: expected one number for each of the 3 coordinates, got (8, 8)"):
        hip({"points": POINTS}, positions="coordinate", fourier_max_resolution=(8, 8))


@pytest.mark.parametrize("make", [hip, perceiver_io])
def test_a_model_of_several_modalities_runs_on_any_of_them(make: Any) -> None:
    model = make(MODALITIES, **SMALL)
    inputs = random_inputs(MODALITIES, batch=3)
    for names in (["points"], ["image"], ["image", "points", "label"]):
        output = model({name: inputs[name] for name in names})
        for name in names:
            assert output.reconstruction[name].shape == inputs[name].shape
        for index in range(3):  # each example has its own positions
            alone = model({name: inputs[name][index : index + 1] for name in names})
            terms = terms_of(model)
            assert_close(alone.latents[0], output.latents[index], terms=terms)
            for name in names:
                assert_close(alone.reconstruction[name][0], output.reconstruction[name][index], terms=terms)


def test_the_order_of_points_is_all_that_a_table_knows() -> None:
    """In one group, swapping points changes nothing but where they are read out."""
    order = torch.randperm(14, generator=torch.Generator().manual_seed(0))
    x = random_inputs({"points": POINTS})["points"]
    for positions, is_same in [("coordinate", True), ("learned", False)]:
        model = perceiver_io({"points": POINTS}, positions=positions)
        whole, shuffled = model({"points": x}), model({"points": x[:, order]})
        terms = terms_of(model)
        assert is_close(whole.latents, shuffled.latents, terms=terms).all() == is_same
        if is_same:
            read, read_shuffled = whole.reconstruction["points"], shuffled.reconstruction["points"]
            assert_close(read[:, order], read_shuffled, terms=terms)


@pytest.mark.parametrize("make", [hip, perceiver_io])
def test_absent_points_influence_nothing(make: Any) -> None:
    model = make({"points": POINTS}, **SMALL)
    x = random_inputs({"points": POINTS})["points"]
    is_padding = {"points": torch.zeros(2, 14, dtype=torch.bool)}
    is_padding["points"][:, -3:] = True
    broken = x.clone()
    broken[:, -3:] = torch.nan
    a, b = model({"points": x}, is_padding=is_padding), model({"points": broken}, is_padding=is_padding)
    assert torch.equal(a.latents, b.latents)
    assert torch.equal(a.reconstruction["points"], b.reconstruction["points"])


@pytest.mark.parametrize("make", [hip, perceiver_io])
def test_of_hidden_points_the_place_is_known_and_nothing_else(make: Any) -> None:
    model = make({"points": POINTS}, **SMALL)
    x = random_inputs({"points": POINTS})["points"]
    span = model.plan({"points": 14}).spans["points"]
    visible = {"points": torch.zeros(2, 1, 1, dtype=torch.int64)}  # the first place of each group
    key_mask = torch.ones(14, dtype=torch.bool)
    key_mask[:: span.tokens_per_group] = False
    before = model({"points": x}, visible=visible)
    features, coordinates = x.clone(), x.clone()
    features[:, key_mask, 3:] = torch.nan
    coordinates[:, key_mask, :3] += 0.3
    assert_same(before, model({"points": features}, visible=visible), model)
    after = model({"points": coordinates}, visible=visible)
    terms = terms_of(model)
    assert_close(before.latents, after.latents, terms=terms)
    assert not is_close(before.reconstruction["points"], after.reconstruction["points"], terms=terms).all()


def test_every_parameter_learns() -> None:
    for make in (hip, perceiver_io):
        model: HiP = make(MODALITIES, **SMALL)
        total = sum(x.sin().sum() for x in model(random_inputs(MODALITIES)).reconstruction.values())
        assert isinstance(total, Tensor)
        total.backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.any(), name


def test_settings_have_an_effect() -> None:
    x = random_inputs({"points": POINTS})
    model = hip({"points": POINTS}, **SMALL)
    more = HiP(hip_config(**SMALL | {"fourier_bands": 5}), {"points": POINTS})
    weight = "positions.points.projection.weight"
    assert more.state_dict()[weight].shape != model.state_dict()[weight].shape
    finer = HiP(hip_config(**SMALL | {"fourier_max_resolution": (9, 9, 9)}), {"points": POINTS}).eval()
    finer.load_state_dict(dict(model.named_parameters()), strict=False)
    assert not is_close(finer(x).latents, model(x).latents, terms=terms_of(model)).all()


def test_saved_and_loaded_it_computes_the_same(tmp_path: Path) -> None:
    model, inputs = hip(MODALITIES, **SMALL), random_inputs(MODALITIES)
    model.save_pretrained(tmp_path)
    loaded = HiP.from_pretrained(tmp_path)
    assert loaded.modalities == model.modalities
    assert torch.equal(loaded(inputs).latents, model(inputs).latents)


def test_it_moves_to_another_number_of_points(tmp_path: Path) -> None:
    settings = {"positions": "coordinate", "fourier_bands": 4}
    model = hip({"points": POINTS}, **settings)
    model.save_pretrained(tmp_path)
    x = random_inputs({"points": POINTS})["points"]
    expected = model.positions["points"](x)
    longer = Modality(grid=(20,), channels=5, num_coordinates=3)
    other = awake(HiP(hip_config(**settings), {"points": longer}), seed=5)
    report = transfer_weights(other, read_model(tmp_path))
    assert not report.resized
    assert not report.new
    assert torch.equal(other.positions["points"](x), expected)
    model.resize_positions({"points": (20,)})
    assert model(random_inputs({"points": longer})).reconstruction["points"].shape == (2, 20, 5)
    flat = Modality(grid=(14,), channels=5, num_coordinates=2)
    with refusal(f"{tmp_path}: expected (2,) for positions.points.max_resolution, got shape (3,); use the same model"):
        transfer_weights(HiP(hip_config(**settings), {"points": flat}), read_model(tmp_path))


def test_a_summary_owns_every_parameter_once() -> None:
    model = hip(MODALITIES, **SMALL)
    assert summarise(model, batch_size=2, mask_ratio=0.5).num_parameters == sum(p.numel() for p in model.parameters())


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # of PyTorch's own modules as the compiler loads them
def test_compiled_whole_it_computes_the_same() -> None:
    model = hip(MODALITIES, **SMALL)
    inputs = random_inputs(MODALITIES)
    is_padding = {"points": torch.arange(14).expand(2, -1) > 10}
    compiled = torch.compile(copy.deepcopy(model), fullgraph=True, backend="aot_eager")
    assert_same(compiled(inputs, is_padding=is_padding), model(inputs, is_padding=is_padding), model)
    torch.compiler.reset()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("make", [hip, perceiver_io])
def test_exported_it_serves_any_number_of_examples(make: Any) -> None:
    model: nn.Module = make({"points": POINTS, "image": IMAGE}, **SMALL)
    modalities = {"points": POINTS, "image": IMAGE}
    batch = torch.export.Dim("batch", min=1, max=512)
    shapes = {name: {0: batch} for name in modalities}
    program = torch.export.export(model, (random_inputs(modalities),), dynamic_shapes=(shapes,), strict=False)
    for count in (1, 2, 5):
        inputs = random_inputs(modalities, batch=count, seed=count)
        assert_same(program.module()(inputs), model(inputs), model)
