"""Mixed training examples: what they are made of, beside what their labels say."""

import numpy as np
import pytest
import torch
from closeness import assert_close, terms_of

from hiperceiver.data.collate import collate
from hiperceiver.data.example import BadExample, Example
from hiperceiver.modality import Batch, Modality
from hiperceiver.tasks import Classification, ClassificationConfig
from hiperceiver.tasks.mixing import mix

MODALITIES = {
    "image": Modality(grid=(6, 8), channels=2),
    "clip": Modality(grid=(3, 4, 5), channels=1),
    "sound": Modality(grid=(20,), channels=3),
    "label": Modality(grid=(1,), channels=4, role="label"),
}


def make_batch(batch_size: int = 8, *, has_absent: bool = False) -> Batch:
    inputs, is_padding = {}, {}
    for name, modality in MODALITIES.items():
        owner = torch.arange(batch_size).float()[:, None, None]
        inputs[name] = owner.expand(-1, modality.num_tokens, modality.channels).clone()
        if has_absent and modality.role == "input":
            is_padding[name] = torch.rand(batch_size, modality.num_tokens) < 0.3
            inputs[name] = inputs[name].masked_fill(is_padding[name][..., None], torch.nan)
    return Batch(inputs=inputs, is_padding=is_padding, targets={"label": torch.arange(batch_size)})


@pytest.mark.parametrize("has_absent", [False, True])
def test_mixup_adds_all_tokens_with_one_share_for_a_pair(has_absent):
    batch = make_batch(has_absent=has_absent)
    mixed, partner, share = mix(batch, MODALITIES, torch.ones(8, dtype=torch.bool), mixup=0.8)
    assert len(set(share.tolist())) == 4
    assert torch.equal(share, share[partner])
    assert ((share > 0) & (share < 1)).all()
    assert partner.tolist() == [1, 0, 3, 2, 5, 4, 7, 6]
    for name, modality in MODALITIES.items():
        if modality.role == "label":
            assert torch.equal(mixed.inputs[name], batch.inputs[name])
            continue
        for example in range(8):
            for token in range(modality.num_tokens):
                parts = [(share[example].item(), example), (1 - share[example].item(), int(partner[example]))]
                if has_absent:
                    absent = [bool(batch.is_padding[name][owner, token]) for _, owner in parts]
                    assert mixed.is_padding[name][example, token] == all(absent)
                    parts = [part for part, is_absent in zip(parts, absent, strict=True) if not is_absent]
                expected = sum(weight * owner for weight, owner in parts)
                assert_close(mixed.inputs[name][example, token, 0], expected, terms=3, scale=8)


@pytest.mark.parametrize("has_absent", [False, True])
def test_cutmix_replaces_a_box_and_counts_what_is_left(has_absent):
    sizes = set()
    for seed in range(12):
        torch.manual_seed(seed)
        batch = make_batch(has_absent=has_absent)
        mixed, partner, share = mix(batch, MODALITIES, torch.ones(8, dtype=torch.bool), cutmix=1.0)
        for example in range(8):
            own, other = example, int(partner[example])
            shares = []
            for name in ("image", "clip", "sound"):
                grid = MODALITIES[name].grid
                x = mixed.inputs[name][example, :, 0].view(grid).numpy()
                assert np.isfinite(x).all()
                if not has_absent and own != other:
                    is_cut = x == other
                    assert (is_cut | (x == own)).all()
                    if is_cut.any():  # a box: the product of what it is along each axis
                        spans = [is_cut.any(axis=tuple(set(range(len(grid))) - {axis})) for axis in range(len(grid))]
                        box = np.ix_(*spans)
                        assert is_cut[box].all()
                        assert all(np.ptp(np.flatnonzero(span)) + 1 == span.sum() for span in spans)
                        if name == "clip":
                            assert spans[0].all()
                        if name == "image":
                            sizes.add(tuple(int(span.sum()) for span in spans))
                    shares.append(1 - is_cut.mean())
                elif own != other:
                    is_present = ~mixed.is_padding[name][example].view(grid).numpy()
                    shares.append(((x == own) & is_present).sum() / is_present.sum())
                    # A token is present as its owner's was.
                    for token in range(MODALITIES[name].num_tokens):
                        was = [bool(batch.is_padding[name][each, token]) for each in (own, other)]
                        assert bool(mixed.is_padding[name][example, token]) in was
            if own not in (0, other) and other != 0:  # absent tokens are 0, as the first example's are
                assert_close(share[example], np.mean(shares), terms=len(shares), scale=1)
    assert has_absent or len(sizes) > 5


def test_a_modality_that_an_example_lacks_has_no_say_in_what_is_left():
    batch = make_batch(2)
    batch.is_padding["image"] = torch.ones(2, 48, dtype=torch.bool)
    batch.is_padding["clip"] = torch.tensor([True, False])[:, None].expand(2, 60)
    batch.is_padding["sound"] = torch.tensor([True, False])[:, None].expand(2, 20)
    for seed in range(8):
        torch.manual_seed(seed)
        mixed, partner, share = mix(batch, MODALITIES, torch.ones(2, dtype=torch.bool), cutmix=1.0)
        if partner.tolist() == [1, 0]:
            is_present = ~mixed.is_padding["sound"][0]
            assert share[0] == (1 if not is_present.any() and mixed.is_padding["clip"][0].all() else 0)
            assert share[1] == 1  # what is cut out is absent
            assert mixed.is_padding["image"].all()


@pytest.mark.parametrize("settings", [{"mixup": 1.0}, {"cutmix": 1.0}])
def test_examples_without_a_label_are_neither_mixed_nor_mixed_in(settings):
    for seed in range(5):
        torch.manual_seed(seed)
        batch = make_batch()
        is_labelled = torch.tensor([False, True, True, False, True, True, True, False])
        batch.inputs["sound"][~is_labelled] = torch.nan
        mixed, partner, share = mix(batch, MODALITIES, is_labelled, **settings)
        assert torch.equal(partner[~is_labelled], torch.arange(8)[~is_labelled])
        assert is_labelled[partner[is_labelled]].all()
        assert sorted(partner.tolist()) == list(range(8))
        assert mixed.inputs["sound"][is_labelled].isfinite().all()
        assert share.isfinite().all()
    for none in (torch.zeros(8, dtype=torch.bool), torch.zeros(0, dtype=torch.bool)):
        assert mix(make_batch(len(none)), MODALITIES, none, **settings).partner.tolist() == list(range(len(none)))


def test_with_both_each_is_done_half_of_the_time_and_the_batch_stays_as_it_was():
    batch = make_batch(4)
    before = {name: x.clone() for name, x in batch.inputs.items()}
    is_labelled = torch.ones(4, dtype=torch.bool)
    num_cut = 0
    for _ in range(60):
        image = mix(batch, MODALITIES, is_labelled, mixup=1.0, cutmix=1.0).batch.inputs["image"]
        num_cut += int((image == image.round()).flatten(1).all(dim=1).sum())
    assert 80 < num_cut < 160
    assert all(torch.equal(x, before[name]) for name, x in batch.inputs.items())


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_a_larger_number_mixes_more(kind):
    is_labelled = torch.ones(8, dtype=torch.bool)
    spread = []
    for alpha in (0.05, 5.0):
        shares = [mix(make_batch(), MODALITIES, is_labelled, **{kind: alpha}).share.mean() for _ in range(60)]
        spread.append(torch.stack(shares).std())
    assert spread[0] > 2 * spread[1]


# --------------------------------------------------------------------------------------------- classification


def make_task(make_model, **settings) -> Classification:
    task = Classification(make_model(), ClassificationConfig(num_classes=4, **settings))
    with torch.no_grad():
        for parameter in task.head.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return task.train()


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
@pytest.mark.parametrize("weights", [None, [1, 2, 0.5, 3]])
def test_loss_of_mixed_examples_is_the_literal_one(make_model, kind, weights):
    task = make_task(make_model, class_weights=weights, **{kind: 1.0})
    label = torch.tensor([0, 1, 2, 3, 3, 1, -100, -100])
    batch = Batch(inputs={"image": torch.randn(8, 64, 3)}, targets={"label": label})
    torch.manual_seed(7)
    mixed = mix(batch, task.model.modalities, label != -100, **{kind: 1.0})
    p = task.logits(mixed.batch).softmax(dim=1).detach().double().numpy()
    total = weight_sum = 0.0
    for example in range(6):
        share, partner = mixed.share[example].item(), int(mixed.partner[example])
        for weight, owner in [(share, example), (1 - share, partner)]:
            weight *= 1 if weights is None else weights[label[owner]]
            total -= weight * np.log(p[example, label[owner]])
            weight_sum += weight
    torch.manual_seed(7)
    assert_close(task.loss(batch)[0], total / weight_sum, terms=terms_of(task.model), dtype=torch.float32)


def test_only_training_mixes(make_model):
    torch.manual_seed(1)
    plain = make_task(make_model).eval()
    torch.manual_seed(1)
    mixing = make_task(make_model, mixup=1.0, cutmix=1.0).eval()
    batch = Batch(inputs={"image": torch.randn(4, 64, 3)}, targets={"label": torch.arange(4)})
    assert torch.equal(plain.loss(batch)[0], mixing.loss(batch)[0])
    metrics = mixing.train().make_metrics()
    mixing.update(metrics, batch)
    assert_close(
        metrics.compute()["loss"], plain.loss(batch)[0].item(), terms=terms_of(plain.model), dtype=torch.float32
    )
    assert len({mixing.loss(batch)[0].item() for _ in range(4)}) == 4


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_terms_of_mixed_examples_compile(make_model, kind):
    task = make_task(make_model, **{kind: 1.0})
    batch = Batch(inputs={"image": torch.randn(4, 64, 3)}, targets={"label": torch.tensor([0, 1, -100, 3])})
    compiled = torch.compile(task.terms, backend="eager")
    torch.manual_seed(5)
    expected = task.terms(batch)
    torch.manual_seed(5)
    assert_close(compiled(batch), expected, terms=terms_of(task.model))


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_wrong_settings_are_refused_in_one_line(name):
    with pytest.raises(ValueError, match=f"{name}: expected a number >= 0, got -1"):
        ClassificationConfig(num_classes=4, **{name: -1})
    with pytest.raises(ValueError, match=f"{name}: expected a number >= 0, got True"):
        ClassificationConfig(num_classes=4, **{name: True})


def test_categories_are_cut_and_never_added(make_model):
    model = make_model(text=Modality(grid=(16,), channels=2, num_categories=9))
    message = "mixup: expected 0, as 'text' has categories and no amounts, got 0.2"
    with pytest.raises(ValueError, match=f"^{message}$"):
        Classification(model, ClassificationConfig(num_classes=3, mixup=0.2))
    task = Classification(model, ClassificationConfig(num_classes=3, cutmix=1.0))
    text = torch.randint(0, 10, (4, 16, 2)).float()
    drawn = task.draw(Batch(inputs={"text": text}, targets={"label": torch.arange(4) % 3}))
    assert drawn is not None
    mixed = drawn.mixed
    assert mixed is not None
    partners = text[mixed.partner]
    assert ((mixed.batch.inputs["text"] == text) | (mixed.batch.inputs["text"] == partners)).all()


# ------------------------------------------------------------------------------------------------------- seeds


@pytest.mark.parametrize("settings", [{"mixup": 1.0}, {"cutmix": 1.0}, {"mixup": 0.5, "cutmix": 0.5}])
def test_a_pair_is_mixed_alike_in_whichever_batch_it_comes(settings):
    whole = make_batch(has_absent=True)
    whole.seeds = torch.tensor([5, 2**62, 11, 3, 8, 1, 0, 9])
    all_labelled = torch.ones(8, dtype=torch.bool)
    together = mix(whole, MODALITIES, all_labelled, **settings)
    for first in (0, 2, 6):
        rows = [first, first + 1]
        apart = mix(whole.take(rows), MODALITIES, all_labelled[:2], **settings)
        assert torch.equal(apart.share, together.share[rows])
        for name, x in apart.batch.inputs.items():
            assert torch.equal(x, together.batch.inputs[name][rows])


def test_an_example_whose_partner_could_not_be_read_is_not_mixed():
    examples = [Example(inputs={"image": torch.full((48, 2), float(n))}, seed=n) for n in range(6)]
    batch = collate([*examples[:2], BadExample("c.png", "is empty"), *examples[3:]])
    mixed = mix(batch, MODALITIES, torch.ones(5, dtype=torch.bool), mixup=1.0)
    assert mixed.partner.tolist() == [1, 0, 2, 4, 3]
    assert mixed.share[2] == 1
    assert torch.equal(mixed.batch.inputs["image"][2], batch.inputs["image"][2])
