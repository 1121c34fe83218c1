"""The estimators: what they learn, what they take, and that they come back the same from pickles and folders."""

import json
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from closeness import assert_equal
from PIL import Image
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hiperceiver.cli import main
from hiperceiver.estimators import HiPClassifier, HiPEmbedder, HiPRegressor
from hiperceiver.model import VARIANTS, load_model

from .smallest import FAST

Blobs = tuple[np.ndarray, np.ndarray]
LEARNING: dict[str, Any] = {**FAST, "steps": 60, "learning_rate": 1e-2}


def test_a_classifier_learns(blobs: Blobs) -> None:
    X, y = blobs
    names = np.array(["left", "middle", "right"])[y]
    classifier = HiPClassifier(**LEARNING).fit(X, names)
    assert classifier.classes_.tolist() == ["left", "middle", "right"]
    assert classifier.score(X, names) > 0.9
    probabilities = classifier.predict_proba(X)
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-6)
    assert (classifier.classes_[probabilities.argmax(axis=1)] == classifier.predict(X)).all()
    assert classifier.n_steps_ == 60 and classifier.validation_metrics_ == {}


@pytest.mark.parametrize("as_sparse", [False, True])
def test_a_classifier_learns_several_labels(as_sparse: bool, blobs: Blobs, tmp_path: Path) -> None:
    X, y = blobs
    labels = np.stack([y == 0, y != 1, y == 2], axis=1).astype(int)  # of the second and third none, one or both
    classifier = HiPClassifier(**LEARNING, validation_share=0.2).fit(X, csr_matrix(labels) if as_sparse else labels)
    assert classifier.classes_.tolist() == [0, 1, 2]
    assert classifier.score(X, labels) > 0.9  # all labels of an example right
    probabilities = classifier.predict_proba(X)
    assert probabilities.shape == (60, 3) and np.array_equal(classifier.predict(X), probabilities > 0.5)
    classifier.save(tmp_path)
    assert np.array_equal(HiPClassifier.load(tmp_path).predict(X), classifier.predict(X))
    assert classifier.fit(X, y).predict(X).shape == (60,)  # of one label again


def test_examples_with_weight_0_do_not_exist(blobs: Blobs) -> None:
    X, y = blobs
    rng = np.random.default_rng(0)
    weights = rng.integers(0, 3, len(y)).astype(float)
    is_there = weights > 0
    nonsense = np.where(is_there, y, 7)  # a class of examples that do not exist
    weighted = HiPClassifier(**FAST).fit(X, nonsense, sample_weight=weights)
    without = HiPClassifier(**FAST).fit(X[is_there], y[is_there], sample_weight=weights[is_there])
    assert weighted.classes_.tolist() == [0, 1, 2]
    assert (weighted.predict_proba(X) == without.predict_proba(X)).all()
    labels = np.stack([y == 0, y != 1], axis=1).astype(int)
    several = [HiPClassifier(**FAST).fit(X, each, weights) for each in (labels, csr_matrix(labels))]
    assert (several[0].predict_proba(X) == several[1].predict_proba(X)).all()
    numbers = np.where(is_there, y, 1e9)
    assert abs(HiPRegressor(**FAST).fit(X, numbers, weights).predict(X)).max() < 10
    files = {"one": [*X], "two": [*X]}
    assert HiPClassifier(**FAST).fit(files, nonsense, weights).classes_.tolist() == [0, 1, 2]


def test_of_examples_that_contradict_each_other_the_heavier_are_learned(blobs: Blobs) -> None:
    X, y = blobs
    twice, both, weights = np.vstack([X, X]), np.hstack([y, (y + 1) % 3]), np.repeat([1.0, 20.0], len(y))
    assert HiPClassifier(**LEARNING).fit(twice, both, weights).score(X, (y + 1) % 3) > 0.9
    assert HiPClassifier(**LEARNING).fit(twice, both, weights[::-1]).score(X, y) > 0.9
    regressor = HiPRegressor(**{**LEARNING, "steps": 150})
    assert regressor.fit(twice, np.hstack([1e4 + y, 1e4 - y]), weights).score(X, 1e4 - y) > 0.6


@pytest.mark.parametrize("sample_weight", [None, np.tile([1.0, 3.0, 2.0], 20)])
def test_class_weights_are_weights_of_examples(sample_weight: np.ndarray | None, blobs: Blobs) -> None:
    X, y = blobs
    y = np.where(y == 2, 1, y)  # 20 of the first class, 40 of the other
    names = np.array(["few", "many"])[y]
    given = np.ones(60) if sample_weight is None else sample_weight
    total = np.bincount(y, weights=given)
    for class_weight, each in (("balanced", total.sum() / (2 * total)), ({"few": 5}, np.array([5.0, 1.0]))):
        classifier = HiPClassifier(**FAST, class_weight=class_weight).fit(X, names, sample_weight)
        same = HiPClassifier(**FAST).fit(X, names, given * each[y])
        assert (classifier.predict_proba(X) == same.predict_proba(X)).all()
    without = HiPClassifier(**FAST, class_weight={"a": 0}).fit(X, [*"abc"] * 20, sample_weight)
    assert without.classes_.tolist() == ["b", "c"]


@pytest.mark.parametrize(
    ("class_weight", "sample_weight", "message"),
    [
        ("even", None, "class_weight: expected 'balanced', a weight for each class or None, got 'even'"),
        ({0: -1, 1: 1}, None, "class_weight: expected weights >= 0, not all 0, got "),
        ({0: 1, 5: 1}, None, "The classes, .*1.* are not in class_weight"),  # scikit-learn's own
        (None, [0.0] * 4, "sample_weight: expected one or more weights above 0, got none|Sample weights must contain"),
        (None, [1.0] * 3, "sample_weight.shape == "),  # scikit-learn's own
        (None, [1.0, 1, 1, -1], "Negative values in data passed to `sample_weight`"),
        ({1: 0}, None, "y: expected at least two classes, got 1 class"),
    ],
)
def test_weights_that_cannot_be(class_weight: Any, sample_weight: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        HiPClassifier(**FAST, class_weight=class_weight).fit(TEN, [0, 1, 0, 1], sample_weight)
    with pytest.raises(ValueError, match="^class_weight: expected None with several labels of an example, "):
        HiPClassifier(**FAST, class_weight="balanced").fit(TEN, np.eye(4, dtype=int)[:, :3])


def test_a_regressor_learns_several_numbers_in_their_units(blobs: Blobs) -> None:
    X, y = blobs
    numbers = np.stack([1e4 + y, -0.001 * y], axis=1)
    regressor = HiPRegressor(**{**LEARNING, "steps": 150}).fit(X, numbers)
    assert regressor.score(X, numbers) > 0.6
    assert regressor.predict(X).shape == (60, 2)
    assert HiPRegressor(**FAST).fit(X, y).predict(X).shape == (60,)


def test_an_embedder_learns_without_labels(blobs: Blobs) -> None:
    X, y = blobs
    vectors = HiPEmbedder(**FAST).fit(X).transform(X)
    assert vectors.shape == (60, 8) and vectors.dtype == np.float32
    trained = make_pipeline(HiPEmbedder(**LEARNING), StandardScaler(), LogisticRegression())
    assert trained.fit(X, y).score(X, y) > 0.8
    assert list(trained[0].get_feature_names_out()[:2]) == ["hipembedder0", "hipembedder1"]


def test_a_seed_gives_the_same_model_and_leaves_other_random_numbers_alone(blobs: Blobs) -> None:
    X, y = blobs
    torch.manual_seed(1)
    wanted = torch.rand(1)
    torch.manual_seed(1)
    first, second, other = (HiPClassifier(**{**FAST, "random_state": seed}).fit(X, y) for seed in (0, 0, 1))
    assert torch.rand(1) == wanted
    assert (first.predict_proba(X) == second.predict_proba(X)).all()
    assert (first.predict_proba(X) != other.predict_proba(X)).any()


def test_tools_of_scikit_learn(blobs: Blobs) -> None:
    X, y = blobs
    pipeline = make_pipeline(StandardScaler(), HiPClassifier(**FAST))
    search = GridSearchCV(pipeline, {"hipclassifier__learning_rate": [1e-5, 1e-2]}, cv=2).fit(X, y)
    assert set(search.best_params_) == {"hipclassifier__learning_rate"}
    assert len(cross_val_score(HiPRegressor(**FAST), X, y, cv=2)) == 2
    assert clone(HiPClassifier(**FAST)).get_params() == HiPClassifier(**FAST).get_params()


def test_a_pickle_has_weights_as_safetensors_and_no_tensor(blobs: Blobs) -> None:
    X, y = blobs
    classifier = HiPClassifier(**FAST).fit(X, y)
    content = pickle.dumps(classifier)
    again = pickle.loads(content)  # noqa: S301 - our own
    assert (again.predict_proba(X) == classifier.predict_proba(X)).all()
    named = {str(argument) for code, argument, _ in pickletools.genops(content) if code.name == "SHORT_BINUNICODE"}
    assert "model.safetensors" in named
    assert not any(name.startswith("torch") for name in named)


def test_a_folder_comes_back_and_is_one_of_hip_predict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    X, y = _pictures(), [10, 20] * 4
    classifier = HiPClassifier(**FAST).fit(X, y)
    folder = classifier.save(tmp_path / "model")
    again = HiPClassifier.load(folder)
    assert again.get_params() == classifier.get_params()
    assert (again.predict_proba(X) == classifier.predict_proba(X)).all()
    assert again.predict(X).dtype == np.array(y).dtype and again.modalities_ == classifier.modalities_
    Image.fromarray(X[0]).save(tmp_path / "0.png")
    assert main(["predict", str(folder), str(tmp_path / "0.png"), "--json", str(tmp_path / "found.json")]) == 0
    labels = json.loads((tmp_path / "found.json").read_text())[0]["labels"]
    assert float(labels[0]["probability"]) == pytest.approx(classifier.predict_proba(X)[0].max(), abs=1e-4)
    (folder / "estimator.json").unlink()  # as `hip finetune` leaves it
    assert HiPClassifier.load(folder).predict(X).tolist() == [str(each) for each in classifier.predict(X)]
    with pytest.raises(ValueError, match=r"model: expected a model for regression, got one for classification$"):
        HiPRegressor.load(folder)


def test_a_start_from_a_pretrained_model(tmp_path: Path) -> None:
    X, y = _pictures(), ["a", "b"] * 4
    embedder = HiPEmbedder(**FAST).fit(X)
    folder = embedder.save(tmp_path / "pretrained")
    as_it_is = HiPEmbedder(from_pretrained=folder).fit(X[:2])
    assert as_it_is.n_steps_ == 0
    assert (as_it_is.transform(X) == embedder.transform(X)).all()
    rate = {**FAST, "model_settings": None, "learning_rate": 1e-12, "steps": 1}
    classifier = HiPClassifier(**rate, from_pretrained=folder).fit(X, y)
    weights = load_model(folder).state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in classifier.task_.model.state_dict().items())
    assert classifier.task_.encoders == embedder.task_.encoders


def _pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (8, 6, 8, 3), dtype=np.uint8)


def _files(folder: Path) -> dict[str, list[Any]]:
    rng = np.random.default_rng(0)
    for number in range(4):
        Image.fromarray(rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)).save(folder / f"{number}.png")
        soundfile.write(folder / f"{number}.wav", rng.normal(size=800) / 9, 8000)
        (folder / f"{number}.xyz").write_text("\n".join("{} {} {}".format(*row) for row in rng.normal(size=(20, 3))))
        (folder / f"{number}.md").write_text(f"text {number}")
    return {ending: [str(folder / f"{n}.{ending}") for n in range(4)] for ending in ("png", "wav", "xyz", "md")}


def test_files_of_every_kind(tmp_path: Path) -> None:
    wanted = {
        "png": "image, tokens 12 x 12 x 3, from files",
        "wav": "audio, tokens 800 x 1, from files",
        "xyz": "points, tokens 2048 x 3, from files",
        "md": "bytes, tokens 6 x 5, from files",
    }
    for ending, paths in _files(tmp_path).items():
        classifier = HiPClassifier(**FAST).fit(paths, [0, 1, 0, 1])
        assert classifier.modalities_ == {"x": wanted[ending]}
        assert classifier.predict([Path(path) for path in paths]).shape == (4,)


@pytest.mark.parametrize(
    ("X", "wanted"),
    [
        (np.zeros((8, 20, 2)) + np.arange(8.0)[:, None, None], "series, tokens 20 x 6, from float64 arrays of"),
        (np.arange(8 * 48.0).reshape(8, 4, 4, 3), "volume, tokens 1 x 4 x 4 x 3, from float64 arrays of"),
        (_pictures(), "image, tokens 6 x 8 x 3, from uint8 arrays of"),
        (_pictures()[..., 0], "image, tokens 6 x 8 x 1, from uint8 arrays of"),
        (np.stack([_pictures()] * 8), "video, tokens 8 x 6 x 8 x 3, from uint8 arrays of"),
        ([np.arange(5.0 + n) for n in range(8)], "series, tokens 12 x 1, from float64 arrays of several shapes"),
        ([[1, n] for n in range(8)], "vector, tokens 2 x 1, from int64 arrays of"),
        ([f"text {n}" for n in range(8)], "bytes, tokens 6 x 5, from strings, taken for texts"),
        (np.array([f"text {n}" for n in range(8)]), "bytes, tokens 6 x 5, from strings"),
        ([(np.sin(np.arange(400) * n), 4000) for n in range(1, 9)], "audio, tokens 400 x 1, from sounds"),
        ([Image.fromarray(each) for each in _pictures()], "image, tokens 6 x 8 x 3, from pictures"),
    ],
)
def test_values_are_taken_for_what_they_are(X: Any, wanted: str) -> None:
    classifier = HiPClassifier(**FAST).fit(X, [0, 1] * 4)
    assert classifier.modalities_["x"].startswith(wanted)
    assert (classifier.predict_proba(X)[:3] == classifier.predict_proba(X[:3])).shape == (3, 2)


def test_labels_of_texts_are_learned_from_groups_of_bytes_and_no_others() -> None:
    texts = [f"text {n}" for n in range(8)]
    model = HiPClassifier(steps=1).fit(texts, [0, 1] * 4).task_.model
    assert (model.config, model.modalities["x"].num_categories) == (VARIANTS["hip-text"], 256 + 131_072)
    two = HiPClassifier(steps=1).fit({"title": texts, "text": texts}, [0, 1] * 4).task_.model
    assert two.config == VARIANTS["hip-nano"]  # hip-text has one group, which is one modality's
    bare = HiPClassifier(steps=1, encoders={"x": {"coding": "onehot"}}).fit(texts, [0, 1] * 4).task_.model
    assert (bare.config, bare.modalities["x"].channels) == (VARIANTS["hip-nano"], 256)
    hidden = HiPEmbedder(steps=1).fit(texts).task_.model
    assert (hidden.config, hidden.modalities["x"].channels) == (VARIANTS["hip-nano"], 256)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps_per_token": 0}, "steps_per_token: expected a whole number >= 1, got 0"),
        ({"steps_per_token": "x"}, "steps_per_token: expected a whole number >= 1, got 'x'"),
        ({"channels": 0}, "channels: expected a whole number >= 1, got 0"),
        ({"context": 21}, "context: expected at most the length, 20, got 21"),
    ],
)
def test_settings_of_encoders_that_do_not_fit(settings: dict[str, Any], message: str) -> None:
    X = np.random.default_rng(0).normal(size=(8, 20, 2))
    with pytest.raises(ValueError, match=f"^x: {message}$"):
        HiPClassifier(**FAST, encoders={"x": settings}).fit(X, [0, 1] * 4)


def test_the_kind_by_its_name_and_settings() -> None:
    X = np.random.default_rng(0).normal(size=(4, 400))
    sound = HiPClassifier(**FAST, modalities="audio", encoders={"x": {"rate": 4000, "seconds": 0.05}})
    assert sound.fit(X, [0, 1, 0, 1]).modalities_["x"].startswith("audio, tokens 200 x 1")
    assert sound.predict(X).shape == (4,)
    volume = HiPClassifier(**FAST, modalities="volume").fit(
        FIRST[:, :, :4, :4] + np.arange(4)[:, None, None, None], [0, 1, 0, 1]
    )
    assert volume.modalities_["x"].startswith("volume, tokens 3 x 4 x 4 x 1")
    series = HiPClassifier(**FAST, modalities={"x": "series"}).fit(X, [0, 1, 0, 1])
    assert series.modalities_["x"].startswith("series, tokens 400 x 49")


def test_several_modalities_of_which_some_are_missing() -> None:
    X = {"look": [*_pictures()[:3], None], "say": ["a", None, "ccc", "d"]}
    classifier = HiPClassifier(**FAST).fit(X, [0, 1, 0, 1])
    assert list(classifier.modalities_) == ["look", "say"]
    probabilities = classifier.predict_proba(X)
    assert (classifier.predict_proba({name: values[3:] for name, values in X.items()}) == probabilities[3:]).shape
    assert classifier.predict({"say": ["a", "b"]}).shape == (2,)  # one of them is enough


def test_data_frames(tmp_path: Path) -> None:
    numbers = pd.DataFrame({"height": [1.0, 2, 3, 4], "weight": [7, 6, 5, 4]})
    classifier = HiPClassifier(**FAST).fit(numbers, [0, 1, 0, 1])
    assert classifier.feature_names_in_.tolist() == ["height", "weight"]
    with pytest.raises(ValueError, match="feature names"):
        classifier.predict(numbers[["weight", "height"]])
    mixed = numbers.assign(photo=_files(tmp_path)["png"], said=["a", "b", "c", None])
    classifier.fit(mixed, pd.Series([0, 1, 0, 1]))
    assert {name: text.partition(",")[0] for name, text in classifier.modalities_.items()} == {
        "photo": "image",
        "said": "bytes",
        "numbers": "vector",
    }
    assert not hasattr(classifier, "n_features_in_")
    expected = classifier.predict_proba(mixed)
    assert_equal(classifier.predict_proba(mixed[["weight", "said", "height", "photo"]]), expected)
    again = HiPClassifier.load(classifier.save(tmp_path / "saved"))
    assert_equal(again.predict_proba(mixed[["weight", "said", "height", "photo"]]), expected)
    with pytest.raises(
        ValueError, match="^X: expected the columns of numbers height, weight; got none called 'height'$"
    ):
        again.predict(mixed.drop(columns="height"))
    with pytest.raises(ValueError, match="^X: expected the columns of numbers height, weight; got 'age', too$"):
        again.predict(mixed.assign(age=1.0))


def test_series_as_data_frames_are_read_by_their_columns(tmp_path: Path) -> None:
    X = [pd.DataFrame({"x": [n, n + 1.0, n], "y": [-n, 2.0, n]}) for n in range(6)]
    classifier = HiPClassifier(**FAST).fit(X, [0, 1] * 3)
    again = HiPClassifier.load(classifier.save(tmp_path / "saved"))
    assert_equal(again.predict_proba([frame[["y", "x"]] for frame in X]), classifier.predict_proba(X))
    assert_equal(again.predict_proba([frame.to_numpy() for frame in X]), classifier.predict_proba(X))
    with pytest.raises(ValueError, match="^x: expected the columns x, y, got x; no 'y'$"):
        again.predict([frame[["x"]] for frame in X])


def test_markers_of_missing_numbers_are_said_and_left_out() -> None:
    X, y = np.random.default_rng(0).normal(size=(20, 3)), np.linspace(0, 1, 20)
    y[3] = -9999
    given = y.copy()
    with pytest.warns(UserWarning, match="^y: -9999 lies far from all others: taken for a missing one$"):
        regressor = HiPRegressor(**FAST).fit(X, y)
    assert regressor.task_.config.target_mean[0] == pytest.approx(np.delete(y, 3).mean())  # pyright: ignore
    assert_equal(y, given)


def test_validation_chooses_the_weights(blobs: Blobs) -> None:
    X, y = blobs
    classifier = HiPClassifier(**FAST, validation_share=0.2).fit(X, y)
    assert set(classifier.validation_metrics_) >= {"accuracy", "loss"}


def test_a_budget_of_time(blobs: Blobs) -> None:
    X, y = blobs
    for budget in (0.2, "0.2s"):
        classifier = HiPClassifier(**{**FAST, "steps": None}, max_time=budget).fit(X, y)
        assert 0 < classifier.n_steps_ < 1000


def test_verbose_says_what_was_taken_for_what(blobs: Blobs, capsys: pytest.CaptureFixture[str]) -> None:
    HiPClassifier(**FAST, verbose=1).fit(*blobs)
    assert capsys.readouterr().out == "x: vector, tokens 6 x 1, from float64 arrays of shape (6,)\n"


def test_an_unreadable_file_is_left_out_of_training_and_named(tmp_path: Path) -> None:
    paths = [_files(tmp_path)["png"][n % 4] for n in range(32)]
    (tmp_path / "bad.png").write_bytes(b"no picture")
    paths[5] = str(tmp_path / "bad.png")
    with pytest.warns(UserWarning, match=r"^X: 1 examples could not be read and were left out, the first: row 5, "):
        classifier = HiPClassifier(**FAST).fit(paths, [0, 1] * 16)
    with pytest.raises(ValueError, match=r"^row 5, .*bad.png: "):
        classifier.predict(paths)


FIRST = np.zeros((4, 3, 16, 16), dtype=np.uint8)  # channels first, as PyTorch has them
TEN = np.zeros((4, 10)) + np.arange(4.0)[:, None]


@pytest.mark.parametrize(
    ("parameters", "X", "message"),
    [
        ({"model": "hip-nono", "model_settings": None}, TEN, r"model: expected one of .*, got 'hip-nono'"),
        ({"max_time": "soon"}, TEN, r"max_time: expected a length of time"),
        ({"steps": 0}, TEN, r"steps: expected"),
        ({"validation_share": 1}, TEN, r"validation_share: expected a share from 0 to below 1, got 1"),
        ({"modalities": "sound"}, TEN, r"x: expected a kind among .*, got 'sound'"),
        ({"modalities": {"y": "audio"}}, TEN, r"modalities: expected names among x, got 'y'"),
        ({"modalities": "audio"}, TEN, r"x: expected the encoder's setting rate for sounds that are arrays"),
        ({"modalities": "image"}, TEN[:, :, None], r"x: expected uint8 arrays for the kind image, got float64"),
        ({"encoders": {"y": {}}}, TEN, r"encoders: expected names among x, got 'y'"),
        ({"encoders": {"x": {"size": 3}}}, TEN, r"size: the vector encoder of 'x' has no such setting"),
        ({"training_settings": {"rate": 3}}, TEN, r"rate: "),
        ({"from_pretrained": "./none"}, TEN, r"./none: no such folder"),
        ({}, TEN[:, 0], "Expected 2D array, got 1D array instead"),
        ({}, ["a.png", "b.png", "c.png", "d.png"], r"x: expected files that exist, or texts; got 'a.png', no file"),
        ({}, ["a", 1, "b", 2], r"x: expected values of one form, got arrays and strings"),
        ({}, {"a": ["x"] * 4, "b": ["x"] * 3}, r"X: expected as many values of each modality, got 4 of 'a', 3 of 'b'"),
        ({}, {}, r"X: expected one or more modalities, got an empty mapping"),
        ({}, "photos", r"x: expected a list or array with a value for each example, got str"),
        ({}, [None] * 4, r"x: expected one or more values, got none"),
        ({}, FIRST, r"x: got arrays of shape \(3, 16, 16\), which look as if channels came first; .*\(0, 2, 3, 1\)"),
        ({}, FIRST[:, :1] / 255, r"x: got arrays of shape \(1, 16, 16\), which look as if channels came first"),
        ({}, FIRST[:, None], r"x: got arrays of shape \(1, 3, 16, 16\), which .*\(0, 1, 3, 4, 2\)"),
        ({}, FIRST[:, :, None].repeat(5, 2), r"x: got arrays of shape \(3, 5, 16, 16\), which .*\(0, 2, 3, 4, 1\)"),
    ],
)
def test_mistakes_are_said_in_one_line(parameters: dict[str, Any], X: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        HiPClassifier(**{**FAST, **parameters}).fit(X, [0, 1, 0, 1])
    if not message.startswith("Expected 2D"):  # scikit-learn's own
        assert "\n" not in str(caught.value)


def test_classes_must_be_two_and_have_names_of_their_own() -> None:
    with pytest.raises(ValueError, match="^y: expected at least two classes, got 1 class, "):
        HiPClassifier(**FAST).fit(TEN, [1] * 4)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        HiPClassifier(**FAST).fit(TEN, [1, 0, 1])
    with pytest.raises(ValueError, match="^X: expected modalities among x, got 'z'"):
        HiPClassifier(**FAST).fit([*TEN[:, :, None]], [1, 0, 1, 0]).predict({"z": [*TEN]})


def test_masked_numbers_are_no_data() -> None:
    rows = np.random.default_rng(0).normal(size=(8, 3))
    masked = np.ma.masked_greater(rows, 1.0)
    with pytest.raises(ValueError, match="contains NaN"):
        HiPEmbedder(steps=1).fit(masked)
    with pytest.raises(ValueError, match="y contains NaN"):
        HiPRegressor(steps=1).fit(rows, np.ma.masked_less(np.arange(8.0), 1))


def test_tensors_of_any_kind_are_read() -> None:
    series = torch.randn(4, 6, 2, generator=torch.Generator().manual_seed(0))
    for X in ([each.bfloat16() for each in series], series.clone().requires_grad_()):
        embedder = HiPEmbedder(steps=1, random_state=0).fit(X)
        assert embedder.modalities_ == {"x": "series, tokens 6 x 2, from float32 arrays of shape (6, 2)"}


def test_a_column_that_is_there_twice_is_named() -> None:
    frame = pd.DataFrame(np.ones((4, 3)), columns=["a", "b", "a"])
    with pytest.raises(ValueError, match=r"^X: expected each column once, got 'a' twice$"):
        HiPEmbedder(steps=1).fit(frame)


def test_dates_are_no_numbers() -> None:
    with pytest.raises(ValueError, match=r"^y: expected numbers, got datetime64"):
        HiPRegressor(steps=1).fit(np.ones((3, 2)), pd.date_range("2020", periods=3))
