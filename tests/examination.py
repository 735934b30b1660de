"""What a file must survive: reading, the structural stages and writing, with a result or one clear sentence."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from s2p.batch.inputs import BatchOptions, Item, load_predictor
from s2p.batch.run import predict_batch
from s2p.config import DEFAULT_MODEL
from s2p.errors import S2PError
from s2p.output.files import FORMATS, save
from s2p.prediction import Pocket, Prediction
from s2p.structure.reading import Structure, read_structure
from s2p.surface.points import surface_points

__all__ = ["check_refusal", "check_structure", "examine", "examine_whole"]


def examine(path: Path, folder: Path | None = None) -> str:
    """``""`` if the file gives a structure with a surface, else the sentence that refuses it; anything else raises.

    With ``folder``, a prediction of it is written there too, in every format.
    """
    try:
        structure = read_structure(path)
    except S2PError as error:
        check_refusal(str(error), path)
        return str(error)
    check_structure(structure)
    atoms = structure.atoms
    cloud = surface_points(atoms.coord, atoms.element, np.arange(len(atoms)))
    assert np.isfinite(cloud.coord).all() and len(cloud.coord) == len(cloud.atom) <= 50 * len(atoms)
    if folder is not None:
        for written in save(_prediction(structure), folder, FORMATS):
            assert written.parent == folder and written.stat().st_size
            written.unlink()
    return ""


def examine_whole(path: Path, folder: Path, look: Callable[[Path], None] = lambda folder: None) -> str:
    """The same for ``s2p predict`` on the file, language model and report included; ``look`` sees what was written."""
    options = BatchOptions(folder, _predictor, FORMATS, quiet=True)
    (row,) = predict_batch([Item(str(path), "examined", path=path)], options)
    if row.status == "error":
        check_refusal(row.message, path)
        return row.message
    assert row.status == "ok" and row.prediction is not None
    check_structure(row.prediction.structure)
    assert np.isfinite(row.prediction.probabilities).all()
    for pocket in row.prediction.pockets:
        assert np.isfinite([pocket.score, pocket.probability, pocket.volume, *pocket.center]).all()
    look(folder)
    for written in row.paths:
        assert written.parent == folder and written.stat().st_size
        written.unlink()
    return ""


@cache
def _predictor() -> Any:
    return load_predictor(DEFAULT_MODEL, None, "cpu")


def check_refusal(message: str, path: Path) -> None:
    """One sentence that names the file and leaks nothing of how it was found out."""
    assert str(path) in message, f"does not name the file: {message}"
    assert "\n" not in message and message.isprintable() and len(message) < 600 + len(str(path)), f"not one sentence: {message!r}"
    assert "S2P_DEBUG" not in message and "Traceback" not in message, message


def check_structure(structure: Structure) -> None:
    """The promises of :class:`s2p.structure.reading.Structure`."""
    atoms, residues = structure.atoms, structure.residues
    n = len(residues)
    assert n and len(atoms) >= n
    assert {len(x) for x in (atoms.coord, atoms.element, atoms.name, atoms.residue_index, atoms.b_factor)} == {len(atoms)}
    assert {len(x) for x in (residues.chain, residues.number, residues.name, residues.one_letter, residues.ca_coord)} == {n}
    assert all(np.isfinite(x).all() for x in (atoms.coord, atoms.b_factor, residues.ca_coord))
    assert np.array_equal(np.unique(atoms.residue_index), np.arange(n)) and (np.diff(atoms.residue_index) >= 0).all()
    assert not np.isin(atoms.element, ("H", "D")).any()
    assert all(len(letter) == 1 and letter.isupper() for letter in residues.one_letter.tolist())
    for ligand in structure.ligands:
        assert len(ligand.coord) == len(ligand.element) == len(ligand.atom_name) > 0 and np.isfinite(ligand.coord).all()


def _prediction(structure: Structure) -> Prediction:
    """One pocket around the first residue."""
    n = len(structure.residues)
    center = structure.residues.ca_coord[0]
    pocket = Pocket(1, 0.9, 0.8, np.arange(min(n, 5), dtype=np.int32), np.arange(1, dtype=np.int32), center[None], center, 100.0)
    zeros = np.zeros(n, dtype=bool)
    return Prediction(structure, np.full(n, 0.5, np.float32), zeros, ~zeros, (pocket,), "awkward", {"threshold": 0.5})
