"""CrossBind's whole network on a shipped sequence branch: training, comparisons on validation, and the test clusters.

``python -m benchmarks.recipes.crossbind_network DATA --work DIR`` trains :data:`VARIANTS` and measures them on validation.
``--ship`` puts the network into the checkpoint in ``-o``, and ``--test`` measures everything on the test groups and writes that
into its card.

DATA is that of :mod:`benchmarks.recipes.crossbind_complexes`. Nearly every DNA complex has a relative in DNA_573: with
``--kind dna`` the branch in ``-o`` must be one that was trained without these (``benchmarks.recipes.crossbind --apart``). The
language model stays as it is. An interrupted run resumes from ``--work``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from benchmarks.command import log, reported
from benchmarks.recipes.crossbind import SETS, choose_filter
from benchmarks.recipes.crossbind_complexes import COLUMNS, NucleicComplex, read_nucleic
from benchmarks.recipes.data import read_chains
from course.contrast import ContrastConfig, ProjectionHead, pretrain_crossbind
from course.crossbind_training import CrossBindExample, CrossBindTrainConfig, train_crossbind
from s2p.checkpoint import load_mpnn
from s2p.datasets.splits import drawn
from s2p.errors import S2PError
from s2p.evaluation.guard import CARD_KEY, trained_on, training_sketch
from s2p.evaluation.intervals import Summary, bootstrap, paired_difference
from s2p.evaluation.residues import auprc_trapezoid, best_threshold, f1, roc_auc
from s2p.io.files import make_folder, read_csv, replacing
from s2p.io.runtime import pick_device, progress_bar
from s2p.io.weights import read_weights, write_weights
from s2p.language.sequences import predict_residues
from s2p.models.crossbind.cloud import cloud_of
from s2p.models.crossbind.config import CrossBindConfig, CrossBindFilterConfig
from s2p.models.crossbind.features import N_FEATURES, RADII, structure_features
from s2p.models.crossbind.filter import filter_probabilities, geodesic_neighbours, log_propensities
from s2p.models.crossbind.network import CrossBind, residue_logits
from s2p.models.crossbind.predictor import FOREIGN, FORMAT, CrossBindCheckpoint, load_crossbind
from s2p.prediction import sigmoid
from s2p.predictor import by_residue
from s2p.surface.mpnn import WIDTH

__all__ = ["VARIANTS", "Held", "Variant", "choose", "main", "measure", "read_held", "ship", "train_variant"]

TRAINING = CrossBindTrainConfig(segment_steps=150, cross_steps=750, batch=3, cross_lr=2e-3, language_dropout=0.3)
CONTRAST = ContrastConfig(steps=60)
DRAWS = 1000
CHARGE = WIDTH + 1 + 4 * RADII.index(12.0)
"""Column of the mean charge within 12 Å."""


SOURCES = "PRDB v3 (terms of its processed files not stated), protein-DNA Docking benchmark (Apache-2.0); PDB coordinates are CC0"
FILTERED = "whole, with the shipped filter"
SALT = "crossbind-learning-curve-1"


@dataclass(frozen=True)
class Variant:
    """What a network reads, and how it is trained."""

    changes: Mapping[str, Any]
    """Of the model's settings; ``feature_width`` says how many of the features are read, the last ones."""
    pretrained: bool = True
    share: float = 1.0
    """Of the groups that train, drawn by a hash: a point of the learning curve. Its network reads no atoms, because that one is
    as good as the whole one and trains in a minute."""

    def drawn(self, held: Sequence[Held]) -> list[Held]:
        """The examples of its share of the groups, of one group at least."""
        names = sorted({x.group for x in held}, key=lambda name: drawn(f"{SALT}:{name}"))
        kept = set(names[: max(1, round(self.share * len(names)))])
        return [x for x in held if x.group in kept]


VARIANTS = {
    "whole": Variant({}),
    "structure alone": Variant({"language_width": 0}),
    "sequence alone": Variant({"structure": False, "feature_width": 0}),
    "without atoms": Variant({"structure": False}),
    "without atoms and ProteinMPNN": Variant({"structure": False, "feature_width": N_FEATURES - WIDTH}),
    "without ProteinMPNN": Variant({"feature_width": N_FEATURES - WIDTH}),
    "without ProteinMPNN and surroundings": Variant({"feature_width": 0}),
    "without attention on atoms": Variant({"atom_attention": False}),
    "without pre-training": Variant({}, pretrained=False),
    "without atoms, half of the groups": Variant({"structure": False}, share=0.5),
    "without atoms, a quarter of the groups": Variant({"structure": False}, share=0.25),
}


@dataclass(frozen=True, eq=False)
class Held:
    """A complex as the network reads it."""

    source: NucleicComplex
    example: CrossBindExample
    """Its labels are contacts with nucleic acid of either kind."""
    branch: NDArray[np.float32]
    """(L,) logits of the sequence branch."""
    group: str
    kind: str = "rna"

    @property
    def labels(self) -> NDArray[np.uint8]:
        """(L,) contacts with nucleic acid of its kind, which are measured."""
        return self.source.labels[self.kind]


def read_held(folder: Path, table: Path, trained: CrossBindCheckpoint, work: Path, kind: str = "rna") -> dict[str, list[Held]]:
    """Complexes by split. Embeddings and features are cached in ``work``. Both kinds train, and only ``kind`` is measured."""
    rows = {f"{row['set']}/{row['id']}": row for row in read_csv(table, COLUMNS)}
    found = [x for x in read_nucleic(folder) if rows[x.key]["split"] == "train" or kind in x.labels]
    found = [x for x in found if rows[x.key]["split"] != "unused"]
    encoder = load_mpnn()

    def features_of(x: NucleicComplex) -> dict[str, NDArray[Any]]:
        return {"features": structure_features(x.structure, encoder).astype(np.float16)}

    def language_of(x: NucleicComplex) -> dict[str, NDArray[Any]]:
        chains = list(dict.fromkeys(x.structure.sequence(c) for c in x.structure.chains))
        said = dict(zip(chains, predict_residues(trained.model, chains), strict=True))
        logits, embeddings = by_residue(x.structure, said, trained.model.width)
        return {"logits": logits, "language": embeddings.astype(np.float16)}

    kept = _cached(work / "features.safetensors", found, features_of)
    kept |= _cached(work / f"language-{kind}.safetensors", found, language_of)
    held: dict[str, list[Held]] = {"train": [], "validation": [], "test": []}
    for x in found:
        row, labels = rows[x.key], np.max(list(x.labels.values()), axis=0)
        language, features = (kept[f"{x.key}/{name}"].astype(np.float32) for name in ("language", "features"))
        example = CrossBindExample(x.key, cloud_of(x.structure), language, features, labels)
        held[row["split"]].append(Held(x, example, kept[f"{x.key}/logits"], row["group"], kind))
    return held


def _cached(
    path: Path, complexes: Sequence[NucleicComplex], make: Callable[[NucleicComplex], dict[str, NDArray[Any]]]
) -> dict[str, NDArray[Any]]:
    """Arrays of the complexes, ``set/id/name`` -> array, from ``path`` or made and written to it."""
    make_folder(path.parent)
    kept = load_file(path) if path.is_file() else {}
    known = {key.rpartition("/")[0] for key in kept}
    if missing := [x for x in complexes if x.key not in known]:
        for x in progress_bar(missing, path.stem):
            kept |= {f"{x.key}/{name}": value for name, value in make(x).items()}
        with replacing(path) as partial:
            save_file(kept, partial)
    return kept


def _inputs(held: Sequence[Held], config: CrossBindConfig) -> list[CrossBindExample]:
    """Examples with what a network of these settings reads."""
    return [
        replace(
            x.example,
            language=x.example.language[:, : config.language_width],
            features=x.example.features[:, N_FEATURES - config.feature_width :],
        )
        for x in held
    ]


def train_variant(
    name: str,
    held: Mapping[str, Sequence[Held]],
    work: Path,
    training: CrossBindTrainConfig = TRAINING,
    contrast: ContrastConfig = CONTRAST,
    *,
    device: str = "cpu",
    config: CrossBindConfig | None = None,
) -> CrossBind:
    """The trained network of a variant; resumed, or found finished, in ``work``."""
    variant = VARIANTS[name]
    settings = replace(replace(config or CrossBindConfig(), feature_width=N_FEATURES), **variant.changes)
    learn, choose_on = (_inputs(own, settings) for own in (variant.drawn(held["train"]), held["validation"]))
    torch.manual_seed(training.seed)
    model, head = CrossBind(settings).to(device), ProjectionHead(settings.width).to(device)
    folder = work / name.replace(" ", "-")
    if variant.pretrained and settings.structure:
        pretrain_crossbind(model, head, learn, contrast, folder=folder / "contrast", quiet=True)
    train_crossbind(model, learn, choose_on, training, folder=folder, quiet=True)
    return model.eval()


def logits_of(model: CrossBind, held: Sequence[Held]) -> list[NDArray[np.float32]]:
    """(L,) of each complex."""
    return [residue_logits(model, x.cloud, x.language, x.features) for x in _inputs(held, model.config)]


def pooled(held: Sequence[Held], scores: Sequence[NDArray[np.floating]], rows: Sequence[int] | NDArray[np.int64]) -> float:
    """AUPRC over all residues of some of the complexes."""
    return auprc_trapezoid(np.concatenate([held[k].labels for k in rows]), np.concatenate([scores[k] for k in rows]))


def choose(
    held: Sequence[Held], scores: Sequence[NDArray[np.float32]], propensities: dict[str, float]
) -> tuple[CrossBindFilterConfig | None, float, list[dict[str, Any]]]:
    """Filter and threshold with the best F1 on the given (validation) complexes, and what was tried."""

    def filtered(rule: CrossBindFilterConfig | None) -> NDArray[np.float32]:
        return np.concatenate([_filtered(x, s, propensities, rule) for x, s in zip(held, scores, strict=True)])

    return choose_filter(np.concatenate([x.labels for x in held]), filtered, "geodesic")


def _filtered(
    x: Held, logits: NDArray[np.float32], propensities: dict[str, float], rule: CrossBindFilterConfig | None
) -> NDArray[np.float32]:
    """(L,) probabilities after the propensity filter."""
    p = sigmoid(logits).astype(np.float32)
    if rule is None:
        return p
    structure = x.source.structure
    return filter_probabilities(
        p, log_propensities(structure.sequence(), propensities), geodesic_neighbours(structure, rule), rule
    )


def measure(
    held: Sequence[Held],
    scores: Mapping[str, Sequence[NDArray[np.floating]]],
    thresholds: Mapping[str, float],
    first: str = "whole",
    n: int = DRAWS,
) -> dict[str, Any]:
    """AUPRC, AUC and F1 of each predictor, and its difference to the first; intervals over groups of relatives.

    ``thresholds`` of the scores were chosen on other data.
    """
    groups, labels = [x.group for x in held], np.concatenate([x.labels for x in held])

    def plain(s: Summary) -> list[float]:
        return [round(x, 4) for x in (s.value, s.low, s.high)]

    def per_complex(name: str) -> list[float]:
        return [auprc_trapezoid(x.labels, s) for x, s in zip(held, scores[name], strict=True)]

    table: dict[str, Any] = {}
    for name, own in scores.items():

        def value(rows: NDArray[np.int64], own: Sequence[NDArray[np.floating]] = own) -> float:
            return pooled(held, own, rows)

        def less(rows: NDArray[np.int64], own: Sequence[NDArray[np.floating]] = own) -> float:
            return pooled(held, scores[first], rows) - pooled(held, own, rows)

        row: dict[str, Any] = {
            "auprc": plain(bootstrap(value, groups, n=n)),
            "auprc_per_complex": round(float(np.mean(per_complex(name))), 4),
            "auc": round(roc_auc(labels, np.concatenate(own)), 4),
            "f1": round(f1(labels, np.concatenate(own) > thresholds[name]), 4),
        }
        if name != first:
            row[f"{first}_minus_this"] = plain(bootstrap(less, groups, n=n))
            row[f"{first}_minus_this_per_complex"] = plain(paired_difference(per_complex(first), per_complex(name), groups, n=n))
        table[name] = row
    return {
        "complexes": len(held),
        "groups": len(set(groups)),
        "residues": len(labels),
        "prevalence": round(float(labels.mean()), 4),
        "predictors": table,
    }


def simple_scores(held: Sequence[Held], propensities: dict[str, float]) -> dict[str, list[NDArray[np.floating]]]:
    """The sequence branch, and what needs no training: a residue's type, and the charge around it."""
    return {
        "sequence branch": [x.branch for x in held],
        "propensity of the type": [log_propensities(x.source.structure.sequence(), propensities) for x in held],
        "mean charge within 12 Å": [x.example.features[:, CHARGE] for x in held],
    }


def learned_chains(folder: Path, card: Mapping[str, Any], own: str = "rna") -> dict[str, str]:
    """The public chains that the sequence branch with this card, of the kind ``own``, was trained on, by name."""
    place = folder / "sequences" / "nucleic"
    chains = {
        f"{c.id}{'' if kind == own else f' ({kind})'}": c.sequence for kind in SETS for c in read_chains(place / SETS[kind][0])
    }
    exact = {hit.id for hit in trained_on(card, chains) if hit.kind == "exact"}
    return {name: sequence for name, sequence in chains.items() if name in exact}


def ship(path: Path, network: CrossBind, held: Sequence[Held], used: Mapping[str, str], entries: Mapping[str, Any]) -> None:
    """Put a network into the checkpoint at ``path``, with filter and threshold chosen on the given (validation) complexes.

    ``used``: all chains that branch and network have learned from, by name.
    """
    header, arrays = read_weights(path, FORMAT, FOREIGN)
    card = header.pop("card")
    card[CARD_KEY] = training_sketch(used)
    rule, threshold, tried = choose(held, logits_of(network, held), header["propensities"])
    card["sequence_threshold"] = card.get("sequence_threshold", header["threshold"])
    card["branch"] = "structure and sequence; the figures of the public sequence sets are those of the sequence branch alone"
    card["network"] = {"choice": {"metric": "F1 on validation", "tried": tried}, **entries}
    state = {f"network.{k}": v.half() if v.is_floating_point() else v for k, v in network.cpu().state_dict().items()}
    update = {key: value for key, value in arrays.items() if not key.startswith("network.")}
    header |= {"network": asdict(network.config), "threshold": threshold, "filter": asdict(rule) if rule else None}
    write_weights(path, update | state, header, card)


@reported
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recipes.crossbind_network", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--kind", choices=tuple(SETS), default="rna", help="what is measured; both kinds train")
    parser.add_argument("--table", type=Path, default=Path("data/splits/nucleic.csv"))
    parser.add_argument("--work", type=Path, default=Path("runs/crossbind_network"))
    parser.add_argument("-o", "--out", type=Path, help="default: the shipped checkpoint of the kind")
    parser.add_argument("--variant", choices=VARIANTS, action="append", help="train only this one; repeatable (default: all)")
    parser.add_argument("--ship", action="store_true", help="put the whole network into --out")
    parser.add_argument("--test", action="store_true", help="measure on the test groups, after all choices")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    out = options.out or Path("s2p/checkpoints") / f"crossbind-{options.kind}.safetensors"
    trained, work = load_crossbind(out), options.work / options.kind
    held = read_held(options.data, options.table, trained, options.work, options.kind)
    if not held["validation"] or not held["test"]:
        raise S2PError(f"{options.table} names no validation or test complexes of {options.data}")
    sides = {side: simple_scores(held[side], trained.propensities) for side in ("validation", "test")}
    wanted = list(options.variant or VARIANTS)
    if "whole" not in wanted and trained.network is not None:  # the others are compared with the one in the file
        for side in ("validation", *["test"] * options.test):
            sides[side]["whole"] = logits_of(trained.network, held[side])
    for name in wanted:
        network = train_variant(name, held, work, device=pick_device(options.device)).cpu()
        for side, scores in sides.items():
            if side == "validation" or options.test:
                scores[name] = logits_of(network, held[side])
        log(f"{name}, validation: {pooled(held['validation'], sides['validation'][name], range(len(held['validation']))):.4f}")
        if options.ship and name == "whole":
            groups = {side: [len(own), len({x.group for x in own})] for side, own in held.items()}
            entries = {
                "data": SOURCES,
                "training": asdict(TRAINING),
                "pre-training": asdict(CONTRAST),
                "complexes_and_groups": groups,
            }
            own = {
                f"{x.source.key} {c}": x.source.structure.sequence(c)
                for x in (*held["train"], *held["validation"])
                for c in x.source.structure.chains
            }
            ship(out, network, held["validation"], learned_chains(options.data, trained.card, options.kind) | own, entries)
    final = load_crossbind(out)
    for side, scores in sides.items():
        whole = zip(held[side], scores.get("whole", ()), strict=False)
        filtered = [_filtered(x, s, final.propensities, final.filter) for x, s in whole]
        scores |= {name: [sigmoid(s) for s in own] for name, own in scores.items()}
        if filtered and final.filter is not None:
            scores[FILTERED] = filtered
    labels = np.concatenate([x.labels for x in held["validation"]])
    thresholds = {name: best_threshold(labels, np.concatenate(own), f1)[0] for name, own in sides["validation"].items()}
    table = {"validation": measure(held["validation"], sides["validation"], thresholds)}
    if options.test:
        table["test"] = measure(held["test"], sides["test"], thresholds)
        header, arrays = read_weights(out, FORMAT, FOREIGN)
        card = header.pop("card")
        card["network"] = card.get("network", {}) | {"figures": table}
        write_weights(out, arrays, header, card)
    log(json.dumps(table, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    sys.exit(main())
