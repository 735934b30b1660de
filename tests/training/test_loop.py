"""The training loop by hand on a line of two numbers, and every system's training broken off and gone on with."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from course.contrast import ContrastConfig, ProjectionHead, pretrain_crossbind
from course.crossbind_training import CrossBindExample, CrossBindTrainConfig, crop, train_crossbind
from course.geometry import measure_geometry
from course.kalasanty_training import cavity_example, fit_kalasanty
from course.pocketgen_training import fit_pocketgen
from course.pretraining import VabsNetPretrainConfig, pretrain_example, pretrain_vabsnet
from course.vabsnet_training import VabsExample, VabsNetTrainConfig, finetune_vabsnet
from s2p.errors import S2PError
from s2p.models.crossbind.cloud import cloud_of
from s2p.models.crossbind.config import CrossBindConfig
from s2p.models.crossbind.network import CrossBind
from s2p.models.pocketgen.config import PocketConfig
from s2p.models.pocketgen.data import LigandAtoms, make_pocket, pocket_residues
from s2p.models.pocketgen.network import PocketGen
from s2p.models.vabsnet.config import VabsNetConfig
from s2p.models.vabsnet.graph import nodes_of
from s2p.models.vabsnet.network import VabsNet
from s2p.residues import Smoother
from s2p.structure.nucleic import nucleic_contacts
from s2p.structure.reading import read_structure
from s2p.training.finetuning import finetune
from s2p.training.loop import Backward, Loop, Stage, StepLog, memory_decay, warm_up_and_decay
from s2p.training.smoother import train_smoother
from s2p.training.state import STATE
from tests.course.test_kalasanty_training import QUICK, TINY, Kalasanty
from tests.course.test_pocketgen_training import CONFIG as POCKETGEN
from tests.course.test_pocketgen_training import TRAINING as POCKETGEN_TRAINING
from tests.training.test_finetuning import CONFIG as FINETUNE
from tests.training.test_finetuning import ResidueModel, chains
from tests.training.test_smoother import SMALL, pockets

# --- by hand


def line(start: float = 1.0) -> nn.Linear:
    net = nn.Linear(1, 1)
    nn.init.constant_(net.weight, start)
    nn.init.zeros_(net.bias)
    return net


def stage(net: nn.Linear, scores: Sequence[float] = (0.0,) * 99, **changes: Any) -> Stage[float]:
    """Three epochs of two steps that pull the weight to 0 by plain gradient descent: w becomes w - 0.2 w x²."""

    def loss(x: float, backward: Backward) -> dict[str, float]:
        return {"loss": backward((net.weight * x).square().sum())}

    def validate(epoch: int, steps: Sequence[StepLog]) -> tuple[dict[str, Any], float]:
        return {"epoch": epoch, "loss": sum(s.loss for s in steps) / len(steps), "w": net.weight.item()}, scores[epoch]

    def batches(epoch: int) -> Iterable[float]:
        return (1.0, 2.0)

    return replace(Stage("line", 6, 2, lambda: torch.optim.SGD([net.weight], lr=0.1), batches, loss, validate), **changes)


def test_steps_rows_and_tables_by_hand(tmp_path: Path) -> None:
    net = line()
    loop = Loop(net, [stage(net)], {}, tmp_path, quiet=True)
    rows = loop.train()
    # x = 1: w becomes 0.8 w; x = 2: w becomes 0.2 w. The losses of an epoch that begins with w are w² and 4 (0.8 w)².
    starts = [0.16**k for k in range(3)]
    assert [row["loss"] for row in rows] == pytest.approx([(w**2 + 4 * (0.8 * w) ** 2) / 2 for w in starts])
    assert net.weight.item() == pytest.approx(0.16**3)
    assert [(s.epoch, s.step, s.lr) for s in loop.steps] == [(e, k, 0.1) for e in range(3) for k in range(2)]
    assert (tmp_path / "log.csv").read_text().splitlines()[0] == "epoch,loss,w"
    assert len((tmp_path / "steps.csv").read_text().splitlines()) == 7


def test_rates_follow_the_schedule() -> None:
    net = line()
    loop = Loop(net, [stage(net, rate=lambda highest, step: highest / (1 + step))], {}, quiet=True)
    loop.train()
    assert [s.lr for s in loop.steps] == pytest.approx([0.1 / k for k in range(1, 7)])


def test_the_best_epoch_is_kept_and_patience_ends_the_rest() -> None:
    net = line()
    rows = Loop(net, [stage(net, [0.5, 0.9, 0.1], keep_best=True)], {}, quiet=True).train()
    assert len(rows) == 3 and net.weight.item() == rows[1]["w"]
    net = line()
    rows = Loop(net, [stage(net, [0.5, 0.1, 0.9], keep_best=True, patience=1)], {}, quiet=True).train()
    assert len(rows) == 2 and net.weight.item() == rows[0]["w"]
    # Of two equal epochs the first, unless the stage says otherwise.
    for changes, kept in (({}, 0), ({"better": lambda score, best: score >= best}, 2)):
        net = line()
        rows = Loop(net, [stage(net, [0.5, 0.1, 0.5], keep_best=True, **changes)], {}, quiet=True).train()
        assert net.weight.item() == rows[kept]["w"]


def test_the_average_is_validated_and_kept() -> None:
    net = line()
    seen = Loop(net, [stage(net, per_epoch=1, steps=2)], {}, decay=lambda step: 0.75, quiet=True).train()
    first = 0.75 * 1 + 0.25 * 0.8
    second = 0.75 * first + 0.25 * 0.64  # each epoch begins with x = 1
    assert [row["w"] for row in seen] == pytest.approx([first, second])
    assert net.weight.item() == pytest.approx(second)
    assert [row["loss"] for row in seen] == pytest.approx([1, 0.64]), "the trained weights went on from where they were"


def test_long_gradients_are_clipped_and_endless_ones_not_taken() -> None:
    net = line(start=100.0)
    Loop(net, [stage(net, steps=1)], {}, clip_norm=1.0, quiet=True).train()
    assert net.weight.item() == pytest.approx(100 - 0.1)
    net = line()

    def endless(x: float, backward: Backward) -> dict[str, float]:
        return {"loss": backward((net.weight - 1).sqrt().sum())}  # 0, with an infinite slope

    Loop(net, [stage(net, loss=endless)], {}, clip_norm=1.0, quiet=True).train()
    assert net.weight.item() == 1.0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_with_a_sentence(value: float) -> None:
    net = line()
    bad = stage(net, batches=lambda epoch: (1.0, value))
    with pytest.raises(S2PError, match=r"the training loss became (nan|inf) in step 2: the rate is too high"):
        Loop(net, [bad], {}, quiet=True).train()
    assert net.weight.item() == pytest.approx(0.8), "the step before was taken, this one was not"


def test_a_second_interrupt_does_not_wait_and_the_handler_is_put_back(tmp_path: Path) -> None:
    net, before = line(), signal.getsignal(signal.SIGINT)

    def impatient(x: float, backward: Backward) -> dict[str, float]:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("still there")

    with pytest.raises(KeyboardInterrupt):
        Loop(net, [stage(net, loss=impatient)], {}, tmp_path, quiet=True).train()
    assert signal.getsignal(signal.SIGINT) is before and not (tmp_path / STATE).exists()


def test_a_polite_kill_saves_the_state_however_often_it_comes(tmp_path: Path) -> None:
    net = line()

    def killed(x: float, backward: Backward) -> dict[str, float]:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        return {"loss": backward((net.weight * x).square().sum())}

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt, match="resumes from its state"):
        Loop(net, [stage(net, loss=killed)], {}, tmp_path, quiet=True).train()
    assert signal.getsignal(signal.SIGTERM) is before
    assert len(Loop(net, [stage(net)], {}, tmp_path, quiet=True).train()) == 3


def test_states_are_written_by_the_clock(tmp_path: Path) -> None:
    for minutes, expected in ((60.0, 3), (0.0, 6)):
        net, written = line(), []
        loop = Loop(net, [stage(net)], {}, tmp_path / f"{minutes:g}", minutes, quiet=True)
        real = loop.save
        loop.save = lambda k: (written.append(k), real(k))  # type: ignore[method-assign]  # noqa: B023
        loop.train()
        assert len(written) == expected


def test_factors_of_rates() -> None:
    factors = [warm_up_and_decay(1.0, k, total=100, warmup=10) for k in range(100)]
    assert factors[0] == 0.1 and factors[9] == 1 and factors[-1] == pytest.approx(1 / 90) and np.argmax(factors) == 9
    assert [warm_up_and_decay(2.0, k, total=4, warmup=0) for k in range(5)] == [2, 1.5, 1, 0.5, 0]
    assert [warm_up_and_decay(2.0, k, total=4, warmup=2, decay=False) for k in range(4)] == [1, 2, 2, 2]
    assert [memory_decay(0.9, k) for k in (0, 8, 80, 1000)] == pytest.approx([0.1, 0.5, 0.9, 0.9])


# --- every system


Train = Callable[[Path | None], tuple[nn.Module, Any]]
"""Trains a network that starts from any weights, and gives it with its log."""


def finetuned(examples: Path, folder: Path | None, **changes: Any) -> tuple[nn.Module, Any]:
    torch.manual_seed(1)
    model = ResidueModel("esm2_t6_8M_UR50D", dropout=0.1)
    config = replace(FINETUNE, max_residues=40, **changes)
    return model, finetune(model, chains(15, 0), chains(4, 9), config, folder=folder, quiet=True)


def weights_of(model: nn.Module | Smoother) -> list[np.ndarray[Any, Any]]:
    return [np.asarray(value) for value in (model.arrays if isinstance(model, Smoother) else model.state_dict()).values()]


def smoothed(examples: Path, folder: Path | None) -> tuple[Smoother, Any]:
    structures = pockets(10)
    return train_smoother(structures[:7], structures[7:], SMALL, folder=folder)


def kalasanty(examples: Path, folder: Path | None) -> tuple[nn.Module, Any]:
    structure = read_structure(examples / "4CUP.cif")
    example = cavity_example(structure, [ligand.coord for ligand in structure.ligands if ligand.kind == "molecule"])
    model = Kalasanty(TINY)
    several = [replace(example, name=str(k)) for k in range(5)]
    return model, fit_kalasanty(model, several, [example], QUICK, folder=folder, quiet=True)


def vabsnet(examples: Path, folder: Path | None) -> tuple[nn.Module, Any]:
    nodes = nodes_of(read_structure(examples / "1ubi.pdb.gz"))
    labels = np.random.default_rng(0).integers(0, 2, (6, len(nodes.ca))).astype(np.uint8)
    training = [VabsExample("x", nodes, y, np.ones(len(y), bool)) for y in labels]
    model = VabsNet(VabsNetConfig.fast())
    config = VabsNetTrainConfig.fast()
    return model, finetune_vabsnet(model, training, training[:1], config, folder=folder, quiet=True)


def pretrained(examples: Path, folder: Path | None) -> tuple[nn.Module, Any]:
    training = [pretrain_example("x", read_structure(examples / "1ubi.pdb.gz"))] * 4
    config = VabsNetPretrainConfig.fast()
    return pretrain_vabsnet(VabsNet(VabsNetConfig.fast()), training, training[:1], config, folder=folder, quiet=True)


def crossbind(examples: Path, folder: Path | None) -> tuple[nn.Module, Any]:
    structure = read_structure(examples / "3mht.pdb.gz")
    labels, cloud = nucleic_contacts(structure), cloud_of(structure)
    language = np.random.default_rng(0).normal(0, 1, (len(labels), 3)).astype(np.float32)
    none = np.zeros((len(labels), 0), np.float32)
    cuts = [(70, 130), (230, 290), (130, 190)]
    proteins = [CrossBindExample(f"{a}", crop(cloud, a, b), language[a:b], none[a:b], labels[a:b]) for a, b in cuts]
    config = CrossBindTrainConfig(segment_steps=6, cross_steps=8, batch=1, max_residues=96, validate_every=4)
    model = CrossBind(replace(CrossBindConfig.fast(), language_width=3))
    return model, train_crossbind(model, proteins[:2], proteins[2:], config, folder=folder, quiet=True)


def contrasted(examples: Path, folder: Path | None) -> tuple[nn.Module, Any]:
    cloud = cloud_of(read_structure(examples / "1ubi.pdb.gz"))
    none = np.zeros((cloud.n_residues, 0), np.float32)
    proteins = [CrossBindExample("ubiquitin", cloud, none, none, np.zeros(cloud.n_residues, np.uint8))] * 2
    model = CrossBind(CrossBindConfig.fast())
    head = ProjectionHead(model.config.width)
    return model, pretrain_crossbind(model, head, proteins, ContrastConfig.fast(), folder=folder, quiet=True)


def pocketgen(examples: Path, folder: Path | None) -> tuple[nn.Module, Any]:
    structure = read_structure(examples / "1a28.pdb.gz")
    ligand = next(x for x in structure.ligands if x.name == "STR")
    residues = pocket_residues(structure, ligand.coord, PocketConfig())
    language = np.random.default_rng(0).normal(size=(len(residues), 20)).astype(np.float32)
    pocket = make_pocket(structure, LigandAtoms(ligand.coord, ligand.element), residues, language)
    torch.manual_seed(0)
    model = PocketGen(replace(POCKETGEN, dropout=0.1))
    config = replace(POCKETGEN_TRAINING, steps=6)
    return model, fit_pocketgen(model, [pocket], [], [], measure_geometry([structure]), config, folder=folder, quiet=True)


@pytest.mark.parametrize(
    ("system", "step", "same_start"),
    [
        (finetuned, 1, True),
        (finetuned, 4, True),
        (finetuned, 9, True),
        (lambda *given: finetuned(*given, lora_rank=2, ema_decay=0.9), 6, True),
        (smoothed, 14, False),
        (kalasanty, 3, False),
        (vabsnet, 4, False),
        (pretrained, 3, False),
        (contrasted, 3, False),
        (crossbind, 3, True),
        (crossbind, 9, True),
        (pocketgen, 4, True),
    ],
    ids="head between all lora smoother kalasanty vabsnet pretraining contrast segment cross pocketgen".split(),
)
def test_an_interrupted_training_goes_on_to_the_same_bits(
    system: Callable[..., tuple[nn.Module | Smoother, Any]],
    step: int,
    same_start: bool,
    examples: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    whole, log = system(examples, None)
    real, count = Loop._step, [0]

    def counted(self: Loop, *arguments: Any) -> None:
        count[0] += 1
        if count[0] == step:
            signal.raise_signal(signal.SIGINT)  # Ctrl-C while the step is under way
        real(self, *arguments)

    monkeypatch.setattr(Loop, "_step", counted)
    torch.manual_seed(0)
    with pytest.raises(KeyboardInterrupt, match="resumes from its state in"):
        system(examples, tmp_path)
    assert count[0] == step, "the step was ended, and no other begun"
    if not same_start:
        torch.manual_seed(99)  # the weights that the continuation starts from do not matter
    resumed, resumed_log = system(examples, tmp_path)
    assert repr(resumed_log) == repr(log)
    assert all(np.array_equal(a, b) for a, b in zip(weights_of(whole), weights_of(resumed), strict=True))
    monkeypatch.setattr(Loop, "_step", lambda *_: pytest.fail("a finished run was trained further"))
    again, same_log = system(examples, tmp_path)
    assert repr(same_log) == repr(log)
    assert all(np.array_equal(a, b) for a, b in zip(weights_of(whole), weights_of(again), strict=True))
