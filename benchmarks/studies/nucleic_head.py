"""A head of Vabs-Net for residues that bind DNA or RNA, beside CrossBind.

``python -m benchmarks.studies.nucleic_head DATA --kind rna -o FILE``. The shipped Vabs-Net, which was trained on sites of small
molecules, stays as it is. A head of the paper's shape is trained on the vectors of the CA atoms, on the complexes that train
CrossBind's network (``data/splits/nucleic.csv``). Its epoch is chosen on validation.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from benchmarks.command import log, reported
from benchmarks.recipes.crossbind_network import Held, logits_of, measure, pooled, read_held, simple_scores
from s2p.evaluation.provenance import provenance
from s2p.evaluation.residues import best_threshold, f1
from s2p.io.files import write_text
from s2p.io.runtime import progress_bar
from s2p.language.sequences import predict_residues
from s2p.models.crossbind.predictor import load_crossbind
from s2p.models.vabsnet.graph import build_graph, nodes_of
from s2p.models.vabsnet.network import ResidualHead
from s2p.models.vabsnet.predictor import VabsNetCheckpoint, language_features, load_vabsnet
from s2p.prediction import sigmoid
from s2p.predictor import by_residue
from s2p.structure.arrays import Structure

__all__ = ["HEAD", "fit_head", "main", "vectors_of"]

HEAD = "Vabs-Net, a head on the frozen encoder"
EPOCHS, BATCH, RATE = 20, 512, 3e-4
"""Passes over the training residues, residues of a step, and the learning rate of AdamW."""


@torch.no_grad()
def vectors_of(vabsnet: VabsNetCheckpoint, structure: Structure) -> NDArray[np.float32]:
    """(L, d) the encoder's vectors of the CA atoms."""
    chains = list(dict.fromkeys(structure.sequence(c) for c in structure.chains))
    said = dict(zip(chains, predict_residues(vabsnet.base.model, chains), strict=True))
    model = vabsnet.model
    features = language_features(model.config, *by_residue(structure, said, vabsnet.base.model.width))
    nodes = nodes_of(structure, features, surface=model.config.surface)
    vectors: NDArray[np.float32] = model.encode(build_graph(nodes, model.config))[0][torch.from_numpy(nodes.ca)].numpy()
    return vectors


def fit_head(
    train: Sequence[tuple[NDArray[np.float32], NDArray[np.uint8]]],
    held: Sequence[Held],
    vectors: Sequence[NDArray[np.float32]],
    width: int,
    epochs: int = EPOCHS,
) -> ResidualHead:
    """The head with the highest AUPRC on ``held``, whose vectors are ``vectors``, after any epoch.

    ``train``: vectors (L, d) and labels (L,) of each complex.
    """
    torch.manual_seed(0)
    x = torch.from_numpy(np.concatenate([own for own, _ in train]))
    y = torch.from_numpy(np.concatenate([labels for _, labels in train]).astype(np.float32))
    head = ResidualHead(x.shape[1], 1, width)
    optimizer, best, kept = torch.optim.AdamW(head.parameters(), lr=RATE, weight_decay=0.01), -1.0, head.state_dict()
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(BATCH):
            loss = F.binary_cross_entropy_with_logits(head(x[rows]).squeeze(-1), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        found = pooled(held, _logits(head, vectors), range(len(held)))
        if found > best:
            best, kept = found, {key: value.clone() for key, value in head.state_dict().items()}
    head.load_state_dict(kept)
    return head


@torch.no_grad()
def _logits(head: ResidualHead, vectors: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    return [head(torch.from_numpy(x)).squeeze(-1).numpy() for x in vectors]


@reported
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.studies.nucleic_head", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--kind", choices=("dna", "rna"), default="rna")
    parser.add_argument("--table", type=Path, default=Path("data/splits/nucleic.csv"))
    parser.add_argument("--work", type=Path, default=Path("runs/nucleic_head"), help="for what the networks read")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FILE")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    crossbind, vabsnet = load_crossbind(f"crossbind-{options.kind}"), load_vabsnet("vabsnet")
    assert crossbind.network is not None
    held = read_held(options.data, options.table, crossbind, options.work, options.kind)
    vectors = {
        side: [vectors_of(vabsnet, x.source.structure) for x in progress_bar(own, f"Vabs-Net, {side}")]
        for side, own in held.items()
    }
    train = [(v, x.example.labels) for v, x in zip(vectors["train"], held["train"], strict=True)]
    head = fit_head(train, held["validation"], vectors["validation"], vabsnet.model.config.head_width)
    found, thresholds = {}, dict[str, float]()
    for side in ("validation", "test"):
        scores = {"whole": logits_of(crossbind.network, held[side]), HEAD: _logits(head, vectors[side])}
        scores |= {"sequence branch": simple_scores(held[side], crossbind.propensities)["sequence branch"]}
        chances = {name: [sigmoid(s) for s in own] for name, own in scores.items()}
        labels = np.concatenate([x.labels for x in held[side]])
        for name, own in chances.items() if side == "validation" else ():
            thresholds[name] = best_threshold(labels, np.concatenate(own), f1)[0]
        found[side] = measure(held[side], chances, thresholds)
    write_text(options.out, json.dumps({"kind": options.kind, **found, **provenance()}, indent=1, ensure_ascii=False) + "\n")
    for side in ("validation", "test"):
        for name, row in found[side]["predictors"].items():
            log(f"{side}, {name}: {row['auprc']}, whole minus this {row.get('whole_minus_this')}")


if __name__ == "__main__":
    sys.exit(main())
