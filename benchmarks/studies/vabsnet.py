"""Ablation of Vabs-Net: the network is trained again without each part, for as many steps on the same structures.

``python -m benchmarks.studies.vabsnet DATA -o FOLDER --work DIR --language WORK`` writes ``vabsnet.json``, which
``python -m benchmarks.report.results`` shows. A stopped run resumes from ``--work``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.command import log, reported
from benchmarks.recipes.data import Data, prepare
from benchmarks.recipes.seq2pocket import residue_figures
from benchmarks.recipes.vabsnet import Settings, held_out, pretrain, training_examples, unseen_logits
from course.pretraining import VabsNetPretrainConfig
from course.vabsnet_training import VabsExample, VabsNetTrainConfig, finetune_vabsnet
from s2p.checkpoint import load_checkpoint
from s2p.config import DEFAULT_MODEL
from s2p.evaluation.intervals import paired_difference
from s2p.evaluation.provenance import provenance
from s2p.evaluation.residues import auprc_trapezoid
from s2p.io.files import make_folder, write_text
from s2p.models.vabsnet.config import VabsNetConfig
from s2p.models.vabsnet.network import VabsNet, residue_logits
from s2p.prediction import sigmoid
from s2p.predictor import Seq2Pocket

__all__ = ["ROWS", "Row", "main", "study"]

WHOLE = "whole network"
SHORT = VabsNetTrainConfig(epochs=2, max_residues=192)
"""Shorter than the training of the shipped model, so that there is time for all rows."""


@dataclass(frozen=True)
class Row:
    """One training."""

    changes: Mapping[str, Any] = field(default_factory=dict)
    """Of the configuration."""
    pretrained: bool = False
    share: int = 1
    """One structure in ``share`` is used, more often, so that the number of steps stays the same."""


ROWS: dict[str, Row] = {
    WHOLE: Row(),
    "without the language model": Row({"language_width": 0}),
    "pre-trained": Row(pretrained=True),
    "pre-trained, without the language model": Row({"language_width": 0}, pretrained=True),
    "without the atom track": Row({"atom_track": False}),
    "without the residue track": Row({"residue_track": False}),
    "a quarter of the structures": Row(share=4),
}
"""In the paper's Table 6: with and without pre-training and each track; ours: the language model, and less data."""


def study(data: Data, work: Path, language: Path, settings: Settings, pretraining: VabsNetPretrainConfig) -> dict[str, Any]:
    """Train every row of :data:`ROWS` and measure it on what is held out.

    Returns
    -------
    JSON-ready, by row: figures of the residues of LIGYSIS validation chains, AUPRC of those of validation complexes, and the mean
    difference of the chains' AUPRC to the whole network (value, low, high, p).
    """
    make_folder(work)
    base = Seq2Pocket(load_checkpoint(DEFAULT_MODEL))
    held = held_out(base, data, settings.model)
    training = training_examples(data, settings.model, unseen_logits(data, language, work))
    chains = [c for c, _ in data.validation]
    scored: dict[str, list[NDArray[np.float32]]] = {}
    table: dict[str, Any] = {}
    for name, row in ROWS.items():
        config = replace(settings.model, **row.changes)
        torch.manual_seed(settings.finetune.seed)
        model = VabsNet(config)
        if row.pretrained:
            start = VabsNet(settings.model)
            pretrain(start, data, pretraining, work)
            model.load_state_dict({key: value for key, value in start.state_dict().items() if key in model.state_dict()})
        # Every share-th of the list: it holds whole data sets one after the other, and each of them in no order that matters.
        own = [_fitting(example, config) for example in training[:: row.share]]
        validation = [_fitting(example, config) for example, _ in held["complexes"]]
        train = replace(settings.finetune, epochs=settings.finetune.epochs * row.share)
        folder = work / "".join(c if c.isalnum() else "-" for c in name)
        finetune_vabsnet(model, own, validation, train, folder=folder)
        scored[name] = [residue_logits(model, _fitting(example, config).nodes) for example, _ in held["ligysis"]]
        logits = [residue_logits(model, example.nodes)[example.judged] for example in validation]
        labels = np.concatenate([example.labels[example.judged] for example in validation])
        table[name] = {
            "structures": len(own),
            "parameters": sum(p.numel() for p in model.parameters()),
            "ligysis validation": residue_figures(chains, [sigmoid(x.astype(float)) for x in scored[name]]),
            "validation complexes, auprc": round(auprc_trapezoid(labels, np.concatenate(logits)), 4),
            "difference of the chains' auprc": _difference(held["ligysis"], scored[name], scored[WHOLE]),
        }
        log(f"{name}: {json.dumps(table[name])}")
    return table


def _fitting(example: VabsExample, config: VabsNetConfig) -> VabsExample:
    """The example without the language model's numbers, if the network reads none."""
    if config.language_width:
        return example
    return replace(example, nodes=replace(example.nodes, residue_features=example.nodes.residue_features[:, :0]))


def _difference(
    held: Sequence[tuple[VabsExample, Any]], ours: Sequence[NDArray[np.float32]], theirs: Sequence[NDArray[np.float32]]
) -> list[float]:
    """Mean difference of the AUPRC of chains with binding residues; every chain is its own cluster."""
    pairs = [
        (auprc_trapezoid(e.labels, a), auprc_trapezoid(e.labels, b), e.name)
        for (e, _), a, b in zip(held, ours, theirs, strict=True)
        if e.labels.any()
    ]
    found = paired_difference([a for a, _, _ in pairs], [b for _, b, _ in pairs], [name for _, _, name in pairs])
    return [round(x, 4) for x in (found.value, found.low, found.high, found.p)]


@reported
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.vabsnet", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--work", type=Path, default=Path("runs/vabsnet-study"))
    parser.add_argument("--language", type=Path, required=True, help="work folder of `python -m benchmarks.recipes.seq2pocket`")
    parser.add_argument("--epochs", type=int, default=SHORT.epochs)
    parser.add_argument("--pretrain-epochs", type=int, default=3)
    parser.add_argument("--examples", type=Path, default=Path("data/examples"))
    parser.add_argument("--splits", type=Path, default=Path("data/splits"))
    options = parser.parse_args(argv)
    settings = Settings(finetune=replace(SHORT, epochs=options.epochs))
    default = VabsNetPretrainConfig()
    pretraining = replace(default, fit=replace(default.fit, epochs=options.pretrain_epochs))
    make_folder(options.out)
    data = prepare(options.data, options.examples, options.splits)
    found = {
        "training": asdict(settings.finetune),
        "rows": study(data, options.work, options.language, settings, pretraining),
    }
    text = json.dumps(found | provenance(), indent=1, ensure_ascii=False)
    print(f"wrote {write_text(options.out / 'vabsnet.json', text + chr(10))}")


if __name__ == "__main__":
    sys.exit(main())
