"""Designs as files: complexes in which only the designed residues differ, FASTA, tables, and a report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import gemmi
import numpy as np
from numpy.typing import NDArray

from s2p.config import ReadConfig
from s2p.errors import S2PError
from s2p.io.files import file_stem, make_folder, write_csv, write_text
from s2p.models.pocketgen.atoms import LETTERS, RESIDUES, SLOTS
from s2p.models.pocketgen.config import PocketConfig
from s2p.models.pocketgen.data import LigandAtoms, Pocket, designable
from s2p.models.pocketgen.design import Design, Measures
from s2p.models.pocketgen.ligand import dictionary_bonds, sdf_ligand
from s2p.models.pocketgen.report import design_page
from s2p.models.pocketgen.scores import Scores, designed_sequences, mutations
from s2p.structure.arrays import AtomTable, changes, codes
from s2p.structure.files.formats import read_annotations, read_content
from s2p.structure.reading import Ligand, Structure, read_atoms

__all__ = ["complex_text", "design_fasta", "find_ligand", "find_residues", "place_in_pocket", "save_designs", "without"]

LIGAND_NAME = "LIG"
CHAINS = "LMXYZABCDEFGHIJKNOPQRSTUVW0123456789abcdefghijklmnopqrstuvwxyz"


def find_ligand(structure: Structure, wanted: str) -> tuple[LigandAtoms, bool]:
    """Heavy atoms of a ligand, with their bonds if known, and whether it is part of the structure's file.

    Parameters
    ----------
    wanted
        File in SDF or MOL format, or a residue name as in the structure (``STR``), with its number if there are several
        (``STR A:401``); the first of that name is taken.

    Raises
    ------
    S2PError
        If neither exists.
    """
    if Path(wanted).suffix.lower() in (".sdf", ".mol"):
        return sdf_ligand(wanted), False
    found: Sequence[Ligand] = [x for x in structure.ligands if wanted in (x.name, x.id)]
    if not found:
        known = ", ".join(sorted({x.id for x in structure.ligands})[:12]) or "none"
        raise S2PError(f"{structure.name}: there is no ligand {wanted!r} in it; it has {known}; or give a .sdf or .mol file")
    bonds = dictionary_bonds(found[0].name, found[0].atom_name.tolist())
    return LigandAtoms(found[0].coord, found[0].element, bonds), True


def find_residues(structure: Structure, text: str) -> NDArray[np.int64]:
    """Ascending indices of residues named ``A:45,A:46A``.

    :class:`S2PError` if the structure has no such residue, or one cannot be designed, because it has no CA, or neither it nor its
    parent is a standard amino acid.
    """
    place = {name: k for k, name in enumerate(structure.residues.ids())}
    wanted = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = [name for name in wanted if name not in place]
    if unknown or not wanted:
        raise S2PError(f"{structure.name}: there is no residue {', '.join(unknown) or repr(text)}; write them like A:45,A:46")
    index = np.sort([place[name] for name in wanted]).astype(np.int64)
    odd = ~designable(structure)[index]
    if odd.any():
        names = ", ".join(np.array(structure.residues.ids())[index[odd]].tolist())
        raise S2PError(f"{structure.name}: {names} cannot be designed: no known amino acid, or without a CA atom; leave them out")
    return index


def without(structure: Structure, residues: NDArray[np.int64], text: str) -> NDArray[np.int64]:
    """The residues to be designed without those of ``text``; :class:`S2PError` if one is not among them, or none is left."""
    kept, ids = find_residues(structure, text), np.array(structure.residues.ids())
    strange, left = ", ".join(ids[np.setdiff1d(kept, residues)]), np.setdiff1d(residues, kept)
    if strange or not len(left):
        wrong = f"{strange} would not be designed anyway" if strange else "none is left"
        raise S2PError(f"{structure.name}: {wrong}; keep only some of the residues to be designed: {', '.join(ids[residues])}")
    return left


def place_in_pocket(
    structure: Structure, ligand: LigandAtoms, config: PocketConfig, *, keep_pose: bool
) -> tuple[NDArray[np.int64], LigandAtoms]:
    """Residues of the best pocket that the default model predicts, and the ligand, moved there unless its pose is kept.

    :class:`S2PError` if no pocket is predicted.
    """
    from s2p.predictor import Seq2Pocket

    pockets = Seq2Pocket.load(device="cpu").predict(structure).pockets
    if not pockets:
        raise S2PError(f"{structure.name}: no pocket is predicted in it; name residues with --pocket A:45,A:46")
    best = pockets[0]
    if not keep_pose:
        shift = best.center - ligand.coord.mean(axis=0)
        ligand = replace(ligand, coord=(ligand.coord + shift).astype(np.float32))
    index = best.residues[designable(structure)[best.residues]]
    distance = np.linalg.norm(structure.residues.ca_coord[index] - ligand.coord.mean(axis=0), axis=1)
    return np.sort(index[np.argsort(distance, kind="stable")[: config.max_residues]]).astype(np.int64), ligand


def complex_text(path: Path, structure: Structure, pocket: Pocket, design: Design, ligand: LigandAtoms | None) -> tuple[str, str]:
    """The file at ``path`` with the designed residues in place, and its suffix: PDB stays PDB, mmCIF mmCIF.

    All other atoms are as in the file, under the ids that the reader gives them. B-factors of designed residues are 100 times the
    probability of their type. Links to designed residues and sequence records are left out, because they are no longer valid.
    ``ligand``: added as residue LIG in its own chain; ``None`` if the file has it.
    """
    content = read_content(path, ReadConfig())
    table, index = read_atoms(content, ReadConfig())
    places = {k: place for place, k in enumerate(pocket.residues[pocket.pocket].tolist())}
    parsed = read_annotations(content, ReadConfig())
    parsed.entities = gemmi.EntityList()
    while len(parsed):  # an empty one
        del parsed[0]
    model = gemmi.Model(1)
    for chain in _gemmi_chains(table, index, design, places):
        model.add_chain(chain)
    residues = structure.residues
    ids = set(zip(*(x[list(places)].tolist() for x in (residues.chain, residues.number, residues.insertion_code)), strict=True))
    for k in reversed(range(len(parsed.connections))):
        ends = (parsed.connections[k].partner1, parsed.connections[k].partner2)
        if any((p.chain_name, p.res_id.seqid.num, p.res_id.seqid.icode.strip()) in ids for p in ends):
            del parsed.connections[k]
    if ligand is not None:
        _append(model, ligand)
    parsed.add_model(model)
    parsed.setup_entities()
    parsed.assign_serial_numbers()
    if content.kind == "pdb":
        return parsed.make_pdb_string(), ".pdb"
    return parsed.make_mmcif_document().as_string(), ".cif"


def _gemmi_chains(table: AtomTable, index: NDArray[np.int64], design: Design, places: dict[int, int]) -> Iterator[gemmi.Chain]:
    """Chains of a file, with the residues of ``places`` designed."""
    chain = table.chain
    place = (chain, table.number, table.insertion_code)
    wanted = np.isin(index, list(places))
    at = codes(*place)
    # Another residue at the position of a designed one is its alternative.
    keep = ~(np.isin(at, at[wanted]) & ~wanted & (table.altloc != ""))
    start = np.flatnonzero(changes(*place, table.residue_name, table.part, index) & keep | (keep & ~np.r_[False, keep[:-1]]))
    ends = np.r_[start[1:], len(table)]
    new: gemmi.Chain | None = None
    done = set()
    for a, b in zip(start.tolist(), ends.tolist(), strict=True):
        if new is None or new.name != chain[a]:
            if new is not None:
                yield new
            new = gemmi.Chain(str(chain[a]))
        k = int(index[a])
        if k in done:
            continue
        residue = gemmi.Residue()
        residue.name, residue.het_flag = str(table.residue_name[a]), "H" if table.het[a] else "A"
        residue.seqid = gemmi.SeqId(int(table.number[a]), str(table.insertion_code[a]) or " ")
        residue.subchain, residue.label_seq = str(table.label_chain[a]), int(table.label_number[a]) or None
        if k in places:
            done.add(k)
            _design(residue, design, places[k])
        for row in np.flatnonzero(keep[a:b]) + a if k not in places else ():
            numbers = table.coord[row], table.b_factor[row], table.occupancy[row]
            residue.add_atom(_atom(str(table.name[row]), table.element[row], *numbers, table.altloc[row]))
        new.add_residue(residue)
    if new is not None:
        yield new


def _atom(
    name: str, element: str, place: Iterable[float], b_factor: float = 20.0, occupancy: float = 1.0, altloc: str = ""
) -> gemmi.Atom:
    atom = gemmi.Atom()
    atom.name, atom.element, atom.altloc = name, gemmi.Element(element), altloc or "\0"
    atom.pos, atom.occ, atom.b_iso = gemmi.Position(*place), occupancy, b_factor
    return atom


def _design(residue: gemmi.Residue, design: Design, place: int) -> None:
    """Name and atoms of one designed residue."""
    kind = int(design.types[place])
    residue.name = RESIDUES[kind - 1]
    b_factor = float(100 * design.probabilities[place, kind - 1])
    for name, coord in zip(SLOTS[residue.name], design.coord[place].tolist(), strict=False):
        residue.add_atom(_atom(name, name[0], coord, b_factor))


def _append(model: gemmi.Model, ligand: LigandAtoms) -> None:
    """Add the ligand as a residue of its own chain."""
    taken = {chain.name for chain in model}
    chain = gemmi.Chain(next((name for name in CHAINS if name not in taken), "lig"))
    residue = gemmi.Residue()
    residue.name, residue.seqid, residue.het_flag = LIGAND_NAME, gemmi.SeqId("1"), "H"
    count: dict[str, int] = {}
    for place, element in zip(ligand.coord.tolist(), ligand.element.tolist(), strict=True):
        count[element] = count.get(element, 0) + 1
        residue.add_atom(_atom(f"{element}{count[element]}"[:4], element, place))
    chain.add_residue(residue)
    model.add_chain(chain)


def design_fasta(structure: Structure, pocket: Pocket, designs: Sequence[Design]) -> str:
    """Observed sequences of the chains with designed residues: first the native one, then those of the designs."""
    chains = structure.residues.chain[pocket.residues[pocket.pocket]]
    designed = [designed_sequences(structure, pocket, d) for d in designs]
    lines = []
    for name in dict.fromkeys(chains.tolist()):
        lines += [f">{structure.name}|chain {name}|native", structure.sequence(name)]
        for k, sequences in enumerate(designed, start=1):
            lines += [f">{structure.name}|chain {name}|design {k}", sequences[name]]
    return "\n".join(lines) + "\n"


def save_designs(
    path: Path,
    structure: Structure,
    pocket: Pocket,
    ligand: LigandAtoms,
    designs: Sequence[Design],
    measures: Sequence[Measures],
    scores: Sequence[Scores],
    folder: Path,
    *,
    ligand_in_file: bool,
    origin: str = "",
) -> list[Path]:
    """Write complexes, FASTA, ``*_designs.csv``, ``*_designs_by_residue.csv`` (a line per residue of a design) and a report.

    Complexes that the ``*_designs.csv`` of an earlier run lists and this run does not replace are removed. ``measures``
    and ``scores``: of the native pocket and of each design; scores that were not requested have no column. ``origin``:
    where types and atoms come from, for the report.
    """
    make_folder(folder)
    stem = file_stem(structure.name)
    table, written = folder / f"{stem}_designs.csv", []
    lines = table.read_text(encoding="utf-8").splitlines() if table.is_file() else []
    earlier = len(lines) if lines and lines[0].startswith("design,sequence,") else 0
    for k, d in enumerate(designs, start=1):
        text, suffix = complex_text(path, structure, pocket, d, None if ligand_in_file else ligand)
        written.append(write_text(folder / f"{stem}_design_{k}{suffix}", text))
    written.append(write_text(folder / f"{stem}_designs.fasta", design_fasta(structure, pocket, designs)))
    native, own = scores[0], scores[1:]
    rows: list[dict[str, object]] = [
        {
            "design": k,
            "sequence": d.sequence,
            "mutations": ", ".join(mutations(structure, pocket, d)),
            **{key: _short(value) for key, value in (asdict(m) | _columns(s, native)).items()},
        }
        for k, (d, m, s) in enumerate(zip(designs, measures[1:], own, strict=True), start=1)
    ]
    written.append(write_csv(table, rows))
    ids = structure.residues.ids()
    index = pocket.residues[pocket.pocket].tolist()
    each: list[dict[str, object]] = [
        {
            "design": k,
            "residue": ids[index[place]],
            "native": str(structure.residues.one_letter[index[place]]),
            "designed": d.sequence[place],
            **{f"p_{letter}": _short(value) for letter, value in zip(LETTERS, d.probabilities[place].tolist(), strict=True)},
        }
        for k, d in enumerate(designs, start=1)
        for place in range(len(index))
    ]
    written.append(write_csv(folder / f"{stem}_designs_by_residue.csv", each))
    page = design_page(structure, pocket, ligand, designs, measures, scores, origin)
    written.append(write_text(folder / f"{stem}_designs.html", page))
    for path in (folder / f"{stem}_design_{k}{suffix}" for k in range(1, earlier) for suffix in (".pdb", ".cif")):
        if path not in written:
            path.unlink(missing_ok=True)
    return written


def _columns(scores: Scores, native: Scores) -> dict[str, float]:
    """The available scores; each score of binding is followed by that of the native pocket."""
    found = {key: value for key, value in asdict(scores).items() if value is not None}
    return found | {f"native_{key}": value for key, value in asdict(native).items() if value is not None}


def _short(value: float) -> float | int:
    return value if isinstance(value, int) else round(value, 4)
