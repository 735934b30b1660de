"""``s2p labels`` and ``s2p datasets``: binding residues of structures, and public data sets by name."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2p.commands import flag, number, option
from s2p.config import LabelConfig, Positive
from s2p.errors import S2PError

if TYPE_CHECKING:
    from s2p.datasets.label_files import Annotation
    from s2p.structure.ligands import LigandReport
    from s2p.structure.reading import Structure

__all__ = ["add"]


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
    add = partial(option, parser)
    add("inputs", "STRUCTURE", "structure file, folder, list file, PDB id", nargs="+")
    forms = "table: a row a ligand, author numbering; published (;), csv, records: to train on, 0-based"
    add("--format", None, forms, choices=("table", "published", "csv", "records"), default="table")
    add("--per", None, "lines of a training file", choices=("chain", "ligand"), default="chain")
    flag(parser, "--ions", "ions that proteins bind for their function count as ligands")
    flag(parser, "--peptides", "short protein chains at longer ones count as ligands")
    add("--cutoff", "A", "in angstrom", number(Positive), LabelConfig.cutoff)
    flag(parser, "--enhance", "join the labels of all structures of a protein (95 %% identity, 80 %% coverage)")
    add("--evidence", "FILE", "with --enhance: which structure gave each residue, as CSV", Path)
    add("-o --output", "FILE", "write here instead of printing", Path)
    parser.set_defaults(run=_run_labels)


def _add_datasets(commands: Any) -> None:
    parser = commands.add_parser(
        "datasets",
        help="list and fetch public data sets",
        description="Public data sets by name: where they are, and fetching them.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="names, sources, licences, sizes, checksums")
    option(listing, "folder", "DIR", "also look for local sets in this folder", Path, nargs="?")
    listing.set_defaults(run=_run_list)
    fetch = actions.add_parser("fetch", help="download a set, check and unpack it")
    option(fetch, "name", "NAME")
    option(fetch, "-o --output", "DIR", "folder to put the set's folder in (default: the cache)", Path)
    flag(fetch, "--quiet", "no progress bar")
    fetch.set_defaults(run=_run_fetch)


def _run_labels(arguments: argparse.Namespace) -> int:
    import numpy as np

    from s2p.batch.inputs import expand_inputs
    from s2p.datasets.enhancement import EnhanceConfig, enhance_structures, evidence_table
    from s2p.datasets.label_files import Annotation, format_annotations
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
    items = expand_inputs(arguments.inputs)
    if wrong := [item.error for item in items if item.error]:
        raise S2PError(wrong[0])
    for item, path in [(item.input, item.file()) for item in items]:
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
        parts = ((*e.chain.id.rpartition("_")[::2], e.chain) for e in enhanced if e.evidence)
        joined = [
            Annotation(pdb, name, "enhanced", np.flatnonzero(x.labels).astype(np.int32), x.sequence) for pdb, name, x in parts
        ]
        text = format_annotations(joined, arguments.format)
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
        inside = [(s.ligand.name, np.flatnonzero(np.isin(own, s.residues))) for s in report.sites]
        inside = [(name, indices) for name, indices in inside if len(indices)]
        if per == "chain" and inside:
            names = " ".join(dict.fromkeys(name for name, _ in inside))
            inside = [(names, np.unique(np.concatenate([indices for _, indices in inside])))]
        rows += [Annotation(structure.name, chain, name, indices.astype(np.int32), sequence) for name, indices in inside]
    return rows


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
