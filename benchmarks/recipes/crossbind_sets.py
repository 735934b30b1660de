"""The public sets of chains that bind DNA or RNA: read, split, counted, and compared with what a model has learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s2p.checkpoint import load_checkpoint
from s2p.config import DEFAULT_MODEL
from s2p.datasets.label_files import read_three_line
from s2p.datasets.labelled import LabelledChain
from s2p.datasets.splits import homologous
from s2p.evaluation.guard import trained_on
from s2p.models.crossbind.config import CrossBindSequenceConfig
from s2p.models.crossbind.sequence import split_chains

__all__ = ["SETS", "NucleicSets", "chains_beside", "leakage", "read_sets", "seen_by_base"]

SETS = {
    "dna": ("dna_train_573.txt", {"DNA_129": "dna_test_129.txt", "DNA_181": "dna_test_181.txt"}),
    "rna": ("rna_rna_495_train.txt", {"RNA_117": "rna_rna_117_test.txt"}),
}
"""Kind -> file of the training set, and of each test set."""


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


def chains_beside(sets: NucleicSets, other: NucleicSets) -> NucleicSets:
    """What of the ``other`` kind may be learned beside ``sets``: no chain like one of its validation or test sets.

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
    card = load_checkpoint(DEFAULT_MODEL, language_model=False).card
    chains = {f"{name}|{c.id}": c.sequence for name, test in sets.tests.items() for c in test}
    hits = [hit.id.partition("|") for hit in trained_on(card, chains)]
    return {name: [chain for test, _, chain in hits if test == name] for name in sets.tests}
