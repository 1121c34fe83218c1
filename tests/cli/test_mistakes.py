"""What users get wrong: exit code 2, one line on stderr that names what is wrong, and nothing written."""

import json
import shutil
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from hiperceiver import Modality, create_model

from .conftest import TINY, Hip

NO_MODEL = "expected a run folder, a saved model's folder, a name of hip models or a hub id, got another folder"


def check(outcome, message: str) -> None:
    """One line on stderr that names what the message does; `*` in it stands for any words."""
    assert outcome.code == 2
    assert outcome.err.startswith("hip: ")
    assert outcome.err.count("\n") == 1
    assert fnmatchcase(outcome.err.strip(), f"*{message.replace('[', '[[]')}*"), outcome.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "0"], "--steps: * >= 1, got 0"),
        (["--steps", "[" * 3000], "--steps: expected a whole number >= 1, got '[[["),
        (["--only-classes", "checks", "--leave-out-classes", "checks"], "found none (only_classes, leave_out_classes)"),
        (["--steps=--"], "--steps: expected a whole number >= 1, got '--'"),
        (["--steps", "1.5"], "--steps: * whole number *1.5"),
        (["--max-time", "0s"], '--max-time: *"00:04:00"*'),
        (["--max_time", "soon"], '--max-time: *"00:04:00"*'),
        (["--batch-size", "0"], "--batch-size: * >= 1, got 0"),
        (["--learning-rate", "-1"], "--learning-rate: *above 0, got -1"),
        (["--learning-rate", "nan"], "--learning-rate: * number"),
        (["--precision", "16"], "--precision: *32, bf16, got 16"),
        (["--num-workers", "-1"], "--num-workers: * >= 0, got -1"),
        (["--mask-ratio", "1.5"], "--mask-ratio: *from 0 to below 1, got 1.5"),
        (["--mask-ratio", "0"], "--mask-ratio: *above 0*"),
        (["--compared-share", "0"], "--compared-share: expected a number above 0, up to 1, got 0"),
        (["--mask-ratio", "0.01"], "--mask-ratio: expected one that hides something of 16 tokens, got 0.01"),
        (["--mask-strategy", "groupwise"], "--mask-strategy: *group-wise, uniform*groupwise"),
        (["--model", "hip-8"], "did you mean hip-16?"),
        (["--model-settings", "dropout"], "--model-settings: * mapping"),
        (
            ["--model-settings.drop_out", "0.1"],
            "--model-settings.drop?out*; did you mean *dropout?",
        ),
        (["--model-settings.dropout", "2"], "--model-settings.dropout: *from 0 to below 1, got 2"),
        (["--model-settings.dropout", "much"], "--model-settings.dropout: *much"),
        (["--model-settings.blocks", "[1]"], "--model-settings.blocks*1"),
        (["--model-settings.blocks", "[]"], "--model-settings.blocks: *odd number*"),
        (["--size", "0"], "size: * >= 1*0"),
        (["--size", "sixteen"], "--size: * whole number *sixteen"),
        (["--data", "nowhere"], "--data: expected earth, watch, instruments, languages, clip, a folder that"),
        (["--data", "erth"], "did you mean 'earth'?"),
        (["--data", "./nowhere"], "./nowhere: no such folder"),
        (["--data", "no/where"], "no/where: no such folder, and cannot be read from the hub"),
        (["--data", __file__], "expected a folder, got a file"),
        (["--data", "earth", "--size", "7"], "--size: expected a whole number from 8 to 2048"),
        (["--data", "watch", "--fit", "pad"], "--size: no modality of the source 'watch' has such a setting"),
        (["--modalities", "sound"], "--modalities: the source"),
        (["--encoders.image.rate", "8000"], "--encoders.image.rate: *audio has it"),
        (["--encoders.sound.rate", "8000"], "--encoders: the source"),
        (["--encoders.image", "7"], "--encoders.image: *7"),
        (["--encoders.image.colours", "CMYK"], "--encoders.image.colours: *L, RGB, RGBA*CMYK"),
        (["--data-settings.kind", "scent"], "--data-settings.kind: expected one of image, video"),
        (["--task-settings.mixup", "0.1"], "--task-settings.mixup is not an option of hip pretrain"),
        (["--augment.flop", "true"], "--augment.flop*; did you mean --augment.flip?"),
        (["--augment.noise", "true"], "noise"),
        (["--layout", "coco"], "--layout: *voc, audioset*coco"),
        (["--recipe", "wach"], "--recipe: *earth, *watch, *wach*did you mean*watch"),
        (["--data-settings.size", "8"], "--data-settings: size has an option of its own"),
        (["--columns.image", "img"], "--columns: *"),
        (["--data-settings.min_land", "0.1"], "min_land: the source"),
        (["--fit", "stretch"], "--fit: *crop, squash, pad*stretch"),
        (["--out", __file__], "expected a folder, got the file"),
        (["--config", "missing.yaml"], "--config: missing.yaml: no such file or directory"),
        (["--stepz", "3"], "--stepz is not an option of hip pretrain; did you mean --steps?"),
        (["more"], "hip pretrain: expected options alone, got 'more' as well"),
        (["--accelerator", "tpu"], "--accelerator: *cpu, gpu, *tpu"),
    ],
)
def test_pretrain(arguments: list[str], message: str, pictures: Path, hip: Hip) -> None:
    before = set(Path.cwd().iterdir())
    check(hip("pretrain", "--data", pictures, *TINY, *arguments), message)
    assert set(Path.cwd().iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "nowhere"], "nowhere: no such folder"),
        (["--from", "no/where"], "no/where: no such folder, and it cannot be had from the Hugging Face hub"),
        (["--from", "."], f".: {NO_MODEL}"),
        (
            ["--task", "detection"],
            "--task: *classification, multilabel, segmentation, regression, forecasting, joint*detection",
        ),
        (["--task", "segmentation"], "for segmentation expected the folders images and masks"),
        (["--mode", "frozen"], "--mode: *frozen-positions, frozen-backbone, got *frozen"),
        (["--mode", "positions"], "--mode: *--from*positions"),
        (["--train-share", "0"], "--train-share: *above 0, up to 1, got 0"),
        (["--task", "classification", "--task-settings.horizon", "8"], "--task-settings.horizon: *forecasting has it"),
        (["--task-settings.mixup", "much"], "--task-settings.mixup: *much"),
        (["--task-settings.num_classes", "3"], "--task-settings: num_classes *"),
        (["--task-settings.label_smothing", "0.1"], "--task-settings.label*smothing*; did you mean *label?smoothing?"),
        (["--task-settings.label_smoothing", "2"], "--task-settings.label-smoothing: *below 1, got 2"),
    ],
)
def test_finetune(arguments: list[str], message: str, pictures: Path, hip: Hip) -> None:
    check(hip("finetune", "--data", pictures, *TINY[:2] * ("--from" not in arguments), *arguments), message)
    assert not any(Path.cwd().iterdir())


def test_a_folder_that_is_called_like_an_option_keeps_its_name(pictures: Path, hip: Hip) -> None:
    shutil.copytree(pictures / "checks", "flat")
    outcome = hip("finetune", "--data", "flat/", *TINY)
    check(outcome, "expected a folder of files per class")
    assert outcome.err.startswith("hip: flat: ")


def test_a_test_without_a_split_for_it_is_refused_before_training(pictures: Path, hip: Hip) -> None:
    for split in ("train", "validation"):
        shutil.copytree(pictures, f"parts/{split}")
    outcome = hip("finetune", "--data", "parts", "--test", "--out", "run", *TINY, "--steps", "1")
    check(outcome, "--test: parts has no test split, only train, validation; --test false trains without it")
    assert not Path("run").exists()


def test_a_refused_run_leaves_what_was_in_its_folder(pictures: Path, hip: Hip) -> None:
    Path("mine").mkdir()
    Path("mine/settings.yaml").write_text("batch_size: 3\n")
    outcome = hip("pretrain", "--data", pictures, "--config", "mine/settings.yaml", "--devices", "2", "--out", "mine")
    check(outcome, "--batch-size: expected a multiple of 2, the processes, got 3")
    assert [each.name for each in Path("mine").iterdir()] == ["settings.yaml"]
    assert Path("mine/settings.yaml").read_text() == "batch_size: 3\n"


def test_finetuning_with_what_does_not_fit(pretrained: Path, finetuned: Path, pictures: Path, hip: Hip) -> None:
    arguments = ["finetune", "--data", pictures, "--from", pretrained]
    check(hip(*arguments, "--model", "hip-nano"), "--model: not together with --from, which brings its model")
    check(hip(*arguments, "--colours", "L"), "--colours: ")
    check(
        hip(*arguments, "--model-settings.embedding_channels", "16"),
        "expected embedding_channels=16 as in the new model, got 32",
    )
    (Path.cwd() / "one/only").mkdir(parents=True)
    shutil.copy(pictures / "checks/1.jpg", "one/only/1.jpg")
    check(hip(*arguments[:1], "--data", "one", "--from", pretrained), "one: *at least two classes*only")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "hip evaluate: CHECKPOINT is missing; see hip evaluate --help"),
        (["nowhere"], "nowhere: no such folder"),
        (["{finetuned}", "--split", "tests"], "--split: *test, validation, train, all*tests"),
        (["{finetuned}", "--data", "nowhere"], "--data: expected earth, watch, instruments, languages, clip, a folder"),
        (["{finetuned}", "--data", "earth"], "classes: *checks, stripes*earth"),
        (["{finetuned}", "--json", "no/where.json"], "--json: no is not a directory"),
        (["{finetuned}", "--batch-size", "0"], "--batch-size: * >= 1, got 0"),
        (["{finetuned}", "--max-bad-share", "7"], "--max-bad-share: *0 to 1, got 7"),
        (["{finetuned}", "--encoders.image.size", "4"], "gives 'image' as 4 x 4 x 3, which"),
        (["{moved}"], "--data is missing, and"),
        (["{finetuned}/checkpoints"], NO_MODEL),
        (["{bare}", "--data", "earth"], "expected a model that was saved with a task, got one without"),
        (["{damaged}"], "model.safetensors cannot be read"),
    ],
)
def test_evaluate(
    arguments: list[str], message: str, finetuned: Path, bare: Path, damaged: Path, moved: Path, hip: Hip
) -> None:
    places = {"finetuned": finetuned, "bare": bare, "damaged": damaged, "moved": moved}
    check(hip("evaluate", *(each.format(**places) for each in arguments)), message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{finetuned}"], "hip predict: FILES is missing; see hip predict --help"),
        (["{finetuned}", "x.jpg", "--top", "0"], "--top: * >= 1, got 0"),
        (["{finetuned}", "x.jpg", "--out", "there"], "it makes no pictures"),
        (["{finetuned}", "."], ".: this folder holds no files of image (jpg, jpeg, png"),
        (["nowhere", "x.jpg"], "nowhere: no such folder"),
        (["{bare}", "x.jpg"], "expected a model that was saved with a task, got one without"),
    ],
)
def test_predict(arguments: list[str], message: str, finetuned: Path, bare: Path, hip: Hip) -> None:
    check(hip("predict", *(each.format(finetuned=finetuned, bare=bare) for each in arguments)), message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: no such folder"),
        (["{finetuned}", "--kind", "loss"], "--kind: *reconstruction, positions, curves, *loss"),
        (["{finetuned}", "--kind", "segmentation"], "was trained for classification*segmentation"),
        (["{finetuned}", "--num-examples", "0"], "--num-examples: * >= 1, got 0"),
    ],
)
def test_plot(arguments: list[str], message: str, finetuned: Path, hip: Hip) -> None:
    check(hip("plot", *(each.format(finetuned=finetuned) for each in arguments)), message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["hip_16"], "MODEL: expected one of hip-nano, "),
        (
            ["hip-16", "--modality", "image"],
            "--modality: expected NAME=GRIDxCHANNELS such as image=224x224x3, got 'image'",
        ),
        (["hip-16", "--modality", "image=0x3"], "grid[0]: expected a whole number >= 1, got 0"),
        (["hip-16", "--modality", "a=4x1", "--modality", "a=5x1"], "--modality: 'a' is given twice"),
        (["hip-16", "--modality", "a=4x1:label"], "modalities: expected at least one of role 'input', got none"),
        (["hip-16", "--mask-ratio", "1"], "--mask-ratio: *0 to below 1, got 1"),
        (["hip-16", "--batch-size", "-1"], "--batch-size: * >= 1, got -1"),
        (["hip-16", "--model-settings.blocks", "3"], "--model-settings.blocks: *3"),
        (["{finetuned}", "--model-settings.dropout", "0"], "--model-settings: only for a model by name"),
    ],
)
def test_info(arguments: list[str], message: str, finetuned: Path, hip: Hip) -> None:
    check(hip("info", *(each.format(finetuned=finetuned) for each in arguments)), message)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A model that was saved without a task."""
    create_model("hip-nano", {"image": Modality(grid=(16, 16), channels=3)}).save_pretrained(tmp_path / "bare")
    return tmp_path / "bare"


@pytest.fixture
def moved(finetuned: Path, tmp_path: Path) -> Path:
    """A saved model without its run."""
    return shutil.copytree(finetuned / "model", tmp_path / "moved")


@pytest.fixture
def damaged(finetuned: Path, tmp_path: Path) -> Path:
    """A saved model whose weights were cut off."""
    shutil.copytree(finetuned / "model", tmp_path / "damaged")
    weights = tmp_path / "damaged/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    return tmp_path / "damaged"


def test_a_config_that_describes_nothing(finetuned: Path, hip: Hip) -> None:
    shutil.copytree(finetuned / "model", "model")
    config = Path("model/config.json")
    values = json.loads(config.read_text())
    for broken, message in [
        ("{", "config.json cannot be read"),
        (json.dumps({**values, "architecture": "GPT"}), "expected an architecture among HiP, PerceiverIO, got 'GPT'"),
        (json.dumps({**values, "task": {"kind": "captions"}}), "config.json is not valid: task: expected one of"),
    ]:
        config.write_text(broken)
        check(hip("evaluate", "model", "--data", "earth"), message)
