"""``s2p labels`` and ``s2p datasets``: binding residues of structures, and public data sets by name."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2p.commands import number
from s2p.config import LabelConfig, Positive

if TYPE_CHECKING:
    from s2p.datasets.label_files import Annotation
    from s2p.datasets.labelled import LabelledChain
    from s2p.structure.ligands import LigandReport
    from s2p.structure.reading import Structure

__all__ = ["add"]

_FORMATS = ("table", "published", "csv", "records")


def add(commands: Any) -> None:
    """Add both subcommands."""
    _add_labels(commands)
    _add_datasets(commands)


def _add_labels(commands: Any) -> None:
    parser = commands.add_parser(
        "labels",
        help="print the residues that bind the ligands of structures",
        description="Residues with a heavy atom near a heavy atom of a relevant ligand: a table, or a file to train on.",
    )
    parser.add_argument("inputs", metavar="STRUCTURE", nargs="+", help="structure file, folder, list file, PDB id")
    parser.add_argument(
        "--format",
        choices=_FORMATS,
        default="table",
        help="table: a row a ligand, author numbering; published (;), csv, records: to train on, 0-based (default: %(default)s)",
    )
    parser.add_argument(
        "--per", choices=("chain", "ligand"), default="chain", help="lines of a training file (default: %(default)s)"
    )
    parser.add_argument("--ions", action="store_true", help="ions that proteins bind for their function count as ligands")
    parser.add_argument("--peptides", action="store_true", help="short protein chains at longer ones count as ligands")
    parser.add_argument(
        "--cutoff", type=number(Positive), default=LabelConfig.cutoff, metavar="A", help="in angstrom (default: %(default)g)"
    )
    parser.add_argument(
        "--enhance", action="store_true", help="join the labels of all structures of a protein (95 %% identity, 80 %% coverage)"
    )
    parser.add_argument("--evidence", type=Path, metavar="FILE", help="with --enhance: which structure gave each residue, as CSV")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write here instead of printing")
    parser.set_defaults(run=_run_labels)


def _add_datasets(commands: Any) -> None:
    parser = commands.add_parser(
        "datasets",
        help="list and fetch public data sets",
        description="Public data sets by name: where they are, and fetching them.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="names, sources, licences, sizes, checksums")
    listing.add_argument("folder", type=Path, nargs="?", metavar="DIR", help="also look for local sets in this folder")
    listing.set_defaults(run=_run_list)
    fetch = actions.add_parser("fetch", help="download a set, check and unpack it")
    fetch.add_argument("name", metavar="NAME")
    fetch.add_argument("-o", "--output", type=Path, metavar="DIR", help="folder to put the set's folder in (default: the cache)")
    fetch.add_argument("--quiet", action="store_true", help="no progress bar")
    fetch.set_defaults(run=_run_fetch)


def _run_labels(arguments: argparse.Namespace) -> int:
    from s2p.datasets.enhancement import EnhanceConfig, enhance_structures, evidence_table
    from s2p.datasets.label_files import format_annotations
    from s2p.errors import S2PError
    from s2p.io.files import write_text
    from s2p.structure.ligands import file_bonds, ligand_sites
    from s2p.structure.reading import read_structure

    if arguments.evidence and not arguments.enhance:
        raise S2PError("--evidence needs --enhance: without it every residue comes from its own structure")
    if arguments.enhance and (arguments.format == "table" or arguments.per == "ligand"):
        raise S2PError("--enhance joins chains, so it needs --format published, csv or records, and --per chain")
    config = LabelConfig(cutoff=arguments.cutoff)
    options = {"include_ions": arguments.ions, "include_peptides": arguments.peptides}
    reports: list[tuple[Path, Structure, LigandReport]] = []
    failed = 0
    for item, path in _structure_files(arguments.inputs):
        try:
            structure = read_structure(path)
            report = ligand_sites(structure, config, bonds=file_bonds(path), **options)
        except S2PError as error:
            failed += 1
            print(f"s2p: error: {error}", file=sys.stderr)
            continue
        reports.append((path, structure, report))
        for note in report.notes:
            print(f"{item}: {note}", file=sys.stderr)
        if not report.sites:
            print(f"{item}: no relevant ligand", file=sys.stderr)
    if arguments.enhance:
        enhanced = enhance_structures(
            [structure for _, structure, _ in reports], config=EnhanceConfig(include_ions=arguments.ions), labels=config
        )
        if arguments.evidence:
            print(f"wrote {write_text(arguments.evidence, evidence_table(enhanced))}", file=sys.stderr)
        for e in enhanced:
            if not e.evidence:
                print(f"{e.chain.id}: no binding residue in any structure, left out", file=sys.stderr)
            elif len(e.members) > 1:
                lost = f"; {e.lost} binding residues are not observed in it" if e.lost else ""
                print(f"{e.chain.id}: joined with {', '.join(e.members[1:])}{lost}", file=sys.stderr)
        text = format_annotations([_from_chain(e.chain) for e in enhanced if e.evidence], arguments.format)
    elif arguments.format == "table":
        text = _table(reports)
    else:
        rows = [a for _, structure, report in reports for a in _annotations(structure, report, arguments.per)]
        text = format_annotations(rows, arguments.format)
    if arguments.output:
        print(f"wrote {write_text(arguments.output, text)}")
    else:
        print(text, end="")
    return 1 if failed else 0


def _structure_files(inputs: list[str]) -> list[tuple[str, Path]]:
    """Name and file of each input; ids are fetched."""
    from s2p.batch.run import expand_inputs
    from s2p.errors import S2PError
    from s2p.io.fetch import fetch_structure

    found = []
    for item in expand_inputs(inputs):
        if item.error:
            raise S2PError(item.error)
        path = item.path if item.path is not None else fetch_structure(item.identifier or item.input)
        found.append((item.input, path))
    return found


def _table(reports: list[tuple[Path, Structure, LigandReport]]) -> str:
    from s2p.io.files import csv_text
    from s2p.structure.ligands import LABEL_COLUMNS, label_row

    rows = []
    for path, structure, report in reports:
        ids = structure.residues.ids()
        for site in report.sites:
            row = label_row(structure, path.name, site.ligand.name, site.ligand.id, site.residues)
            rows.append((*row, site.kind, " ".join(ids[i] for i in site.bonded_to)))
    return csv_text(rows, (*LABEL_COLUMNS, "kind", "bonded_to"))


def _annotations(structure: Structure, report: LigandReport, per: str) -> list[Annotation]:
    """A line a chain (the union), or a line a ligand and chain; chains that no ligand touches are left out."""
    import numpy as np

    from s2p.datasets.label_files import Annotation

    rows = []
    for chain in structure.chains:
        own = np.flatnonzero(structure.residues.chain == chain)
        sequence = structure.sequence(chain)
        inside = [(s.ligand.name, np.flatnonzero(np.isin(own, s.residues)).astype(np.int32)) for s in report.sites]
        inside = [(name, indices) for name, indices in inside if len(indices)]
        if per == "chain" and inside:
            names = " ".join(dict.fromkeys(name for name, _ in inside))
            inside = [(names, np.unique(np.concatenate([indices for _, indices in inside])).astype(np.int32))]
        rows += [Annotation(structure.name, chain, name, indices, sequence) for name, indices in inside]
    return rows


def _from_chain(chain: LabelledChain) -> Annotation:
    import numpy as np

    from s2p.datasets.label_files import Annotation

    pdb, _, name = chain.id.rpartition("_")
    return Annotation(pdb, name, "enhanced", np.flatnonzero(chain.labels).astype(np.int32), chain.sequence)


def _run_list(arguments: argparse.Namespace) -> int:
    from s2p.datasets.registry import DATASETS, LOCAL_LAYOUTS, dataset_folder
    from s2p.io.downloads import readable_size

    for entry in DATASETS:
        here = dataset_folder(entry.name)
        print(f"{entry.name}: {entry.title}")
        print(f"  source   {entry.source}")
        print(f"  licence  {entry.licence or 'unknown: see the source'}")
        print(f"  cite     {entry.citation}")
        for remote in entry.files:
            size = readable_size(remote.size) if remote.size is not None else "size unknown"
            checksum = f"{remote.checksum[0]} {remote.checksum[1]}" if remote.checksum else "checksum unknown"
            print(f"  file     {remote.name}, {size}, {checksum}")
        if entry.zenodo and not entry.files:
            print("  file     names, sizes and checksums are asked of Zenodo when it is fetched")
        if entry.note:
            print(f"  note     {entry.note}")
        if here.is_dir():
            print(f"  here     {here}")
    folders = [arguments.folder, *sorted(arguments.folder.glob("*/"))] if arguments.folder else []
    for folder in folders:
        for name, text, test in LOCAL_LAYOUTS:
            if test(folder):
                print(f"{folder}: local, layout {name}: {text}")
    return 0


def _run_fetch(arguments: argparse.Namespace) -> int:
    from s2p.datasets.registry import fetch_dataset

    place, notes = fetch_dataset(arguments.name, arguments.output, quiet=arguments.quiet)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    print(place)
    return 0
