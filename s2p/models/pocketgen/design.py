"""Design of a pocket: types are drawn, their atoms placed, and bonds corrected; and metrics of a design."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.distance import pdist
from torch import nn

from s2p.errors import S2PError
from s2p.models.pocketgen.atoms import LETTERS, N_SLOTS, RESIDUES, SLOT_ELEMENTS, SLOT_MASK
from s2p.models.pocketgen.checkpoint import PocketGenCheckpoint
from s2p.models.pocketgen.cleanup import idealise
from s2p.models.pocketgen.config import DesignConfig, PocketConfig
from s2p.models.pocketgen.data import (
    LigandAtoms,
    Pocket,
    collate,
    make_pocket,
    masked_features,
    pocket_residues,
    start_ligand,
    start_pocket,
)
from s2p.models.pocketgen.geometry import Ideal, between, ideal_of, torsion
from s2p.models.pocketgen.surroundings.trace import TraceNet
from s2p.structure.reading import Structure
from s2p.structure.transforms import superposition

__all__ = [
    "Design",
    "Measures",
    "Starts",
    "backbone_rmsd",
    "cleaned",
    "design_pocket",
    "diversity",
    "draw",
    "draw_starts",
    "measure",
    "native_design",
    "prepare_pocket",
]

CLASH = 2.0
"""Å: atoms that are not bonded and closer than this clash."""
BOND_ERROR = 0.1
"""Å: a bond farther from its ideal length is an outlier."""
LIGAND_NOISE = 0.5
STRAY, BEND = 30.0, 10.0
"""Degrees: torsions and angles farther from where they belong are outliers."""
RARE = 5.0
"""Of :attr:`Geometry.turns`: 2 % of residues of training proteins, glycine apart, are above."""


@dataclass(frozen=True, eq=False)
class Starts:
    """Initial coordinates of n designs: all random numbers except those for drawing types."""

    coord: list[NDArray[np.float64]]
    """n of (P, 14, 3) Å."""
    ligand: list[NDArray[np.float64]]
    """n of (M, 3) Å."""


@dataclass(frozen=True, eq=False)
class Design:
    """One designed pocket."""

    types: NDArray[np.int64]
    """(P,) 1 to 20."""
    probabilities: NDArray[np.float64]
    """(P, 20) probabilities from which the types were drawn."""
    coord: NDArray[np.float64]
    """(P, 14, 3) Å; slots that the type does not have are undefined."""
    ligand: NDArray[np.float64]
    """(M, 3) Å: the ligand's position predicted by the network."""

    @property
    def sequence(self) -> str:
        """One letter per residue."""
        return "".join(LETTERS[k - 1] for k in self.types.tolist())


@dataclass(frozen=True)
class Measures:
    """Comparison of a design with the native pocket and with ideal geometry.

    Peptides are the bonds of designed residues, to fixed neighbours as well: ``twisted``, with omega more than 30° from trans and
    from cis, and ``cis``, except before proline. Turns are residues other than glycine whose phi or psi depends on a designed
    atom: those with positive phi, and with phi and psi as rare as in 2 % of training residues (the share of Kleywegt and Jones
    1996). Outliers of tau (N-CA-C, 111°) and of the other angles at peptides (Engh and Huber 1991) are off by more than 10°, of
    chi1 by more than 30° from -60°, 60° and 180°.
    """

    recovery: float
    """Share of native types."""
    rmsd: float
    """Å, of N, CA, C, O, without superposition, because both are in the frame of the structure."""
    clashes: int
    """Pairs closer than 2 Å of a designed atom and an atom of the ligand, or of a residue that it is not bonded to."""
    bonds: int
    bond_outliers: int
    """Of ``bonds``, those more than 0.1 Å from ideal."""
    ligand_shift: float
    """Å, RMSD between the given pose and the position that the network predicts for the ligand."""
    peptides: int = 0
    twisted: int = 0
    cis: int = 0
    turns: int = 0
    positive_phi: int = 0
    rare_turns: int = 0
    tau_outliers: int = 0
    angle_outliers: int = 0
    rotors: int = 0
    chi1_outliers: int = 0

    @property
    def columns(self) -> dict[str, str]:
        """Cells of a table, by title."""
        return {
            "recovery": f"{self.recovery:.2f}",
            "RMSD (Å)": f"{self.rmsd:.2f}",
            "clashes": str(self.clashes),
            "bonds off": f"{self.bond_outliers}/{self.bonds}",
            "twisted": f"{self.twisted}/{self.peptides}",
            "phi > 0": f"{self.positive_phi}/{self.turns}",
            "angles off": str(self.tau_outliers + self.angle_outliers),
            "chi1 off": f"{self.chi1_outliers}/{self.rotors}",
        }


def draw_starts(pocket: Pocket, n: int, seed: int) -> Starts:
    """Initial coordinates of ``n`` designs; the k-th does not depend on ``n``."""
    draws = [np.random.default_rng((seed, k)) for k in range(n)]
    coord = [start_pocket(pocket, rng).astype(np.float64) for rng in draws]
    return Starts(coord, [start_ligand(pocket, LIGAND_NOISE, rng).astype(np.float64) for rng in draws])


def design_pocket(
    checkpoint: PocketGenCheckpoint,
    pocket: Pocket,
    config: DesignConfig | None = None,
    starts: Starts | None = None,
    types: Sequence[tuple[NDArray[np.int64], NDArray[np.float64]]] | None = None,
) -> list[Design]:
    """Designs of a prepared pocket.

    The network runs twice: with undetermined types, to draw them, and from the same start with the drawn types, to place their
    atoms. It runs in double precision, because rounding could otherwise change which of two equally near neighbours is used.

    Parameters
    ----------
    starts
        Default: random with ``config.seed``.
    types
        Of each design, with probabilities (:func:`s2p.models.pocketgen.mpnn.design_types`); the native backbone is kept, and must
        be complete (:class:`S2PError`). Default: the network's types on a backbone of its own.
    """
    short = pocket.number[pocket.pocket][~pocket.present[pocket.pocket, :4].all(axis=1)].tolist()
    if types is not None and short:
        lacks = f"{pocket.name}: residue {', '.join(map(str, short))} lacks N, CA, C or O, on which its side chain would stand"
        raise S2PError(f"{lacks}; keep it with --fix, or build a new backbone with --designer pocketgen")
    config = config or DesignConfig()
    starts = starts or draw_starts(pocket, config.n, config.seed)
    n = len(starts.coord)
    model = checkpoint.model.double().eval()
    shift = pocket.ligand.astype(np.float64).mean(axis=0)
    moves = torch.from_numpy(np.repeat(shift[None], n, axis=0))
    same = [pocket] * n
    drawn = list(types or ())
    with torch.no_grad():
        if types is None:
            open_types = collate(same, starts.coord, starts.ligand).to(torch.float64).centred(moves)
            logits = model(open_types).logits.view(n, -1, 20).numpy()
            drawn = [draw(x, config, np.random.default_rng((config.seed, k, 1))) for k, x in enumerate(logits)]
        known = collate(same, starts.coord, starts.ligand, [kinds for kinds, _ in drawn])
        out = model(known.to(torch.float64).centred(moves))
    coord = out.coord.view(n, len(pocket.pocket), 14, 3).numpy() + shift
    ligand = out.ligand.numpy() + shift
    if types is not None:
        coord = np.stack([_on_backbone(x, pocket.coord[pocket.pocket, :4].astype(np.float64)) for x in coord])
    designs = [Design(kinds, p, x, y) for (kinds, p), x, y in zip(drawn, coord, ligand, strict=True)]
    if not config.idealise:
        return designs
    return [replace(d, coord=cleaned(checkpoint, pocket, d, held=types is not None)) for d in designs]


def _on_backbone(coord: NDArray[np.float64], native: NDArray[np.float64]) -> NDArray[np.float64]:
    """(P, 14, 3) Å: residues superposed by N, CA, C on the native backbone (P, 4, 3), which replaces their own."""
    out = coord.copy()
    for k, (own, fixed) in enumerate(zip(coord, native, strict=True)):
        rotation, shift, _ = superposition(fixed[:3], own[:3])
        out[k] = np.r_[fixed, own[4:] @ rotation.T + shift]
    return out


def prepare_pocket(
    structure: Structure,
    ligand: LigandAtoms,
    backbone: nn.Module | None,
    residues: NDArray[np.int64] | None = None,
    config: PocketConfig | None = None,
    trace: TraceNet | None = None,
) -> Pocket:
    """The pocket of a ligand, with the output of the language model ``backbone`` for the sequence with the pocket masked.

    Parameters
    ----------
    residues
        (P,) ascending indices of the residues to design; default: those near the ligand.
    trace
        Network of the model that will read the pocket: see :func:`s2p.models.pocketgen.data.make_pocket`.

    Raises
    ------
    S2PError
        If there is no residue to design, or no ligand atom.
    """
    config = config or PocketConfig()
    if residues is None:
        residues = pocket_residues(structure, ligand.coord, config) if len(ligand.coord) else np.zeros(0, np.int64)
    language = masked_features(backbone, structure, residues) if backbone is not None and len(residues) else None
    return make_pocket(structure, ligand, residues, language, config=config, trace=trace)


def draw(
    logits: NDArray[np.float64], config: DesignConfig, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(P,) types 1 to 20 and (P, 20) probabilities; temperature 0: the most likely types, with probabilities at 1."""
    allowed = ~np.isin(list(LETTERS), list(config.ban))
    scaled = np.where(allowed, logits / (config.temperature or 1.0), -np.inf)
    p = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    if config.temperature == 0:
        return p.argmax(axis=1) + 1, p
    total = p.cumsum(axis=1)
    chance = rng.random((len(p), 1)) * total[:, -1:]
    return (total <= chance).sum(axis=1).astype(np.int64) + 1, p


def whole(pocket: Pocket, design: Design) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
    """Types (R,), atoms (R, 14, 3) Å and which of them exist (R, 14), for pocket and context with the design in place."""
    types, coord, there = pocket.types.copy(), pocket.coord.astype(np.float64), pocket.present.copy()
    types[pocket.pocket], coord[pocket.pocket] = design.types, design.coord
    there[pocket.pocket] = SLOT_MASK[design.types] & np.isfinite(design.coord).all(axis=-1)
    return types, coord, there


def cleaned(checkpoint: PocketGenCheckpoint, pocket: Pocket, design: Design, *, held: bool = False) -> NDArray[np.float64]:
    """(P, 14, 3) Å of a design after the clean-up (:func:`s2p.models.pocketgen.cleanup.idealise`); ``held``: side chains only."""
    types, coord, there = whole(pocket, design)
    ideal = ideal_of(checkpoint.geometry, types, pocket.pocket, pocket.links)
    polar = np.isin(SLOT_ELEMENTS[types], ("N", "O"))
    ligand = pocket.ligand, np.asarray((pocket.features[:, 1:3] > 0).any(axis=1))
    return idealise(coord, there, polar, pocket.pocket, ideal, ligand, held=held)[pocket.pocket]


def backbone_rmsd(pocket: Pocket, coord: NDArray[np.floating]) -> float:
    """Å: RMSD from native of those N, CA, C, O that the native pocket has; the public code omits the square."""
    there = pocket.present[pocket.pocket, :4]
    error = np.square(np.asarray(coord, np.float64)[:, :4] - pocket.coord[pocket.pocket, :4]).sum(axis=-1)
    return float(np.sqrt(error[there].mean()))


def measure(checkpoint: PocketGenCheckpoint, pocket: Pocket, design: Design) -> Measures:
    """Comparison of a design with the native pocket, and its bonds and clashes."""
    types, coord, there = whole(pocket, design)
    designed = np.zeros_like(there)
    designed[pocket.pocket] = there[pocket.pocket]
    ideal = ideal_of(checkpoint.geometry, types, pocket.pocket, pocket.links).among(designed, there)
    x = coord.reshape(-1, 3)
    length = np.linalg.norm(x[ideal.pairs[:, 0]] - x[ideal.pairs[:, 1]], axis=1)
    return Measures(
        float((design.types == pocket.types[pocket.pocket]).mean()),
        backbone_rmsd(pocket, design.coord),
        _clashes(pocket, coord, there),
        int(ideal.bonded.sum()),
        int((np.abs(length - ideal.length)[ideal.bonded] > BOND_ERROR).sum()),
        float(np.sqrt(np.square(design.ligand - pocket.ligand).sum(axis=1).mean())),
        **_torsions(x, types, ideal),
    )


def _torsions(x: NDArray[np.float64], types: NDArray[np.int64], ideal: Ideal) -> dict[str, int]:
    """Counts of :class:`Measures` at ``x`` (A, 3) Å: peptides, phi and psi, angles, and chi1."""
    place, free = torch.from_numpy(x), ideal.kind > 0
    omega, chi = (torsion(place, torch.from_numpy(index)).numpy() for index in (ideal.planes, ideal.rotors))
    turns = torch.from_numpy(ideal.turns[free])
    phi, psi = torsion(place, turns[:, :4])[None], torsion(place, turns[:, 1:])[None]
    rare = between(torch.from_numpy(ideal.table), torch.from_numpy(ideal.kind[free]), phi, psi) > RARE
    bend, proline = np.abs(np.degrees(omega)), types[ideal.planes[:, 3] // N_SLOTS] == RESIDUES.index("PRO") + 1
    ca, c, n, next_ca = ideal.planes.T
    peptide = (((ca, c, n), 116.6), ((c + 1, c, n), 122.7), ((c, n, next_ca), 121.7))
    return {
        "peptides": len(bend),
        "twisted": int(((bend > STRAY) & (bend < 180 - STRAY)).sum()),
        "cis": int(((bend <= STRAY) & ~proline).sum()),
        "turns": len(turns),
        "positive_phi": int((phi > 0).sum()),
        "rare_turns": int(rare.sum()),
        "tau_outliers": _bent(x, ideal.middles, 111.0),
        "angle_outliers": sum(_bent(x, np.stack(atoms, axis=1), angle) for atoms, angle in peptide),
        "rotors": len(chi),
        "chi1_outliers": int((np.abs(np.abs(np.degrees(chi)) % 120 - 60) > STRAY).sum()),
    }


def _bent(x: NDArray[np.float64], atoms: NDArray[np.int64], ideal: float) -> int:
    """How many angles at the second of three ``atoms`` (m, 3) are more than :data:`BEND` from ``ideal``, degrees."""
    one, other = x[atoms[:, 0]] - x[atoms[:, 1]], x[atoms[:, 2]] - x[atoms[:, 1]]
    sine = np.linalg.norm(np.cross(one, other), axis=1)  # atoms at one point have an angle of 0
    return int((np.abs(np.degrees(np.arctan2(sine, (one * other).sum(axis=1))) - ideal) > BEND).sum())


def native_design(pocket: Pocket) -> Design:
    """The native pocket as a design; coordinates of atoms that it lacks are NaN."""
    types = pocket.types[pocket.pocket]
    coord = np.where(pocket.present[pocket.pocket, :, None], pocket.coord[pocket.pocket].astype(np.float64), np.nan)
    return Design(types, np.eye(20)[types - 1], coord, pocket.ligand.astype(np.float64))


def _clashes(pocket: Pocket, coord: NDArray[np.float64], there: NDArray[np.bool_]) -> int:
    owner = np.concatenate([np.nonzero(there)[0], np.full(len(pocket.ligand), -1)])
    atoms = np.concatenate([coord[there], pocket.ligand])
    pairs = np.sort(owner[cKDTree(atoms).query_pairs(CLASH, output_type="ndarray").reshape(-1, 2)], axis=1)
    designed = np.isin(pairs, pocket.pocket).any(axis=1)
    bonded = (pairs[:, None] == pocket.links).all(axis=-1).any(axis=1)
    return int((designed & ~bonded & (pairs[:, 0] != pairs[:, 1])).sum())


def diversity(designs: Sequence[Design]) -> float:
    """1 minus the mean identity of pairs of designs; NaN for fewer than two."""
    if len(designs) < 2:
        return float("nan")
    return float(pdist(np.stack([d.types for d in designs]), "hamming").mean())
