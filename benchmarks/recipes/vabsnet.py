"""Make a Vabs-Net checkpoint from raw data (pre-training, fine-tuning, stacking, threshold, metrics) with one command.

``python -m benchmarks.recipes.vabsnet DATA -o OUT.safetensors --work DIR --language WORK``

DATA as for :mod:`benchmarks.recipes`; WORK is the work folder of that recipe, for language models that have not seen what they
score. All choices are made on validation complexes; LIGYSIS validation chains without homologues in training are reported.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file

from benchmarks.command import log, reported
from benchmarks.recipes.data import N_FOLDS, Data, Site, prepare, union
from benchmarks.recipes.seq2pocket import PUBLISHED, evaluate, residue_figures, rounded
from benchmarks.recipes.unseen import BACKBONE, known_by_key, out_of_fold, score_complexes
from course.pretraining import VabsNetPretrainConfig, pretrain_example, pretrain_vabsnet, pretraining_figures
from course.vabsnet_training import VabsExample, VabsNetTrainConfig, finetune_vabsnet, save_vabsnet
from s2p.checkpoint import load_checkpoint
from s2p.config import DEFAULT_MODEL
from s2p.errors import S2PError
from s2p.evaluation.guard import CARD_KEY
from s2p.evaluation.intervals import paired_difference, site_hits, summarise
from s2p.evaluation.residues import best_mcc_threshold
from s2p.language.esm import ResidueModel
from s2p.models.vabsnet.config import VabsNetConfig
from s2p.models.vabsnet.graph import nodes_of
from s2p.models.vabsnet.network import VabsNet, residue_logits
from s2p.models.vabsnet.predictor import Stack, VabsNetCheckpoint, VabsNetPredictor, language_features
from s2p.prediction import sigmoid
from s2p.predictor import ResidueScores, Seq2Pocket
from s2p.structure.reading import Structure

__all__ = ["Settings", "fit_stack", "labelled_chains", "pocket_figures", "run"]

GAINS = {
    "dca < 4 Å, top N": ("dca_n", 4.0),
    "dca < 4 Å, top N+2": ("dca_n_plus", 4.0),
    "dcc < 4 Å, top N": ("dcc_n", 4.0),
    "dcc < 4 Å, top N+2": ("dcc_n_plus", 4.0),
    "dcc < 12 Å, top N+2": ("dcc_n_plus", 12.0),
}
"""Share of sites that are found -> column and limit in Å."""


@dataclass(frozen=True)
class Settings:
    """Parts to train, and for how long."""

    model: VabsNetConfig = field(default_factory=lambda: VabsNetConfig(language_width=1))
    finetune: VabsNetTrainConfig = field(default_factory=VabsNetTrainConfig)
    pretrain: VabsNetPretrainConfig | None = None
    """``None``: start from random weights."""


def labelled_chains(structure: Structure, labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(N,) residues of chains that touch a ligand: of copies without one it is not known that they do not bind."""
    judged = np.zeros(len(labels), bool)
    for chain in structure.chains:
        own = structure.residues.chain == chain
        judged |= own & labels[own].any()
    return judged


def example(
    name: str,
    structure: Structure,
    labels: NDArray[np.uint8],
    config: VabsNetConfig,
    logits: NDArray[np.floating],
    *,
    whole: bool,
) -> VabsExample:
    """A structure to learn from or to measure on; ``whole``: all its residues have known labels."""
    features = language_features(config, logits, np.zeros((len(logits), 0)))
    judged = np.ones(len(labels), bool) if whole else labelled_chains(structure, labels)
    return VabsExample(name, nodes_of(structure, features, surface=config.surface), labels, judged)


def unseen_logits(data: Data, language: Path, work: Path) -> dict[str, NDArray[np.float32]]:
    """Logits of every training structure by language models that were trained without it, from ``work`` if they are there.

    LIGYSIS structures are called ``l{k}``, complexes by their keys.
    """
    path = work / "unseen.safetensors"
    if path.is_file():
        return load_arrays(path)
    folds: dict[str, int] = json.loads((language / "folds.json").read_text())
    halves = []
    for k in range(N_FOLDS):
        half = ResidueModel(BACKBONE)
        half.load_state_dict(load_file(language / f"fold{k}" / "model.safetensors"))
        halves.append(half.eval())
    ligysis = {f"l{k}": out_of_fold(halves, folds, s, f"l{k}")[0] for k, (_, s) in enumerate(data.ligysis_training)}
    complexes = {key: logits for key, (logits, _) in score_complexes(halves, folds, data.complexes["train"]).items()}
    save_arrays(ligysis | complexes, path)
    return ligysis | complexes


def training_examples(data: Data, config: VabsNetConfig, unseen: dict[str, NDArray[np.float32]]) -> list[VabsExample]:
    """LIGYSIS and complexes of the training side.

    Residues of a complex that bind in a relative but not here are not negatives; they are left out of the loss.
    """
    known = known_by_key(data)
    rows = []
    for k, (c, s) in enumerate(data.ligysis_training):
        logits = unseen.get(f"l{k}", np.zeros(len(c.labels), np.float32))
        rows.append(example(c.id, s, c.labels, config, logits, whole=True))
    for site in data.complexes["train"]:
        key, labels = site.source.key, union(site)
        made = example(key, site.structure, labels, config, unseen.get(key, np.zeros(len(labels), np.float32)), whole=False)
        rows.append(replace(made, judged=made.judged & ~(known[key] & (labels == 0))))
    return rows


def held_out(base: Seq2Pocket, data: Data, config: VabsNetConfig) -> dict[str, list[tuple[VabsExample, ResidueScores]]]:
    """Validation complexes and LIGYSIS validation chains, each with the scores of the base checkpoint."""

    def row(name: str, structure: Structure, labels: NDArray[np.uint8], *, whole: bool) -> tuple[VabsExample, ResidueScores]:
        scores = base.score(structure, PUBLISHED)
        return example(name, structure, labels, config, scores.sequence_logits, whole=whole), scores

    sites: list[Site] = data.complexes["validation"]
    return {
        "complexes": [row(s.source.key, s.structure, union(s), whole=False) for s in sites],
        "ligysis": [row(c.id, s, c.labels, whole=True) for c, s in data.validation],
    }


def fit_stack(labels: NDArray[np.uint8], network: NDArray[np.floating], sequence: NDArray[np.floating]) -> Stack:
    """Logistic regression of the labels on both logits; no weight may be negative (then the other stands alone)."""
    from sklearn.linear_model import LogisticRegression

    table = np.stack([network, sequence], axis=1)
    use = [True, True]
    while True:
        fitted = LogisticRegression(C=1e4).fit(table[:, use], labels)
        weights = np.zeros(2)
        weights[use] = fitted.coef_[0]
        if (weights >= 0).all():
            return Stack(float(weights[0]), float(weights[1]), float(fitted.intercept_[0]))
        use = [bool(w > 0) for w in weights]


def run(data: Data, out: Path, work: Path, language: Path | None, settings: Settings) -> None:
    """Train, stack and measure the model, and write the checkpoint.

    Raises
    ------
    S2PError
        If language features are to be read and there is no ``language``.
    """
    config = settings.model
    torch.manual_seed(settings.finetune.seed)
    model = VabsNet(config)
    card: dict[str, Any] = {"data": data.counts, "config": asdict(config), "finetune": asdict(settings.finetune)}
    if settings.pretrain is not None:
        card["pretraining"] = pretrain(model, data, settings.pretrain, work)
    base = Seq2Pocket(load_checkpoint(DEFAULT_MODEL))
    held = held_out(base, data, config)
    unseen: dict[str, NDArray[np.float32]] = {}
    if config.language_width:
        if language is None:
            raise S2PError(
                "language features need --language, the work folder of `python -m benchmarks.recipes.seq2pocket`; "
                "or use --no-language"
            )
        unseen = unseen_logits(data, language, work)
    training = training_examples(data, config, unseen)
    card["network_training"] = {"structures": len(training), "residues": sum(len(e.labels) for e in training)}
    log(f"training: {card['network_training']}")
    history = finetune_vabsnet(model, training, [e for e, _ in held["complexes"]], settings.finetune, folder=work / "finetune")
    card["epochs"] = [asdict(entry) for entry in history]

    logits = {name: [residue_logits(model, e.nodes) for e, _ in rows] for name, rows in held.items()}

    def pooled(name: str, scores: Sequence[NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate([s[e.judged] for s, (e, _) in zip(scores, held[name], strict=True)])

    labels = pooled("complexes", [e.labels for e, _ in held["complexes"]]).astype(np.uint8)
    sequence = {name: [scores.sequence_logits for _, scores in rows] for name, rows in held.items()}
    stack = fit_stack(labels, pooled("complexes", logits["complexes"]), pooled("complexes", sequence["complexes"]))
    mixed = {name: [stack(a, b) for a, b in zip(logits[name], sequence[name], strict=True)] for name in held}
    threshold = best_mcc_threshold(labels, sigmoid(pooled("complexes", mixed["complexes"]).astype(float)))[0]
    chains = [c for c, _ in data.validation]
    compared: dict[str, Sequence[NDArray[np.floating]]] = {
        "network": logits["ligysis"],
        "base": sequence["ligysis"],
        "stacked": mixed["ligysis"],
    }
    card["residues_ligysis_validation"] = {
        name: residue_figures(chains, [sigmoid(x.astype(float)) for x in scores]) for name, scores in compared.items()
    }
    log(json.dumps(card["residues_ligysis_validation"], indent=1))
    checkpoint = VabsNetCheckpoint(out.stem, model, base.checkpoint, stack, threshold)
    base_scores = [scores for _, scores in held["complexes"]]
    card["pockets_validation"] = pocket_figures(base, checkpoint, data.complexes["validation"], base_scores, logits["complexes"])
    if CARD_KEY in base.checkpoint.card:  # all that is trained on here, the language model has been trained on
        card[CARD_KEY] = base.checkpoint.card[CARD_KEY]
    save_vabsnet(replace(checkpoint, card=card | _provenance()), out)
    log(f"written: {out} ({out.stat().st_size / 1e6:.1f} MB)")


def pocket_figures(
    base: Seq2Pocket,
    checkpoint: VabsNetCheckpoint,
    sites: Sequence[Site],
    scores: Sequence[ResidueScores],
    logits: Sequence[NDArray[np.floating]],
) -> dict[str, Any]:
    """Figures of the published pockets of complexes, of the base and with Vabs-Net, and how much better the latter are.

    Parameters
    ----------
    scores, logits
        Of the base and of Vabs-Net alone, of each complex.
    """
    stack = checkpoint.stack
    combined = [replace(r, sequence=sigmoid(stack(own, r.sequence_logits))) for r, own in zip(scores, logits, strict=True)]
    judges = {"base": (base, scores), "with Vabs-Net": (VabsNetPredictor(checkpoint), combined)}
    found = {name: evaluate(judge, sites, own, PUBLISHED) for name, (judge, own) in judges.items()}
    table: dict[str, Any] = {name: rounded(summarise(results)) for name, results in found.items()}
    rows = {name: [row for result in results for row in result.sites] for name, results in found.items()}
    clusters = [row.cluster for row in rows["base"]]
    gains = {}
    for label, (column, cutoff) in GAINS.items():
        ours, theirs = (site_hits(rows[name], column, cutoff) for name in ("with Vabs-Net", "base"))
        gain = paired_difference(ours, theirs, clusters)
        gains[label] = [round(x, 4) for x in (gain.value, gain.low, gain.high, gain.p)]
    log(f"pockets: {gains}")
    return {"published": table | {"gain, 95 % interval, p": gains}}


def pretrain(model: VabsNet, data: Data, config: VabsNetPretrainConfig, work: Path) -> dict[str, Any]:
    """Pre-train ``model`` on the training structures (or load what was), and figures on validation complexes."""
    done, table = work / "pretrained.safetensors", work / "pretrained.json"
    if done.is_file() and table.is_file():
        model.load_state_dict(load_file(done))
        return dict(json.loads(table.read_text()))
    structures = [(c.id, s) for c, s in data.ligysis_training] + [(s.source.key, s.structure) for s in data.complexes["train"]]
    training = [pretrain_example(*pair) for pair in structures]
    held = [pretrain_example(s.source.key, s.structure) for s in data.complexes["validation"]]
    task, history = pretrain_vabsnet(model, training, held[:20], config, folder=work / "pretrain")
    figures = pretraining_figures(task, held, config)
    card = {"config": asdict(config), "epochs": [asdict(entry) for entry in history], "validation": figures}
    log(f"pre-training: {figures}")
    save_file({key: value.contiguous().clone() for key, value in model.state_dict().items()}, done)
    table.write_text(json.dumps(card))
    return card


def _provenance() -> dict[str, Any]:
    return {
        "licence": "GPL-3.0",
        "licence_reason": f"works on the output of {DEFAULT_MODEL}, which carries GPL-3.0",
        "training_data": {
            "LIGYSIS train": "union of the sites of a protein, MIT",
            "protein–ligand complexes": "contacts within 4.5 Å, training clusters only",
            "sc-PDB chains": "by the language model alone, whose logit the network reads",
        },
        "split": "data/splits/complexes.csv; stack and threshold on validation complexes",
        "command": "python -m benchmarks.recipes.vabsnet DATA -o OUT --work DIR --language WORK",
    }


@reported
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recipes.vabsnet", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/vabsnet"))
    parser.add_argument("--language", type=Path, help="work folder of `python -m benchmarks.recipes.seq2pocket`")
    parser.add_argument("--no-language", action="store_true", help="train without the language model")
    parser.add_argument("--epochs", type=int, default=VabsNetTrainConfig.epochs)
    parser.add_argument("--pretrain-epochs", type=int, default=0)
    parser.add_argument("--examples", type=Path, default=Path("data/examples"))
    parser.add_argument("--splits", type=Path, default=Path("data/splits"))
    options = parser.parse_args(argv)
    options.work.mkdir(parents=True, exist_ok=True)
    model = Settings().model if not options.no_language else replace(Settings().model, language_width=0)
    pretraining = None
    if options.pretrain_epochs:
        default = VabsNetPretrainConfig()
        pretraining = replace(default, fit=replace(default.fit, epochs=options.pretrain_epochs))
    settings = Settings(model, VabsNetTrainConfig(epochs=options.epochs), pretraining)
    run(prepare(options.data, options.examples, options.splits), options.out, options.work, options.language, settings)


if __name__ == "__main__":
    sys.exit(main())
