"""Make the shipped CrossBind checkpoints from public label files and measure them, with one command and fixed seeds.

``python -m benchmarks.recipes.crossbind DATA -o s2p/checkpoints --work DIR`` trains both; with ``--evaluate`` it trains nothing
and prints the figures of the checkpoints in ``-o`` again.

DATA holds ``sequences/nucleic/`` with the files of :data:`SETS`. Everything that is chosen
(training, epoch, threshold, filter) is chosen on validation chains, which are whole clusters of the training set; the test sets
come last.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.command import log, reported
from benchmarks.recipes.crossbind_complexes import COLUMNS, read_nucleic, without_relatives
from benchmarks.recipes.data import read_chains
from benchmarks.recipes.nucleic import (
    METRICS,
    CrossBindSequenceConfig,
    averaged,
    low_rank_update,
    nucleic_figures,
    propensities,
    split_chains,
    train_sequence_branch,
)
from benchmarks.recipes.window_baseline import fit_window_baseline
from course.crossbind_training import save_crossbind
from s2p.checkpoint import load_checkpoint
from s2p.config import DEFAULT_MODEL
from s2p.datasets.labelled import LabelledChain
from s2p.datasets.splits import homologous, search_method
from s2p.evaluation.guard import CARD_KEY, trained_on, training_sketch
from s2p.evaluation.residues import auprc_trapezoid, best_threshold, f1
from s2p.io.files import read_csv
from s2p.io.weights import read_weights, write_weights
from s2p.language.esm import ResidueModel
from s2p.language.sequences import predict_residues
from s2p.models.crossbind.config import CrossBindFilterConfig
from s2p.models.crossbind.filter import filter_probabilities, log_propensities, sequence_neighbours
from s2p.models.crossbind.predictor import FOREIGN, FORMAT, CrossBindCheckpoint, base_model, load_crossbind
from s2p.models.encoder import ENCODER
from s2p.prediction import sigmoid
from s2p.training.loop import EpochLog

__all__ = [
    "SETS",
    "Candidate",
    "NucleicSets",
    "candidates",
    "chains_beside",
    "choose_candidate",
    "choose_filter",
    "figures_table",
    "leakage",
    "main",
    "read_sets",
    "run",
    "score",
    "seen_by_base",
]

SETS = {
    "dna": ("dna_train_573.txt", {"DNA_129": "dna_test_129.txt", "DNA_181": "dna_test_181.txt"}),
    "rna": ("rna_rna_495_train.txt", {"RNA_117": "rna_rna_117_test.txt"}),
}
"""Kind -> file of the training set, and of each test set."""
BESIDE = {"rna": "dna"}
"""Kind -> another kind whose chains are also tried in training, with their own head."""
START = {"dna": DEFAULT_MODEL, "rna": ENCODER}
"""Kind -> what its training starts from: the encoder that knows binding sites of small molecules, or the one from before.

Chosen on validation. After two epochs of training all weights on DNA alone, the AUPRC is 0.46 from the first start and 0.35 from
the second; training on RNA and DNA together ends at 0.489 and 0.516.
"""
EQUAL = 0.01
"""Validation AUPRCs no further from the best count as equal, and the most regularised of them is taken."""
DRAWS = 300
"""Number of bootstrap samples over chains."""
THRESHOLD_FREE = ("auc", "auprc")


@dataclass(frozen=True, eq=False)
class NucleicSets:
    """Chains of one kind of nucleic acid."""

    training: list[LabelledChain]
    validation: list[LabelledChain]
    tests: dict[str, list[LabelledChain]]

    @property
    def counts(self) -> dict[str, list[float]]:
        """Chains, residues and share of binding residues of each set."""
        table = {"training": self.training, "validation": self.validation} | self.tests
        return {
            name: [
                len(chains),
                sum(len(c.labels) for c in chains),
                round(float(np.concatenate([c.labels for c in chains]).mean()), 4),
            ]
            for name, chains in table.items()
        }


def read_sets(folder: Path, kind: str, config: CrossBindSequenceConfig | None = None) -> NucleicSets:
    """The public sets of ``dna`` or ``rna``, the training set split into training and validation clusters."""
    train, tests = SETS[kind]
    place = folder / "sequences" / "nucleic"
    training, validation = split_chains(read_chains(place / train), config)
    return NucleicSets(training, validation, {name: read_chains(place / file) for name, file in tests.items()})


def apart(sets: NucleicSets, folder: Path, table: Path, kind: str) -> NucleicSets:
    """``sets`` without chains that have relatives among the complexes with ``kind`` that are held out in ``table``."""
    held = {f"{row['set']}/{row['id']}" for row in read_csv(table, COLUMNS) if row["split"] in ("validation", "test")}
    tested = {q for x in read_nucleic(folder) if x.key in held and kind in x.labels for q in x.sequences}
    kept = without_relatives({c.id: c.sequence for c in (*sets.training, *sets.validation)}, tested)
    training, validation = ([c for c in side if c.id in kept] for side in (sets.training, sets.validation))
    return replace(sets, training=training, validation=validation)


def chains_beside(sets: NucleicSets, other: NucleicSets) -> NucleicSets:
    """Chains of the ``other`` kind that may be trained on beside ``sets``: none resembles a chain of its held-out sets.

    Of the other validation chains, which help to choose the epoch, neither those like the training chains of ``sets``.
    """
    held = [*sets.validation, *(c for chains in sets.tests.values() for c in chains)]
    return NucleicSets(_unlike(other.training, held), _unlike(other.validation, [*held, *sets.training]), {})


def _unlike(chains: Sequence[LabelledChain], others: Sequence[LabelledChain]) -> list[LabelledChain]:
    """Chains without 30 % identity to any of the others over half of the shorter one."""
    hits = homologous({str(k): c.sequence for k, c in enumerate(others)}, {str(k): c.sequence for k, c in enumerate(chains)})
    return [c for k, c in enumerate(chains) if str(k) not in hits]


def leakage(sets: NucleicSets) -> dict[str, list[str]]:
    """Of each test set the chains with at least 30 % identity to a training or validation chain over half of the shorter one."""
    known = {str(k): c.sequence for k, c in enumerate([*sets.training, *sets.validation])}
    return {
        name: sorted({chains[int(k)].id for k in homologous(known, {str(i): c.sequence for i, c in enumerate(chains)})})
        for name, chains in sets.tests.items()
    }


def seen_by_base(sets: NucleicSets) -> dict[str, list[str]]:
    """Of each test set the chains that resemble those whose ligand sites the base has learned, as far as its card tells."""
    card = load_checkpoint(DEFAULT_MODEL).card
    chains = {f"{name}|{c.id}": c.sequence for name, test in sets.tests.items() for c in test}
    hits = [hit.id.partition("|") for hit in trained_on(card, chains)]
    return {name: [chain for test, _, chain in hits if test == name] for name in sets.tests}


def score(model: ResidueModel, chains: Sequence[LabelledChain]) -> list[NDArray[np.float32]]:
    """(N,) probabilities of each chain."""
    return [sigmoid(logits).astype(np.float32) for logits, _ in predict_residues(model, [c.sequence for c in chains])]


def apply_filter(
    chains: Sequence[LabelledChain],
    probabilities: Sequence[NDArray[np.float32]],
    table: dict[str, float],
    config: CrossBindFilterConfig | None,
) -> list[NDArray[np.float32]]:
    """The propensity filter by neighbours in the sequence: there are no structures here."""
    if config is None:
        return list(probabilities)
    return [
        filter_probabilities(
            p, log_propensities(c.sequence, table), sequence_neighbours(np.full(len(p), "A", dtype=np.str_)), config
        )
        for c, p in zip(chains, probabilities, strict=True)
    ]


def choose_filter(
    labels: NDArray[np.uint8],
    filtered: Callable[[CrossBindFilterConfig | None], NDArray[np.float32]],
    neighbours: Literal["geodesic", "sequence"] = "sequence",
) -> tuple[CrossBindFilterConfig | None, float, list[dict[str, Any]]]:
    """Filter and threshold with the best F1 on (validation) ``labels``, and what was tried.

    The filter is tried off, with the published decision at 0.5, and with one at the best threshold without a filter; it is kept
    only where it is better than none. ``filtered`` gives the probabilities of all residues with a filter.
    """
    plain, _ = best_threshold(labels, filtered(None), f1)
    published = CrossBindFilterConfig(neighbours=neighbours)
    rows: list[dict[str, Any]] = []
    best: tuple[float, CrossBindFilterConfig | None, float] = (-1.0, None, plain)
    for config in (None, published, replace(published, decision=plain)):
        threshold, value = best_threshold(labels, filtered(config), f1)
        rows.append({"decision": config.decision if config else None, "threshold": threshold, "f1": round(value, 4)})
        if value > best[0]:
            best = (value, config, threshold)
    return best[1], best[2], rows


@dataclass(frozen=True, eq=False)
class Candidate:
    """A sequence branch among which validation chooses."""

    name: str
    model: ResidueModel
    log: list[EpochLog]
    """Of its training; empty for a mean of others."""


def configuration(*, joint: bool = False) -> CrossBindSequenceConfig:
    """Settings of a training on one kind of chains, or of one on two."""
    return CrossBindSequenceConfig.joint() if joint else CrossBindSequenceConfig()


def candidates(base: ResidueModel, kind: str, sets: NucleicSets, beside: NucleicSets | None, work: Path) -> list[Candidate]:
    """The candidates, most regularised first: chains of both kinds are more data, and an average of models is smoother still."""
    config = configuration()
    alone = Candidate("own chains", *train_sequence_branch(base, sets.training, sets.validation, config, folder=work / kind))
    if beside is None:
        return [alone]
    other = BESIDE[kind]
    model, history = train_sequence_branch(
        base,
        {kind: sets.training, other: beside.training},
        {kind: sets.validation, other: beside.validation},
        configuration(joint=True),
        folder=work / f"{kind}-beside-{other}",
    )
    mean = Candidate("mean of the weights of both", averaged(base, [alone.model, model]), [])
    return [mean, Candidate(f"beside {other} chains, weights averaged over steps", model, history), alone]


def choose_candidate(tried: Sequence[Candidate], chains: Sequence[LabelledChain]) -> tuple[Candidate, dict[str, float]]:
    """The first whose AUPRC on the given (validation) chains is within :data:`EQUAL` of the best, and that of each."""
    labels = np.concatenate([c.labels for c in chains])
    auprc = {one.name: auprc_trapezoid(labels, np.concatenate(score(one.model, chains))) for one in tried}
    best = max(auprc.values())
    chosen = next(one for one in tried if auprc[one.name] >= best - EQUAL)
    return chosen, {name: round(value, 4) for name, value in auprc.items()}


def train(kind: str, sets: NucleicSets, beside: NucleicSets | None, work: Path) -> tuple[CrossBindCheckpoint, dict[str, Tensor]]:
    """A trained checkpoint, its card without test metrics, and the low-rank update that it contains."""
    base = base_model(START[kind])
    tried = candidates(base, kind, sets, beside, work)
    best, auprc = choose_candidate(tried, sets.validation)
    table = propensities(sets.training)
    held = sets.validation
    labels, raw = np.concatenate([c.labels for c in held]), score(best.model, held)
    chosen, threshold, filters = choose_filter(labels, lambda rule: np.concatenate(apply_filter(held, raw, table, rule)))
    name = f"crossbind-{kind}"
    config = configuration()
    used = {c.id: c.sequence for c in [*sets.training, *sets.validation]}
    choices: dict[str, Any] = {"metric": "F1 on validation", "tried": filters}
    more: dict[str, Any] = {}
    if beside is not None:
        other = BESIDE[kind]
        used |= {f"{c.id} ({other})": c.sequence for c in [*beside.training, *beside.validation]}
        choices["training"] = {"metric": f"AUPRC on validation, within {EQUAL} equal", "tried": auprc, "chosen": best.name}
        more["beside"] = {
            "kind": other,
            "data": beside.counts,
            "epochs": [asdict(entry) for entry in tried[1].log],
            "config": asdict(configuration(joint=True)),
        }
    card = {
        "branch": "sequence only: no structures of nucleic-acid complexes were at hand to train the rest of the network",
        "data": sets.counts,
        "split": f"clusters at {config.identity:.0%} identity ({search_method()}), salt {config.salt}",
        CARD_KEY: training_sketch(used),
        "epochs": [asdict(entry) for entry in tried[-1].log],
        "config": asdict(config),
        "choices": choices,
        "licence": "GPL-3.0",
        "licence_reason": f"an update of {START[kind]}, which carries GPL-3.0",
        "command": "python -m benchmarks.recipes.crossbind DATA -o s2p/checkpoints --work DIR",
    } | more
    log(f"{name}: validation AUPRC {auprc}, chosen: {best.name}, threshold {threshold}, tried {filters}")
    trained = CrossBindCheckpoint(name, best.model, None, table, chosen, threshold, card, START[kind])
    rank = config.finetune.lora_rank * (1 if best.log else 2)
    return trained, low_rank_update(base, best.model, rank)


def figures_table(path: Path, sets: NucleicSets) -> dict[str, Any]:
    """Figures of the sequence branch as it is shipped, beside those of simpler predictors, on validation and every test set."""
    trained = load_crossbind(path)
    if trained.network is not None:  # filter and threshold are those of the network
        trained = replace(trained, filter=None, threshold=trained.card["sequence_threshold"])
    simple = fit_window_baseline(sets.training)
    near, seen = leakage(sets), seen_by_base(sets) if trained.base == DEFAULT_MODEL else {}
    table: dict[str, Any] = {
        "chains_like_training": {name: [len(ids), ids] for name, ids in near.items()},
        "chains_like_training_of_the_base": {name: [len(ids), ids] for name, ids in seen.items()},
    }
    for name, chains in {"validation": sets.validation, **sets.tests}.items():
        raw = score(trained.model, chains)
        final = apply_filter(chains, raw, trained.propensities, trained.filter)
        labels = np.concatenate([c.labels for c in chains])
        letters = [sigmoid(simple.logits(c.sequence)).astype(np.float32) for c in chains]
        plain = nucleic_figures(chains, letters, 0.5, n=1)
        on_test, _ = best_threshold(labels, np.concatenate(final), f1)
        cheating = nucleic_figures(chains, final, on_test, n=1)
        rows = {
            "crossbind": nucleic_figures(chains, final, trained.threshold, n=DRAWS).plain(),
            "letters at -7 … +7, logistic regression": {
                key: round(value.value, 4) for key, value in plain.pooled.items() if key in THRESHOLD_FREE
            },
            "threshold chosen on this set": {
                "threshold": on_test,
                **{key: round(cheating.pooled[key].value, 4) for key in METRICS if key not in THRESHOLD_FREE},
            },
        }
        if trained.filter is not None:
            rows["without the filter"] = nucleic_figures(chains, raw, trained.threshold, n=DRAWS).plain()
        known = {*near.get(name, []), *seen.get(name, [])}
        far = [k for k, c in enumerate(chains) if c.id not in known]
        if 0 < len(far) < len(chains):
            rows["crossbind, chains unlike any training"] = nucleic_figures(
                [chains[k] for k in far], [final[k] for k in far], trained.threshold, n=DRAWS
            ).plain()
        table[name] = rows
        log(f"{trained.name}, {name}: {json.dumps(rows, ensure_ascii=False)}")
    return table


def add_to_card(path: Path, entries: Mapping[str, Any]) -> None:
    """Put entries into the card of a checkpoint, in the file and beside it; its weights stay as they are.

    Raises
    ------
    WeightsError
        If the file is none of a CrossBind.
    """
    header, arrays = read_weights(path, FORMAT, FOREIGN)
    card = header.pop("card") | dict(entries)
    write_weights(path, arrays, header, card)


def run(folder: Path, out: Path, work: Path, kinds: Sequence[str], *, evaluate: bool = False, table: Path | None = None) -> None:
    """Train, test and write the metrics into the card; or only test existing checkpoints. ``table``: see :func:`apart`."""
    for kind in kinds:
        sets = read_sets(folder, kind, configuration())
        if table is not None:
            sets = apart(sets, folder, table, kind)
        path = out / f"crossbind-{kind}.safetensors"
        if evaluate:
            figures_table(path, sets)
            continue
        beside = chains_beside(sets, read_sets(folder, BESIDE[kind], configuration())) if kind in BESIDE else None
        trained, update = train(kind, sets, beside, work)
        save_crossbind(trained, update, path)
        # The test sets see the checkpoint as it is shipped, rounded to fp16.
        add_to_card(path, {"figures": figures_table(path, sets)})
        log(f"written: {path} ({path.stat().st_size / 1e6:.2f} MB)")


@reported
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recipes.crossbind", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("s2p/checkpoints"))
    parser.add_argument("--work", type=Path, default=Path("runs/crossbind"))
    parser.add_argument("--kind", choices=(*SETS, "both"), default="both")
    apart_of = "leave out training chains with relatives among the held-out complexes of this table (data/splits/nucleic.csv)"
    parser.add_argument("--apart", type=Path, metavar="CSV", help=apart_of)
    parser.add_argument("--evaluate", action="store_true", help="train nothing, print the figures of what is in --out")
    parser.add_argument(
        "--whole", type=Path, metavar="JSON", help="train nothing, put what benchmarks.studies.crossbind wrote into the cards"
    )
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    kinds = list(SETS) if options.kind == "both" else [options.kind]
    if options.whole:
        found = json.loads(options.whole.read_text(encoding="utf-8"))
        for kind in kinds:
            add_to_card(options.out / f"crossbind-{kind}.safetensors", {"whole_network_on_ligand_complexes": found})
        return
    run(options.data, options.out, options.work, kinds, evaluate=options.evaluate, table=options.apart)


if __name__ == "__main__":
    sys.exit(main())
