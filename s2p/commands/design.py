"""``s2p design``: types and atoms for the residues around a ligand."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from s2p.commands import flag, number, option
from s2p.config import Count, NonNegative

__all__ = ["add"]

ORIGINS = {
    "ligandmpnn": "Types: LigandMPNN, for this backbone and ligand. Backbone: as in the file. Side chains: PocketGen's network "
    "and its clean-up.",
    "pocketgen": "Types: heads of ours on a small language model and the surroundings, and little of the paper's attention. "
    "Backbone and side chains: PocketGen's network and its clean-up.",
}


def add(commands: Any) -> None:
    """Add ``design`` to the subparsers of ``s2p``."""
    parser = commands.add_parser(
        "design",
        help="design a pocket around a ligand",
        description="Design types and atoms of the residues around a ligand. All else is unchanged.",
    )
    kinds = "structure file (.pdb .ent .cif .mmcif .bcif .pdbqt .pqr, or .gz)"
    add = partial(option, parser)
    add("structure", "STRUCTURE", kinds, Path)
    ligand = "SDF or MOL file, or the residue name of a ligand in the structure (STR, or 'STR A:401' if there are several)"
    add("--ligand", "FILE|HET", ligand, required=True)
    pocket = (
        "residues to design; 'predicted': the best pocket of `s2p predict`, and a ligand from a file is placed in its centre "
        "(default: all residues with an atom within 3.5 angstrom of the ligand)"
    )
    add("--pocket", "A:45,A:46|predicted", pocket)
    designer = " ".join(f"{name}: {text}" for name, text in ORIGINS.items())
    add("--designer", None, designer, default="ligandmpnn", choices=tuple(ORIGINS))
    add("--fix", "A:45,A:47", "residues that keep type and atoms, like catalytic ones, although they are part of the pocket")
    add("--ban", "LETTERS", "residue types that are not used, like CM (default: none)", default="")
    add("-n", "N", "number of designs", number(Count), 8)
    heat = "temperature for drawing types; 0 takes the likeliest (default: 0.1 for ligandmpnn, as published, 1 for pocketgen)"
    add("--temperature", "T", heat, number(NonNegative))
    add("--seed", None, "", int, 0)
    vina = (
        "score designs and native pocket with AutoDock Vina after local optimisation of the pose (needs the program or the "
        "package vina, and the extra s2p-pockets[design])"
    )
    flag(parser, "--vina", vina)
    folded = (
        "folder with a folded structure of each design (X_design_1.pdb, ...), to compute scRMSD: design once, fold the "
        "sequences of X_designs.fasta, then repeat the command with this option"
    )
    add("--folded", "DIR", folded, Path)
    flag(parser, "--no-idealise", "no clean-up of bonds, angles, torsions and clashes: leave atoms where the network puts them")
    add("--model", "NAME|PATH", "checkpoint of PocketGen", default="pocketgen")
    add("--encoder", "FILE", "weights of the language model, if the checkpoint does not contain them", Path)
    add("-o --output", "DIR", "folder to write to", Path, Path("s2p_design"))
    flag(parser, "--quiet", "print nothing but errors")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from s2p.errors import S2PError
    from s2p.io.files import file_stem
    from s2p.models.pocketgen.checkpoint import load_pocketgen
    from s2p.models.pocketgen.config import DesignConfig
    from s2p.models.pocketgen.data import pocket_residues
    from s2p.models.pocketgen.design import design_pocket, diversity, measure, native_design, prepare_pocket
    from s2p.models.pocketgen.mpnn import design_types, load_ligandmpnn
    from s2p.models.pocketgen.output import find_ligand, find_residues, place_in_pocket, save_designs, without
    from s2p.models.pocketgen.scores import add_folded, asked, designability, mutations, score_designs
    from s2p.structure.reading import read_structure

    if arguments.vina:
        from s2p.models.pocketgen.docking import check_vina, ligand_pdbqt

        check_vina()  # before anything that takes long
    if arguments.folded is not None and not arguments.folded.is_dir():
        raise S2PError(f"{arguments.folded}: there is no such folder; --folded needs a folder with a structure of each design")
    mpnn, temperature = arguments.designer == "ligandmpnn", arguments.temperature
    temperature = (0.1 if mpnn else 1.0) if temperature is None else temperature
    config = DesignConfig(arguments.n, temperature, arguments.seed, not arguments.no_idealise, arguments.ban.upper())
    structure = read_structure(arguments.structure)
    ligand, in_file = find_ligand(structure, arguments.ligand)
    if arguments.vina:
        ligand_pdbqt(ligand)  # likewise: it refuses a ligand without known bonds
    checkpoint = load_pocketgen(arguments.model, encoder=arguments.encoder)
    residues = None
    if arguments.pocket == "predicted":
        residues, ligand = place_in_pocket(structure, ligand, checkpoint.pocket, keep_pose=in_file)
    elif arguments.pocket is not None:
        residues = find_residues(structure, arguments.pocket)
    if arguments.fix:
        near = pocket_residues(structure, ligand.coord, checkpoint.pocket) if residues is None else residues
        residues = without(structure, near, arguments.fix)
    begun = time.perf_counter()
    pocket = prepare_pocket(structure, ligand, checkpoint.backbone, residues, checkpoint.pocket, checkpoint.model.trace)
    types = design_types(load_ligandmpnn(), structure, ligand, pocket.residues[pocket.pocket], config) if mpnn else None
    designs = design_pocket(checkpoint, pocket, config, types=types)
    seconds = time.perf_counter() - begun
    measures = [measure(checkpoint, pocket, d) for d in (native_design(pocket), *designs)]
    scores = score_designs(structure, pocket, ligand, designs, vina=arguments.vina)
    if arguments.folded is not None:
        scores = add_folded(structure, pocket, designs, scores, arguments.folded, file_stem(structure.name))
    made, origin = (pocket, ligand, designs, measures, scores), ORIGINS[arguments.designer]
    paths = save_designs(arguments.structure, structure, *made, arguments.output, ligand_in_file=in_file, origin=origin)
    if not arguments.quiet:
        native = "".join(structure.residues.one_letter[pocket.residues[pocket.pocket]])
        print(f"{structure.name}: {len(pocket.pocket)} residues designed, {len(designs)} designs, {seconds:.1f} s")
        print(origin)
        titles = asked(scores)
        heads = "".join(f"  {title:>8}" for title in (*measures[0].columns, *titles.values()))
        print(f"{'design':>8}  {'sequence':<{len(native)}}{heads}")
        labels = ["native", *map(str, range(1, len(designs) + 1))]
        for label, sequence, m, x in zip(labels, [native, *(d.sequence for d in designs)], measures, scores, strict=True):
            cells = "".join(f"  {value:>{max(8, len(title))}}" for title, value in m.columns.items())
            print(f"{label:>8}  {sequence}{cells}{_values(x, titles)}")
        for label, d in zip(labels[1:], designs, strict=True):
            print(f"{label:>8}  {', '.join(mutations(structure, pocket, d)) or 'no mutation'}")
        if len(designs) > 1:
            print(f"diversity {diversity(designs):.2f}")
        if arguments.folded is not None:
            print(f"designability {designability(scores):.2f} (share with scRMSD below 2 Å)")
        print("\n".join(f"wrote {path}" for path in paths))
    return 0


def _values(scores: object, titles: Mapping[str, str]) -> str:
    """Cells of one row, each as wide as its title."""
    values = {key: getattr(scores, key) for key in titles}
    return "".join(f"  {'' if value is None else f'{value:.2f}':>{len(titles[key])}}" for key, value in values.items()).rstrip()
