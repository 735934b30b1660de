"""Studies of the scored surface, by one command: ``python -m benchmarks.studies.run points|robustness DATA ... -o
benchmarks/studies``.

``points`` trains variants of the point scorer on training clusters and judges them on validation clusters. ``robustness`` runs
predictors on structures with other side chains and on forms without the ligand. Tables are CSV and JSON; the JSON is what
``python -m benchmarks.report.results`` shows, and what a stopped run resumes from.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.command import log, reported
from benchmarks.studies.rows import StudyRow, row_from_json, row_to_json, rows_csv
from s2p.commands import names
from s2p.commands.training import silent
from s2p.config import DEFAULT_MODEL
from s2p.errors import S2PError
from s2p.evaluation.provenance import provenance
from s2p.io.files import csv_text, make_folder, write_text

if TYPE_CHECKING:
    from benchmarks.studies.apo import ApoPair, Bare, Holo
    from s2p.evaluation.cases import Case

__all__ = ["StudyTable", "main", "read_bare"]

REDUCED = ("positives", "negatives", "members")
"""Settings of :class:`~benchmarks.recipes.points.PointTrainConfig` that are smaller in studies; the results page says
so."""

EMPTY = "no ligand at the site"
UNKNOWN = "ligand at the site unknown"
"""Of files that hold protein atoms only: a ligand may have been there, in complexes one that is not listed."""


class StudyTable:
    """Rows of studies in a folder: ``NAME.json`` and ``NAME.csv``, complete after every row."""

    def __init__(self, folder: Path, name: str, facts: dict[str, Any]) -> None:
        self._json, self._csv, self._facts = folder / f"{name}.json", folder / f"{name}.csv", facts
        self.rows: list[StudyRow] = []
        make_folder(folder)
        if self._json.is_file():
            old = json.loads(self._json.read_text(encoding="utf-8"))
            changed = [key for key in facts if old.get(key) != facts[key]]
            if changed:
                raise S2PError(f"{self._json} is of another {changed[0]}; delete it, or write to another folder")
            self.rows = [row_from_json(values) for values in old["rows"]]

    def done(self, study: str) -> dict[str, StudyRow]:
        """Rows of a study by their variant."""
        return {row.variant: row for row in self.rows if row.study == study}

    def add(self, rows: Iterable[StudyRow], say: Callable[[str], None]) -> None:
        """Take in new rows one by one."""
        for row in rows:
            if row.variant not in self.done(row.study):
                self.rows.append(row)
                say(f"{row.study}, {row.variant}: " + ", ".join(f"{key} {value}" for key, value in row.figures.items()))
                self.write()

    def write(self) -> None:
        """Both files."""
        facts = self._facts | provenance() | {"rows": [row_to_json(row) for row in self.rows]}
        write_text(self._json, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
        write_text(self._csv, rows_csv(self.rows))


def read_bare(folder: Path, ligysis: Path | None, structures: Sequence[Path]) -> dict[str, Bare]:
    """Structures in which a site may be empty: other complexes, LIGYSIS chains, and files with all that was in the crystal.

    The files of the first two hold protein atoms only. The ligands that are listed for a complex are known, but often one copy of
    a ligand is listed and those of the other chains are not; of LIGYSIS chains nothing is known.
    """
    import numpy as np

    from benchmarks.recipes.data import read_ligysis
    from benchmarks.studies.apo import Bare
    from s2p.datasets.labelled import read_complexes
    from s2p.structure.reading import SUFFIXES, read_structure

    none = np.zeros((0, 3), np.float32)
    found: dict[str, Bare] = {}
    for source in read_complexes(folder):
        occupied = np.concatenate([none, *source.ligand_coords()])
        found[source.key] = Bare(source.key, source.read(), occupied, UNKNOWN)
    if ligysis is not None:
        for split in ("train", "validation"):
            for chain, structure in read_ligysis(ligysis, split):
                found[f"ligysis/{chain.id}"] = Bare(f"ligysis/{chain.id}", structure, none, UNKNOWN)
    for top in structures:
        for path in sorted(p for p in top.rglob("*") if p.name.lower().removesuffix(".gz").endswith(SUFFIXES)):
            try:
                structure = read_structure(path)
            except S2PError:
                continue  # a folder of tests holds broken files too
            occupied = np.concatenate([none, *(ligand.coord for ligand in structure.ligands)])
            found[f"files/{path.name}"] = Bare(f"files/{path.name}", structure, occupied, EMPTY)
    return found


def _holos(cases: Sequence[Case]) -> list[Holo]:
    from benchmarks.studies.apo import Holo

    found = []
    for case in cases:
        truth = case.read()
        found.append(Holo(case.id, case.cluster, truth.structure, truth.ligands))
    return found


def _points(options: argparse.Namespace) -> None:
    from benchmarks.recipes.unseen import read_unseen
    from benchmarks.studies.points import STUDIES, PointStudy, study_rows
    from s2p.evaluation.cases import find_cases
    from s2p.predictor import Seq2Pocket

    for name in options.studies:
        if name not in STUDIES:
            raise S2PError(f"there is no study {name!r}; the studies are {', '.join(STUDIES)}")
    training, validation = (find_cases(options.data, split, splits=options.split_table) for split in ("train", "validation"))
    data = PointStudy(
        Seq2Pocket.load(options.model, device="cpu"),
        training.cases,
        validation.cases,
        read_unseen(options.unseen),
        quiet=options.quiet,
    )
    facts: dict[str, Any] = {"dataset": validation.name, "split": "validation", "model": Path(options.model).stem}
    facts["training"] = {name: getattr(data.train_config, name) for name in REDUCED}
    table = StudyTable(options.out, "points", facts)
    for name in options.studies or STUDIES:
        table.add(study_rows(data, name, table.done(name)), silent if options.quiet else log)


def _robustness(options: argparse.Namespace) -> None:
    from benchmarks.peers import PREDICTORS
    from benchmarks.studies.apo import apo_pairs
    from benchmarks.studies.robustness import form_rows, pair_forms, perturbed_forms
    from s2p.evaluation.cases import find_cases
    from s2p.evaluation.runner import load_named

    cases = find_cases(options.data, options.split, splits=options.split_table)
    facts = {"dataset": cases.name, "split": cases.split, "model": Path(options.model).stem}
    table = StudyTable(options.out, "robustness", facts)
    say = silent if options.quiet else log
    pairs = apo_pairs(_holos(cases.cases), read_bare(options.data, options.ligysis, options.structures))
    write_text(options.out / "apo_pairs.csv", _pairs_csv(pairs))
    forms = {"side chains": perturbed_forms(cases.cases)}
    for state in sorted({pair.state for pair in pairs}):
        forms[f"other structure, {state}"] = pair_forms(_most_different([pair for pair in pairs if pair.state == state]))
    say("; ".join(f"{name}: {len(next(iter(sets.values())))}" for name, sets in forms.items()))
    if options.pairs_only:
        return
    for name in options.predictor:
        predictor = load_named(PREDICTORS.get(name, name), options.model)
        for study, sets in forms.items():
            if any(variant.startswith(f"{predictor.name},") for variant in table.done(study)):
                continue
            table.add(form_rows(study, sets, [predictor], quiet=options.quiet), say)


def _most_different(pairs: Sequence[ApoPair]) -> list[ApoPair]:
    """Of each chain the pair whose sites differ most."""
    found: dict[str, ApoPair] = {}
    for pair in sorted(pairs, key=lambda p: max(x.site_rmsd for x in p.placed)):
        found[pair.holo.key] = pair
    return [found[key] for key in sorted(found)]


def _pairs_csv(pairs: Sequence[ApoPair]) -> str:
    rows = []
    for pair in pairs:
        worst = max(pair.placed, key=lambda p: p.site_rmsd)
        figures = (round(worst.identity, 3), round(worst.rmsd, 2), worst.n_fitted, round(worst.site_rmsd, 2))
        rows.append((pair.holo.key, pair.holo.cluster, pair.apo_key, pair.state, len(pair.placed), *figures))
    columns = ("chain", "cluster", "other", "state", "ligands", "identity", "fit_rmsd", "n_fitted", "site_rmsd")
    return csv_text(rows, columns)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.run", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True)
    points = commands.add_parser("points", help="train variants of the point scorer and judge them on validation clusters")
    robustness = commands.add_parser("robustness", help="predictors on perturbed side chains and on forms without the ligand")
    for part, run in ((points, _points), (robustness, _robustness)):
        part.add_argument("data", type=Path, help="folder of complexes (index.csv, chain_clusters.csv)")
        part.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME|PATH", help="default: %(default)s")
        part.add_argument("--split-table", type=Path, metavar="CSV", help="dataset,id,split (default: the repository's)")
        part.add_argument(
            "-o", "--out", type=Path, default=Path("benchmarks/studies"), metavar="DIR", help="default: %(default)s"
        )
        part.add_argument("--quiet", action="store_true", help="print nothing but errors")
        part.set_defaults(run=run)
    points.add_argument("--unseen", type=Path, required=True, metavar="FILE", help="of python -m benchmarks.recipes.unseen")
    points.add_argument("--studies", type=names, default=[], metavar="NAME,...", help="default: all")
    robustness.add_argument("--split", default="validation", metavar="NAME", help="default: %(default)s")
    robustness.add_argument("--ligysis", type=Path, metavar="DIR", help="folder of LIGYSIS chains, as other structures")
    robustness.add_argument(
        "--structures",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="structure files with all that was in the crystal",
    )
    robustness.add_argument("--pairs-only", action="store_true", help="write the table of pairs, predict nothing")
    robustness.add_argument(
        "--predictor",
        type=names,
        default=["s2p", "s2p-clustered", "benchmarks.peers:LargestCavity"],
        metavar="NAME,...",
        help="default: s2p,s2p-clustered,benchmarks.peers:LargestCavity",
    )
    return parser


@reported
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    options = _parser().parse_args(argv)
    options.run(options)


if __name__ == "__main__":
    sys.exit(main())
