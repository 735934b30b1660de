"""Input of a design: the residues of a pocket, their context, language features and initial coordinates; and batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from s2p.errors import S2PError
from s2p.language.esm import encode_layer
from s2p.language.sequences import tokenize
from s2p.models.pocketgen.atoms import LETTERS, N_SLOTS, SLOT_MASK, ligand_features, slot_arrays
from s2p.models.pocketgen.config import PocketConfig
from s2p.models.pocketgen.geometry import peptide_bonds
from s2p.models.pocketgen.surroundings.counts import beside, environment
from s2p.models.pocketgen.surroundings.trace import TraceNet, place_trace
from s2p.structure.reading import Structure
from s2p.structure.transforms import random_rotation

__all__ = [
    "Batch",
    "LigandAtoms",
    "Pocket",
    "collate",
    "designable",
    "interpolate",
    "make_pocket",
    "masked_features",
    "pocket_residues",
    "role_features",
    "start_ligand",
    "start_pocket",
]

FRAME = np.array([(-0.525, 1.363, 0.0), (0.0, 0.0, 0.0), (1.526, 0.0, 0.0), (0.627, 1.062, 0.0)])
"""Å: initial N, CA, C, O, as published; the position of O is not realistic, but the network moves it."""
SCATTER = 0.1
"""Å: initial spread of the other slots around CA."""
MASK = 32
"""Token of ESM-2 for a masked residue."""
TRAINED_MASKS = 0.15 * 0.8
"""Share of embeddings that were zero in ESM-2's training."""


@dataclass(frozen=True, eq=False)
class LigandAtoms:
    """Heavy atoms of the ligand for which a pocket is designed."""

    coord: NDArray[np.float32]
    """(M, 3) Å."""
    element: NDArray[np.str_]
    """(M,) upper case."""
    bonds: NDArray[np.int64] | None = None
    """(B, 3) two atoms and the order of each bond, 1 to 3 or 4 for aromatic; ``None``: unknown."""


@dataclass(frozen=True, eq=False)
class Pocket:
    """Input of the network for one complex: R residues of the pocket and its context, and M atoms of the ligand."""

    name: str
    cluster: str
    residues: NDArray[np.int64]
    """(R,) their indices in the structure, ascending."""
    pocket: NDArray[np.int64]
    """(P,) rows of them that are designed, ascending."""
    types: NDArray[np.int64]
    """(R,) native types; those of the pocket are used in the loss only."""
    coord: NDArray[np.float32]
    """(R, 14, 3) Å, native; likewise."""
    present: NDArray[np.bool_]
    """(R, 14)."""
    number: NDArray[np.int64]
    """(R,) author residue numbers."""
    chain: NDArray[np.int64]
    """(R,)."""
    linked: NDArray[np.int64]
    """(R,) row of the next residue of the chain if a peptide bond joins them, else -1."""
    start: NDArray[np.float32]
    """(P, 3) Å, CA of the pocket before the first pass."""
    ligand: NDArray[np.float32]
    """(M, 3) Å."""
    features: NDArray[np.float32]
    """(M, 15), see :func:`s2p.models.pocketgen.atoms.ligand_features`."""
    language: NDArray[np.float32]
    """(P, d) features of the language model with the pocket masked; no columns without one."""
    environment: NDArray[np.float32]
    """(P, N_ENVIRONMENT), see :func:`s2p.models.pocketgen.surroundings.counts.environment`."""

    @property
    def links(self) -> NDArray[np.int64]:
        """(l, 2) rows joined by a peptide bond."""
        first = np.flatnonzero(self.linked >= 0)
        return np.stack([first, self.linked[first]], axis=1)


def pocket_residues(structure: Structure, ligand: NDArray[np.floating], config: PocketConfig) -> NDArray[np.int64]:
    """Residues with a heavy atom within ``config.cutoff`` of one of the ligand; if there are too many, the nearest ones.

    Returns
    -------
    (P,) ascending indices; only residues of a known type with a CA.
    """
    distance = _nearest(structure, ligand, config.cutoff)
    near = np.flatnonzero((distance <= config.cutoff) & designable(structure))
    kept = near[np.argsort(distance[near], kind="stable")[: config.max_residues]]
    return np.sort(kept).astype(np.int64)


def designable(structure: Structure) -> NDArray[np.bool_]:
    """(N,) residues of a known type with a CA."""
    return np.isin(structure.residues.one_letter, list(LETTERS)) & structure.residues.has_ca


def _nearest(structure: Structure, ligand: NDArray[np.floating], reach: float) -> NDArray[np.float64]:
    """(N,) Å between heavy atoms of each residue and the ligand; infinite beyond ``reach``."""
    place, coord = np.asarray(ligand, float), structure.atoms.coord.astype(float)
    about = np.flatnonzero(((coord >= place.min(axis=0) - reach) & (coord <= place.max(axis=0) + reach)).all(axis=1))
    # The tree excludes its upper bound.
    distance, _ = cKDTree(place).query(coord[about], distance_upper_bound=reach + 1e-6)
    out = np.full(len(structure.residues), np.inf)
    np.minimum.at(out, structure.atoms.residue_index[about], distance)
    return out


def interpolate(structure: Structure, pocket: NDArray[np.int64]) -> NDArray[np.float32]:
    """(P, 3) Å: CA of each pocket residue on the line between the nearest others of its chain before and after, by number.

    At the ends of a chain the line through the first, or last, two other residues is extended, but never to the next chain. With
    only one other residue its position is used, and without any the mean of the structure's other residues.
    """
    residues = structure.residues
    fixed = np.ones(len(residues), bool)
    fixed[pocket] = False
    ca, number = residues.ca_coord.astype(np.float64), residues.number.astype(np.float64)
    out = np.zeros((len(pocket), 3))
    for name in np.unique(residues.chain[pocket]):
        rows = np.flatnonzero(residues.chain[pocket] == name)
        own = np.flatnonzero(fixed & (residues.chain == name))
        if len(own) < 2:
            out[rows] = ca[own[0]] if len(own) else ca[fixed].mean(axis=0) if fixed.any() else 0.0
            continue
        k = pocket[rows]
        after = np.searchsorted(own, k).clip(1, len(own) - 1)
        a, b = own[after - 1], own[after]
        span = number[b] - number[a]
        # Insertion codes repeat numbers, so the order in the file is used.
        share = np.where(span > 0, (number[k] - number[a]) / np.where(span > 0, span, 1), (k - a) / (b - a))
        out[rows] = ca[a] + share[:, None] * (ca[b] - ca[a])
    return out.astype(np.float32)


def make_pocket(
    structure: Structure,
    ligand: LigandAtoms,
    pocket: NDArray[np.int64],
    language: NDArray[np.float32] | None = None,
    *,
    config: PocketConfig | None = None,
    cluster: str = "",
    without: NDArray[np.int64] | None = None,
    trace: TraceNet | None = None,
) -> Pocket:
    """The pocket ``pocket`` (ascending residue indices) of a structure and its surroundings.

    Parameters
    ----------
    language
        (P, d) features of a language model.
    without
        Residues that are left out: a segment of the chain that is used as the ligand.
    trace
        Network that places the CA atoms around which surroundings are counted; ``None``: on the line between their neighbours.

    Raises
    ------
    S2PError
        If there is no ligand atom, or no residue to design.
    """
    config = config or PocketConfig()
    if not len(ligand.coord):
        raise S2PError(f"{structure.name}: the ligand has no heavy atom; there is nothing to design a pocket around")
    if not len(pocket):
        raise S2PError(
            f"{structure.name}: no residue to design: none lies within {config.cutoff:g} Å of the ligand; name some, or check "
            "that protein and ligand are in one frame"
        )
    distance = _nearest(structure, ligand.coord, config.context)
    seen = distance <= config.context
    seen[pocket] = True
    # The residues before and after a designed one in the chain fix its ends.
    chain = structure.residues.chain
    next_to = beside(np.ones(len(chain), bool), chain, pocket[:, None], (-1, 1))
    seen[next_to[next_to >= 0]] = True
    hidden = np.zeros(0, np.int64) if without is None else without
    seen[hidden] = False
    types, coord, present = slot_arrays(structure)
    seen &= present[:, 1] | np.isin(np.arange(len(types)), pocket)
    kept = np.flatnonzero(seen)
    row = np.full(len(types) + 1, -1)
    row[kept] = np.arange(len(kept))
    following = np.full(len(types), -1)
    bonded = peptide_bonds(structure, coord)
    following[bonded] = row[bonded + 1]
    start, features = interpolate(structure, pocket), role_features(ligand, config)
    chains = np.unique(chain, return_inverse=True)[1].astype(np.int64)
    places = place_trace(trace, structure, pocket, hidden, start)
    around = environment(types, coord, present, chains, pocket, places, hidden, ligand.coord, features)
    return Pocket(
        structure.name,
        cluster,
        kept.astype(np.int64),
        row[pocket].astype(np.int64),
        types[kept],
        coord[kept],
        present[kept],
        structure.residues.number[kept].astype(np.int64),
        chains[kept],
        following[kept].astype(np.int64),
        start,
        np.asarray(ligand.coord, np.float32),
        features,
        np.zeros((len(pocket), 0), np.float32) if language is None else language,
        around,
    )


def role_features(ligand: LigandAtoms, config: PocketConfig) -> NDArray[np.float32]:
    """(M, 15) elements and roles of a ligand's atoms, the roles by rules or by RDKit."""
    features = ligand_features(ligand.coord, ligand.element)
    if config.ligand_features == "rdkit":
        from s2p.models.pocketgen.ligand import FAMILIES, rdkit_families

        features[:, -len(FAMILIES) :] = rdkit_families(ligand)
    return features


def masked_features(backbone: nn.Module, structure: Structure, pocket: NDArray[np.int64]) -> NDArray[np.float32]:
    """(P, d) last hidden states at the residues ``pocket``, ascending, all of them masked; each chain is read separately."""
    net: Any = backbone
    chain = structure.residues.chain
    out = np.zeros((len(pocket), net.embed_tokens.weight.shape[1]), np.float32)
    for name in dict.fromkeys(chain[pocket].tolist()):
        own = np.flatnonzero(chain == name)
        tokens = tokenize(structure.sequence(name))
        masked = np.flatnonzero(np.isin(own, pocket))
        tokens[masked + 1] = MASK
        ids = torch.from_numpy(tokens)[None].to(net.embed_tokens.weight.device)
        with torch.no_grad():
            share = len(masked) / len(tokens)
            x = net.embed_tokens(ids).masked_fill((ids == MASK)[..., None], 0) * ((1 - TRAINED_MASKS) / (1 - share))
            for layer in net.layers:
                x = encode_layer(layer, x, None)
            out[chain[pocket] == name] = net.emb_layer_norm_after(x)[0, masked + 1].float().cpu().numpy()
    return out


def start_pocket(pocket: Pocket, rng: np.random.Generator) -> NDArray[np.float32]:
    """(P, 14, 3) Å: ideal backbones in random orientations at the interpolated CA, other slots at random around it."""
    x = rng.normal(0, SCATTER, (len(pocket.pocket), N_SLOTS, 3))
    for k in range(len(x)):
        x[k, :4] = FRAME @ random_rotation(rng).T
    return (x + pocket.start[:, None]).astype(np.float32)


def start_ligand(pocket: Pocket, noise: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """(M, 3) Å: the pose with a random displacement."""
    return (pocket.ligand + rng.normal(0, noise, pocket.ligand.shape)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Batch:
    """Pockets of B complexes: all R residues concatenated, P of them designed, and ligands padded to M atoms.

    ``number`` (R,), ``chain`` (R,), ``language`` (P, d), ``environment`` (P, N_ENVIRONMENT) and ``features`` (B, M, 15) are those
    of :class:`Pocket`, all others as follows.
    """

    types: Tensor
    """(R,) type; 0 for residues to be designed."""
    slots: Tensor
    """(R, 14) which slots are used."""
    coord: Tensor
    """(R, 14, 3) Å; for the pocket the initial coordinates."""
    number: Tensor
    chain: Tensor
    owner: Tensor
    """(R,) index of the complex."""
    pocket: Tensor
    """(P,)."""
    ligand: Tensor
    """(B, M, 3) Å."""
    ligand_mask: Tensor
    """(B, M)."""
    features: Tensor
    language: Tensor
    environment: Tensor

    def to(self, dtype: torch.dtype) -> Batch:
        """The batch with coordinates and features in another precision."""
        names = ("coord", "ligand", "features", "language", "environment")
        return replace(self, **{name: getattr(self, name).to(dtype) for name in names})

    def centred(self, middle: Tensor) -> Batch:
        """The batch with each complex moved by minus its row of (B, 3) ``middle``."""
        return replace(self, coord=self.coord - middle[self.owner][:, None], ligand=self.ligand - middle[:, None])


def collate(
    pockets: Sequence[Pocket],
    starts: Sequence[NDArray[np.floating]],
    ligands: Sequence[NDArray[np.floating]],
    types: Sequence[NDArray[np.int64]] | None = None,
) -> Batch:
    """A batch of pockets.

    ``starts``, ``ligands``: (P, 14, 3) Å and (M, 3) Å of each; ``types``: (P,) of each, if they are already drawn; default: all
    are to be designed.
    """
    kinds, slots, coords = [], [], []
    for k, p in enumerate(pockets):
        kind, slot, coord = p.types.copy(), p.present.copy(), p.coord.astype(np.result_type(p.coord, starts[k]))
        kind[p.pocket] = 0 if types is None else types[k]
        slot[p.pocket] = SLOT_MASK[kind[p.pocket]]
        coord[p.pocket] = starts[k]
        kinds.append(kind)
        slots.append(slot)
        coords.append(coord)
    size = np.array([len(p.types) for p in pockets])
    first = np.cumsum(size) - size

    def joined(parts: Iterable[NDArray[Any]]) -> Tensor:
        return torch.from_numpy(np.concatenate(list(parts)))

    def padded(parts: Iterable[NDArray[Any]]) -> Tensor:
        return pad_sequence([torch.from_numpy(part) for part in parts], batch_first=True)

    return Batch(
        types=joined(kinds),
        slots=joined(slots),
        coord=joined(coords),
        owner=torch.from_numpy(np.repeat(np.arange(len(pockets)), size)),
        pocket=joined(p.pocket + begin for p, begin in zip(pockets, first, strict=True)),
        ligand=padded(ligands),
        ligand_mask=padded(np.ones(len(x), bool) for x in ligands),
        features=padded(p.features for p in pockets),
        **{name: joined(getattr(p, name) for p in pockets) for name in ("number", "chain", "language", "environment")},
    )
