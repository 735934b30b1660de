"""A folder of complexes small enough to train on in a second: helices with a benzene beside them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

LETTERS = {"A": "ALA", "L": "LEU", "S": "SER", "K": "LYS", "E": "GLU", "G": "GLY", "F": "PHE", "D": "ASP", "V": "VAL", "T": "THR"}


def helix(seed: int, n: int = 30, chains: str = "A") -> str:
    """PDB text of helices beside each other with a random sequence, chain after chain 9 Å apart."""
    lines, serial = [], 0
    sequence = np.random.default_rng(seed).choice(list(LETTERS), n)
    for k, chain in enumerate(chains):
        for i in range(n):
            angle = np.deg2rad(100.0 * i)
            for atom, radius, rise in (("N", 1.6, -0.9), ("CA", 2.3, 0.0), ("C", 1.7, 1.0), ("O", 2.0, 2.2)):
                serial += 1
                x, y, z = radius * np.cos(angle) + 9.0 * k, radius * np.sin(angle), 1.5 * i + rise
                lines.append(
                    f"ATOM  {serial:5d}  {atom:<3s} {LETTERS[sequence[i]]} {chain}{i + 1:4d}    {x:8.3f}{y:8.3f}{z:8.3f}"
                    f"  1.00 20.00           {atom[0]}"
                )
        lines.append("TER")
    return "\n".join([*lines, "END", ""])


def ligand(height: float) -> str:
    """Six carbons beside the helix."""
    lines = []
    for k in range(6):
        a = k * np.pi / 3
        x, y, z = 5.5 + 1.4 * np.cos(a), 1.4 * np.sin(a), height
        lines.append(f"HETATM{k + 1:5d}  C{k + 1}  BNZ L   1    {x:8.3f}{y:8.3f}{z:8.3f}  1.00 20.00           C")
    return "\n".join([*lines, "END", ""])


def write_complexes(folder: Path) -> Path:
    """Twelve complexes, each a cluster of its own, the last with two ligands and two chains of one sequence."""
    index, clusters = [], []
    for k in range(12):
        name, chains = f"c{k:02d}", "AB" if k == 11 else "A"
        place = folder / "toy" / name
        place.mkdir(parents=True)
        (place / "protein.pdb").write_text(helix(k, chains=chains))
        (place / "ligand_00.pdb").write_text(ligand(12.0))
        if k == 11:
            (place / "ligand_01.pdb").write_text(ligand(30.0))
        index.append({"dataset": "toy", "id": name, "status": "OK", "flag": ""})
        clusters += [{"chain": f"toy|{name}|{c}", "cluster30": f"toy|{name}|A"} for c in chains]
    for file, rows in (("index.csv", index), ("chain_clusters.csv", clusters)):
        with open(folder / file, "w", newline="") as handle:
            writer = csv.DictWriter(handle, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return folder


def write_split(path: Path) -> Path:
    """Eight complexes to train on, three to validate; the first is for the test."""
    names = ["test", *["train"] * 8, *["validation"] * 3]
    path.write_text("dataset,id,split\n" + "".join(f"toy,c{k:02d},{name}\n" for k, name in enumerate(names)))
    return path
