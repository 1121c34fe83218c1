"""Segmentation: every token's label, from its position and its own value."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
import torch
from closeness import assert_close, assert_within, terms_of

from hiperceiver.modality import Batch, Modality
from hiperceiver.tasks import Segmentation, SegmentationConfig
from hiperceiver.tasks.task import TargetInfo

ARCHITECTURES = ["HiP", "PerceiverIO"]


def make_task(make_model, architecture: str = "HiP", num_classes: int = 5, **settings):
    modalities = settings.pop("modalities", {"image": Modality(grid=(5, 10), channels=3)})
    shaken = settings.pop("shaken", True)
    model = make_model(architecture, shaken=shaken, **modalities)
    task = Segmentation(model, SegmentationConfig(num_classes=num_classes, **settings))
    if shaken:
        with torch.no_grad():
            for parameter in task.head.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return task.eval()


def make_batch(task, batch_size: int = 3, *, has_absent: bool = False) -> Batch:
    modalities = task.model.modalities
    inputs = {name: torch.randn(batch_size, each.num_tokens, each.channels) for name, each in modalities.items()}
    shape = (batch_size, modalities[task.input_modality].num_tokens)
    target = torch.randint(0, task.config.num_classes, shape)
    target[torch.rand(shape) < 0.2] = -100
    is_padding = {name: torch.rand(x.shape[:2]) < 0.3 for name, x in inputs.items()} if has_absent else {}
    return Batch(inputs=inputs, is_padding=is_padding, targets={"segmentation": target})


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("own_embedding", [True, False])
@pytest.mark.parametrize("labelled", ["image", "sound"])
def test_logits_are_the_head_of_the_model_s_readout(make_model, two_modalities, architecture, own_embedding, labelled):
    """Against the whole readout over all groups, of which the task computes a part."""
    task = make_task(
        make_model, architecture, modalities=two_modalities, input_modality=labelled, own_embedding=own_embedding
    )
    batch = make_batch(task, has_absent=True)
    model = task.model
    encoded = model.encode(batch.inputs, is_padding=batch.is_padding)
    latents = model.decode(encoded)
    plan, tokens = encoded.plan, encoded.tokens
    embedded = plan.concat({name: each.embed(model.embedding[name])[0] for name, each in tokens.items()})
    positions = plan.concat({name: each.positions for name, each in tokens.items()})
    x = model.readout(embedded if own_embedding else positions, latents)
    if own_embedding:
        x = x + embedded
    expected = task.head(plan.spans[labelled].to_tokens(plan.split(x)[labelled]))
    assert_close(task.logits(batch), expected, terms=terms_of(task.model))
    assert expected.shape == (3, two_modalities[labelled].num_tokens, 5)


def test_own_embedding_lets_a_token_speak_for_itself(make_model):
    """Only with it can two tokens at the same position differ where the latents are the same."""
    for own_embedding in (True, False):
        task = make_task(make_model, own_embedding=own_embedding)
        batch = make_batch(task, 1)
        encoded = task.model.encode(batch.inputs)
        task.model.encode = lambda *args, encoded=encoded, **kwargs: encoded
        before = task.logits(batch)
        tokens = encoded.tokens["image"]
        x = tokens.x.clone()
        x[0, 0, 3] += 1
        changed = encoded._replace(tokens={"image": tokens._replace(x=x)})
        task.model.encode = lambda *args, changed=changed, **kwargs: changed
        is_changed = (task.logits(batch) != before).any(dim=-1)[0]
        assert is_changed.nonzero().flatten().tolist() == ([3] if own_embedding else [])


def test_pretrained_readout_is_what_is_trained_on(make_model):
    task = make_task(make_model)
    task.loss(make_batch(task))[0].backward()
    trained = {name for name, p in task.named_parameters() if p.grad is not None and p.grad.any()}
    assert {f"model.readout.{name}" for name, _ in task.model.readout.named_parameters()} <= trained
    assert {f"head.{name}" for name, _ in task.head.named_parameters()} <= trained
    assert set(task.head_parameters()) == set(task.head.parameters())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_absent_values_change_nothing_at_the_others_and_never_count(make_model, two_modalities, architecture):
    task = make_task(make_model, architecture, modalities=two_modalities, input_modality="image")
    batch = make_batch(task, has_absent=True)
    is_absent = batch.is_padding["image"]
    logits, (loss, _) = task.logits(batch), task.loss(batch)
    for name, absent in batch.is_padding.items():
        batch.inputs[name] = batch.inputs[name].masked_fill(absent[..., None], float("nan"))
    batch.targets["segmentation"] = torch.where(
        is_absent, (batch.targets["segmentation"] + 1).clamp(0, 4), batch.targets["segmentation"]
    )
    assert torch.equal(task.logits(batch)[~is_absent], logits[~is_absent])
    assert torch.equal(task.loss(batch)[0], loss)
    metrics = task.make_metrics()
    task.update(metrics, batch)
    assert metrics.sums.by_name()["members"].sum() == ((batch.targets["segmentation"] != -100) & ~is_absent).sum()


def test_unlabelled_tokens_give_no_gradient(make_model):
    task = make_task(make_model)
    batch = make_batch(task)
    logits = task.logits(batch).detach().requires_grad_()
    task.logits = lambda batch: logits
    task.loss(batch)[0].backward()
    has_gradient = logits.grad.any(dim=-1)
    assert torch.equal(has_gradient, batch.targets["segmentation"] != -100)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("own_embedding", [True, False])
def test_a_training_step_compares_a_share_of_the_slots(make_model, two_modalities, architecture, own_embedding):
    """The same slots in each group, and as if all others had no label."""
    settings = {"input_modality": "image", "class_weights": [1, 2, 3, 4, 5], "own_embedding": own_embedding}
    task = make_task(make_model, architecture, modalities=two_modalities, compared_share=0.3, **settings)
    batch = make_batch(task, has_absent=True)
    assert task.draw(batch) is None
    drawn = task.train().draw(batch)
    span = task.model.plan({name: x.shape[1] for name, x in batch.inputs.items()}).spans["image"]
    assert drawn.shape == (3, 1, round(0.3 * span.num_slots))
    assert len({tuple(row) for row in drawn.squeeze(1).tolist()}) > 1
    term, counts = task.terms(batch, drawn)["error"], task.counts(batch, drawn)
    is_compared = torch.zeros(3, span.num_groups, span.num_slots, dtype=torch.bool)
    is_compared.scatter_(2, drawn.expand(-1, span.num_groups, -1), True)
    target = batch.targets["segmentation"].masked_fill(~span.to_tokens(is_compared), -100)
    expected = task.eval().terms(
        Batch(inputs=batch.inputs, is_padding=batch.is_padding, targets={"segmentation": target})
    )
    assert_close(term.value, expected["error"].value, terms=terms_of(task.model))
    assert term.count == counts["error"] == expected["error"].count


def test_what_is_compared_is_drawn_anew_and_expected_to_be_the_whole(make_model):
    task = make_task(make_model, compared_share=0.25).train()
    batch = make_batch(task)
    drawn = torch.stack([task.draw(batch) for _ in range(400)])
    share = torch.zeros(task._span(batch).num_slots).scatter_add_(0, drawn.flatten(), torch.ones(drawn.numel())) / 1200
    assert_within(share, drawn.shape[-1] / len(share), 0.07)  # five standard deviations


@pytest.mark.parametrize("weights", [None, [1, 2, 3, 4, 5]])
@pytest.mark.parametrize("background", [None, 1])
def test_metrics_are_the_literal_ones_whatever_the_batches(make_model, weights, background):
    task = make_task(make_model, class_weights=weights, background_class=background)
    batch = make_batch(task, 7, has_absent=True)
    target = batch.targets["segmentation"]
    target[target >= 3] -= 2  # classes 3 and 4 are in no target
    prediction = task.predict(batch)
    confusion = np.zeros((5, 5), dtype=int)
    total, weight_sum = 0.0, 0.0
    for b in range(7):
        for m in range(50):
            label = int(target[b, m])
            if label == -100 or batch.is_padding["image"][b, m]:
                continue
            confusion[label, prediction.label[b, m]] += 1
            w = 1 if weights is None else weights[label]
            total -= w * float(prediction.probabilities[b, m, label].double().log())
            weight_sum += w
    ious, found, members = [], 0, 0
    for k in range(5):
        union = confusion[k].sum() + confusion[:, k].sum() - confusion[k, k]
        if union:  # neither in the targets nor predicted: left out; only predicted: 0
            ious.append(confusion[k, k] / union)
        if k != background:
            found, members = found + confusion[k, k], members + confusion[k].sum()
    expected = {
        "loss": total / weight_sum,
        "miou": np.mean(ious),
        "accuracy": confusion.trace() / confusion.sum(),
    }
    if background is not None:
        expected["foreground_accuracy"] = found / members
    assert (confusion[3:].sum(axis=1) == 0).all()
    assert confusion[:, 3:].any()  # only predicted
    for splits in [(0, 7), (0, 1, 3, 7)]:
        metrics = task.make_metrics()
        for start, stop in pairwise(splits):
            part = Batch(
                inputs={"image": batch.inputs["image"][start:stop]},
                is_padding={"image": batch.is_padding["image"][start:stop]},
                targets={"segmentation": target[start:stop]},
            )
            task.update(metrics, part)
        results = {name: value.item() for name, value in metrics.compute().items()}
        assert_close(results, expected, terms=terms_of(task.model), dtype=torch.float32)
    assert task.monitor[0] in results


def test_a_class_that_is_nowhere_is_left_out_and_one_only_predicted_counts_zero(make_model):
    task = make_task(make_model, num_classes=4)
    batch = make_batch(task, 1)
    batch.targets["segmentation"] = torch.zeros(1, 50, dtype=torch.int64)
    for answer, expected in [(torch.zeros(50), 1.0), (torch.arange(50) // 25, 0.25)]:
        logits = torch.nn.functional.one_hot(answer.long(), 4).float()[None]
        task.logits = lambda batch, logits=logits: logits
        metrics = task.make_metrics()
        task.update(metrics, batch)
        assert metrics.compute()["miou"].item() == expected  # half of class 0 found: (0.5 + 0) / 2


def test_every_setting_has_an_effect(make_model):
    batch = None
    losses = []
    for settings in [
        {},
        {"own_embedding": False},
        {"hidden_channels": 0},
        {"hidden_channels": 16},
        {"label_smoothing": 0.1},
        {"class_weights": [1, 2, 3, 4, 5]},
    ]:
        torch.manual_seed(1)
        task = make_task(make_model, **settings)
        batch = batch or make_batch(task)
        losses.append(task.loss(batch)[0].item())
    assert len(set(losses)) == len(losses)


def test_prediction_is_the_most_probable_class(make_model):
    task = make_task(make_model)
    prediction = task.predict(make_batch(task))
    assert prediction.probabilities.shape == (3, 50, 5)
    assert_close(prediction.probabilities.sum(dim=-1), torch.ones(3, 50), terms=terms_of(task.model))
    assert torch.equal(prediction.label, prediction.probabilities.argmax(dim=-1))
    assert not prediction.probabilities.requires_grad


@pytest.mark.parametrize("own_embedding", [True, False])
def test_overfits_four_examples(make_model, own_embedding):
    """With its own embedding, a token's label may depend on its value and place; else on place and example."""
    task = make_task(make_model, num_classes=3, shaken=False, own_embedding=own_embedding).train()
    batch = make_batch(task, 4)
    quarter = torch.arange(50) // 13
    if own_embedding:
        batch.targets["segmentation"] = (batch.inputs["image"][..., 0] > 0).long() + quarter % 2
    else:
        batch.targets["segmentation"] = (quarter + torch.arange(4)[:, None]) % 3
    optimizer = torch.optim.Adam(task.parameters(), lr=5e-3)
    for _ in range(80):
        optimizer.zero_grad()
        task.loss(batch)[0].backward()
        optimizer.step()
    metrics = task.eval().make_metrics()
    task.update(metrics, batch)
    results = metrics.compute()
    assert results["miou"] > 0.9
    assert results["accuracy"] > 0.9


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_terms_compile_without_graph_breaks(make_model, two_modalities, architecture):
    task = make_task(make_model, architecture, modalities=two_modalities, input_modality="sound")
    batch = make_batch(task, has_absent=True)
    terms = torch.compile(task.terms, backend="eager", fullgraph=True)(batch)
    assert_close(terms, task.terms(batch), terms=terms_of(task.model))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_classes": 0}, "num_classes: required to build Segmentation, got 0"),
        ({"hidden_channels": -1}, "hidden_channels: expected a whole number >= 0, got -1"),
        ({"own_embedding": "no"}, "own_embedding: expected true or false, got 'no'"),
        ({"background_class": 5}, "background_class: expected 0 to 4 or none, got 5"),
        ({"background_class": "water"}, "background_class: expected a whole number >= 0, got 'water'"),
        ({"input_modality": "smell"}, "input_modality: expected one of image, got 'smell'"),
        ({"label_smoothing": -0.5}, "label_smoothing: expected a number from 0 to below 1, got -0.5"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(make_model, settings, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        make_task(make_model, **settings)
    assert str(error.value) == message


def test_which_modality_must_be_said_where_there_are_several(make_model, two_modalities):
    with pytest.raises(ValueError, match="input_modality: expected one of image, sound, got None"):
        make_task(make_model, modalities=two_modalities)
    task = make_task(make_model, modalities=two_modalities, input_modality="sound")
    batch = make_batch(task)
    del batch.inputs["sound"]
    with pytest.raises(ValueError, match="inputs: expected the task's 'sound', got image"):
        task.loss(batch)


def test_wrong_targets_are_refused(make_model):
    task = make_task(make_model)
    batch = make_batch(task)
    batch.targets["segmentation"] = batch.targets["segmentation"].unflatten(1, (5, 10))
    with pytest.raises(ValueError, match=r"expected int64 \(3, 50\) for 'segmentation', got torch.int64 \(3, 5, 10\)"):
        task.loss(batch)
    batch.targets["segmentation"] = torch.full((3, 50), 17)
    with pytest.raises(ValueError, match="targets: expected 'segmentation' from 0 to 4 or -100, got 17"):
        task.loss(batch)


def test_the_labelled_modality_is_that_of_the_data_s_masks():
    def statistics(name):
        raise AssertionError(name)

    info = TargetInfo(classes=("land", "sea"), masked_modality="image", statistics=statistics)
    assert Segmentation.config_from_data(info)["input_modality"] == "image"
    assert "input_modality" not in Segmentation.config_from_data(dataclasses.replace(info, masked_modality=None))
