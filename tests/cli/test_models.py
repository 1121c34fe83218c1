"""`hip models`, and the models by name themselves: each is what its card says."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from experiments import cards
from hiperceiver import HiP
from hiperceiver.model.named import named_models
from hiperceiver.recipes import RECIPES

from .conftest import Hip, picture

MODELS = named_models()
WITH_WEIGHTS = [name for name, folder in MODELS.items() if (folder / "model.safetensors").is_file()]


def test_the_package_is_the_one_of_this_checkout() -> None:
    assert {folder.parent for folder in MODELS.values()} == {cards.WEIGHTS}
    assert set(WITH_WEIGHTS) == cards.MEASURED.keys()


@pytest.mark.parametrize("name", MODELS)
def test_a_card_has_all_that_cards_have(name: str) -> None:
    card = ModelCard.load(MODELS[name] / "README.md")
    assert card.data.get("license") and card.data.get("library_name") == "hiperceiver" and card.data.get("summary")
    sections = re.findall(r"^## (.*)$", card.text, flags=re.M)
    assert sections == ["Data", "How it was made" if name in WITH_WEIGHTS else "How to make it", "Results", "Limits"]
    assert card.text.strip().startswith(f"# {name}\n")
    files = {path.name for path in MODELS[name].iterdir()}
    weights = {"config.json", "model.safetensors", "SHA256SUMS"} if name in WITH_WEIGHTS else set()
    assert files == {"README.md"} | weights
    assert sum(path.stat().st_size for path in MODELS[name].iterdir()) <= cards.LARGEST


@pytest.mark.parametrize("name", [name for name in WITH_WEIGHTS if cards.MEASURED[name][0] in RECIPES])
def test_a_model_of_a_built_in_set_reaches_the_figure_on_its_card(name: str, tmp_path: Path) -> None:
    assert cards.compare([name], tmp_path, tmp_path)


def test_all_are_listed(hip: Hip) -> None:
    outcome = hip("models", "--json", "models.json")
    assert (outcome.code, outcome.err) == (0, "")
    listed = json.loads(Path("models.json").read_text())
    assert listed.keys() == MODELS.keys()
    for name in MODELS:
        assert any(line.startswith(f"{name} ") for line in outcome.out.splitlines())
    model = HiP.from_pretrained("watch")
    assert listed["watch"]["num_parameters"] == sum(each.numel() for each in model.parameters())
    assert listed["watch"]["classes"] == model.metadata["classes"] and len(listed["watch"]["classes"]) == 7


def test_a_card_is_shown(hip: Hip) -> None:
    outcome = hip("models", "watch")
    assert outcome.code == 0 and outcome.out.startswith("# watch\n") and str(MODELS["watch"]) in outcome.out
    expected = f"hip: expected a model among {', '.join(MODELS)}, got 'wacht'; did you mean watch?\n"
    assert hip("models", "wacht") == (2, "", expected)
    assert hip("models", "watch", "--json", "card.json").err == "hip: --json: expected no NAME\n"


def test_names_are_taken_where_models_are(hip: Hip) -> None:
    picture("stripes", 0).save("tile.png")
    assert hip("predict", "earth-segmentation", "tile.png", "--out", "found").code == 0
    assert Path("found/tile.png").is_file()
    assert hip("info", "earth-mae").out.startswith("earth-mae with image 64 x 64 x 3\n")
    Path("texts").mkdir()
    Path("texts/one.txt").write_text("Diese Seite wurde nicht gefunden.")
    outcome = hip("predict", "languages", "texts/one.txt", "--top", 1, "--json", "languages.json")
    assert (outcome.code, outcome.err) == (0, "")
    assert json.loads(Path("languages.json").read_text())[0]["labels"][0]["name"] == "de"
    outcome = hip("predict", "cifar10", "tile.png")
    said = "hip: cifar10: its weights are not given out; hip models cifar10 says why, and how to make them\n"
    assert outcome == (2, "", said)


def test_a_run_without_a_model_is_not_taken_for_a_name(hip: Hip) -> None:
    Path("watch").mkdir()
    Path("watch", "settings.yaml").write_text("format: 2\n")
    outcome = hip("predict", "watch", "x.csv")
    assert (outcome.code, outcome.err.startswith("hip: watch: this run has no model yet; ")) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--add", "watch"], "--add: expected --run too, the run's folder"),
        (["--only", "wacht"], f"--only: expected names among {', '.join(cards.MEASURED)}, got wacht"),
    ],
)
def test_mistakes_of_who_measures_the_cards(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (cards.main(arguments), capsys.readouterr().err) == (2, f"cards: {message}\n")


def test_the_package_has_no_code_and_needs_nothing() -> None:
    project = tomllib.loads((cards.WEIGHTS.parent / "pyproject.toml").read_text())["project"]
    assert project["name"] == "hiperceiver-weights" and "dependencies" not in project
    assert [path.name for path in cards.WEIGHTS.rglob("*.py")] == ["__init__.py"]
