"""From public label files to the shipped CrossBind checkpoints, and their figures. One command, seeds fixed.

``python -m s2p.models.crossbind_recipe DATA -o s2p/checkpoints --work DIR`` trains both; with ``--evaluate`` it trains nothing
and prints the figures of the checkpoints in ``-o`` again.

DATA holds ``sequences/nucleic/`` with the files of :data:`SETS`. Everything that is chosen (epoch, threshold, filter) is chosen
on validation chains, which are whole clusters of the training set; the test sets come last.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2p.annotations import read_three_line
from s2p.baselines import fit_window_baseline
from s2p.checkpoint import load_checkpoint
from s2p.config import DEFAULT_MODEL, CrossBindFilterConfig, CrossBindSequenceConfig
from s2p.datasets import LabelledChain
from s2p.errors import S2PError
from s2p.guard import CARD_KEY, trained_on, training_sketch
from s2p.models.crossbind_evaluation import METRICS, best_f1_threshold, nucleic_figures
from s2p.models.crossbind_filter import filter_probabilities, log_propensities, propensities, sequence_neighbours
from s2p.models.crossbind_predictor import CrossBindCheckpoint, load_crossbind, save_crossbind
from s2p.models.crossbind_sequence import low_rank_update, split_chains, train_sequence_branch
from s2p.plm import ResidueModel, predict_residues
from s2p.residue_metrics import f1
from s2p.splits import homologous, search_method

__all__ = ["SETS", "NucleicSets", "choose_filter", "figures_table", "main", "read_sets", "run"]

SETS = {
    "dna": ("dna_train_573.txt", {"DNA_129": "dna_test_129.txt", "DNA_181": "dna_test_181.txt"}),
    "rna": ("rna_rna_495_train.txt", {"RNA_117": "rna_rna_117_test.txt"}),
}
"""Kind -> file of the training set, and of each test set."""


DRAWS = 300
"""Of the bootstrap over chains."""
THRESHOLD_FREE = ("auc", "auprc")


def log(message: str) -> None:
    print(message, flush=True)


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
    training, validation = split_chains(read_three_line(place / train), config)
    return NucleicSets(training, validation, {name: read_three_line(place / file) for name, file in tests.items()})


def leakage(sets: NucleicSets) -> dict[str, list[str]]:
    """Of each test set the chains with at least 30 % identity to a training or validation chain over half of the shorter one."""
    known = {str(k): c.sequence for k, c in enumerate([*sets.training, *sets.validation])}
    return {
        name: sorted({chains[int(k)].id for k in homologous(known, {str(i): c.sequence for i, c in enumerate(chains)})})
        for name, chains in sets.tests.items()
    }


def seen_by_base(sets: NucleicSets) -> dict[str, list[str]]:
    """Of each test set the chains that resemble those whose ligand sites the base has learned, as far as its card tells."""
    card = load_checkpoint(DEFAULT_MODEL, language_model=False).card
    chains = {f"{name}|{c.id}": c.sequence for name, test in sets.tests.items() for c in test}
    hits = [hit.id.partition("|") for hit in trained_on(card, chains)]
    return {name: [chain for test, _, chain in hits if test == name] for name in sets.tests}


def score(model: ResidueModel, chains: Sequence[LabelledChain]) -> list[NDArray[np.float32]]:
    """(N,) probabilities of each chain."""
    return [(1 / (1 + np.exp(-logits))).astype(np.float32) for logits, _ in predict_residues(model, [c.sequence for c in chains])]


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
    chains: Sequence[LabelledChain], probabilities: Sequence[NDArray[np.float32]], table: dict[str, float]
) -> tuple[CrossBindFilterConfig | None, float, list[dict[str, Any]]]:
    """Filter and threshold with the best F1 on the given (validation) chains, and what was tried.

    The filter is tried off, with the published decision at 0.5, and with one at the best threshold without a filter; it is kept
    only where it is better than none.
    """
    labels = np.concatenate([c.labels for c in chains])
    plain = best_f1_threshold(labels, np.concatenate(probabilities))
    on_sequence = CrossBindFilterConfig(neighbours="sequence")
    rows: list[dict[str, Any]] = []
    best: tuple[float, CrossBindFilterConfig | None, float] = (-1.0, None, plain)
    for config in (None, on_sequence, replace(on_sequence, decision=plain)):
        p = np.concatenate(apply_filter(chains, probabilities, table, config))
        threshold = best_f1_threshold(labels, p)
        value = f1(labels, p > threshold)
        rows.append({"decision": config.decision if config else None, "threshold": threshold, "f1": round(value, 4)})
        if value > best[0]:
            best = (value, config, threshold)
    return best[1], best[2], rows


def train(
    kind: str, sets: NucleicSets, work: Path, config: CrossBindSequenceConfig
) -> tuple[CrossBindCheckpoint, dict[str, Tensor]]:
    """One trained checkpoint, its card without test figures, and the update that it is made of."""
    base = load_checkpoint(DEFAULT_MODEL).model
    model, history = train_sequence_branch(base, sets.training, sets.validation, config, folder=work / kind)
    table = propensities(sets.training)
    chosen, threshold, tried = choose_filter(sets.validation, score(model, sets.validation), table)
    name = f"crossbind-{kind}"
    card = {
        "branch": "sequence only: no structures of nucleic-acid complexes were at hand to train the rest of the network",
        "data": sets.counts,
        "split": f"clusters at {config.identity:.0%} identity ({search_method()}), salt {config.salt}",
        CARD_KEY: training_sketch({c.id: c.sequence for c in [*sets.training, *sets.validation]}),
        "epochs": [asdict(entry) for entry in history],
        "config": asdict(config),
        "choices": {"metric": "F1 on validation", "tried": tried},
        "licence": "GPL-3.0",
        "licence_reason": f"an update of {DEFAULT_MODEL}, which carries GPL-3.0",
        "command": "python -m s2p.models.crossbind_recipe DATA -o s2p/checkpoints --work DIR",
    }
    log(f"{name}: validation AUPRC {max(entry.validation_auprc for entry in history):.4f}, threshold {threshold}, tried {tried}")
    trained = CrossBindCheckpoint(name, model, None, table, chosen, threshold, card)
    return trained, low_rank_update(base, model, config.finetune.lora_rank)


def figures_table(path: Path, sets: NucleicSets) -> dict[str, Any]:
    """Figures of a checkpoint as it is shipped, beside those of simpler predictors, on validation and every test set."""
    trained = load_crossbind(path)
    simple = fit_window_baseline(sets.training)
    near, seen = leakage(sets), seen_by_base(sets)
    table: dict[str, Any] = {
        "chains_like_training": {name: [len(ids), ids] for name, ids in near.items()},
        "chains_like_training_of_the_base": {name: [len(ids), ids] for name, ids in seen.items()},
    }
    for name, chains in {"validation": sets.validation, **sets.tests}.items():
        raw = score(trained.model, chains)
        final = apply_filter(chains, raw, trained.propensities, trained.filter)
        labels = np.concatenate([c.labels for c in chains])
        letters = [(1 / (1 + np.exp(-simple.logits(c.sequence)))).astype(np.float32) for c in chains]
        plain = nucleic_figures(chains, letters, 0.5, n=1)
        on_test = best_f1_threshold(labels, np.concatenate(final))
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


def run(
    folder: Path,
    out: Path,
    work: Path,
    kinds: Sequence[str],
    config: CrossBindSequenceConfig,
    *,
    evaluate: bool = False,
    whole: Path | None = None,
) -> None:
    """Train (or not), test, write the figures into the card, with the table of :mod:`s2p.models.crossbind_ligands` if given."""
    extra = {"whole_network_on_ligand_complexes": json.loads(whole.read_text(encoding="utf-8"))} if whole else {}
    for kind in kinds:
        sets = read_sets(folder, kind, config)
        path = out / f"crossbind-{kind}.safetensors"
        if evaluate:
            figures_table(path, sets)
            continue
        trained, update = train(kind, sets, work, config)
        save_crossbind(trained, update, path)
        # The test sets see the checkpoint as it is shipped, rounded to fp16.
        card = trained.card | {"figures": figures_table(path, sets)} | extra
        save_crossbind(replace(trained, card=card), update, path)
        log(f"written: {path} ({path.stat().st_size / 1e6:.2f} MB)")


def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m s2p.models.crossbind_recipe", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("s2p/checkpoints"))
    parser.add_argument("--work", type=Path, default=Path("runs/crossbind"))
    parser.add_argument("--kind", choices=(*SETS, "both"), default="both")
    parser.add_argument("--evaluate", action="store_true", help="train nothing, print the figures of what is in --out")
    parser.add_argument("--whole", type=Path, metavar="JSON", help="what s2p.models.crossbind_ligands wrote, for the cards")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    kinds = list(SETS) if options.kind == "both" else [options.kind]
    try:
        settings = CrossBindSequenceConfig()
        run(options.data, options.out, options.work, kinds, settings, evaluate=options.evaluate, whole=options.whole)
    except S2PError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
