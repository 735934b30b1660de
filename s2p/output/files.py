"""Write a prediction as files: tables, JSON, a structure with scores, scripts for viewers, docking boxes, a report.

A prediction of the structure ``S`` becomes, by format:

======== ======================== =====================================================================================
``csv``  ``S_pockets.csv``        a row per pocket (:data:`POCKET_COLUMNS`); Å, Å³
``csv``  ``S_residues.csv``       a row per residue (:func:`residue_columns`)
``json`` ``S.json``               everything but coordinates, with settings, model and version
``pdb``  ``S_scores.pdb``         heavy atoms, residue probability × 100 as B-factor; ligands as HETATM with B = 0;
                                  ``S_scores.cif`` if the structure does not fit into the PDB format
``pml``  ``S.pml``                PyMOL script; the scores file, which it loads, is written too
``cxc``  ``S.cxc``                ChimeraX script, likewise
``box``  ``S_pocket1_box.txt`` …  Vina, Smina and GNINA configuration per pocket (:func:`s2p.output.viewers.docking_box`)
``html`` ``S_report.html``        self-contained report (:mod:`s2p.output.report`)
``cube`` ``S_density.cube``       density as a Gaussian cube file, of a model that predicts one (:mod:`s2p.output.maps`)
``ccp4`` ``S_density.ccp4``       likewise as a CCP4 map
======== ======================== =====================================================================================

``p2rank`` writes ``S_p2rank_predictions.csv`` and ``S_p2rank_residues.csv``, the tables of P2Rank (:mod:`s2p.output.p2rank`), and
the scores file, whose atom numbers they use.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from importlib import resources
from itertools import count, takewhile
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from s2p import __version__
from s2p.config import BOX, BoxConfig
from s2p.errors import S2PError
from s2p.io.files import csv_text, file_stem, make_folder, write_bytes
from s2p.prediction import Prediction
from s2p.structure.reading import Structure

__all__ = [
    "FORMATS",
    "MAPS",
    "POCKET_COLUMNS",
    "as_json",
    "json_text",
    "pocket_rows",
    "residue_columns",
    "residue_rows",
    "save",
    "scores_order",
    "scores_text",
]

FORMATS = ("csv", "json", "pdb", "pml", "cxc", "html", "box", "spheres", "p2rank")
"""Formats that :func:`save` can write for any prediction."""
MAPS = ("cube", "ccp4")
"""Formats that it can write for a density."""

POCKET_COLUMNS = tuple("rank score probability center_x center_y center_z n_residues volume residues copy_of site".split())


@cache
def asset(name: str) -> str:
    """Text of a file in ``s2p/output``."""
    return resources.files("s2p.output").joinpath(name).read_text(encoding="utf-8")


def fill(name: str, values: Mapping[str, str]) -> str:
    """A template with values in place of ``{{names}}``, replaced in one pass, so that values may contain such text."""
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], asset(name))


def pocket_rows(prediction: Prediction) -> list[tuple[Any, ...]]:
    """One tuple per pocket in the order of :data:`POCKET_COLUMNS`; residues as ``A:45 A:46A …``."""
    ids = prediction.structure.residues.ids()
    return [
        (
            p.rank,
            round(float(p.score), 5),
            round(float(p.probability), 5),
            *(round(x, 3) for x in p.center.astype(float).tolist()),
            len(p.residues),
            round(float(p.volume), 1),
            " ".join(ids[i] for i in p.residues.tolist()),
            p.copy_of,
            p.site,
        )
        for p in prediction.pockets
    ]


def residue_columns(prediction: Prediction) -> tuple[str, ...]:
    """Columns of the table of residues: seven, and one for each of :attr:`Prediction.parts`, such as ``cryptic_probability``."""
    own = "chain number insertion_code name probability smoothed pocket".split()
    return (*own, *(f"{name}_probability" for name in prediction.parts))


def residue_rows(prediction: Prediction) -> list[tuple[Any, ...]]:
    """One tuple per residue in the order of :func:`residue_columns`; ``smoothed`` is 0 or 1, ``pocket`` a rank or 0."""
    r = prediction.structure.residues
    every = (prediction.probabilities, *prediction.parts.values())
    p, *further = ([round(x, 5) for x in values.astype(float).tolist()] for values in every)
    columns = (r.chain, r.number, r.insertion_code, r.name, prediction.smoothed.astype(int), prediction.pocket_of_residue)
    chain, number, code, name, smoothed, pocket = (column.tolist() for column in columns)
    return list(zip(chain, number, code, name, p, smoothed, pocket, *further, strict=True))


def as_json(prediction: Prediction) -> dict[str, Any]:
    """The prediction as JSON-ready values: everything except coordinates and surface points."""
    structure = prediction.structure
    ids = structure.residues.ids()
    return {
        "format": "s2p prediction 1",
        "s2p_version": __version__,
        "model": prediction.model,
        "settings": prediction.settings,
        "notes": [*structure.notes, *prediction.notes],
        "structure": {
            "name": structure.name,
            "chains": structure.chains,
            "n_residues": len(structure.residues),
            "n_atoms": len(structure.atoms),
            "ligands": [
                {"id": x.id, "kind": x.kind, "n_atoms": len(x.coord), "center": np.round(x.coord.mean(axis=0), 3).tolist()}
                for x in structure.ligands
            ],
        },
        "pockets": [
            {
                **dict(zip(POCKET_COLUMNS[:3], row[:3], strict=True)),
                "center": list(row[3:6]),
                "sites": np.round(p.sites.astype(float), 3).tolist(),
                "volume": row[7],
                "copy_of": p.copy_of,
                "site": p.site,
                "n_points": len(p.points),
                "residues": [ids[i] for i in p.residues.tolist()],
            }
            for p, row in zip(prediction.pockets, pocket_rows(prediction), strict=True)
        ],
        "residues": [
            {"id": i, "name": row[3], "probability": row[4], "positive": bool(q), "smoothed": bool(row[5]), "pocket": row[6]}
            | dict(zip(residue_columns(prediction)[7:], row[7:], strict=True))
            for i, q, row in zip(ids, prediction.positive.tolist(), residue_rows(prediction), strict=True)
        ],
    }


def scores_text(prediction: Prediction) -> tuple[str, str]:
    """The structure with residue probability × 100 as B-factor, and the suffix of its format.

    PDB and ``"pdb"``; mmCIF and ``"cif"`` if the structure's names, numbers or size do not fit into the PDB format.
    """
    structure = prediction.structure
    parsed = _to_gemmi(structure, prediction.probabilities)
    if _fits_pdb(structure):
        return str(parsed.make_pdb_string()), "pdb"
    return str(parsed.make_mmcif_document().as_string()), "cif"


def scores_order(structure: Structure) -> NDArray[np.int32]:
    """Residue index of each atom of :func:`scores_text` in file order, -1 for ligand atoms.

    Viewers identify atoms by this, because not all of them read insertion codes.
    """
    atoms = structure.atoms
    owner = np.append(atoms.residue_index, np.full(sum(len(x.coord) for x in structure.ligands), -1)).astype(np.int32)
    return owner[_file_order(structure)]


def _file_order(structure: Structure) -> NDArray[np.int64]:
    """Atoms of the protein, and then of its ligands, in the order of the scores file."""
    place = {name: k for k, name in enumerate(_chain_order(structure))}
    protein = structure.residues.chain[structure.atoms.residue_index].tolist()
    chains = [*protein, *(x.chain for x in structure.ligands for _ in x.coord)]
    return np.argsort([place[name] for name in chains], kind="stable")


def _chain_order(structure: Structure) -> list[str]:
    """Chains of the scores file: within each, protein comes first, then ligands."""
    return list(dict.fromkeys([*structure.chains, *(ligand.chain for ligand in structure.ligands)]))


def _serials(structure: Structure, scores: str, suffix: str) -> NDArray[np.int64]:
    """(A,) number of each of the protein's atoms in the text of a scores file."""
    atoms = [line for line in scores.splitlines() if line.startswith(("ATOM ", "HETATM"))]
    numbers = np.array([int(line[6:11] if suffix == "pdb" else line.split()[1]) for line in atoms])
    found = np.empty_like(numbers)
    found[_file_order(structure)] = numbers
    return found[: len(structure.atoms)]


def _to_gemmi(structure: Structure, probabilities: Any) -> Any:
    import gemmi

    atoms, residues = structure.atoms, structure.residues
    parsed, model = gemmi.Structure(), gemmi.Model(1)
    parsed.name = re.sub(r"[^A-Za-z0-9_.-]", "_", structure.name)[:40] or "s2p"
    chains = {name: gemmi.Chain(name) for name in _chain_order(structure)}
    place_of = {name: k for k, name in enumerate(chains, start=1)}
    b_factor = np.clip(np.nan_to_num(np.asarray(probabilities, dtype=float)) * 100, 0, 100).round(2).tolist()

    def add(chain: str, number: int, code: str, name: str, label: int | None, polymer: bool, content: Any, b: float) -> None:
        new = gemmi.Residue()
        new.name, new.seqid, new.label_seq = name, gemmi.SeqId(number, code or " "), label
        new.entity_type = gemmi.EntityType.Polymer if polymer else gemmi.EntityType.NonPolymer
        new.het_flag = "A" if polymer else "H"
        # gemmi makes these from the chain's name, without quotes in mmCIF tables.
        new.subchain = f"{place_of[chain]}p" if polymer else f"{place_of[chain]}n{len(chains[chain])}"
        names, elements, coord = content
        for atom_name, element, position in zip(names, elements, coord.astype(float).round(3).tolist(), strict=True):
            atom = gemmi.Atom()
            atom.name, atom.element, atom.pos, atom.b_iso = atom_name, gemmi.Element(element), gemmi.Position(*position), b
            new.add_atom(atom)
        chains[chain].add_residue(new)

    start = np.searchsorted(atoms.residue_index, np.arange(len(residues) + 1)).tolist()
    columns = (residues.chain, residues.number, residues.insertion_code, residues.name, residues.label_seq_id)
    for i, (chain, number, code, name, label) in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
        own = slice(start[i], start[i + 1])
        add(chain, number, code, name, label or None, True, (atoms.name[own], atoms.element[own], atoms.coord[own]), b_factor[i])
    for x in structure.ligands:
        content = (x.atom_name, x.element, x.coord)
        add(x.chain, x.number, x.insertion_code, x.name, None, x.kind == "nucleic", content, 0.0)
    for new_chain in chains.values():
        model.add_chain(new_chain)
    parsed.add_model(model)
    parsed.ensure_entities()
    parsed.deduplicate_entities()
    parsed.assign_serial_numbers()
    return parsed


def _fits_pdb(structure: Structure) -> bool:
    """Whether every name, number and coordinate fits into the columns of the PDB format."""
    residues, ligands = structure.residues, structure.ligands
    # A TER record takes a serial number too; two-letter chains are an extension that PyMOL and others misread.
    n_serials = len(structure.atoms) + sum(len(x.coord) for x in ligands) + len(structure.chains) + len(ligands)
    coord = np.concatenate([structure.atoms.coord, *(x.coord for x in ligands)])
    numbers = [*residues.number.tolist(), *(x.number for x in ligands)]
    widths = (
        (1, structure.chains + [x.chain for x in ligands]),
        (1, [*residues.insertion_code.tolist(), *(x.insertion_code for x in ligands)]),
        (3, [*np.unique(residues.name).tolist(), *(x.name for x in ligands)]),
        (4, [*np.unique(structure.atoms.name).tolist(), *(n for x in ligands for n in x.atom_name.tolist())]),
    )
    return (
        n_serials <= 99_999
        and bool((coord > -999).all() and (coord < 9999).all())
        and (not numbers or (min(numbers) >= -999 and max(numbers) <= 9999))
        and all(len(text) <= width and text.isascii() and text.isprintable() for width, texts in widths for text in texts)
    )


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON with NumPy scalars as numbers and NaN or infinity, which JSON lacks, as null."""
    plain = json.dumps(value, default=lambda x: x.tolist() if isinstance(x, (np.generic, np.ndarray)) else str(x))
    finite = json.loads(plain, parse_constant=lambda _: None)
    return json.dumps(finite, indent=indent, ensure_ascii=False, allow_nan=False)


def save(prediction: Prediction, folder: str | Path, formats: Iterable[str] = FORMATS, box: BoxConfig = BOX) -> list[Path]:
    """Write the prediction in the named formats (see the table above); ``box``: settings of the docking boxes.

    All contents are made before any file is written, and each file gets its name only when it is complete. Files that an earlier
    run wrote under the same name are removed, so that all files in the folder agree.

    Returns
    -------
    list of Path
        The files, in the order of :data:`FORMATS` and :data:`MAPS`.

    Raises
    ------
    S2PError
        For an unknown format, a map of a prediction without a density, or a folder that cannot be written.
    """
    wanted = [formats] if isinstance(formats, str) else list(formats)
    for name in wanted:
        if name not in (*FORMATS, *MAPS):
            raise S2PError(f"there is no output format {name!r}; the formats are {', '.join((*FORMATS, *MAPS))}")
        if name in MAPS and prediction.density is None:
            raise S2PError(f"{prediction.model} predicts no density to write as {name}; a model that does is kalasanty")
    stem, folder = file_stem(prediction.structure.name), Path(folder)
    files = _compose(prediction, stem, wanted, box)
    make_folder(folder)
    written = [write_bytes(folder / name, content) for name, content in files.items()]
    _WRITER.update((path.absolute(), prediction) for path in written)
    ends = ["_pockets.csv", "_residues.csv", ".json", "_scores.pdb", "_scores.cif", ".pml", ".cxc", "_report.html"]
    ends += ["_p2rank_predictions.csv", "_p2rank_residues.csv"]
    earlier = [folder / f"{stem}{end}" for end in (*ends, "_density.cube", "_density.ccp4")]
    # By name, because the folder of a batch contains very many files.
    for end in ("_box.txt", ".sph"):
        earlier += takewhile(Path.is_file, (folder / f"{stem}_pocket{k}{end}" for k in count(1)))
    for path in earlier:
        if _WRITER.get(path.absolute()) is not prediction:
            remove_ours(path)
    return written


_WRITER: WeakValueDictionary[Path, Prediction] = WeakValueDictionary()
"""Files and the predictions that wrote them, so that one prediction can be saved in further formats later."""


def _compose(prediction: Prediction, stem: str, wanted: Collection[str], box: BoxConfig) -> dict[str, bytes]:
    """Content of every file by name."""
    if {"pml", "cxc", "box", "spheres"} & set(wanted):
        from s2p.output import viewers

    files: dict[str, str | bytes] = {}
    if "p2rank" in wanted:
        from s2p.output import p2rank
    if "csv" in wanted:
        files[f"{stem}_pockets.csv"] = csv_text(pocket_rows(prediction), POCKET_COLUMNS)
        files[f"{stem}_residues.csv"] = csv_text(residue_rows(prediction), residue_columns(prediction))
    if "json" in wanted:
        files[f"{stem}.json"] = json_text(as_json(prediction), indent=1) + "\n"
    if {"pdb", "pml", "cxc", "p2rank"} & set(wanted):
        text, suffix = scores_text(prediction)
        mark = "written by s2p: B-factor = residue probability x 100\n"
        files[f"{stem}_scores.{suffix}"] = ("REMARK   6 " if suffix == "pdb" else "# ") + mark + text
        if "pml" in wanted:
            files[f"{stem}.pml"] = viewers.pymol_script(prediction, stem, suffix)
        if "cxc" in wanted:
            files[f"{stem}.cxc"] = viewers.chimerax_script(prediction, stem, suffix)
        if "p2rank" in wanted:
            serials = _serials(prediction.structure, text, suffix)
            files[f"{stem}_p2rank_predictions.csv"] = p2rank.predictions_text(prediction, serials)
            files[f"{stem}_p2rank_residues.csv"] = p2rank.residues_text(prediction)
    if "html" in wanted:
        from s2p.output import report

        files[f"{stem}_report.html"] = report.render(prediction)
    if "box" in wanted:
        files |= {f"{stem}_pocket{p.rank}_box.txt": viewers.box_text(prediction, p, box) for p in prediction.pockets}
    if "spheres" in wanted:
        files |= {f"{stem}_pocket{p.rank}.sph": viewers.spheres_text(prediction, p) for p in prediction.pockets}
    if prediction.density is not None:
        from s2p.output import maps

        grid = prediction.density.values, prediction.density.origin, prediction.density.step
        if "cube" in wanted:
            files[f"{stem}_density.cube"] = maps.cube_text(*grid)
        if "ccp4" in wanted:
            files[f"{stem}_density.ccp4"] = maps.ccp4_bytes(*grid)
    # UTF-8 cannot encode lone surrogates, which occur in file names that are not UTF-8.
    return {name: text if isinstance(text, bytes) else text.encode("utf-8", "replace") for name, text in files.items()}


OURS = re.compile(
    rb"^rank,score,probability,center_x|^chain,number,insertion_code,name,probability|s2p prediction 1|written by s2p|"
    rb"^name     ,  rank,   score, probability, sas_points|^chain, residue_label, residue_name, score|"
    rb"for PyMOL: open this file|for ChimeraX: open this file|content=.s2p |AutoDock Vina search box of pocket|"
    rb"^surface points of pocket"
)
"""Text near the beginning of all files of s2p; other files of the same name belong to the user."""


def remove_ours(path: Path) -> None:
    """Remove a file of an earlier run at ``path``, but not a file of the user."""
    if path.is_file():
        with open(path, "rb") as handle:
            ours = OURS.search(handle.read(2000))
        if ours:
            path.unlink()
