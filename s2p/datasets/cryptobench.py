"""CryptoBench: sites that are closed or absent in an unbound structure and open when a ligand binds.

The published JSON (``dataset.json``, ``test.json``, ``train-fold-0.json`` …) gives author numbers of unbound structures, so it is
read together with those structures. A table of residue lists is read as it is: see :func:`read_residue_lists`.

Source: Škrhák et al. 2025, Bioinformatics 41, btae745. Entries whose ``apo_chain`` contains ``-`` (sites across chains) are left
out, and overlapping sites of a chain merged, as in the data of Seq2Pocket: average linkage of 1 - shared / smaller, cut at 0.5.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s2p.datasets.label_files import Annotation
from s2p.datasets.labelled import LETTERS
from s2p.errors import S2PError
from s2p.io.files import read_csv, read_text
from s2p.structure.reading import Structure

__all__ = ["CrypticSite", "cryptobench_annotations", "read_cryptobench", "read_residue_lists"]

OVERLAP = 0.5
_FIELDS = {"apo_chain": str, "holo_pdb_id": str, "ligand": str, "apo_pocket_selection": list}
_SELECTION = re.compile(r"(.+)_(-?[0-9]{1,9})([A-Za-z]?)")


@dataclass(frozen=True)
class CrypticSite:
    """One site of an unbound chain, joined from the entries that overlap."""

    pdb: str
    chain: str
    ligands: tuple[str, ...]
    """Ligands that bind there, as ``9xyz-HET``."""
    residues: frozenset[tuple[int, str]]
    """Author numbers and insertion codes."""


def read_cryptobench(path: str | Path) -> list[CrypticSite]:
    """Sites of CryptoBench's JSON, one by one; entries across several chains are left out.

    :class:`S2PError` names structure, entry and field that differ from the published format; or no entry is of a single chain.
    """
    path, found = Path(path), list[CrypticSite]()
    for pdb, entries in _load(path).items():
        if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
            raise S2PError(f"{path}, {pdb}: expected a list of entries with {', '.join(_FIELDS)}; is it a file of folds?")
        sites = [_site(entry, pdb, f"{path}, {pdb}, entry {k}") for k, entry in enumerate(entries, 1)]
        for chain in dict.fromkeys(s.chain for s in sites if "-" not in s.chain):
            found += _merged([s for s in sites if s.chain == chain])
    if not found:
        raise S2PError(f"{path}: no entry has a single chain, so it contains no usable site")
    return found


def _load(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise S2PError(f"{path}: not a JSON file ({str(error)[:100]}); expected a file of CryptoBench") from None
    if not isinstance(data, dict) or not data:
        raise S2PError(f"{path}: expected a JSON object of structures, as in CryptoBench's dataset.json or folds.json")
    return data


def _site(entry: dict[str, Any], pdb: str, where: str) -> CrypticSite:
    for key, kind in _FIELDS.items():
        if not isinstance(entry.get(key), kind) or not entry[key]:
            raise S2PError(f"{where}: {key} is missing, empty or no {'list' if kind is list else 'text'}")
    chain, residues = entry["apo_chain"], set()
    for token in entry["apo_pocket_selection"]:
        match = _SELECTION.fullmatch(str(token))
        if match is None or match[1] not in chain.split("-"):
            raise S2PError(f"{where}: {str(token)[:20]!r} is not a residue of its chain; expected a name like {chain}_123")
        residues.add((int(match[2]), match[3].upper()))
    return CrypticSite(pdb, chain, (f"{entry['holo_pdb_id']}-{entry['ligand']}",), frozenset(residues))


def _merged(sites: list[CrypticSite]) -> list[CrypticSite]:
    """Sites of one chain, with overlapping ones merged, in the order of their first entries."""
    if len(sites) < 2:
        return sites
    from scipy.cluster.hierarchy import fcluster, linkage

    sets = [s.residues for s in sites]
    apart = [1 - len(a & b) / min(len(a), len(b)) for k, a in enumerate(sets) for b in sets[k + 1 :]]
    groups: dict[int, list[CrypticSite]] = {}
    for label, site in zip(fcluster(linkage(apart, "average"), OVERLAP, "distance").tolist(), sites, strict=True):
        groups.setdefault(label, []).append(site)
    first = sites[0]
    return [
        CrypticSite(
            first.pdb,
            first.chain,
            tuple(dict.fromkeys(x for s in g for x in s.ligands)),
            frozenset().union(*(s.residues for s in g)),
        )
        for g in groups.values()
    ]


def cryptobench_annotations(sites: Iterable[CrypticSite], structure: Structure, per: str = "ligand") -> list[Annotation]:
    """The sites of the entry that ``structure`` is named after, on its observed residues; a line per site, or ``per`` chain.

    :class:`S2PError` if less than half of a site's residues are in the chain: then it is another structure.
    """
    lines: list[Annotation] = []
    entry = structure.name.lower()
    for site in (x for x in sites if x.pdb.lower() in (entry, entry.removeprefix("pdb"))):  # pdb1abc.ent of the archive
        own = np.flatnonzero(structure.residues.chain == site.chain)
        names = zip(structure.residues.number[own].tolist(), structure.residues.insertion_code[own].tolist(), strict=True)
        indices = np.array([k for k, name in enumerate(names) if name in site.residues], np.int32)
        if len(indices) < len(site.residues) / 2:
            raise S2PError(
                f"{structure.name}: {len(indices)} of {len(site.residues)} residues of a site are in its chain {site.chain}; "
                "CryptoBench's sites need the structure of their entry, with its author numbers"
            )
        kind = " ".join(site.ligands)
        if per == "chain" and lines and lines[-1].chain == site.chain:
            last = lines.pop()
            kind, indices = f"{last.kind} {kind}", np.union1d(last.indices, indices)
        lines.append(Annotation(structure.name, site.chain, kind, indices, structure.sequence(site.chain)))
    return lines


def read_residue_lists(path: str | Path, folds: str | Path, fold: str) -> tuple[list[Annotation], list[str]]:
    """Chains of one fold of a table of residue lists, and names of chains left out: not in the table, or residues out of range.

    The table has the columns ``apo_structure_id``, ``cryptic_residues`` (0-based) and ``sequence``, and ``folds`` the members of
    every fold, as JSON. In the published table the residues are the author numbers of the structure minus 1, but the sequence is
    that of UniProt: the labels of every fourth chain are shifted, and the table does not show which. If labels have to be right,
    read the published JSON with the structures. :class:`S2PError` names the line of a mistake.
    """
    path, table = Path(path), _load(Path(folds))
    if not isinstance(table.get(fold), list):
        raise S2PError(f"{folds}: there is no fold {fold!r}; it has {', '.join(sorted(table))[:200]}")
    wanted, lines, left = set(map(str, table[fold])), list[Annotation](), list[str]()
    for number, row in enumerate(read_csv(path, ("apo_structure_id", "cryptic_residues", "sequence")), 2):
        pdb, sequence = row["apo_structure_id"], row["sequence"].strip().upper()
        if pdb not in wanted:
            continue
        if not sequence or not set(sequence) <= LETTERS:
            raise S2PError(f"{path}, line {number}: the sequence of {pdb} is empty or has characters that are no amino acids")
        try:
            indices = np.unique(np.array(row["cryptic_residues"].split(), np.int32))
        except (ValueError, OverflowError):
            raise S2PError(
                f"{path}, line {number}: cryptic_residues of {pdb} are not whole numbers with spaces between"
            ) from None
        if len(indices) and indices[0] >= 0 and indices[-1] < len(sequence):
            lines.append(Annotation(pdb, "", "CRYPTIC", indices, sequence, number))
        else:
            left.append(pdb)
    if not lines:
        raise S2PError(f"{path}: no usable chain of the fold {fold}")
    return lines, left + sorted(wanted - {a.pdb for a in lines} - set(left))
