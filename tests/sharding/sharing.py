"""Run by `test_sharded_hip.py`: starts several processes; each compares its part of a model with the whole."""

from __future__ import annotations

import copy
import json
import multiprocessing
import os
import socket
import sys
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    tests = Path(__file__).parents[1]
    sys.path[:0] = [str(tests), str(tests / "model")]  # `closeness`, `small_models`

import torch
import torch.distributed as dist
from closeness import GRADIENT_SAFETY, assert_close, assert_gradients_close, gradient_terms_of, terms_of
from small_models import IMAGE, LABEL, block, hip, random_inputs, refusal
from torch import Tensor

from hiperceiver.fast import chunked
from hiperceiver.masking import sample_visible_slots
from hiperceiver.modality import Batch, Modality
from hiperceiver.model import HiP, HiPOutput
from hiperceiver.sharding import ShardedHiP
from hiperceiver.sharding.partition import local_spans
from hiperceiver.tasks import Classification, ClassificationConfig, MaskedAutoencoding, MaskedAutoencodingConfig
from hiperceiver.training.groups import ShardedAutoencoding

POINTS = Modality(grid=(24,), channels=5, num_coordinates=3)
WIDE = Modality(grid=(9, 10), channels=3)
"""In 8 groups: 12 tokens in each but the last, which holds 6."""


def blocks(groups: tuple[int, ...], **middle: Any) -> tuple[Any, ...]:
    channels = [8, 12, 8, 6, 10, 4, 6]
    return tuple(
        block(**{"num_groups": g, "num_latents": 6 if g == 3 else 8, "num_channels": c} | (middle if g == 1 else {}))
        for g, c in zip(groups, channels, strict=False)
    )


MODELS: dict[str, tuple[Callable[[], HiP], str]] = {
    "two modalities and a label": (hip, "everything, absent, masked, masked by group"),
    "padding seen": (lambda: hip(mask_padding=False), "everything, masked by group"),
    "fourier": (lambda: hip({"image": IMAGE}, positions="fourier"), "everything"),
    "coordinates": (lambda: hip({"image": IMAGE, "points": POINTS}, positions="coordinate"), "absent, masked by group"),
    "no positions": (lambda: hip({"image": IMAGE}, positions="none"), "masked"),
    "narrow tables": (lambda: hip({"query": IMAGE, "label": LABEL}, position_channels=4), "everything"),
    "merging within": (lambda: hip({"image": WIDE}, blocks=blocks((8, 4, 1, 4, 8))), "everything, masked by group"),
    "merging across": (lambda: hip({"image": WIDE}, blocks=blocks((8, 2, 1, 2, 8))), "everything, masked by group"),
    "along a curve": (
        lambda: hip({"image": WIDE}, blocks=blocks((8, 2, 1, 2, 8)), token_order="hilbert"),
        "everything, absent, masked by group",
    ),
    "shuffled": (lambda: hip(token_order="shuffled"), "absent, masked"),
    "shuffled, fourier": (lambda: hip(token_order="shuffled", positions="fourier"), "everything"),
    "deep": (lambda: hip({"image": WIDE}, blocks=blocks((8, 8, 4, 1, 4, 8, 8))), "absent, masked"),
}
"""The model, and which of `ARGUMENTS` it is called with."""


def absent(model: HiP, inputs: dict[str, Tensor]) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(3)
    return {"is_padding": {name: torch.rand(x.shape[:2], generator=generator) < 0.4 for name, x in inputs.items()}}


def masked(model: HiP, inputs: dict[str, Tensor]) -> dict[str, Any]:
    plan = whole_plan(model)
    generator = torch.Generator().manual_seed(4)
    slots = {n: sample_visible_slots(2, s.num_slots, 0.6, generator=generator) for n, s in plan.spans.items()}
    return {"visible": slots}


def masked_by_group(model: HiP, inputs: dict[str, Tensor]) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(5)
    return {
        "visible": {
            name: torch.randint(-1, span.num_slots, (2, span.num_groups, 4), generator=generator)
            for name, span in whole_plan(model).spans.items()
        }
    } | absent(model, inputs)


def everything(model: HiP, inputs: dict[str, Tensor]) -> dict[str, Any]:
    return {}


ARGUMENTS = {"everything": everything, "absent": absent, "masked": masked, "masked by group": masked_by_group}


def whole_plan(model: HiP) -> Any:
    return model.plan({name: model.modalities[name].num_tokens for name in model.input_names})


def doubles(model: HiP) -> dict[str, Tensor]:
    return {name: x.double() for name, x in random_inputs(model.modalities).items()}


def loss_of(model: HiP, output: HiPOutput) -> Tensor:
    """A share's sum of these over processes, labels and processor once, is the one process's."""
    loss = output.processor_latents.cos().sum()
    for name, x in output.reconstruction.items():
        loss = loss + (x.sin() ** 2).sum() / model.modalities[name].num_tokens
    return loss + output.latents.sin().sum()


def check_same(
    make: Callable[[], HiP], arguments: Callable[..., dict[str, Any]], *, is_given_all: bool = True, times: int = 1
) -> None:
    """Outputs, gradients of inputs, and gradients of weights, after one or more backward passes."""
    model = make().double()
    share = ShardedHiP(copy.deepcopy(model))
    inputs, given = doubles(model), arguments(model, doubles(model))
    whole = {name: x.clone().requires_grad_() for name, x in inputs.items()}
    own = {name: x.clone().requires_grad_() for name, x in inputs.items()}
    rows = {name: share.local_tokens.get(name, slice(None)) for name in inputs}
    for _ in range(times):
        expected = model(whole, **given)
        loss_of(model, expected).backward()
        if is_given_all:
            found = share(own, **given)
        else:
            padding = given.get("is_padding", {})
            mine = {"is_padding": {name: x[:, rows[name]] for name, x in padding.items()}}
            held = {name: x[:, rows[name]] for name, x in own.items() if rows[name] != slice(0, 0)}
            found = share(held, reconstruct=inputs, **(given | mine))
        loss_of(model, found).backward()
    terms = times * gradient_terms_of(model, batch=2)
    assert_close(found.processor_latents, expected.processor_latents, terms=terms)
    assert_close(found.latents, share._collectives.local(expected.latents), terms=terms)
    assert list(found.reconstruction) == list(expected.reconstruction)
    for name, x in found.reconstruction.items():
        if x.numel():
            assert_close(x, expected.reconstruction[name][:, rows[name]], terms=terms, name=name)
        if own[name].grad is None:
            assert rows[name] == slice(0, 0)  # none of it is here
        else:
            gradient = whole[name].grad
            scale = GRADIENT_SAFETY * gradient.abs().max().item()
            assert_close(own[name].grad[:, rows[name]], gradient[:, rows[name]], terms=terms, scale=scale, name=name)
    check_gradients(model, share)


def check_gradients(model: HiP, share: ShardedHiP, rank: int | None = None) -> None:
    found, wanted = {}, {}
    rank = dist.get_rank() if rank is None else rank
    for name, weight in share.named_parameters():
        expected = model.get_parameter(name).grad
        if expected is None:
            assert weight.grad is None, name
        elif name not in share._rows:
            found[name], wanted[name] = weight.grad, expected
        elif weight.numel():
            found[name], wanted[name] = weight.grad, expected[share._rows[name][rank]]
    assert_gradients_close(found, wanted, terms=gradient_terms_of(model, batch=2))


# ---------------------------------------------------------------------------------------------------------- checks


def only_its_own_tokens(folder: Path) -> None:
    for name in ("two modalities and a label", "coordinates", "fourier", "along a curve", "shuffled"):
        check_same(MODELS[name][0], absent, is_given_all=False)
    check_same(MODELS["merging across"][0], masked_by_group, is_given_all=False)


def in_single_precision(folder: Path) -> None:
    """With whatever is faster for it."""
    model = hip().float()
    share = ShardedHiP(copy.deepcopy(model))
    for each in (model, share):
        loss_of(model, each(random_inputs())).backward()
    check_gradients(model, share)


def gradients_accumulate(folder: Path) -> None:
    check_same(hip, absent, times=3)


def in_chunks(folder: Path) -> None:
    sizes = chunked._CHUNK_ABOVE, chunked._CHUNK
    try:
        chunked._CHUNK_ABOVE, chunked._CHUNK = 1, {"cpu": 1, "cuda": 1}
        check_same(hip, absent)
        check_same(MODELS["merging across"][0], masked)
    finally:
        chunked._CHUNK_ABOVE, chunked._CHUNK = sizes


def parts_alone(folder: Path) -> None:
    """Losses that do not use everything, and weights that are frozen, leave the others' gradients as they are."""
    losses: list[Callable[[HiPOutput], Tensor]] = [
        lambda output: output.processor_latents.sin().sum(),
        lambda output: output.reconstruction["sound"].sin().sum(),
        lambda output: output.reconstruction["label"].sin().sum(),
    ]
    encoder, decoder = ("blocks.0", "blocks.1", "embedding", "positions"), ("blocks.2", "readout")
    for loss, frozen in [*((loss, ("nothing",)) for loss in losses), (losses[0], decoder), (losses[1], encoder)]:
        model = hip().double()
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(not name.startswith(frozen))
        share = ShardedHiP(copy.deepcopy(model))
        for each in (model, share):
            loss(each(doubles(model))).backward()
        check_gradients(model, share)


def thawed_later(folder: Path) -> None:
    model = hip().double()
    share = ShardedHiP(copy.deepcopy(model).requires_grad_(False)).requires_grad_(True)
    for each in (model, share):
        loss_of(model, each(doubles(model))).backward()
    check_gradients(model, share)


def cast_later(folder: Path) -> None:
    model = hip()
    share = ShardedHiP(copy.deepcopy(model)).double()
    model.double()
    for each in (model, share):
        loss_of(model, each(doubles(model))).backward()
    check_gradients(model, share)


def trained(folder: Path) -> None:
    """Steps with clipping, decay and momentum give the weights of one process; so does the saved model."""
    model = hip().double().train()
    share = ShardedHiP(copy.deepcopy(model))
    optimizers = [torch.optim.AdamW(each.parameters(), lr=0.01, eps=1e-3, weight_decay=0.1) for each in (model, share)]
    for step in range(3):
        inputs = doubles(model)
        inputs = {name: x * (1 + step) for name, x in inputs.items()}
        norms = []
        for each, optimizer in zip((model, share), optimizers, strict=True):
            optimizer.zero_grad()
            loss_of(model, each(inputs)).backward()
            norms.append(
                share.clip_gradients(0.1) if each is share else torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            )
            optimizer.step()
        assert_close(norms[1], norms[0], terms=(1 + step) * gradient_terms_of(model, batch=2))
    whole = share.whole_model()
    assert (whole is None) == (dist.get_rank() > 0)
    if whole is not None:
        for name, value in model.state_dict().items():
            # A step is at most 0.01 g / eps, of a gradient g of at most 0.1: an error in g is not magnified.
            terms = 3 * gradient_terms_of(model, batch=2)
            assert_close(whole.state_dict()[name], value, terms=terms, scale=1, name=name)
        assert type(whole) is HiP and whole.training
    for name, weight in share.named_parameters():  # not one bit apart
        if name not in share._rows:
            bits = [torch.empty_like(weight) for _ in range(dist.get_world_size())]
            dist.all_gather(bits, weight.detach())
            assert all(torch.equal(each, weight) for each in bits), name


def masked_autoencoding(folder: Path) -> None:
    """The shares' losses add up to that of one process, and so do their gradients and what is logged."""
    configs = [
        MaskedAutoencodingConfig(mask_ratio=0.6),
        MaskedAutoencodingConfig(mask_ratio=0.6, compared_share=0.4, modality_weights={"sound": 3.0}),
        MaskedAutoencodingConfig(mask_ratio=0.5, mask_strategy="uniform", target_normalisation="channel"),
        MaskedAutoencodingConfig(mask_ratio=0.0, loss_on="all"),
    ]
    cases = [(each, given, "raster") for each in configs for given in (True, False)]
    cases += [(each, given, "hilbert") for each in configs[1:3] for given in (True, False)]
    for config, is_given_all, order in cases:
        if config.target_normalisation != "none" and not is_given_all:
            continue  # mean and variance are those of all tokens
        model = hip(token_order=order).train()
        share = ShardedHiP(copy.deepcopy(model))
        inputs = random_inputs(model.modalities)
        padding = absent(model, inputs)["is_padding"]
        whole = Batch(inputs=inputs, is_padding=padding)
        rows = {name: share.local_tokens.get(name, slice(None)) for name in inputs}
        own = Batch(
            inputs={name: x[:, rows[name]] for name, x in inputs.items()},
            is_padding={name: x[:, rows[name]] for name, x in padding.items()},
        )
        found = []
        for each, batch in [(model, whole), (share, whole if is_given_all else own)]:
            torch.manual_seed(3)
            task = (ShardedAutoencoding if each is share else MaskedAutoencoding)(each, config)
            loss, logs = task.loss(batch)
            loss.backward()
            nothing = torch.zeros(())
            found.append(torch.stack([loss.detach(), *(logs.get(f"loss_{n}", nothing) for n in model.input_names)]))
        dist.all_reduce(found[1])
        assert_close(found[1], found[0], terms=terms_of(model) + 2 * sum(x[0].numel() for x in inputs.values()))
        assert found[0].all()
        check_gradients(model, share)


def classification(folder: Path) -> None:
    """Labels are everyone's, and so is their loss: it is not a part."""
    config = ClassificationConfig(num_classes=5)
    model = hip({"image": IMAGE} | Classification.label_modalities(config)).train()
    share = ShardedHiP(copy.deepcopy(model))
    batch = Batch(inputs=random_inputs({"image": IMAGE}), targets={"label": torch.tensor([1, 3])})
    expected, found = (Classification(each, config).loss(batch)[0] for each in (model, share))
    assert_close(found, expected, terms=terms_of(model))
    expected.backward()
    found.backward()
    check_gradients(model, share)


_WHOLE = "model: expected a whole one for metrics and predictions, got one rank's part"


def masked_autoencoding_refuses(folder: Path) -> None:
    share = ShardedHiP(hip({"image": IMAGE}))
    task = ShardedAutoencoding(share, MaskedAutoencodingConfig(target_normalisation="example"))
    inputs = random_inputs({"image": IMAGE})
    with refusal(_WHOLE):
        task.predict(Batch(inputs=inputs))
    own = inputs["image"][:, share.local_tokens["image"]]
    with refusal(
        f"inputs: expected all {IMAGE.num_tokens} tokens of 'image', over which target_normalisation='example' is "
        f"done, got {own.shape[1]}"
    ):
        task.loss(Batch(inputs={"image": own}))


def metrics_refuse(folder: Path) -> None:
    task = ShardedAutoencoding(ShardedHiP(hip({"image": IMAGE})), MaskedAutoencodingConfig())
    with refusal(_WHOLE):
        task.update(task.make_metrics(), Batch(inputs=random_inputs({"image": IMAGE})))


def saved(folder: Path) -> None:
    for name in ("two modalities and a label", "merging across", "coordinates", "along a curve", "shuffled"):
        model = MODELS[name][0]()
        model.metadata = {"classes": ["a", "b"]}
        share = ShardedHiP(copy.deepcopy(model))
        share.save_pretrained(folder / name)
        dist.barrier()
        loaded = HiP.from_pretrained(folder / name)
        assert loaded.metadata["classes"] == ["a", "b"]
        assert model.state_dict().keys() == loaded.state_dict().keys()
        for key, value in model.state_dict().items():
            assert torch.equal(value, loaded.state_dict()[key]), (name, key)
        again = ShardedHiP(loaded).state_dict()
        assert all(torch.equal(value, again[key]) for key, value in share.state_dict().items())
        share.load_state_dict(again)


def random_draws_are_alike(folder: Path) -> None:
    """With one seed, what all processes compute alike stays alike, and so do its gradients."""
    middle = blocks((8, 2, 1, 2, 8), num_train_latents=2)
    model = hip({"image": WIDE}, blocks=middle, dropout=0.2, drop_path=0.3).double().train()
    share = ShardedHiP(copy.deepcopy(model))
    torch.manual_seed(7)
    output = share(doubles(model))
    loss_of(model, output).backward()
    gradients = [p.grad for name, p in share.named_parameters() if name not in share._rows]
    for x in [output.processor_latents.detach(), *(each for each in gradients if each is not None)]:
        everyones = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(everyones, x.contiguous())
        assert all(torch.equal(each, x) for each in everyones)
    assert output.processor_latents.shape[1] == 2


def memory_falls(folder: Path) -> None:
    """Bytes of weights and of what is kept for the backward pass, where the cost is at the tokens."""
    picture = Modality(grid=(64, 64), channels=3)
    model = hip({"image": picture}, blocks=blocks((8, 4, 1, 4, 8)), embedding_channels=8)
    share = ShardedHiP(copy.deepcopy(model))
    inputs = {"image": random_inputs(model.modalities, batch=1)["image"]}
    own = {"image": inputs["image"][:, share.local_tokens["image"]].clone()}

    def held(each: HiP, inputs: dict[str, Tensor]) -> int:
        storages = {p.untyped_storage().data_ptr(): p.untyped_storage().nbytes() for p in each.parameters()}
        storages |= {x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() for x in inputs.values()}

        def note(x: Tensor) -> Tensor:
            storages[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
            return x

        with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
            output = each(inputs)
        storages[output.reconstruction["image"].untyped_storage().data_ptr()] = output.reconstruction["image"].nbytes
        return sum(storages.values())

    ratio = held(share, own) / held(model, inputs)
    print(f"bytes held by one of {dist.get_world_size()} processes, to those of one alone: {ratio:.3f}")
    assert 0.9 / dist.get_world_size() < ratio < 1.15 / dist.get_world_size()


def sub_groups(folder: Path) -> None:
    """The processes may be some of all, as a group or as one dimension of a device mesh; others have other examples."""
    world = dist.get_world_size()
    both = dist.init_device_mesh("cpu", (world // 2, 2), mesh_dim_names=("data", "groups"))
    with refusal("group: expected a device mesh of 1 dimension, got one of 2"):
        ShardedHiP(hip(), both)
    mesh = both["groups"]
    model = hip({"image": IMAGE}).double()
    for group in (mesh, mesh.get_group()):
        share = ShardedHiP(copy.deepcopy(model), group)
        rank = dist.get_rank(mesh.get_group())
        found = share(doubles(model)).reconstruction["image"]
        own = local_spans(whole_plan(model), rank, 2)["image"].tokens
        assert share.local_tokens == {"image": own}
        assert_close(found, model(doubles(model)).reconstruction["image"][:, own], terms=terms_of(model))
        whole = share.whole_model()
        assert (whole is None) == (rank > 0)
    for example in range(world // 2):
        inputs = {"image": doubles(model)["image"] * (1 + example)}
        loss_of(model, model(inputs)).backward()
        if example == both["data"].get_local_rank():
            loss_of(model, share(inputs)).backward()
    for weight in share.parameters():
        dist.all_reduce(weight.grad, group=both["data"].get_group())
    check_gradients(model, share, rank)


def refusals(folder: Path) -> None:
    world = dist.get_world_size()
    with refusal("regrouping: expected 'reshape'"):
        ShardedHiP(hip(regrouping="transpose"))
    with refusal("group: expected a number of processes that divides the 3 groups of the first block"):
        ShardedHiP(hip({"image": IMAGE}, blocks=blocks((3, 1, 3), num_latents=6)))
    with refusal("model: expected a whole HiP"):
        ShardedHiP(ShardedHiP(hip()))
    with refusal(f"group: expected processes whose groups hold tokens, got {world}"):
        ShardedHiP(hip({"image": Modality(grid=(2,), channels=3)}, blocks=blocks((4, 1, 4))))
    share = ShardedHiP(hip())
    inputs = random_inputs()
    with refusal("grids: expected to be changed before"):
        share.resize_positions({"image": (10, 14)})
    with refusal("inputs: "):
        share({name: x[:, :-1] for name, x in inputs.items()})
    with refusal("inputs: expected"):
        share({"label": inputs["label"]})
    with refusal("reconstruct: expected names among"):
        share.reconstruct(share.encode(inputs), torch.zeros(2, 4 // world, 3, 10), ["smell"])


CHECKS: dict[str, Callable[[Path], None]] = {
    f"{name}, {given}": lambda folder, make=make, arguments=ARGUMENTS[given]: check_same(make, arguments)
    for name, (make, calls) in MODELS.items()
    for given in calls.split(", ")
}
CHECKS |= {
    each.__name__.replace("_", " "): each
    for each in (
        only_its_own_tokens,
        in_single_precision,
        gradients_accumulate,
        in_chunks,
        parts_alone,
        thawed_later,
        cast_later,
        trained,
        masked_autoencoding,
        classification,
        masked_autoencoding_refuses,
        metrics_refuse,
        saved,
        random_draws_are_alike,
        memory_falls,
        sub_groups,
        refusals,
    )
}


NEED_EXTRAS = ("metrics refuse",)
"""Checks that need more than `pip install hiperceiver`."""


def check_all(folder: Path, rank: int, num_ranks: int) -> None:
    """Write a line of JSON for each check: its name, and from each process what went wrong, or null."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'store'}",
        rank=rank,
        world_size=num_ranks,
        timeout=timedelta(seconds=60),
    )
    for name, check in CHECKS.items():
        torch.manual_seed(0)
        try:
            check(folder)
            failure = None
        except Exception:
            failure = traceback.format_exc()
        failures: list[str | None] = [None] * num_ranks
        dist.all_gather_object(failures, failure)
        if rank == 0:
            with (folder / "results").open("a") as results:
                results.write(json.dumps([name, failures]) + "\n")
    dist.barrier()
    dist.destroy_process_group()


def main(folder: Path, num_ranks: int) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
    with torch.device("meta"):  # what is loaded when first used is loaded once, before the processes part
        torch.optim.AdamW(hip().parameters()).step()
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=check_all, args=(folder, rank, num_ranks)) for rank in range(num_ranks)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


if __name__ == "__main__":
    for count in (2, 4):
        here = Path(sys.argv[1]) / str(count)
        here.mkdir()
        main(here, count)
