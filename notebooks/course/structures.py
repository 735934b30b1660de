"""Structures by name with the sites that their ligands show: the bundled ones, yours, and rigid motions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from s2p.datasets.labelled import KnownSites, LabelledChain
from s2p.errors import StructureError
from s2p.evaluation.cases import Truth
from s2p.io.fetch import classify, fetch_structure
from s2p.predictor import load_structure
from s2p.structure.arrays import Ligand, Structure, binding_residues
from s2p.structure.files.formats import read_sdf_ligand
from s2p.structure.ligands import ligand_sites
from s2p.structure.transforms import superposition

__all__ = ["binding_flags", "course_structures", "find", "labelled_chains", "moved", "path_of", "superposed", "truth_of"]

EXAMPLES = Path(__file__).resolve().parents[2] / "data" / "examples"


def find(name: str, instead: str = "", what: str = "ligand") -> KnownSites:
    """The structure that a notebook's parameter ``structure`` names.

    Parameters
    ----------
    name
        The name of a bundled structure (``1ake``), the path of a file, or an id to fetch: of the Protein Data Bank, of UniProt or
        of the AlphaFold database. ``1ake:A`` takes chain A alone, ``1ake:A,B`` both. The ligand in a file beside a bundled
        structure (``1uou_ligand.sdf``) is put into it.
    instead
        The structure taken if the named one has no ligand and the notebook needs one; a message says so. Default: none.
    what
        ``ligand``, a molecule of interest, or ``nucleic``, DNA or RNA.

    Raises
    ------
    StructureError
        If there is no such structure, it cannot be read, or it lacks the chain.
    """
    item = _known_sites(name, EXAMPLES, beside=True)
    there = item.sites if what == "ligand" else [x for x in item.structure.ligands if x.kind == "nucleic"]
    if there or not instead:
        return item
    wanted = "ligand of interest" if what == "ligand" else "DNA or RNA"
    print(f"{name} contains no {wanted}, and what follows needs one. It is shown with {instead} instead.")
    return find(instead)


def course_structures(names: Iterable[str], folder: str | Path = EXAMPLES) -> list[KnownSites]:
    """Structures with the residues of each of their binding sites.

    Parameters
    ----------
    names
        As in :func:`find`.
    folder
        Where they are looked for first. A ligand beside a file (``1uou_ligand.sdf`` for ``1uou``) is a site too, but no part of
        the structure.

    Raises
    ------
    StructureError
        If one is neither there nor to be had, or cannot be read.
    """
    return [_known_sites(name, Path(folder)) for name in names]


def truth_of(item: KnownSites) -> Truth:
    """A structure as a benchmark has it: without its ligands, and the true sites that they make."""
    sites = ligand_sites(item.structure).sites
    names, ligands = tuple(site.ligand.id for site in sites), tuple(site.ligand.coord for site in sites)
    residues = tuple(site.residues for site in sites)
    return Truth(replace(item.structure, ligands=()), names, ligands, binding_flags(item), residues)


def path_of(name: str) -> Path:
    """The file of a structure that :func:`find` reads, for other programs; fetched if it is named by a database's id."""
    path = _place(name, EXAMPLES)[0]
    return path if path.is_file() else fetch_structure(str(path))


def _place(name: str, folder: Path) -> tuple[Path, str, str]:
    """File or id, chains, and the name of a bundled structure or nothing."""
    stem, chain = (name, "") if Path(name).is_file() or ":" not in name else name.rsplit(":", 1)
    files = {path.name.split(".")[0].lower(): path for path in sorted(folder.iterdir()) if path.suffix in (".gz", ".cif", ".pdb")}
    own = Path(stem).is_file()
    bundled = None if own else files.get(stem.lower())
    if not own and bundled is None and classify(stem) is None:
        known = ", ".join(sorted(path.name.split(".")[0] for path in files.values()))
        raise StructureError(f"{stem}: neither a file, nor a database's id, nor a bundled structure, which are {known}")
    return bundled or Path(stem), chain, bundled.name.split(".")[0] if bundled else ""


def _known_sites(name: str, folder: Path, beside: bool = False) -> KnownSites:
    place, chain, bundled = _place(name, folder)
    structure = load_structure(str(place), chain or None)
    stem = bundled or structure.name
    sites = [site.residues for site in ligand_sites(structure).sites]
    if (sdf := folder / f"{stem}_ligand.sdf").is_file():
        coord, element = read_sdf_ligand(sdf)
        sites.append(binding_residues(structure, coord))
        if beside and len(sites[-1]):
            ligand = Ligand("LIG", structure.chains[0], 9999, "", coord, element, element)
            structure = replace(structure, ligands=(*structure.ligands, ligand))
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


def superposed(structure: Structure, fixed: Structure) -> tuple[Structure, NDArray[np.bool_]]:
    """A structure laid over another of the same residues, and the (N,) residues that were fitted.

    Fitted is what keeps its place: the CA atoms within 2 Å, or the nearest half if that is more, chosen anew after each fit
    until the choice stays.

    Raises
    ------
    StructureError
        If the two do not have the same sequence.
    """
    if structure.sequence() != fixed.sequence():
        raise StructureError(f"{structure.name} and {fixed.name} do not have the same residues")
    moving, still = (s.residues.ca_coord.astype(np.float64) for s in (structure, fixed))
    core = np.ones(len(still), dtype=bool)
    for _ in range(100):  # a choice that goes back and forth must end
        rotation, shift, _ = superposition(still[core], moving[core])
        gap = np.linalg.norm(moving @ rotation.T + shift - still, axis=1)
        before, core = core, gap <= max(2.0, float(np.median(gap)))
        if np.array_equal(core, before):
            break
    return moved(structure, rotation, shift, None), core
