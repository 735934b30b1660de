"""Scores of designs by other programs: AutoDock Vina for the ligand's binding, and the fold of the sequence.

The user provides folded structures (``s2p design --folded``). Each is superposed on the design by the CA atoms outside the
pocket; scRMSD is that of N, CA, C, O in the pocket.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from s2p.errors import S2PError
from s2p.io.runtime import progress_bar
from s2p.models.pocketgen.atoms import slot_arrays
from s2p.models.pocketgen.data import LigandAtoms, Pocket
from s2p.models.pocketgen.design import Design
from s2p.structure.alignment import align
from s2p.structure.reading import SUFFIXES, Structure, read_structure
from s2p.structure.transforms import superposition

__all__ = [
    "Scores",
    "add_folded",
    "asked",
    "designability",
    "designed_sequences",
    "mutations",
    "score_designs",
    "self_consistency",
]

TITLES = {"vina": "AutoDock Vina (kcal/mol)", "sc_rmsd": "scRMSD (Å)"}
"""Titles of columns."""
DESIGNABLE = 2.0
"""Å: a design with a smaller scRMSD counts as designable, by common usage."""
IDENTITY = 0.9
"""Least share of a chain's residues outside the pocket that its folded counterpart must have; in the pocket all must agree."""
LEAST = 3
"""Least number of CA atoms outside the pocket for superposing two structures."""


@dataclass(frozen=True)
class Scores:
    """Scores of a design, or of the native pocket, in addition to its geometry."""

    vina: float | None = None
    """kcal/mol, AutoDock Vina after local optimisation (:mod:`s2p.models.pocketgen.docking`); ``None``: not requested."""
    sc_rmsd: float | None = None
    """Å, see :func:`self_consistency`; ``None``: not folded."""


def asked(scores: Sequence[Scores]) -> dict[str, str]:
    """The requested scores, with their titles."""
    return {key: title for key, title in TITLES.items() if any(getattr(s, key) is not None for s in scores)}


def score_designs(
    structure: Structure, pocket: Pocket, ligand: LigandAtoms, designs: Sequence[Design], *, vina: bool = False
) -> list[Scores]:
    """Scores of the native pocket first, then of each design: by AutoDock Vina if ``vina``, else empty.

    :class:`S2PError` if Vina, or a package that it needs, is missing or fails.
    """
    if not vina:
        return [Scores()] * (len(designs) + 1)
    from s2p.models.pocketgen.docking import check_vina, ligand_pdbqt, receptor_atoms, vina_score

    engine, text = check_vina(), ligand_pdbqt(ligand)
    bar = progress_bar([None, *designs], "scoring")
    return [Scores(vina_score(receptor_atoms(structure, pocket, d), text, engine=engine)) for d in bar]


def add_folded(
    structure: Structure, pocket: Pocket, designs: Sequence[Design], scores: Sequence[Scores], folder: Path, stem: str
) -> list[Scores]:
    """The scores with scRMSD, from structures ``STEM_design_K`` in ``folder``.

    :class:`S2PError` if a structure is missing or does not belong to its design.
    """
    out = [scores[0]]
    for k, (d, s) in enumerate(zip(progress_bar(designs, "reading folds"), scores[1:], strict=True), start=1):
        folded = read_structure(folded_file(folder, f"{stem}_design_{k}"))
        out.append(replace(s, sc_rmsd=self_consistency(structure, pocket, d, folded)))
    return out


def designability(scores: Sequence[Scores]) -> float:
    """Share of folded designs whose scRMSD is below 2 Å; NaN if none was folded."""
    folded = [s.sc_rmsd for s in scores if s.sc_rmsd is not None]
    return float(np.mean([x < DESIGNABLE for x in folded])) if folded else float("nan")


def designed_sequences(structure: Structure, pocket: Pocket, design: Design) -> dict[str, str]:
    """Observed sequence, with the designed letters, of each chain that has designed residues."""
    letters = structure.residues.one_letter.copy()
    index = pocket.residues[pocket.pocket]
    letters[index] = list(design.sequence)
    chain = structure.residues.chain
    return {name: "".join(letters[chain == name]) for name in dict.fromkeys(chain[index].tolist())}


def mutations(structure: Structure, pocket: Pocket, design: Design) -> list[str]:
    """What differs from the native types, like ``A:45 L->F``."""
    index, ids = pocket.residues[pocket.pocket].tolist(), structure.residues.ids()
    pairs = zip(index, structure.residues.one_letter[index].tolist(), design.sequence, strict=True)
    return [f"{ids[k]} {native}->{letter}" for k, native, letter in pairs if letter != native]


def folded_file(folder: Path, name: str) -> Path:
    """The structure in ``folder`` called ``name``, with any ending that is read; :class:`S2PError` if there is none."""
    for suffix in SUFFIXES:
        for path in (folder / f"{name}{suffix}", folder / f"{name}{suffix}.gz"):
            if path.is_file():
                return path
    raise S2PError(f"{folder}: there is no structure {name}.pdb (or .cif, .gz) in it; files must be named like the designs")


def self_consistency(structure: Structure, pocket: Pocket, design: Design, folded: Structure) -> float:
    """scRMSD, Å: backbone of the pocket, design against fold, superposed on the CA atoms outside the pocket.

    Each designed chain is matched to the chain of ``folded`` with the most similar sequence; all are superposed together.
    :class:`S2PError` if a chain has no counterpart of its sequence, or there are too few atoms to superpose.
    """
    chains = designed_sequences(structure, pocket, design)
    theirs = {name: np.flatnonzero(folded.residues.chain == name) for name in folded.chains}
    other = {name: folded.sequence(name) for name in theirs}
    places = {(a, b): align(chains[a], other[b]) for a in chains for b in other}
    equal = {
        (a, b): np.array([k >= 0 and letter == other[b][k] for letter, k in zip(chains[a], place.tolist(), strict=True)])
        for (a, b), place in places.items()
    }
    found = linear_sum_assignment([[-equal[a, b].mean() for b in other] for a in chains])
    match = {list(chains)[row]: list(other)[column] for row, column in zip(*found, strict=True)}
    index = pocket.residues[pocket.pocket]
    counterpart = np.full(len(structure.residues), -1)
    for a in chains:
        own, b = np.flatnonzero(structure.residues.chain == a), match.get(a)
        if b is None or equal[a, b].mean() < IDENTITY or not equal[a, b][np.isin(own, index)].all():
            raise S2PError(
                f"{folded.name}: no chain of it has the sequence of the design's chain {a}; fold the sequences of "
                "*_designs.fasta, and give the seed and options that they were made with"
            )
        place = places[a, b]
        counterpart[own[place >= 0]] = theirs[b][place[place >= 0]]
    around = np.setdiff1d(np.flatnonzero(counterpart >= 0), index)
    around = around[structure.residues.has_ca[around] & folded.residues.has_ca[counterpart[around]]]
    if len(around) < LEAST:
        raise S2PError(f"{folded.name}: fewer than {LEAST} residues outside the pocket to superpose it by")
    rotation, shift, _ = superposition(structure.residues.ca_coord[around], folded.residues.ca_coord[counterpart[around]])
    _, coord, present = slot_arrays(folded)
    there = present[counterpart[index], :4]
    if not there.any():
        raise S2PError(f"{folded.name}: it has no backbone atoms of the pocket")
    laid = coord[counterpart[index], :4].astype(np.float64) @ rotation.T + shift
    squared = np.square(laid - design.coord[:, :4]).sum(axis=-1)
    return float(np.sqrt(squared[there].mean()))
