"""Scores of designs and of the native pocket that ask for more than the network: of the ligand's binding, and of folding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from s2p.io.runtime import progress_bar
from s2p.models.pocketgen.config import FoldConfig
from s2p.models.pocketgen.data import LigandAtoms, Pocket
from s2p.models.pocketgen.design import Design
from s2p.models.pocketgen.folded import DESIGNABLE, fold_design, folded_file, self_consistency
from s2p.models.pocketgen.vina import ligand_atoms, receptor_atoms, standin_score
from s2p.structure.reading import Structure, read_structure

__all__ = ["Scores", "add_folded", "asked", "designability", "score_designs"]


TITLES = {"vina_like": "Vina-like stand-in (kcal/mol)", "vina": "AutoDock Vina (kcal/mol)", "sc_rmsd": "scRMSD (Å)"}
"""Of columns."""


@dataclass(frozen=True)
class Scores:
    """What there is to say of a design, or of the native pocket, beside its geometry."""

    vina_like: float
    """kcal/mol, Vina-like stand-in: Vina's published terms on the given pose (:mod:`s2p.models.pocketgen.vina`)."""
    vina: float | None = None
    """kcal/mol, AutoDock Vina after local optimisation of the pose (:mod:`s2p.models.pocketgen.docking`); ``None``: not asked."""
    sc_rmsd: float | None = None
    """Å, see :func:`s2p.models.pocketgen.folded.self_consistency`; ``None``: not folded."""


def asked(scores: Sequence[Scores]) -> dict[str, str]:
    """Those scores that were asked for, with their titles."""
    return {key: title for key, title in TITLES.items() if any(getattr(s, key) is not None for s in scores)}


def score_designs(
    structure: Structure, pocket: Pocket, ligand: LigandAtoms, designs: Sequence[Design], *, vina: bool = False
) -> list[Scores]:
    """Scores of the native pocket, first, and of each design.

    Parameters
    ----------
    vina
        Ask AutoDock Vina as well.

    Raises
    ------
    S2PError
        If Vina, or what it needs, is asked for and missing, or fails.
    """
    atoms, n_rotors = ligand_atoms(ligand)
    receptors = [receptor_atoms(structure, pocket, d) for d in (None, *designs)]
    scores = [Scores(standin_score(receptor, atoms, n_rotors)) for receptor in receptors]
    if vina:
        from s2p.models.pocketgen.docking import check_vina, ligand_pdbqt, vina_score

        engine, text = check_vina(), ligand_pdbqt(ligand)
        bar = progress_bar(receptors, "scoring")
        scores = [replace(s, vina=vina_score(r, text, engine=engine)) for s, r in zip(scores, bar, strict=True)]
    return scores


def add_folded(
    structure: Structure,
    pocket: Pocket,
    designs: Sequence[Design],
    scores: Sequence[Scores],
    folder: Path,
    stem: str,
    *,
    service: FoldConfig | None = None,
) -> list[Scores]:
    """The scores with scRMSD, from structures ``STEM_design_K`` in ``folder``; first put there by ``service``, if one is given.

    Raises
    ------
    S2PError
        If a structure is missing, or is not of its design.
    """
    out = [scores[0]]
    bar = progress_bar(designs, "folding" if service is not None else "reading folds")
    for k, (d, s) in enumerate(zip(bar, scores[1:], strict=True), start=1):
        name = f"{stem}_design_{k}"
        if service is not None:
            fold_design(structure, pocket, d, folder / f"{name}.pdb", service)
        folded = read_structure(folded_file(folder, name))
        out.append(replace(s, sc_rmsd=self_consistency(structure, pocket, d, folded)))
    return out


def designability(scores: Sequence[Scores]) -> float:
    """Share of folded designs whose scRMSD is below 2 Å; NaN if none was folded."""
    folded = [s.sc_rmsd for s in scores if s.sc_rmsd is not None]
    return float(np.mean([x < DESIGNABLE for x in folded])) if folded else float("nan")
