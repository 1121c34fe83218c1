"""Several labels jointly: what is shown, what is predicted, and metrics beside literal ones."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from closeness import assert_close, assert_equal, is_close, terms_of

from hiperceiver.modality import Batch, Modality
from hiperceiver.tasks import Joint, JointConfig, label_modalities

LABELS = {"animal": 3, "weight": 0, "colour": 4}
MEAN, STD = {"weight": 70.0}, {"weight": 20.0}


def make_task(make_model, *, shaken: bool = True, **settings) -> Joint:
    modalities = {"image": Modality(grid=(8, 8), channels=3), **label_modalities(LABELS)}
    model = make_model(shaken=shaken, **modalities)
    settings = {"labels": LABELS, "target_mean": MEAN, "target_std": STD, **settings}
    return Joint(model, JointConfig(**settings)).eval()


def make_batch(batch_size: int = 6, num_unlabelled: int = 0) -> Batch:
    targets = {
        "animal": torch.randint(0, 3, (batch_size,)),
        "weight": torch.randn(batch_size) * 20 + 70,
        "colour": torch.randint(0, 4, (batch_size,)),
    }
    for x in targets.values():
        x[:num_unlabelled] = torch.nan if x.is_floating_point() else -100
    return Batch(inputs={"image": torch.randn(batch_size, 64, 3)}, targets=targets)


def test_label_modalities_are_one_token_each():
    assert label_modalities(LABELS) == {
        "animal": Modality(grid=(1,), channels=3, role="label"),
        "weight": Modality(grid=(1,), channels=1, role="label"),
        "colour": Modality(grid=(1,), channels=4, role="label"),
    }


def test_the_decoder_is_neither_run_nor_trained_and_every_step_trains_the_same(make_model):
    task = make_task(make_model, shown=0.5).train()
    touched = []
    for _ in range(3):
        task.zero_grad()
        task.loss(make_batch(1))[0].backward()
        touched.append({name for name, p in task.named_parameters() if p.grad is not None})
    assert touched[0] == touched[1] == touched[2]
    for index in range(task.model.processor_index + 1, len(task.model.blocks)):
        assert not any(name.startswith(f"model.blocks.{index}.") for name in touched[0])
    own = {id(p) for p in task.head_parameters()}
    names = {name for name, p in task.named_parameters() if id(p) in own}
    assert names <= touched[0]
    assert {name.split(".")[1] for name in names} == {"label_readout", "positions", "unembedding", "embedding"}
    hidden = make_task(make_model, shown=0)
    names = {name for name, p in hidden.named_parameters() if id(p) in {id(p) for p in hidden.head_parameters()}}
    assert {name.split(".")[1] for name in names} == {"label_readout", "positions", "unembedding"}


def test_evaluation_shows_no_label(make_model):
    task = make_task(make_model, shown=0.5)
    batch = make_batch()
    said = task.predict(batch)
    batch.targets = {}
    assert_equal(task.predict(batch), said)
    told = make_batch()
    batch.inputs |= {"animal": torch.nn.functional.one_hot(told.targets["animal"], 3)[:, None].float()}
    assert_equal(task.predict(batch), said)


@pytest.mark.parametrize("shown", [0, 0.3, 0.7])
def test_the_share_of_labels_is_shown_and_only_hidden_ones_count(make_model, shown):
    task = make_task(make_model, shown=shown).train()
    batch = make_batch(300, num_unlabelled=20)
    came = {}
    encode = task.model.encode

    def spy(inputs, *, is_padding):
        came.update(inputs=dict(inputs), is_padding=dict(is_padding))
        came["encoded"] = encode(inputs, is_padding=is_padding)
        return came["encoded"]

    task.model.encode = spy
    loss, logs = task.loss(batch)
    if not shown:
        assert list(came["inputs"]) == ["image"]
        return
    read = task.model.reconstruct(came["encoded"], came["encoded"].processor_latents, LABELS)
    drawn, expected = [], []
    for name, num_classes in LABELS.items():
        is_hidden = came["is_padding"][name][:, 0]
        assert is_hidden[:20].all()  # nothing is known of them
        drawn.append(is_hidden)
        assert (~is_hidden[20:]).float().mean().item() == pytest.approx(shown, abs=0.1)
        errors = []
        for example in range(20, 300):
            target, token = batch.targets[name][example], came["inputs"][name][example, 0]
            x = read[name][example, 0].detach()
            if num_classes:
                error = -x.log_softmax(dim=0)[target]
                truth = torch.eye(num_classes)[target]
            else:
                truth = (target - 70) / 20
                error = (x[0] - truth).square()
            if is_hidden[example]:
                errors.append(error.item())
            else:
                assert_close(token, truth.expand_as(token))
        expected.append(np.mean(errors))
        assert_close(logs[f"loss_{name}"], np.mean(errors), terms=terms_of(task.model), dtype=torch.float32)
    assert_close(loss, np.mean(expected), terms=terms_of(task.model), dtype=torch.float32)
    assert not torch.equal(drawn[0], drawn[1])


def test_what_stands_in_a_hidden_label_does_not_matter(make_model):
    task = make_task(make_model, shown=0.5).train()
    batch = make_batch(40)
    drawn = task.draw(batch)
    hidden = ~drawn["animal"]
    assert 8 < hidden.sum() < 32
    gradients = []
    for change in (0, 1):
        batch.targets["animal"] = (batch.targets["animal"] + change) % 3
        read = {}
        reconstruct = task.model.reconstruct
        task.model.reconstruct = lambda *args, read=read, f=reconstruct: read.update(f(*args)) or read
        task.terms(batch, drawn)
        task.model.reconstruct = reconstruct
        gradients.append(read["colour"].detach().squeeze(1))
    is_same = is_close(gradients[0], gradients[1], terms=terms_of(task.model)).all(dim=1)
    assert torch.equal(is_same, hidden)


def test_a_shown_label_helps_to_tell_another(make_model):
    """Two labels that are always the same, and inputs that say nothing: only what is shown can tell."""
    task = make_task(make_model, shaken=False, shown=0.5, weights={"weight": 0, "animal": 0}).train()
    batch = make_batch(64)
    batch.inputs["image"] = torch.zeros(64, 64, 3)
    batch.targets["animal"] = batch.targets["colour"] % 3
    batch.targets["weight"] = batch.targets["colour"] * 20.0
    optimizer = torch.optim.Adam(task.parameters(), lr=3e-3)
    for _ in range(300):
        optimizer.zero_grad()
        task.loss(batch)[0].backward()
        optimizer.step()
    chance = np.log(4)
    losses = [task.loss(batch)[0].item() for _ in range(8)]
    assert np.mean(losses) < 0.75 * chance  # half of the time the weight is shown, which says everything
    assert task.eval().loss(batch)[0].item() > 0.75 * chance


def test_metrics_are_the_literal_ones_whatever_the_batches(make_model):
    task = make_task(make_model, weights={"weight": 2.0})
    batch = make_batch(30, num_unlabelled=2)
    batch.targets["animal"][2:6] = -100
    batch.targets["weight"][7] = torch.nan
    said = task.predict(batch)
    y = {name: x.double().numpy() for name, x in batch.targets.items()}
    losses, expected = {}, {}
    for name in ("animal", "colour"):
        is_known = y[name] >= 0
        classes = y[name][is_known].astype(int)
        p = said.probabilities[name].double().numpy()[is_known]
        losses[name] = -np.log(p[np.arange(len(classes)), classes]).mean()
        expected[f"{name}_accuracy"] = (p.argmax(axis=1) == classes).mean()
    is_known = ~np.isnan(y["weight"])
    error = (said.labels["weight"].double().numpy() - y["weight"])[is_known]
    losses["weight"] = (error**2).mean() / 400
    expected["weight_mae"] = np.abs(error).mean()
    expected["weight_r2"] = 1 - (error**2).mean() / y["weight"][is_known].var()
    quality = [expected["animal_accuracy"], expected["colour_accuracy"], max(expected["weight_r2"], 0)]
    expected["score"] = np.mean(quality)
    expected["loss"] = (losses["animal"] + losses["colour"] + 2 * losses["weight"]) / 4
    expected |= {f"loss_{name}": loss for name, loss in losses.items()}
    for splits in [(0, 30), (0, 2, 6, 17, 30)]:
        metrics = task.make_metrics()
        for start, stop in pairwise(splits):
            targets = {name: x[start:stop] for name, x in batch.targets.items()}
            task.update(metrics, Batch(inputs={"image": batch.inputs["image"][start:stop]}, targets=targets))
        results = {name: value.item() for name, value in metrics.compute().items()}
        scale = max(1.0, *map(abs, expected.values()))  # shares of what is explained are 1 less a ratio of sums
        assert_close(results, expected, terms=terms_of(task.model), scale=scale, dtype=torch.float32)
    assert task.monitor[0] in results


def test_a_label_that_never_came_is_left_out(make_model):
    task = make_task(make_model)
    batch = make_batch(8)
    batch.targets["colour"][:] = -100
    batch.targets["weight"][:] = 70  # always the same: nothing to explain
    metrics = task.make_metrics()
    task.update(metrics, batch)
    results = metrics.compute()
    assert results["score"] == results["animal_accuracy"]
    assert results["colour_accuracy"].isnan()
    assert_close(
        results["loss"].item(),
        (results["loss_animal"] + results["loss_weight"]).item() / 2,
        terms=2,
        dtype=torch.float32,
    )
    assert_close(task.loss(batch)[0], results["loss"].item(), terms=terms_of(task.model), dtype=torch.float32)


def test_a_new_model_says_the_mean_and_all_classes_as_probable(make_model):
    said = make_task(make_model, shaken=False).predict(make_batch(2))
    assert torch.equal(said.labels["weight"], torch.tensor([70.0, 70.0]))
    assert_close(said.probabilities["animal"], torch.tensor(1 / 3), terms=3)
    assert said.labels["animal"].shape == (2,)
    assert said.labels["animal"].dtype == torch.int64


def test_overfits_two_examples(make_model):
    task = make_task(make_model, shaken=False).train()
    batch = make_batch(2)
    batch.targets = {
        "animal": torch.tensor([0, 2]),
        "weight": torch.tensor([60.0, 100.0]),
        "colour": torch.tensor([3, 1]),
    }
    optimizer = torch.optim.Adam(task.parameters(), lr=3e-3)
    for _ in range(120):
        optimizer.zero_grad()
        task.loss(batch)[0].backward()
        optimizer.step()
    said = task.eval().predict(batch).labels
    assert said["animal"].tolist() == [0, 2]
    assert said["colour"].tolist() == [3, 1]
    assert (said["weight"] - batch.targets["weight"]).abs().max() < 10


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"labels": ["a"]}, """labels: expected a mapping such as {"name": value}, got ['a']"""),
        ({"labels": {"a": 1}}, "labels.a: expected a whole number >= 2, or 0 for a number, got 1"),
        ({"labels": {"a": 2.5}}, "labels.a: expected a whole number >= 0, got 2.5"),
        ({"shown": 1}, "shown: expected a number from 0 to below 1, got 1"),
        ({"weights": {"animal": -1}}, "weights.animal: expected a number >= 0, got -1"),
        ({"weights": [1]}, 'weights: expected a mapping such as {"name": value}, got [1]'),
        ({"weights": {"size": 1}}, "weights: expected labels: animal, weight, colour, got 'size'"),
        ({"weights": dict.fromkeys(LABELS, 0)}, "weights: expected at least one above 0, got none"),
        ({"target_mean": {"animal": 1}}, "target_mean: expected labels that are numbers: weight, got 'animal'"),
        ({"target_mean": {"weight": "1"}}, "target_mean.weight: expected a number, got '1'"),
        ({"class_names": {"animal": ["cat", "dog"]}}, "class_names: expected 3 for 'animal', one a class, got 2"),
        ({"class_names": {"size": []}}, "class_names: expected 0 for 'size', one a class, got 0"),
        ({"target_std": {"weight": 0}}, "target_std.weight: expected a number above 0, got 0"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(settings, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        JointConfig(**{"labels": LABELS, **settings})
    assert str(error.value) == message


def test_a_model_without_the_label_is_refused(make_model):
    with pytest.raises(ValueError, match="labels: required to build Joint, got {}"):
        Joint(make_model(), JointConfig())
    with pytest.raises(ValueError, match=r"labels: expected a model with a modality 'a' of role .* got none"):
        Joint(make_model(), JointConfig(labels={"a": 2}))
    model = make_model(image=Modality(grid=(8, 8), channels=3), a=Modality(grid=(1,), channels=3, role="label"))
    with pytest.raises(ValueError, match=r"'a' of role 'label', grid \(1,\) and 2 channels, got Modality"):
        Joint(model, JointConfig(labels={"a": 2}))


def test_wrong_targets_are_refused(make_model):
    task = make_task(make_model)
    batch = make_batch()
    del batch.targets["colour"]
    with pytest.raises(ValueError, match="targets: expected 'colour' in the batch, got animal, weight"):
        task.loss(batch)
    batch.targets["colour"] = torch.full((6,), 4)
    with pytest.raises(ValueError, match="targets: expected 'colour' from 0 to 3 or -100, got 4"):
        task.loss(batch)
    batch = make_batch()
    batch.targets["weight"][0] = torch.inf
    with pytest.raises(ValueError, match="targets: expected finite numbers or NaN for 'weight', got infinity"):
        task.loss(batch)


def test_terms_compile_without_graph_breaks(make_model):
    task = make_task(make_model).train()
    batch = make_batch(num_unlabelled=1)
    compiled, drawn = torch.compile(task.terms, backend="eager", fullgraph=True), task.draw(batch)
    assert_close(compiled(batch, drawn), task.terms(batch, drawn), terms=terms_of(task.model))
