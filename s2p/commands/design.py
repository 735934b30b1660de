"""``s2p design``: types and atoms for the residues around a ligand."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from s2p.commands.arguments import positive

__all__ = ["add"]


def add(commands: Any) -> None:
    """Add ``design`` to the subparsers of ``s2p``."""
    parser = commands.add_parser(
        "design",
        help="design a pocket around a ligand",
        description="Design the residues around a ligand, types and atoms, with PocketGen. Everything else stays as it is.",
    )
    parser.add_argument("structure", metavar="STRUCTURE", type=Path, help="structure file (.pdb .ent .cif .mmcif .bcif, or .gz)")
    parser.add_argument(
        "--ligand",
        required=True,
        metavar="FILE|HET",
        help="SDF or MOL file, or the residue name of a ligand in the structure (STR, or 'STR A:401' where there are several)",
    )
    parser.add_argument(
        "--pocket",
        metavar="A:45,A:46|predicted",
        help="residues to design; 'predicted': the best pocket of `s2p predict`, in whose centre a ligand from a file is "
        "placed (default: all with an atom within 3.5 angstrom of the ligand)",
    )
    parser.add_argument("-n", type=positive(int), default=8, metavar="N", help="number of designs (default: %(default)s)")
    parser.add_argument(
        "--temperature",
        type=_temperature,
        default=1.0,
        metavar="T",
        help="of the types that are drawn; 0 takes the likeliest (default: %(default)g)",
    )
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--no-idealise", action="store_true", help="leave atoms where the network puts them")
    parser.add_argument("--model", default="pocketgen", metavar="NAME|PATH", help="checkpoint (default: %(default)s)")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("s2p_design"), metavar="DIR", help="folder to write to (default: %(default)s)"
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    parser.set_defaults(run=_run)


def _temperature(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is negative or not finite")
    return value


def _run(arguments: argparse.Namespace) -> int:
    from s2p.models.pocketgen_checkpoint import load_pocketgen
    from s2p.models.pocketgen_config import DesignConfig
    from s2p.models.pocketgen_design import design, diversity, measure
    from s2p.models.pocketgen_output import find_ligand, find_residues, place_in_pocket, save_designs
    from s2p.structure import read_structure

    structure = read_structure(arguments.structure)
    ligand, in_file = find_ligand(structure, arguments.ligand)
    checkpoint = load_pocketgen(arguments.model)
    residues = None
    if arguments.pocket == "predicted":
        residues, ligand = place_in_pocket(structure, ligand, checkpoint.pocket, keep_pose=in_file)
    elif arguments.pocket is not None:
        residues = find_residues(structure, arguments.pocket)
    config = DesignConfig(arguments.n, arguments.temperature, arguments.seed, not arguments.no_idealise)
    pocket, designs, seconds = design(checkpoint, structure, ligand, residues, config)
    measures = [measure(checkpoint, pocket, d) for d in designs]
    paths = save_designs(
        arguments.structure, structure, pocket, ligand, designs, measures, arguments.output, ligand_in_file=in_file
    )
    if not arguments.quiet:
        native = "".join(structure.residues.one_letter[pocket.residues[pocket.pocket]])
        print(f"{structure.name}: {len(pocket.pocket)} residues designed, {len(designs)} designs, {seconds:.1f} s")
        print(f"{'design':>8}  {'sequence':<{len(native)}}  recovery  RMSD (Å)  clashes  bonds off")
        print(f"{'native':>8}  {native}")
        for k, (d, m) in enumerate(zip(designs, measures, strict=True), start=1):
            off = f"{m.bond_outliers}/{m.bonds}"
            print(f"{k:>8}  {d.sequence}  {m.recovery:>8.2f}  {m.rmsd:>8.2f}  {m.clashes:>7}  {off:>9}")
        if len(designs) > 1:
            print(f"diversity {diversity(designs):.2f}")
        print("\n".join(f"wrote {path}" for path in paths))
    return 0
