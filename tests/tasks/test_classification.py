"""Classification from the processor: what is run, what it is told, and its numbers."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from closeness import assert_close, is_close, terms_of

from hiperceiver.modality import Batch, Modality
from hiperceiver.tasks import Classification, ClassificationConfig

READOUTS = ["query", "label"]


def make_task(make_model, readout: str = "query", architecture: str = "HiP", num_classes: int = 7, **settings):
    modalities = {"image": Modality(grid=(8, 8), channels=3)}
    if readout == "label":
        modalities["label"] = Modality(grid=(1,), channels=num_classes, role="label")
    shaken = settings.pop("shaken", True)
    model = make_model(architecture, shaken=shaken, **modalities)
    task = Classification(model, ClassificationConfig(num_classes=num_classes, readout=readout, **settings))
    if shaken:
        with torch.no_grad():
            for parameter in task.head.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return task.eval()


def make_batch(batch_size: int = 6, num_classes: int = 7, num_unlabelled: int = 0) -> Batch:
    label = torch.randint(0, num_classes, (batch_size,))
    label[:num_unlabelled] = -100
    return Batch(inputs={"image": torch.randn(batch_size, 64, 3)}, targets={"label": label})


@pytest.mark.parametrize("architecture", ["HiP", "PerceiverIO"])
@pytest.mark.parametrize("readout", READOUTS)
def test_the_decoder_is_neither_run_nor_trained(make_model, architecture, readout):
    task = make_task(make_model, readout, architecture)
    ran = []
    for index, block in enumerate(task.model.blocks):
        block.register_forward_hook(lambda *_, index=index: ran.append(index))
    task.model.readout.register_forward_hook(lambda *_: ran.append("readout"))
    task.loss(make_batch())[0].backward()
    assert ran == list(range(task.model.processor_index + 1))
    trained = {name for name, p in task.named_parameters() if p.grad is not None and p.grad.any()}
    decoder = [f"model.blocks.{i}." for i in range(task.model.processor_index + 1, len(task.model.blocks))]
    assert not any(name.startswith(("model.readout.", "model.unembedding.image.", *decoder)) for name in trained)
    assert "model.positions.image.table" in trained
    assert "model.embedding.image.weight" in trained
    if readout == "query":
        assert {f"head.{name}" for name, _ in task.head.named_parameters()} <= trained
    else:
        assert "model.unembedding.label.weight" in trained
        assert not list(task.head.parameters())


@pytest.mark.parametrize("readout", READOUTS)
def test_head_parameters_are_those_that_only_the_task_trains(make_model, readout):
    task = make_task(make_model, readout)
    names = {id(p): name for name, p in task.named_parameters()}
    own = {names[id(p)] for p in task.head_parameters()}
    if readout == "query":
        assert own == {name for name in names.values() if name.startswith("head.")} != set()
    else:
        assert {name.split(".")[1] for name in own} == {"label_readout", "positions", "unembedding"}
    for p in task.parameters():
        p.requires_grad_(names[id(p)] in own)
    task.loss(make_batch())[0].backward()
    assert all(p.grad is not None for p in task.head_parameters())


def test_the_label_is_never_shown_to_the_model(make_model):
    task = make_task(make_model, "label")
    batch = make_batch()
    before = task.logits(batch)
    batch.inputs["label"] = torch.nn.functional.one_hot(batch.targets["label"], 7)[:, None].float()
    assert torch.equal(before, task.logits(batch))


@pytest.mark.parametrize("readout", READOUTS)
def test_absent_values_change_nothing_and_present_ones_do(make_model, readout):
    task = make_task(make_model, readout)
    batch = make_batch()
    is_absent = torch.rand(6, 64) < 0.4
    batch.is_padding["image"] = is_absent
    before = task.logits(batch)
    batch.inputs["image"] = batch.inputs["image"].masked_fill(is_absent[..., None], float("nan"))
    assert torch.equal(before, task.logits(batch))
    batch.inputs["image"] = batch.inputs["image"] + (~is_absent)[..., None]
    assert not is_close(before, task.logits(batch), terms=terms_of(task.model)).all(dim=1).any()


@pytest.mark.parametrize("readout", READOUTS)
def test_a_new_classifier_finds_all_classes_as_probable(make_model, readout):
    task = make_task(make_model, readout, shaken=False)
    loss, _ = task.loss(make_batch())
    assert_close(loss, np.log(7), terms=terms_of(task.model), dtype=torch.float32)
    assert_close(task.predict(make_batch()).probabilities, torch.tensor(1 / 7), terms=terms_of(task.model))


def test_unlabelled_examples_count_nowhere(make_model):
    task = make_task(make_model)
    batch = make_batch(8, num_unlabelled=3)
    labelled = Batch(inputs={"image": batch.inputs["image"][3:]}, targets={"label": batch.targets["label"][3:]})
    assert_close(task.loss(batch)[0], task.loss(labelled)[0].item(), terms=terms_of(task.model), dtype=torch.float32)
    results = []
    for each in (batch, labelled):
        metrics = task.make_metrics()
        task.update(metrics, each)
        results.append({name: value.item() for name, value in metrics.compute().items()})
    assert_close(results[0], results[1], terms=terms_of(task.model), dtype=torch.float32)


@pytest.mark.parametrize("architecture", ["HiP", "PerceiverIO"])
def test_token_dropout_leaves_out_a_share_of_each_group_anew_in_training_alone(make_model, architecture):
    """A token that is not seen has no gradient."""
    modalities = {"image": Modality(grid=(8, 8), channels=3), "sound": Modality(grid=(32,), channels=1)}
    model = make_model(architecture, **modalities)
    task = Classification(model, ClassificationConfig(num_classes=3, token_dropout=0.75))
    torch.nn.init.normal_(task.head.output.weight)
    batch = Batch(inputs={}, targets={"label": torch.arange(6) % 3})
    seen = []
    for is_training in (True, True, False):
        for name, modality in modalities.items():
            batch.inputs[name] = torch.randn(6, modality.num_tokens, modality.channels, requires_grad=True)
        task.train(is_training).loss(batch)[0].backward()
        seen.append({name: (x.grad != 0).any(dim=2) for name, x in batch.inputs.items()})
    assert all(is_seen.all() for is_seen in seen[2].values())
    plan = model.plan({name: modality.num_tokens for name, modality in modalities.items()})
    for name, span in plan.spans.items():
        in_groups = span.to_groups(seen[0][name])
        kept = -(-span.num_slots // 4)
        assert (in_groups.sum(dim=2) <= kept).all()
        assert in_groups.sum() > 0.8 * seen[0][name].numel() / 4
        assert not torch.equal(seen[0][name], seen[1][name])
        assert len(torch.unique(seen[0][name], dim=0)) == 6  # each example has its own


def test_label_smoothing_and_class_weights_change_the_loss(make_model):
    batch = make_batch()
    losses = set()
    for settings in [{}, {"label_smoothing": 0.1}, {"class_weights": [1, 2, 3, 4, 5, 6, 7]}]:
        torch.manual_seed(1)
        losses.add(make_task(make_model, **settings).loss(batch)[0].item())
    assert len(losses) == 3


@pytest.mark.parametrize("weights", [None, [1, 2, 0, 4, 5, 6, 7]])
def test_metrics_are_the_literal_ones_whatever_the_batches(make_model, weights):
    task = make_task(make_model, class_weights=weights)
    batch = make_batch(40, num_unlabelled=2)
    x, y = batch.inputs["image"], batch.targets["label"]
    probabilities = task.predict(batch).probabilities.double().numpy()
    favourite = int(probabilities[5].argmax())
    absent = (favourite + 1) % 7
    y[y == absent] = (favourite + 2) % 7  # nobody is of this class
    y[5] = favourite  # whatever is drawn, one is right
    right, top5, losses, sizes, found = [], [], [], np.zeros(7), np.zeros(7)
    for p, label in zip(probabilities, y.tolist(), strict=True):
        if label == -100:
            continue
        w = 1 if weights is None else weights[label]
        losses.append((w, -w * np.log(p[label])))
        right.append(p.argmax() == label)
        top5.append(label in np.argsort(p)[-5:])
        sizes[label] += 1
        found[label] += p.argmax() == label
    expected = {
        "loss": sum(loss for _, loss in losses) / sum(w for w, _ in losses),
        "accuracy": np.mean(right),
        "top5_accuracy": np.mean(top5),
        "balanced_accuracy": np.mean((found / np.maximum(sizes, 1))[sizes > 0]),
    }
    assert sizes[absent] == 0
    assert 0 < expected["accuracy"] < expected["top5_accuracy"] < 1
    # Nothing in the first batch has a label: metrics that agree there must not stay tied.
    for splits in [(0, 40), (0, 2, 5, 17, 40)]:
        metrics = task.make_metrics()
        for start, stop in pairwise(splits):
            task.update(metrics, Batch(inputs={"image": x[start:stop]}, targets={"label": y[start:stop]}))
        results = {name: value.item() for name, value in metrics.compute().items()}
        assert_close(results, expected, terms=terms_of(task.model), dtype=torch.float32)
    assert task.monitor[0] in results


def test_top5_needs_more_than_five_classes(make_model):
    for num_classes in (5, 6):
        task = make_task(make_model, num_classes=num_classes)
        metrics = task.make_metrics()
        task.update(metrics, make_batch(num_classes=num_classes))
        assert ("top5_accuracy" in metrics.compute()) == (num_classes > 5)


def test_prediction_is_the_most_probable_class(make_model):
    prediction = make_task(make_model).predict(make_batch())
    assert prediction.probabilities.shape == (6, 7)
    assert_close(prediction.probabilities.sum(dim=1), torch.ones(6), terms=7)
    assert torch.equal(prediction.label, prediction.probabilities.argmax(dim=1))
    assert not prediction.probabilities.requires_grad


@pytest.mark.parametrize("readout", READOUTS)
def test_overfits_four_examples(make_model, readout):
    task = make_task(make_model, readout, num_classes=4, shaken=False).train()
    batch = make_batch(4, 4)
    batch.targets["label"] = torch.arange(4)
    optimizer = torch.optim.Adam(task.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        loss, _ = task.loss(batch)
        loss.backward()
        optimizer.step()
    assert task.eval().loss(batch)[0] < 0.1
    assert task.predict(batch).label.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("readout", READOUTS)
def test_terms_compile_without_graph_breaks(make_model, readout):
    task = make_task(make_model, readout)
    batch = make_batch(num_unlabelled=1)
    terms = torch.compile(task.terms, backend="eager", fullgraph=True)(batch)
    assert_close(terms, task.terms(batch), terms=terms_of(task.model))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_classes": 1}, "num_classes: expected a whole number >= 2, or 0 for those of the data, got 1"),
        ({"num_classes": "7"}, "num_classes: expected a whole number >= 0, got '7'"),
        ({"readout": "token"}, "readout: expected one of query, label, got 'token'"),
        ({"label_modality": "label"}, "label_modality: only for readout='label', got 'label' with 'query'"),
        ({"label_smoothing": 1}, "label_smoothing: expected a number from 0 to below 1, got 1"),
        ({"class_weights": [1, 2]}, "class_weights: expected one for each of 7 classes, not all zero, got (1, 2)"),
        (
            {"class_weights": [0] * 7},
            f"class_weights: expected one for each of 7 classes, not all zero, got {(0,) * 7}",
        ),
        ({"class_weights": [-1] * 7}, "class_weights[0]: expected a number >= 0, got -1"),
        ({"class_weights": "heavy"}, "class_weights: expected a list of values, each a number >= 0, got 'heavy'"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(settings, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        ClassificationConfig(**{"num_classes": 7, **settings})
    assert str(error.value) == message


def test_a_label_modality_that_does_not_fit_is_refused(make_model):
    image = Modality(grid=(8, 8), channels=3)
    config = ClassificationConfig(num_classes=7, readout="label")
    with pytest.raises(ValueError, match="label_modality: expected a model with a modality of role 'label'"):
        Classification(make_model(image=image), config)
    wide = Modality(grid=(2,), channels=7, role="label")
    with pytest.raises(ValueError, match=r"expected grid \(1,\) and 7 channels, .* got \(2,\) and 7"):
        Classification(make_model(image=image, wide=wide), config)
    narrow = Modality(grid=(1,), channels=6, role="label")
    with pytest.raises(ValueError, match=r"expected grid \(1,\) and 7 channels, .* got \(1,\) and 6"):
        Classification(make_model(image=image, narrow=narrow), config)
    one, two = (Modality(grid=(1,), channels=7, role="label") for _ in range(2))
    with pytest.raises(ValueError, match="expected one of one, two for readout='label', got None"):
        Classification(make_model(image=image, one=one, two=two), config)
    named = ClassificationConfig(num_classes=7, readout="label", label_modality="two")
    assert Classification(make_model(image=image, one=one, two=two), named).label_modality == "two"


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ({}, "targets: expected 'label' in the batch, got none"),
        ({"label": torch.zeros(6)}, r"targets: expected int64 \(6,\) for 'label', got torch.float32 \(6,\)"),
        ({"label": torch.zeros(5, dtype=torch.int64)}, r"targets: expected int64 \(6,\) for 'label'"),
        ({"label": torch.full((6,), 7)}, "targets: expected 'label' from 0 to 6 or -100, got 7"),
        ({"label": torch.full((6,), -1)}, "targets: expected 'label' from 0 to 6 or -100, got -1"),
    ],
)
def test_wrong_targets_are_refused(make_model, targets, message):
    batch = make_batch()
    batch.targets = targets
    with pytest.raises(ValueError, match=message):
        make_task(make_model).loss(batch)


@pytest.mark.parametrize("mixup", [0.0, 0.5])
def test_an_example_that_weighs_more_counts_more(make_model, mixup):
    task = make_task(make_model, mixup=mixup).train()
    batch = make_batch(num_unlabelled=2)
    batch.targets["weight"] = weight = torch.tensor([5.0, 1.0, 2.0, 0.0, 1.0, 0.5])
    batch.seeds = torch.arange(6)
    drawn = task.draw(batch)
    partner = torch.arange(6) if drawn is None else drawn.mixed.partner
    share = torch.ones(6) if drawn is None else drawn.mixed.share.float()
    logits, target = task.drawn_logits(batch, drawn), batch.targets["label"]
    total, count = 0.0, 0.0
    for row in range(2, 6):
        log_probabilities = logits[row].log_softmax(dim=0)
        for other, part in ((row, share[row]), (partner[row], 1 - share[row])):
            total -= part * weight[other] * log_probabilities[target[other]]
            count += part * weight[other]
    term = task.terms(batch, drawn)["error"]
    assert_close(term.count, count, terms=12)
    assert_close(task.counts(batch, drawn)["error"], count, terms=12)
    assert_close(term.value, total / count, terms=100, scale=10)


def test_weights_below_0_are_refused(make_model):
    batch = make_batch()
    batch.targets["weight"] = torch.tensor([1.0, 1, 1, 1, 1, -2])
    with pytest.raises(ValueError, match=r"^targets: expected numbers >= 0 for 'weight', got -2$"):
        make_task(make_model).loss(batch)
