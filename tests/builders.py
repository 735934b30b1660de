"""Small synthetic predictions for tests of what is written and drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from s2p.datasets.labelled import LabelledChain
from s2p.prediction import Pocket, Prediction
from s2p.structure.reading import Atoms, Ligand, Residues, Structure

NASTY = "<script>alert(1)</script>"


def make_structure(
    name: str = "demo",
    *,
    chains: tuple[str, str] = ("A", "B"),
    n: int = 24,
    numbers: tuple[int, int] = (-3, 1),
    nasty: bool = False,
) -> Structure:
    """Two helices, numbered from ``numbers``; the fifth residue of the first chain is 0A."""
    total = 2 * n
    chain = np.repeat(np.array(chains), n)
    number = np.concatenate([first + np.arange(n) for first in numbers]).astype(np.int32)
    code = np.full(total, "", dtype="<U1")
    number[4:n] -= 1
    code[4:5] = "A"
    label = np.tile(np.arange(1, n + 1), 2).astype(np.int32)
    step = np.arange(n)
    angle = np.deg2rad(100.0) * step
    offsets = {
        "N": (1.55, -0.48, -0.9),
        "CA": (2.3, 0.0, 0.0),
        "C": (1.7, 0.45, 1.0),
        "O": (2.0, 0.35, 2.2),
        "CB": (3.3, 0.3, -0.7),
    }
    coord, names = [], []
    for k in range(2):
        for i in step:
            for atom, (radius, turn, rise) in offsets.items():
                phi = angle[i] + turn
                coord.append((radius * np.cos(phi) + 11.0 * k, radius * np.sin(phi), 1.5 * i + rise))
                names.append(atom)
    atom_names = np.array(names)
    coords = np.round(np.array(coord), 3).astype(np.float32)
    index = np.repeat(np.arange(total), len(offsets)).astype(np.int32)
    atoms = Atoms(coords, np.array([x[0] for x in names]), atom_names, index, np.full(len(names), 20.0, np.float32))
    residue_name = np.array(["ALA", "LEU", "SER"] * total)[:total]
    letters = np.array(["A", "L", "S"] * total)[:total]
    residues = Residues(
        chain, number, code, label, residue_name, letters, coords[atom_names == "CA"], np.ones(total, bool), np.ones(total, bool)
    )
    ring = np.array([(5.5 + 1.4 * np.cos(a), 1.4 * np.sin(a), 15.0) for a in np.arange(6) * np.pi / 3], dtype=np.float32)
    ligand_name = NASTY if nasty else "BNZ"
    ligands = (
        Ligand(ligand_name, chains[0], 900, "", ring, np.array(["C"] * 6), np.array([f"C{i}" for i in range(1, 7)])),
        Ligand("ZN", chains[1], 901, "", np.array([[5.5, 0, 30]], np.float32), np.array(["ZN"]), np.array(["ZN"]), "ion"),
    )
    return Structure(name, atoms, residues, ligands, ("a note & <b>more</b>",) if nasty else ())


def make_prediction(name: str = "demo", *, settings: dict[str, Any] | None = None, **options: Any) -> Prediction:
    """Two pockets over the facing residues of :func:`make_structure`; pocket 1 spans both chains."""
    structure = make_structure(name, **options)
    residues = structure.residues
    x = residues.ca_coord[:, 0]
    facing = np.abs(x - 5.5)
    probability = (np.exp(-((facing - 3.0) ** 2) / 8) * 0.98).astype(np.float32)
    low = residues.ca_coord[:, 2] < 18
    positive = probability > 0.5
    pockets = []
    for rank, members in enumerate((positive & low, positive & ~low), start=1):
        if not members.any():
            continue
        index = np.flatnonzero(members).astype(np.int32)
        atoms = np.flatnonzero(np.isin(structure.atoms.residue_index, index) & (structure.atoms.name == "CB")).astype(np.int32)
        points = structure.atoms.coord[atoms] + np.float32([0, 0, 1.5])
        center = structure.atoms.coord[atoms].mean(axis=0)
        pockets.append(Pocket(rank, 0.9 / rank, 0.8 / rank, index, atoms, points, center, 321.5))
    smoothed = np.zeros(len(residues), bool)
    smoothed[np.flatnonzero(positive)[0]] = True
    return Prediction(
        structure,
        probability,
        smoothed,
        positive,
        tuple(pockets),
        "test-model",
        settings or {"threshold": 0.5, "smoothing_threshold": 0.4, "bandwidth": np.float32(9.0)},
        ("read me",),
    )


def write_chains(path: Path, chains: Sequence[LabelledChain]) -> None:
    """A label file of records of three lines."""
    path.write_text("".join(f">{c.id}\n{c.sequence}\n{''.join(map(str, c.labels.tolist()))}\n" for c in chains))


def write_cryptic(path: Path, heads: Sequence[str] = ("cryptic",)) -> None:
    """A stand-in for a model of cryptic sites, alone or as a second head: the shipped one, with other weights of the head."""
    import torch

    from s2p.checkpoint import Checkpoint, OtherHead, load_checkpoint, save_checkpoint
    from s2p.language.esm import ResidueModel

    shipped = load_checkpoint("s2p-esm2-8m")
    model = ResidueModel(shipped.model.name, heads=heads)
    model.backbone = shipped.model.backbone
    torch.manual_seed(1)
    with torch.no_grad():
        for head in heads:
            linear, first = model.named_head(head), shipped.model.head
            noise = 0.03 * torch.randn_like(first.weight) * (head == "cryptic")
            linear.load_state_dict({"weight": first.weight + noise, "bias": first.bias})
    if heads == ("cryptic",):
        made = Checkpoint(path.stem, model, None, None, 0.8, 0.4, "published")
    else:
        made = replace(shipped, name=path.stem, model=model, others={"cryptic": OtherHead(0.8, shipped.smoother, 0.95)})
    save_checkpoint(made, path, half=False)
