"""``s2p labels`` and ``s2p datasets``: binding residues of structures, and public data sets by name."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2p.commands import flag, number, option
from s2p.config import LabelConfig, Positive
from s2p.errors import S2PError

if TYPE_CHECKING:
    from s2p.batch.inputs import Item
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
        description="Print residues with a heavy atom near a heavy atom of a relevant ligand, as a table or as training data.",
    )
    add = partial(option, parser)
    add("inputs", "STRUCTURE", "structure file, folder, list file, - (a list on standard input), PDB id", nargs="+")
    flag(parser, "--recursive", "look for structures in the subfolders of folders, too")
    forms = "table: a row per ligand, author numbering; published (;), csv, records: training data, 0-based"
    add("--format", None, forms, choices=("table", "published", "csv", "records"), default="table")
    add("--per", None, "one line of training data for each chain or each ligand", choices=("chain", "ligand"), default="chain")
    flag(parser, "--ions", "count ions that proteins bind for their function as ligands")
    flag(parser, "--peptides", "count short protein chains that touch longer ones as ligands")
    add("--cutoff", "A", "largest distance between the atoms, in angstrom", number(Positive), LabelConfig.cutoff)
    flag(parser, "--enhance", "join the labels of all structures of a protein (UniProt entry, else 95 %% identity)")
    add("--evidence", "FILE", "with --enhance: write which structure and ligand gave each residue, as CSV", Path)
    add("--report", "FILE", "with --enhance: write what was joined and added for each protein, as CSV", Path)
    held = "with --enhance: leave out homologues (30 %% identity) of a FASTA or label file, folder or data set; may be repeated"
    add("--without", "FILE|DIR|NAME", held, action="append", default=[])
    flag(parser, "--every-chain", "with --enhance: write every chain, as published, instead of the longest chain of each protein")
    given = "take the sites of these structures from CryptoBench's JSON; with --fold, its folds.json"
    add("--cryptobench", "JSON", given, Path)
    add("--fold", "NAME", "with --cryptobench: sites of this fold, from a table of residue lists instead of structures")
    add("-o --output", "FILE", "write to this file instead of printing", Path)
    parser.set_defaults(run=_run_labels)


def _add_datasets(commands: Any) -> None:
    parser = commands.add_parser(
        "datasets",
        help="list and fetch public data sets",
        description="List public data sets with their sources, or download one.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="list names, sources, licences, sizes and checksums")
    option(listing, "folder", "DIR", "also list the data sets found in this folder", Path, nargs="?")
    listing.set_defaults(run=_run_list)
    fetch = actions.add_parser("fetch", help="download, check and unpack a data set")
    option(fetch, "name", "NAME")
    option(fetch, "-o --output", "DIR", "folder in which the folder of the data set is made (default: the cache)", Path)
    flag(fetch, "--quiet", "show no progress bar")
    fetch.set_defaults(run=_run_fetch)


def _run_labels(arguments: argparse.Namespace) -> int:
    from s2p.datasets.label_files import format_annotations
    from s2p.io.files import write_text

    joining = ("evidence", "report", "without", "every_chain")
    if alone := [f"--{name.replace('_', '-')}" for name in joining if getattr(arguments, name) and not arguments.enhance]:
        raise S2PError(f"{alone[0]} needs --enhance: without it, labels come from one structure only")
    if arguments.enhance and (arguments.format == "table" or arguments.per == "ligand" or arguments.cryptobench):
        raise S2PError("--enhance joins chains: it needs --format published, csv or records, --per chain, and no --cryptobench")
    failed: list[Item] = []
    reports = _reports(arguments, failed)
    if arguments.cryptobench or arguments.fold:
        text = format_annotations(_cryptic_sites(arguments), arguments.format)
    elif arguments.format == "table":
        text = _table(reports)
    else:
        per = arguments.per
        rows = _enhanced(arguments, reports) if arguments.enhance else [a for _, s, r in reports for a in _annotations(s, r, per)]
        text = format_annotations(rows, arguments.format)
    if arguments.output:
        print(f"wrote {write_text(arguments.output, text)}")
    else:
        print(text, end="")
    return 1 if failed else 0


def _reports(arguments: argparse.Namespace, failed: list[Item]) -> Iterator[tuple[Path, Structure, LigandReport]]:
    """Yield the structures under distinct names; unreadable ones are reported and added to ``failed``."""
    from s2p.batch.inputs import expand_inputs
    from s2p.io.runtime import progress_bar
    from s2p.structure.ligands import file_bonds, ligand_sites
    from s2p.structure.reading import read_structure

    config = LabelConfig(cutoff=arguments.cutoff)
    options = {"include_ions": arguments.ions, "include_peptides": arguments.peptides}
    items = expand_inputs(arguments.inputs, arguments.recursive)
    if wrong := [item.error for item in items if item.error]:
        raise S2PError(wrong[0])
    for item in progress_bar(items, "structures"):
        try:
            path = item.file()
            structure = replace(read_structure(path), name=item.stem)
            report = ligand_sites(structure, config, bonds=file_bonds(path), **options)
        except S2PError as error:
            failed.append(item)
            print(f"s2p: error: {error}", file=sys.stderr)
            continue
        for note in report.notes if report.sites else (*report.notes, "no relevant ligand"):
            print(f"{item.input}: {note}", file=sys.stderr)
        yield path, structure, report


def _enhanced(arguments: argparse.Namespace, reports: Iterable[tuple[Path, Structure, LigandReport]]) -> list[Annotation]:
    """One line per protein or chain, with the labels of all structures; reports what was joined and left out."""
    import numpy as np

    from s2p.datasets.enhancement import enhance_structures, evidence_table, protein_table, totals
    from s2p.datasets.label_files import Annotation, read_sequences
    from s2p.datasets.splits import homologous
    from s2p.io.files import write_text

    say = partial(print, file=sys.stderr)
    test = {sequence: f"{name} of {x}" for x in arguments.without for sequence, name in read_sequences(x, say).items()}
    found = enhance_structures((structure, report) for _, structure, report in reports)
    near = homologous({s: s for s in test}, {x.chain.id: x.chain.sequence for x in found}) if test else {}
    kept = []
    for x in found:
        lost = f"; {x.lost} binding residues are not observed in it" if x.lost else ""
        said = [f"joined with {', '.join(x.members[1:])}{lost}"] if len(x.members) > 1 else []
        if x.chain.id in near:
            said = [f"left out with all its chains, a homologue of {test[min(near[x.chain.id])]}"]
        elif x.evidence:
            kept.append(x)
        else:
            said = ["no binding residue in any structure, left out"]
        for note in (*said, *x.notes):
            say(f"{x.chain.id}: {note}")
    say(f"{totals(kept)}; left out as homologues: {len(near)}")
    for path, table in ((arguments.evidence, evidence_table), (arguments.report, protein_table)):
        if path:
            say(f"wrote {write_text(path, table(kept))}")
    chains = [chain for x in kept for chain in (x.chain, *(x.siblings if arguments.every_chain else ()))]
    parts = [(c, *c.id.rpartition("_")[::2]) for c in chains if c.labels.any()]
    return [Annotation(pdb, name, "enhanced", np.flatnonzero(c.labels).astype(np.int32), c.sequence) for c, pdb, name in parts]


def _table(reports: Iterable[tuple[Path, Structure, LigandReport]]) -> str:
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
    """One line per chain (the union), or per ligand and chain; chains without a ligand are left out."""
    import numpy as np

    from s2p.datasets.label_files import Annotation

    rows = []
    for chain, sites in report.by_chain(structure):
        # A site at two chains has two lines, which share the id of the ligand.
        inside = [(ligand.name if per == "chain" else ligand.id, indices) for ligand, indices in sites]
        sequence = structure.sequence(chain)
        if per == "chain" and inside:
            names = " ".join(dict.fromkeys(name for name, _ in inside))
            inside = [(names, np.unique(np.concatenate([indices for _, indices in inside])))]
        rows += [Annotation(structure.name, chain, name, indices.astype(np.int32), sequence) for name, indices in inside]
    return rows


def _cryptic_sites(arguments: argparse.Namespace) -> list[Annotation]:
    """Labels from CryptoBench's JSON for the given structures, or from one fold of a table of residue lists."""
    from s2p.batch.inputs import expand_inputs
    from s2p.datasets.cryptobench import cryptobench_annotations, read_cryptobench, read_residue_lists
    from s2p.structure.reading import read_structure

    if arguments.format == "table" or not arguments.cryptobench:
        raise S2PError("CryptoBench's sites are written with --cryptobench JSON and --format published, csv or records")
    if arguments.fold:
        if len(arguments.inputs) > 1:
            raise S2PError(f"--fold takes one table of residue lists, and {len(arguments.inputs)} inputs are given")
        lines, left = read_residue_lists(arguments.inputs[0], arguments.cryptobench, arguments.fold)
        print("note: residue numbers are from the structures and sequences from UniProt; some do not match", file=sys.stderr)
        if left:
            print(f"note: left out (not in the table, or residues outside the sequence): {', '.join(left)}", file=sys.stderr)
        return lines
    sites, found = read_cryptobench(arguments.cryptobench), []
    for path in (item.file() for item in expand_inputs(arguments.inputs, arguments.recursive)):
        own = cryptobench_annotations(sites, read_structure(path), arguments.per)
        found += own
        if not own:
            print(f"{path}: no site of a single chain in {arguments.cryptobench.name}", file=sys.stderr)
    return found


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
            print("  file     names, sizes and checksums are taken from Zenodo when the set is fetched")
        if entry.note:
            print(f"  note     {entry.note}")
        if here.is_dir():
            print(f"  here     {here}")
    folders = [arguments.folder, *sorted(arguments.folder.glob("*/"))] if arguments.folder else []
    for folder in folders:
        for text, (name, *patterns) in LOCAL_LAYOUTS.items():
            if all(any(folder.glob(pattern)) for pattern in patterns):
                print(f"{folder}: local, layout {name}: {text}")
    return 0


def _run_fetch(arguments: argparse.Namespace) -> int:
    from s2p.datasets.registry import fetch_dataset

    place, notes = fetch_dataset(arguments.name, arguments.output, quiet=arguments.quiet)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    print(place)
    return 0
