"""The results page: tables of benchmark runs and sweeps as Markdown, written by one command.

``python -m benchmarks.report.results RUN... -o benchmarks/RESULTS.md``

RUN is a folder of ``s2p evaluate``, of a command in ``benchmarks/studies`` or of ``benchmarks/frame.py``. The values on
the page are not typed by hand.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.command import reported
from benchmarks.peers import PREDICTORS
from benchmarks.report.page import cell, markdown_table
from benchmarks.report.studies import STUDY_FILES, study_sections
from course.recall_pfi import Mark, dcc_against_pfi
from s2p.errors import S2PError
from s2p.evaluation.config import OURS, BenchmarkConfig
from s2p.evaluation.intervals import Summary, recall_name, summarise
from s2p.evaluation.runner import Run, read_lines
from s2p.evaluation.tables import cost, pairs, predictor_figures
from s2p.io.files import file_stem, make_folder, write_bytes, write_text
from s2p.io.weights import SHIPPED

__all__ = ["main", "possibly_trained", "read_run", "results_page"]

SMALL_PROTEIN = 350
"""Residues, at most, of a small protein of one chain: the strata of the page are these and all others."""
RESIDUE_COLUMNS = {
    "AUPRC (trapezoid)": "residue AUPRC (trapezoid)",
    "average precision": "residue average precision",
    "AUC": "residue AUC",
    "MCC": "residue MCC",
}
TRAINED = {
    "pocketnet": "possibly: its training complexes are public ones, and may be among these",
    "p2rank": "possibly: trained on CHEN11, parameters chosen on JOINED, public complexes",
    "fpocket": "not trained; parameters and score fitted to public complexes, possibly some of these",
    "pykvfinder": "no: geometry",
    "pocketeer": "no: geometry",
    "random-patch": "no: random",
    "largest-cavity": "no: geometry",
}


def pocket_columns(config: BenchmarkConfig) -> dict[str, str]:
    """Headings of the table of pockets -> names of the metrics of a run with this configuration."""
    strict, loose, (n, plus, _) = config.strict_hit, config.loose_hit, config.ranks
    shown = (("dca", strict, n), ("dca", strict, plus), ("dcc", strict, n), ("dcc", strict, plus), ("dcc", loose, plus))
    columns = {f"{m.upper()} < {cutoff:g} Å, {rank}": recall_name(m, cutoff, rank) for m, cutoff, rank in shown}
    return columns | {
        f"DCC < {loose:g} Å, {plus}, CA centre": recall_name("dcc CA", loose, plus),
        "PFI": "PFI",
        "merging": "merging",
        "sites missed": "sites missed",
        "DVO": "dvo",
        "IoU": "IoU",
        "AP": f"AP, IoU >= {config.iou:g}",
        f"F1, DCC <= {strict:g} Å": f"F1, dcc <= {strict:g} Å",
        "pockets": "pockets per protein",
    }


def possibly_trained(name: str, facts: dict[str, Any]) -> str:
    """Whether a predictor may have been trained on the proteins of a run, in a few words.

    The answer comes from the guard against homologues and, for the shipped models, from the split of the run. A predictor whose
    training is not known gets "unknown" with the reason, never "no".
    """
    short = {place: label for label, place in PREDICTORS.items()}.get(name, name)
    for known in (short, short.partition("-")[0]):  # fpocket-rs is fpocket
        if known in TRAINED:
            return TRAINED[known]
    training = facts["predictors"].get(name, {}).get("training", {"unknown": "the run does not say"})
    if training.get("trained_on"):
        return f"yes: on relatives of {len(training['trained_on'])} of these"
    if training["unknown"]:
        return f"unknown: {training['unknown']}"
    if (SHIPPED / f"{facts['model'] if name in OURS else name}.json").is_file():
        if facts["split"] == "test" or facts["dataset"] == "mini":
            return "no: test clusters, by 30 % identity"
        if facts["split"] == "validation":
            return "not trained, but thresholds were chosen on these"
        if facts["split"] in ("train", "unused"):
            return "yes: training clusters"
    return "no relative found among its training chains"


def read_run(folder: str | Path) -> Run:
    """A run of ``s2p evaluate`` from its folder.

    Raises
    ------
    S2PError
        If there is none.
    """
    folder = Path(folder)
    if not (folder / "run.json").is_file():
        raise S2PError(f"{folder}: no run in it (run.json); make one with: s2p evaluate -o {folder}")
    facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    paths = {name: folder / "records" / f"{file_stem(name)}.jsonl" for name in facts["predictors"]}
    records = {name: read_lines(path) for name, path in paths.items()}
    return Run(folder, facts, {name: found for name, found in records.items() if found})


def results_page(folders: Sequence[str | Path], out: str | Path) -> Path:
    """Write the page and, in the same folder, a figure for each run and sweep.

    Raises
    ------
    S2PError
        If a folder contains neither a run, a sweep nor a study.
    """
    out = Path(out)
    make_folder(out.parent)
    parts = [_HEAD]
    for folder in map(Path, folders):
        image = out.with_name(f"{out.stem.lower()}_{file_stem(folder.resolve().name)}.png")
        if (folder / "sweep.csv").is_file():
            write_bytes(image, (folder / "sweep.png").read_bytes())
            parts.append(_sweep_section(folder, image))
        elif (folder / "run.json").is_file():
            parts.append(_run_section(read_run(folder), image))
        elif any((folder / name).is_file() for name in STUDY_FILES):
            parts += study_sections(folder)
        else:
            raise S2PError(
                f"{folder}: neither a run (run.json), a sweep (sweep.csv) nor a study ({', '.join(STUDY_FILES)}) is in it"
            )
    return write_text(out, "\n".join(parts).rstrip() + "\n")


_HEAD = """# Results

The tables are written by `python -m benchmarks.report.results` from those of `s2p evaluate`, sweeps and studies; do not edit
them by hand. Brackets contain 95 % intervals by bootstrap over clusters of homologous proteins. **DCC** is the distance from
a pocket's centre to the ligand's centroid ("CA centre": to the mean CA position of the site's residues, as in the paper),
**DCA** the distance to its closest heavy atom; N is the number of true sites of a protein. **PFI** is the number of pockets
per true site that is touched by any, **merging** the number of true sites per pocket that touches any; both are meaningful
only together with recall. **DVO** compares volumes on a 2 Å grid, **IoU** the residues of all sites with those of all
pockets; **AP** is the average precision of ranked pockets at a residue IoU of 0.5. If a prediction fails, all sites of its
protein count as missed. Seconds are the median time of one prediction on one core, without loading the model; memory is the
peak of the predictor's process with its libraries.
"""


def _run_section(run: Run, image: Path) -> str:
    facts = run.facts
    title = facts["dataset"] + (f", {facts['split']}" if facts["split"] else "")
    figures = {name: predictor_figures(records, run.config) for name, records in run.records.items()}
    shared = set.intersection(*({r.protein.protein for r in found} for found in run.records.values())) if run.records else set()
    lines = [f"## {title}", "", _origin(facts), ""]
    if run.records:
        first = next(iter(run.records.values()))
        clusters = len({r.protein.cluster for r in first})
        lines += [f"{len(first)} proteins in {clusters} clusters, {sum(len(r.sites) for r in first)} sites.", ""]
    partial = [name for name, found in run.records.items() if len(found) > len(shared)]
    if partial:
        lines += [f"**Not all predictors were run on the same proteins** ({len(shared)} are shared): the run is unfinished.", ""]
    for heading, columns in (("Pockets", pocket_columns(run.config)), ("Residues", RESIDUE_COLUMNS)):
        own = {name: table for name, table in figures.items() if any(key in table for key in columns.values())}
        if own:
            rows = [[f"`{name}`", *(cell(table.get(key)) for key in columns.values())] for name, table in own.items()]
            lines += [f"### {heading}", "", *markdown_table(["predictor", *columns], rows), ""]
    lines += _strata(run)
    lines += ["### Cost and independence", "", *_costs(run), ""]
    missing = {name: entry["error"] for name, entry in facts["predictors"].items() if "error" in entry}
    lines += [f"* `{name}` did not run: {reason}" for name, reason in missing.items()] + ([""] if missing else [])
    loose = recall_name("dcc", run.config.loose_hit, list(run.config.ranks)[1])
    marks = [Mark(name, name, _triple(table["PFI"]), _triple(table[loose])) for name, table in figures.items() if "PFI" in table]
    if marks:
        write_bytes(image, dcc_against_pfi(marks, f"recall, {loose.replace('dcc', 'DCC')}").png())
        lines += [f"![recall against fragmentation]({image.name})", ""]
    compared = [pair for pair in pairs(run) if pair.first == next(iter(run.records))]
    if compared:
        rows = [
            [f"`{p.first}` − `{p.second}`", p.measure, f"{p.difference:+.3f} ({p.low:+.3f} to {p.high:+.3f})", f"{p.p:.3g}",
             f"{p.only_first} : {p.only_second}", f"{p.mcnemar_p:.3g}"]
            for p in compared
        ]  # fmt: skip
        head = ["pair", "recall", "difference", "p, bootstrap", "sites found by only one", "p, McNemar"]
        lines += ["### Paired comparisons", "", *markdown_table(head, rows), ""]
    return "\n".join(lines)


def _strata(run: Run) -> list[str]:
    """Recall on small proteins of one chain and on the others, where the run has both."""
    columns = pocket_columns(run.config)
    titles = {columns[title]: title for title in (*list(columns)[:4], "PFI", "pockets")}  # recalls below the strict distance
    lines = []
    for small, heading in (
        (True, f"One chain of at most {SMALL_PROTEIN} residues"),
        (False, f"Several chains, or more than {SMALL_PROTEIN} residues"),
    ):
        rows, counts = [], set()
        for name, records in run.records.items():
            usable = [r for r in records if r.protein.status != "unreadable"]
            own = [r for r in usable if (r.protein.n_chains == 1 and r.protein.n_residues <= SMALL_PROTEIN) == small]
            sites = [site for r in own for site in r.sites]
            if sites and len(own) < len(usable):
                counts.add((len(own), len({r.protein.cluster for r in own}), len(sites)))
                table = summarise(own, run.config)
                rows.append([f"`{name}`", *(cell(table.get(key)) for key in titles)])
        if rows:
            size = "; ".join(f"{proteins} proteins in {clusters} clusters, {n} sites" for proteins, clusters, n in sorted(counts))
            lines += [f"### {heading}", "", f"{size}.", "", *markdown_table(["predictor", *titles.values()], rows), ""]
    return lines


def _costs(run: Run) -> list[str]:
    rows = []
    for name, records in run.records.items():
        spent = cost(records)
        version = run.facts["predictors"].get(name, {}).get("version") or "–"
        seconds = f"{spent.seconds:.2g} ({spent.seconds_95:.2g})"
        failed = f"{spent.n_failed} of {spent.n_proteins}"
        rows.append([f"`{name}`", version, seconds, f"{spent.peak_mb:.0f}", failed, possibly_trained(name, run.facts)])
    head = ["predictor", "version", "s, median (95th percentile)", "peak MB", "failed", "trained on these proteins?"]
    return markdown_table(head, rows)


def _sweep_section(folder: Path, image: Path) -> str:
    facts = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))
    with open(folder / "sweep.csv", newline="", encoding="utf-8") as handle:
        found = list(csv.DictReader(handle))
    rows = [
        [
            row["parameter"],
            row["value"] or "–",
            _interval(row, "dcc_12"),
            _interval(row, "dcc_ca_12"),
            f"{float(row['dca_4']):.3f}",
            _interval(row, "pfi"),
            f"{float(row['merging']):.2f}",
            f"{float(row['sites_missed']):.3f}",
            f"{float(row['pockets']):.1f}",
            f"{float(row['seconds']):.3f}",
        ]
        for row in found
    ]
    head = [
        "parameter",
        "value",
        "DCC < 12 Å, N+2",
        "CA centre",
        "DCA < 4 Å, N+2",
        "PFI",
        "merging",
        "missed",
        "pockets",
        "s/protein",
    ]
    title = facts["dataset"] + (f", {facts['split']}" if facts["split"] else "")
    text = (
        f"{found[0]['n_proteins']} proteins, {found[0]['n_sites']} sites, model `{facts['model']}`, published ranking. One "
        f"parameter is changed at a time. Seconds are those of the pocket stage; the language model takes another "
        f"{float(found[0]['seconds_scores']):.2f} s."
    )
    picture = f"![recall against fragmentation by setting]({image.name})"
    return "\n".join([f"## Sweep: {title}", "", _origin(facts), "", text, "", *markdown_table(head, rows), "", picture, ""])


def _origin(facts: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    machine = facts["hardware"]
    hardware = f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, {machine['system']}"
    return f"{facts['date']}; {versions}; {hardware}."


def _interval(row: dict[str, str], name: str) -> str:
    return cell(Summary(float(row[name] or "nan"), float(row[f"{name}_low"] or "nan"), float(row[f"{name}_high"] or "nan")))


def _triple(figure: Summary) -> tuple[float, float, float]:
    return figure.value, figure.low, figure.high


@reported
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report.results", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of s2p evaluate, a sweep or a study")
    parser.add_argument("-o", "--out", type=Path, default=Path("benchmarks/RESULTS.md"), help="default: %(default)s")
    options = parser.parse_args(argv)
    print(f"wrote {results_page(options.runs, options.out)}")


if __name__ == "__main__":
    sys.exit(main())
