"""Several labels of an example: what is run, and numbers beside literal ones."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from closeness import assert_close, terms_of

from hiperceiver.modality import Batch, Modality
from hiperceiver.tasks import Multilabel, MultilabelConfig
from hiperceiver.tasks.metrics import Scores
from hiperceiver.tasks.multilabel import ranking_quality, ranking_results

READOUTS = ["query", "label"]


def make_task(make_model, readout: str = "query", *, shaken: bool = True, **settings) -> Multilabel:
    modalities = {"image": Modality(grid=(8, 8), channels=3)}
    if readout == "label":
        modalities["tags"] = Modality(grid=(1,), channels=5, role="label")
    model = make_model(shaken=shaken, **modalities)
    task = Multilabel(model, MultilabelConfig(num_classes=5, readout=readout, **settings))
    if shaken:
        with torch.no_grad():
            for parameter in task.head.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return task.eval()


def make_batch(batch_size: int = 6, num_unlabelled: int = 0) -> Batch:
    labels = (torch.rand(batch_size, 5) < 0.4).float()
    labels[:num_unlabelled] = torch.nan
    return Batch(inputs={"image": torch.randn(batch_size, 64, 3)}, targets={"labels": labels})


def literal_average_precision(scores: np.ndarray, is_member: np.ndarray) -> float:
    """For each member: the share of members among all that score at least as high."""
    at_least = [scores >= score for score in scores[is_member]]
    return float(np.mean([is_member[each].mean() for each in at_least]))


def literal_area(scores: np.ndarray, is_member: np.ndarray) -> float:
    """The share of pairs of a member and another whose order is right; ties count half."""
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[is_member] for b in scores[~is_member]]
    return float(np.mean(pairs))


@pytest.mark.parametrize("readout", READOUTS)
def test_the_decoder_is_neither_run_nor_trained(make_model, readout):
    task = make_task(make_model, readout)
    task.loss(make_batch())[0].backward()
    for block in task.model.blocks[task.model.processor_index + 1 :]:
        assert all(p.grad is None for p in block.parameters())
    assert all(p.grad is not None for p in task.head_parameters())


def test_a_new_model_finds_all_labels_as_probable_as_not(make_model):
    task = make_task(make_model, shaken=False)
    assert_close(task.loss(make_batch())[0], np.log(2), terms=terms_of(task.model), dtype=torch.float32)
    assert torch.equal(task.predict(make_batch()).probabilities, torch.full((6, 5), 0.5))


@pytest.mark.parametrize("settings", [{}, {"class_weights": [1, 2, 0, 3, 0.5]}, {"label_smoothing": 0.2}])
def test_loss_is_the_literal_one(make_model, settings):
    task = make_task(make_model, **settings)
    batch = make_batch(8, num_unlabelled=2)
    batch.targets["labels"][3, 1] = torch.nan
    p = task.predict(batch).probabilities.double().numpy()
    losses = []
    for example in range(8):
        for label in range(5):
            y = batch.targets["labels"][example, label].item()
            if np.isnan(y):
                continue
            smoothing = settings.get("label_smoothing", 0)
            y = y * (1 - smoothing) + smoothing / 2
            weight = settings.get("class_weights", [1] * 5)[label]
            q = p[example, label]
            losses.append(-weight * y * np.log(q) - (1 - y) * np.log(1 - q))
    assert len(losses) == 6 * 5 - 1
    assert_close(task.loss(batch)[0], np.mean(losses), terms=terms_of(task.model), dtype=torch.float32)


def test_metrics_are_the_literal_ones_whatever_the_batches(make_model):
    task = make_task(make_model)
    batch = make_batch(40, num_unlabelled=3)
    labels = batch.targets["labels"]
    labels[3:, 2] = 0  # nobody has it
    labels[3:, 4] = 1  # everybody has it
    labels[7, 0] = torch.nan
    logits = task.logits(batch).detach().numpy()
    precision, area = [], []
    for label in range(5):
        is_known = ~labels[:, label].isnan().numpy()
        is_member = labels[is_known, label].numpy() == 1
        if is_member.any():
            precision.append(literal_average_precision(logits[is_known, label], is_member))
        if is_member.any() and not is_member.all():
            area.append(literal_area(logits[is_known, label], is_member))
    assert (len(precision), len(area)) == (4, 3)
    expected = {"loss": task.loss(batch)[0].item(), "map": np.mean(precision), "auc": np.mean(area)}
    for splits in [(0, 40), (0, 2, 5, 17, 40)]:
        metrics = task.make_metrics()
        for start, stop in pairwise(splits):
            part = Batch(inputs={"image": batch.inputs["image"][start:stop]}, targets={"labels": labels[start:stop]})
            task.update(metrics, part)
        results = {name: value.item() for name, value in metrics.compute().items()}
        assert_close(results, expected, terms=terms_of(task.model), dtype=torch.float32)
    assert task.monitor[0] in results


def test_equal_scores_come_together():
    scores = torch.tensor([2.0, 1.0, 1.0, 1.0, 0.0, 0.0, -torch.inf, -torch.inf])
    for bits in range(1, 255):
        is_member = torch.tensor([bool(bits >> place & 1) for place in range(8)])
        precision, area = ranking_quality(scores, is_member)
        assert_close(
            precision, literal_average_precision(scores.numpy(), is_member.numpy()), terms=8, dtype=torch.float32
        )
        assert_close(area, literal_area(scores.numpy(), is_member.numpy()), terms=8, scale=1)


def test_what_has_no_rank_is_no_number():
    is_member = torch.tensor([True, False])
    scores = torch.tensor([1.0, 0.0])
    assert all(value.isnan() for value in ranking_quality(scores, torch.zeros_like(is_member)))
    assert ranking_quality(scores, torch.ones_like(is_member))[1].isnan()
    assert all(value.isnan() for value in ranking_quality(scores * torch.nan, is_member))
    assert all(value.isnan() for value in ranking_quality(scores[:0], is_member[:0]))
    metric = Scores(1, ranking_results)
    metric.update(scores[:, None] * torch.nan, is_member[:, None].float())
    assert all(value.isnan() for value in metric.compute().values())
    metric = Scores(1, ranking_results)
    metric.update(scores[:, None], is_member[:, None].float())
    assert [value.item() for value in metric.compute().values()] == [1, 1]


@pytest.mark.parametrize("readout", READOUTS)
def test_overfits_two_examples(make_model, readout):
    task = make_task(make_model, readout, shaken=False).train()
    batch = make_batch(2)
    batch.targets["labels"] = torch.tensor([[1.0, 1, 0, 0, 0], [0, 1, 1, 0, 1]])
    optimizer = torch.optim.Adam(task.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        task.loss(batch)[0].backward()
        optimizer.step()
    assert task.eval().loss(batch)[0] < 0.1
    assert torch.equal(task.predict(batch).probabilities.round(), batch.targets["labels"])


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixed_examples_have_mixed_targets_and_unknown_ones_stay_out(make_model, kind):
    task = make_task(make_model, **{kind: 1.0}).train()
    batch = make_batch(6, num_unlabelled=2)
    plain = task.eval().loss(batch)[0]
    task.train()
    own = torch.arange(6)  # a draw may leave all as they are: every partner the example itself, or an empty box
    draws = (task.draw(batch) for _ in range(50))
    drawn = next(each for each in draws if ((each.mixed.share < 1) & (each.mixed.partner != own)).any())
    loss = task.weigh(task.terms(batch, drawn))[0]
    assert loss.isfinite() and loss != plain
    batch.inputs["image"][:2] = torch.nan  # would be seen wherever it is mixed in
    mixed = task.draw(batch).mixed
    assert mixed.batch.inputs["image"][2:].isfinite().all()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "targets: expected 'labels' in the batch, got none"),
        (torch.zeros(6, 4), r"targets: expected float32 \(6, 5\) for 'labels', got torch.float32 \(6, 4\)"),
        (torch.zeros(6, 5, dtype=torch.int64), r"targets: expected float32 \(6, 5\) for 'labels', got torch.int64"),
        (torch.full((6, 5), 0.5), "targets: expected 0, 1 or NaN for 'labels', got 0.5"),
        (torch.full((6, 5), torch.inf), "targets: expected finite numbers or NaN for 'labels', got infinity"),
    ],
)
def test_wrong_targets_are_refused(make_model, labels, message):
    batch = make_batch()
    batch.targets = {} if labels is None else {"labels": labels}
    with pytest.raises(ValueError, match=message):
        make_task(make_model).loss(batch)


@pytest.mark.parametrize("readout", READOUTS)
def test_terms_compile_without_graph_breaks(make_model, readout):
    task = make_task(make_model, readout)
    batch = make_batch(num_unlabelled=1)
    terms = torch.compile(task.terms, backend="eager", fullgraph=True)(batch)
    assert_close(terms, task.terms(batch), terms=terms_of(task.model))
