"""Self-consistency of designs: does the designed sequence, folded by another program, have the pocket that was designed?

A folded structure is the user's own (``s2p design --folded``) or comes from the public ESMFold service (``--fold``). It is
superposed on the design by the CA atoms outside the pocket; scRMSD is that of N, CA, C, O in the pocket.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from s2p.errors import S2PError, StructureError
from s2p.io.fetch import download
from s2p.models.pocketgen.atoms import LETTERS, slot_arrays
from s2p.models.pocketgen.config import FoldConfig
from s2p.models.pocketgen.data import Pocket
from s2p.models.pocketgen.design import Design
from s2p.structure.alignment import align
from s2p.structure.reading import SUFFIXES, Structure, read_structure
from s2p.structure.transforms import superposition

__all__ = ["DESIGNABLE", "designed_sequences", "fold_design", "folded_file", "self_consistency"]

DESIGNABLE = 2.0
"""Å: a design with a smaller scRMSD counts as designable, by common usage."""
IDENTITY = 0.9
"""Least share of a chain's residues that its folded counterpart must have, pocket apart, where all must agree."""
LEAST = 3
"""CA atoms outside the pocket that fix how two structures lie on each other."""


def designed_sequences(structure: Structure, pocket: Pocket, design: Design) -> dict[str, str]:
    """Observed sequence, with the designed letters, of each chain that has some."""
    letters = structure.residues.one_letter.copy()
    index = pocket.residues[pocket.pocket]
    letters[index] = list(design.sequence)
    chain = structure.residues.chain
    return {name: "".join(letters[chain == name]) for name in dict.fromkeys(chain[index].tolist())}


def folded_file(folder: Path, name: str) -> Path:
    """The structure in ``folder`` called ``name``, with any ending that is read.

    Raises
    ------
    S2PError
        If there is none.
    """
    for suffix in SUFFIXES:
        for path in (folder / f"{name}{suffix}", folder / f"{name}{suffix}.gz"):
            if path.is_file():
                return path
    raise S2PError(f"{folder}: there is no structure {name}.pdb (or .cif, .gz) in it; files must be named like the designs")


def fold_design(structure: Structure, pocket: Pocket, design: Design, target: Path, config: FoldConfig | None = None) -> Path:
    """Ask the public ESMFold service for the structure of the designed chain; ``target`` is complete or untouched.

    The sequence leaves this machine. It is that of the observed residues: what the experiment did not see is missing.

    Raises
    ------
    S2PError
        If the pocket lies in more than one chain, or the chain is too long or has unknown residues.
    FetchError
        If the service cannot be reached, or gives no structure.
    """
    config = config or FoldConfig()
    chains = designed_sequences(structure, pocket, design)
    if len(chains) > 1:
        raise S2PError(f"{structure.name}: the pocket lies in chains {', '.join(chains)}; the folding service takes one chain")
    ((name, sequence),) = chains.items()
    if len(sequence) > config.max_residues:
        most = config.max_residues
        raise S2PError(f"{structure.name}: chain {name} has {len(sequence)} residues; the folding service takes {most} at most")
    if not set(sequence) <= set(LETTERS):
        raise S2PError(f"{structure.name}: chain {name} has residues of no known type; the folding service takes none of them")
    what = f"fold of {target.stem}"
    download(
        config.url, target, timeout=config.timeout, max_bytes=config.max_bytes, what=what, check=_check, body=sequence.encode()
    )
    return target


def _check(path: Path) -> str | None:
    """What is wrong with an answer of the folding service."""
    try:
        read_structure(path)
    except StructureError:
        return "the answer is no structure"
    return None


def self_consistency(structure: Structure, pocket: Pocket, design: Design, folded: Structure) -> float:
    """scRMSD, Å: backbone of the pocket, design against fold, superposed on the CA atoms outside the pocket.

    Each designed chain is matched to the chain of ``folded`` whose sequence is most like its own; all are superposed together.

    Raises
    ------
    S2PError
        If a chain has no counterpart of its sequence, or there is too little to superpose.
    """
    chains = designed_sequences(structure, pocket, design)
    theirs = {name: np.flatnonzero(folded.residues.chain == name) for name in folded.chains}
    other = {name: folded.sequence(name) for name in theirs}
    places = {(a, b): align(chains[a], other[b]) for a in chains for b in other}
    equal = {
        (a, b): np.array([k >= 0 and letter == other[b][k] for letter, k in zip(chains[a], place.tolist(), strict=True)])
        for (a, b), place in places.items()
    }
    share = np.array([[equal[a, b].mean() for b in other] for a in chains])
    row, column = linear_sum_assignment(-share)
    match = dict(zip(np.array(list(chains))[row].tolist(), np.array(list(other))[column].tolist(), strict=True))
    index = pocket.residues[pocket.pocket]
    counterpart = np.full(len(structure.residues), -1)
    for a in chains:
        own = np.flatnonzero(structure.residues.chain == a)
        inside = np.isin(own, index)
        b = match.get(a)
        if b is None or equal[a, b].mean() < IDENTITY or not equal[a, b][inside].all():
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
