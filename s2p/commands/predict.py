"""``s2p predict``: pockets of one structure or of many, here or on a cluster."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2p.commands import chosen, flag, formats, names, number, option
from s2p.config import BOX, DEFAULT_MODEL, BoxConfig, ClusterConfig, Count, Natural, NonNegative, Positive, PredictConfig, Share

if TYPE_CHECKING:
    from s2p.batch.run import Row
    from s2p.pockets.hits import LigandHit

__all__ = ["add"]


def add(commands: Any) -> None:
    """Add ``predict`` to the subparsers of ``s2p``."""
    # Before arguments are parsed, which imports NumPy: in small products, threads wait for each other longer than they work.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    parser = commands.add_parser(
        "predict",
        help="find the pockets of structures",
        description="Find the pockets of structures and write them as tables, reports and scripts for viewers. A pocket's "
        "probability is the chance that a ligand is there, calibrated on proteins that hold a ligand.",
    )
    add = partial(option, parser)
    inputs = (
        "structure file (.pdb .ent .cif .mmcif .bcif .pdbqt .pqr, or .gz), folder, list file (.txt .lst: one path or id "
        "per line; paths are relative to the list's folder or the current one), - (such a list on standard input), PDB id, "
        "UniProt accession, AF- id"
    )
    add("inputs", "INPUT", inputs, nargs="+")
    flag(parser, "--recursive", "look for structures in the subfolders of folders, too")
    add("--chain", "A,B", "only these chains (default: all protein chains)", names)
    model_number = (
        "read this model of the file, or all models as one structure (default: the first model, and models that contain other "
        "chains or copies of its chains at other places)"
    )
    add("--model-number", "N|all-chains", model_number, _model_number)
    add("--assembly", "N", "read this biological assembly of the file, with all copies of its chains", number(Count))
    shipped = "s2p-esm2-8m, s2p-cryptic-8m, kalasanty, vabsnet, crossbind-dna, crossbind-rna, crossbind (both)"
    model = f"{shipped}, the path of a checkpoint, or package.module:Class"
    add("--model", "NAME|PATH", model, default=DEFAULT_MODEL)
    add("--backbone", "NAME", "ESM-2 backbone, if the checkpoint does not contain its own")
    add("--threshold", "P", "residues above this probability are binding (default: from the checkpoint)", number(Share))
    add("--bandwidth", "A", f"bandwidth of mean shift, in angstrom (default: {ClusterConfig.bandwidth:g})", number(Positive))
    flag(parser, "--no-smoothing", "do not add residues by embedding-supported smoothing")
    method = (
        "surface: pockets and residues of the surface network (default, unless --threshold, --bandwidth or --no-smoothing asks "
        "for clusters of predicted residues); published: exactly the paper's method, from the sequence alone, with its "
        "thresholds 0.7 and 0.4, in the coordinate frame of the file"
    )
    add("--method", None, method, choices=("surface", "published"))
    sites = "kinds of site; cryptic sites open on ligand binding and may be closed in this structure"
    add("--sites", None, sites, choices=("general", "cryptic", "both"), default="general")
    add("--device", None, choices=("auto", "cpu", "cuda"), default="auto")
    add("-o --output", "DIR", "folder to write to", Path, Path("s2p_out"))
    listed = (
        "output formats: csv,json,pdb,pml,cxc,html,box (for Vina, Smina and GNINA),spheres (for DOCK),p2rank (tables "
        "as P2Rank writes them), and with --model kalasanty, which predicts a density, cube,ccp4 (default: csv,json,html; csv is "
        "always written)"
    )
    add("--format", "F,G", listed, formats, ("csv", "json", "html"))
    add("--box-padding", "A", f"angstrom added to each side of a docking box (default: {BOX.padding:g})", number(NonNegative))
    add(
        "--box-min",
        "A",
        f"shortest edge of a docking box, in angstrom; the longest is {BOX.most:g} (default: none)",
        number(NonNegative),
    )
    add("--jobs", "N", "number of worker processes (default: %(default)s, which starts none)", number(Count), 1)
    resume = "skip inputs that an earlier run finished, if input, settings and outputs are unchanged (compared by checksum)"
    flag(parser, "--resume", resume)
    cluster = parser.add_mutually_exclusive_group()
    option(cluster, "--scheduler", "ADDRESS", "use the Dask cluster of this scheduler, e.g. tcp://host:8786")
    flag(cluster, "--local-cluster", "start a Dask cluster of --jobs workers on this machine and use it")
    flag(parser, "--quiet", "print nothing but errors")
    parser.set_defaults(run=partial(_run, parser))


def _model_number(text: str) -> int | str:
    return text if text == "all-chains" else int(number(Natural)(text))


def _config(arguments: argparse.Namespace) -> PredictConfig:
    """Settings of a prediction: those of the method, and the options that override them."""
    config = PredictConfig.published() if arguments.method == "published" else PredictConfig(ranking=arguments.method)
    cluster = config.cluster if arguments.bandwidth is None else replace(config.cluster, bandwidth=arguments.bandwidth)
    return replace(chosen(config, arguments), use_smoothing=not arguments.no_smoothing, cluster=cluster)


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    if arguments.method == "surface" and arguments.bandwidth is not None:
        parser.error("--bandwidth is a setting of the clusters of residues, which --method surface does not use")

    from tqdm import tqdm

    from s2p.batch import run as batch
    from s2p.batch.inputs import BatchOptions, estimate_residues, expand_inputs, load_predictor, model_identity

    options = BatchOptions(
        folder=arguments.output,
        load=partial(load_predictor, arguments.model, arguments.backbone, arguments.device, arguments.method),
        formats=arguments.format,
        chains=arguments.chain,
        number=arguments.model_number,
        assembly=arguments.assembly,
        config=_config(arguments),
        box=BoxConfig(BOX.padding if arguments.box_padding is None else arguments.box_padding, arguments.box_min or BOX.least),
        resume=arguments.resume,
        quiet=arguments.quiet,
    )
    items = expand_inputs(arguments.inputs, arguments.recursive)
    single = len(items) == 1
    if not single or arguments.resume:  # a single structure does not wait for a checksum
        options = replace(options, model=model_identity(arguments.model, arguments.backbone))
    watched = not single and not arguments.quiet and sys.stderr.isatty()
    # In residues: structures are predicted from the largest on, so their number would say too little about the time left.
    total, shape = sum(map(estimate_residues, items)), "{desc}|{bar}| {elapsed}, {remaining} left"
    # A log shows each line at once; tqdm writes lines above the bar.
    say: Callable[[str], None] = tqdm.write if watched else partial(print, flush=True)
    done = failed = 0
    try:
        where = {"jobs": arguments.jobs, "scheduler": arguments.scheduler, "local_cluster": arguments.local_cluster}
        with (
            tqdm(total=total, file=sys.stderr, bar_format=shape, disable=not watched) as bar,
            closing(batch.predict_batch(items, options, **where)) as rows,
        ):
            for row in rows:
                done += 1
                if row.status == "error":
                    failed += 1
                    print(f"s2p: error: {row.message}", file=sys.stderr)
                elif not arguments.quiet:
                    say(_one_report(row) if single else _one_line(row))
                bar.set_description_str(f"{done}/{len(items)} ", refresh=False)
                if row.status == "skipped":  # not informative about the speed
                    bar.total = (bar.total or 0) - row.size
                    bar.refresh()
                else:
                    bar.update(row.size)
    finally:
        if not single and done and not arguments.quiet:
            print(f"{done - failed} of {len(items)} predicted, {failed} failed; {arguments.output / 'summary.csv'}")
    return 1 if failed else 0


def _one_line(row: Row) -> str:
    from s2p.prediction import n_pockets

    if row.status == "skipped":
        return f"{row.input}: {row.message}"
    note = f" ({row.message})" if row.message else ""
    return f"{row.input}: {n_pockets(row.n_pockets)}, {row.seconds:.1f} s{note}"


SHOWN = 10
"""Number of pockets in the printed table of a single input; the file contains all."""


def _one_report(row: Row) -> str:
    """Print pockets, known ligands, notes and files of a single input."""
    from s2p.prediction import n_pockets

    prediction = row.prediction
    if prediction is None:
        return _one_line(row)
    structure = prediction.structure
    n = len(structure.residues)
    lines = [f"{structure.name}: {n} residues, {n_pockets(row.n_pockets)}, {row.seconds:.1f} s ({prediction.model})"]
    if prediction.pockets:
        lines.append(f"{'rank':>4}  {'score':>7}  {'probability':>11}  {'residues':>8}  centre (Å)")
    for p in prediction.pockets[:SHOWN]:
        x, y, z = p.center.tolist()
        lines.append(
            f"{p.rank:>4}  {p.score:>7.3f}  {p.probability:>11.2f}  {len(p.residues):>8}  {x:8.1f} {y:8.1f} {z:8.1f}{p.remark}"
        )
    if row.n_pockets > SHOWN:
        lines.append(f"   … {row.n_pockets - SHOWN} more")
    # A model of other sites, e.g. of nucleic acids, does not predict ligands.
    if prediction.structure.ligands and prediction.settings.get("sites", "both") in ("cryptic", "both"):
        from s2p.pockets.hits import ligand_hits

        lines += [_ligand_line(hit) for hit in ligand_hits(prediction)]
    if row.message:
        lines.append(f"note: {row.message}")
    capped = sum("# capped" in path.read_text(encoding="utf-8") for path in row.paths if path.name.endswith("_box.txt"))
    if capped:
        lines.append(f"note: docking boxes capped at {BOX.most:g} Å an edge: {capped}; their files give the whole size")
    for _, files in groupby(row.paths, lambda path: path.name if not path.name.endswith(("_box.txt", ".sph")) else path.suffix):
        first, *more = files
        lines.append(f"wrote {first}" + (f" … {more[-1].name} ({1 + len(more)} files)" if more else ""))
    return "\n".join(lines)


def _ligand_line(hit: LigandHit) -> str:
    if not hit.pocket:
        return f"true ligand {hit.ligand}: not found"
    where = f"centre {hit.dca:.1f} Å from its closest atom, {hit.dcc:.1f} Å from its middle"
    if hit.found:
        return f"true ligand {hit.ligand}: found by pocket {hit.pocket}, {where}"
    return f"true ligand {hit.ligand}: not found; nearest is pocket {hit.pocket}, {where}"
