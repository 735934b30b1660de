"""The few real structures that the course's notebooks learn from, with the sites that their ligands show; and rigid motions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from s2p.datasets.labelled import LabelledChain
from s2p.predictor import load_structure
from s2p.structure.arrays import Structure, binding_residues
from s2p.structure.files.formats import read_sdf_ligand
from s2p.structure.ligands import ligand_sites
from s2p.training.known_sites import KnownSites

__all__ = ["binding_flags", "course_structures", "labelled_chains", "moved"]


def course_structures(names: Iterable[str], folder: str | Path) -> list[KnownSites]:
    """Structures with the residues of each of their binding sites.

    Parameters
    ----------
    names
        File names without suffix, PDB ids, or paths of files; ``7CFN:R`` takes chain R only.
    folder
        Where the files are looked for, ``data/examples`` of the repository. What is not there is fetched by its id. A ligand
        beside a file (``1uou_ligand.sdf`` for ``1uou``) is a site too.

    Raises
    ------
    StructureError
        If one is neither there nor to be had, or cannot be read.
    """
    return [_known_sites(name, Path(folder)) for name in names]


def _known_sites(name: str, folder: Path) -> KnownSites:
    stem, _, chain = name.partition(":")
    own = Path(stem).is_file()
    files = [] if own else [path for path in sorted(folder.glob(f"{stem}.*")) if path.suffix != ".sdf"]
    structure = load_structure(files[0] if files else stem, chain or None)
    stem = structure.name if own else stem
    sites = [site.residues for site in ligand_sites(structure).sites]
    if (sdf := folder / f"{stem}_ligand.sdf").is_file():
        sites.append(binding_residues(structure, read_sdf_ligand(sdf)[0]))
    return KnownSites(stem, structure, tuple(site.astype(np.int64) for site in sites if len(site)))


def binding_flags(item: KnownSites) -> NDArray[np.bool_]:
    """(N,) residues of any site."""
    flags = np.zeros(len(item.structure.residues), dtype=bool)
    for site in item.sites:
        flags[site] = True
    return flags


def labelled_chains(items: Iterable[KnownSites]) -> list[LabelledChain]:
    """The distinct chains that bind something, for fine-tuning.

    Chains of one sequence in a structure become one, with the union of their labels: a site that the crystal fills in one
    copy is a site of all.
    """
    found = []
    for item in items:
        binding = binding_flags(item).astype(np.uint8)
        labels: dict[str, NDArray[np.uint8]] = {}
        ids: dict[str, str] = {}
        for chain in item.structure.chains:
            sequence, own = item.structure.sequence(chain), binding[item.structure.residues.chain == chain]
            labels[sequence] = labels.get(sequence, 0) | own
            ids.setdefault(sequence, f"{item.key}_{chain}")
        found += [LabelledChain(ids[s], s, y, "course") for s, y in labels.items() if y.any()]
    return found


def moved(
    structure: Structure, rotation: NDArray[np.floating], shift: NDArray[np.floating], decimals: int | None = 3
) -> Structure:
    """The structure, ligands included, turned by (3, 3) ``rotation`` and then moved by (3,) ``shift`` Å.

    Coordinates are rounded to 0.001 Å, as a file would, or to so many ``decimals``; ``None``: not at all.
    """

    def there(x: NDArray[np.float32]) -> NDArray[np.float32]:
        y = x.astype(np.float64) @ np.transpose(rotation) + shift
        return (y if decimals is None else np.round(y, decimals)).astype(np.float32)

    return replace(
        structure,
        atoms=replace(structure.atoms, coord=there(structure.atoms.coord)),
        residues=replace(structure.residues, ca_coord=there(structure.residues.ca_coord)),
        ligands=tuple(replace(ligand, coord=there(ligand.coord)) for ligand in structure.ligands),
    )
