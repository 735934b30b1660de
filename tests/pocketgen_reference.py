"""What AutoDock Vina and RDKit say of bundled complexes.

``python tests/pocketgen_reference.py`` writes ``data/pocketgen_reference.json``; it needs the extra ``design`` and the program
``vina``. Tests compare our rules with the record and, where RDKit and Vina are installed, the record with what they say now.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from s2p.models.pocketgen.config import PocketConfig
from s2p.models.pocketgen.data import LigandAtoms, Pocket, make_pocket, pocket_residues
from s2p.models.pocketgen.output import find_ligand
from s2p.structure.reading import Structure, read_structure

EXAMPLES = Path(__file__).resolve().parents[1] / "data" / "examples"
RECORD = Path(__file__).parent / "data" / "pocketgen_reference.json"
COMPLEXES = {
    "1a28.pdb.gz": "STR",
    "1ake.cif.gz": "AP5",
    "1hpv.pdb.gz": "478",
    "1ia1.pdb.gz": "1ia1_ligand.sdf",
    "1s3v.pdb.gz": "1s3v_ligand.sdf",
    "1uou.pdb.gz": "1uou_ligand.sdf",
    "1pwc.pdb.gz": "PNM",
    "3mht.pdb.gz": "SAH",
    "4CUP.cif": "ZYB",
    "6WQA.cif": "ZMA",
    "7CFN.cif.gz": "FX0",
}


@cache
def complex_of(name: str) -> tuple[Structure, LigandAtoms, Pocket]:
    """A bundled structure, its ligand and the pocket around it."""
    structure = read_structure(EXAMPLES / name)
    wanted = COMPLEXES[name]
    ligand, _ = find_ligand(structure, str(EXAMPLES / wanted) if wanted.endswith(".sdf") else wanted)
    return structure, ligand, make_pocket(structure, ligand, pocket_residues(structure, ligand.coord, PocketConfig()))


def vina_says(name: str) -> dict[str, float]:
    """kcal/mol by the program: of the native pose as it stands, and after local optimisation."""
    from s2p.models.pocketgen.docking import ligand_pdbqt, receptor_atoms, vina_score

    structure, ligand, pocket = complex_of(name)
    receptor, text = receptor_atoms(structure, pocket), ligand_pdbqt(ligand)
    return {
        "score_only": vina_score(receptor, text, relax=False, engine="program"),
        "local_only": vina_score(receptor, text, engine="program"),
    }


def rdkit_says(name: str) -> dict[str, list[int]]:
    """Atoms of the ligand in each of RDKit's families."""
    import numpy as np

    from s2p.models.pocketgen.ligand import FAMILIES, rdkit_families

    table = rdkit_families(complex_of(name)[1])
    return {family: np.flatnonzero(column).tolist() for family, column in zip(FAMILIES, table.T, strict=True)}


def main() -> None:
    """Write the record."""
    import subprocess
    from importlib.metadata import version

    program = subprocess.run(["vina", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    record: dict[str, Any] = {
        "made_by": "python tests/pocketgen_reference.py",
        "versions": {"vina": program, "meeko": version("meeko"), "rdkit": version("rdkit")},
        "vina": {name: vina_says(name) for name in COMPLEXES},
        "rdkit": {name: rdkit_says(name) for name in COMPLEXES},
    }
    rows = [f'"{key}": {json.dumps(record[key])}' for key in ("made_by", "versions")]
    for key in ("vina", "rdkit"):
        each = ",\n".join(f'    "{name}": {json.dumps(value)}' for name, value in record[key].items())
        rows.append(f'"{key}": {{\n{each}\n  }}')
    RECORD.write_text("{\n  " + ",\n  ".join(rows) + "\n}\n")


if __name__ == "__main__":
    main()
