"""What the settings of the pocket stage do: one parameter at a time, and the clusterings the paper compares.

The language model runs once a structure; every setting starts from the same residue scores. A sweep is a folder with
``sweep.csv`` (a row a setting), ``sweep.json`` (where and when) and ``sweep.png``.

``python -m benchmarks.studies.sweep --dataset complexes/ --parameter bandwidth -o runs/sweep``
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.command import reported
from course.clusterings import ALTERNATIVES, AlternativeConfig, Method, cluster_ca
from course.recall_pfi import Mark, dcc_against_pfi
from s2p.commands import names
from s2p.commands.evaluation import add_cases, cases_of, guard
from s2p.config import Checked, PredictConfig
from s2p.errors import S2PError
from s2p.evaluation.cases import CaseSet, Truth
from s2p.evaluation.compare import evaluate_complex
from s2p.evaluation.config import BenchmarkConfig
from s2p.evaluation.intervals import recall_name, summarise
from s2p.evaluation.provenance import provenance
from s2p.evaluation.rows import ComplexResult
from s2p.io.files import make_folder, write_bytes, write_text
from s2p.io.runtime import progress_bar
from s2p.prediction import Prediction
from s2p.predictor import ResidueScores, Seq2Pocket

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PARAMETERS", "Setting", "SweepConfig", "SweepRow", "settings", "sweep", "write_sweep"]


@dataclass(frozen=True)
class SweepConfig(Checked):
    """Values that a sweep tries, one parameter at a time, the others at their defaults."""

    bandwidth: tuple[float, ...] = (6.0, 7.0, 9.0, 12.0, 15.0)
    """Å (paper)."""
    probe_radius: tuple[float, ...] = (1.4, 1.6, 2.0)
    """Å (paper)."""
    n_points: tuple[int, ...] = (20, 50, 100)
    """Surface points on the sphere around an atom (paper)."""
    threshold: tuple[float, ...] = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
    smoothing_threshold: tuple[float, ...] = (0.2, 0.3, 0.4, 0.5, 0.6, 0.8)
    smoothing_radius: tuple[float, ...] = (6.0, 10.0, 15.0, 20.0)
    """Å; the paper compares 10 and 15."""
    eps: tuple[float, ...] = (5.0, 7.0)
    """Å, of DBSCAN on CA atoms (paper)."""
    ca_bandwidth: tuple[float, ...] = (9.0, 12.0)
    """Å, of mean shift on CA atoms (paper)."""


@dataclass(frozen=True)
class Setting:
    """One run of the pocket stage."""

    parameter: str
    value: str
    config: PredictConfig
    alternative: tuple[Method, AlternativeConfig] | None = None
    """A clustering of CA atoms in place of mean shift on surface points."""


def _surface(name: str) -> Callable[[PredictConfig, Any], PredictConfig]:
    return lambda config, value: replace(config, surface=replace(config.surface, **{name: value}))


PARAMETERS: dict[str, Callable[[PredictConfig, Any], PredictConfig]] = {
    "bandwidth": lambda config, value: replace(config, cluster=replace(config.cluster, bandwidth=value)),
    "probe_radius": _surface("probe_radius"),
    "n_points": _surface("n_points"),
    "threshold": lambda config, value: replace(config, threshold=value),
    "smoothing_threshold": lambda config, value: replace(config, smoothing_threshold=value),
    "smoothing_radius": lambda config, value: replace(config, smoothing=replace(config.smoothing, radius=value)),
}
"""Parameters that can be swept, beside ``smoothing``, ``ranking`` and ``clustering``; named as in :class:`SweepConfig`."""


def settings(parameters: Sequence[str] | None = None, values: SweepConfig | None = None) -> list[Setting]:
    """The settings of a sweep, the default one first.

    Parameters
    ----------
    parameters
        Of :data:`PARAMETERS`, ``smoothing``, ``ranking`` and ``clustering``; default all.

    Raises
    ------
    S2PError
        If there is no such parameter.

    Notes
    -----
    All but ``ranking`` rank by the published score, the mean residue probability of the pocket's atoms: the learned one was
    fitted to the default settings, and would favour them.
    """
    values = values or SweepConfig()
    known = (*PARAMETERS, "smoothing", "ranking", "clustering")
    base = PredictConfig(ranking="published")
    found = [Setting("default", "", base)]
    for name in parameters if parameters is not None else known:
        if name == "smoothing":
            found.append(Setting(name, "off", replace(base, use_smoothing=False)))
        elif name == "ranking":
            found.append(Setting(name, "surface", replace(base, ranking="surface")))
        elif name == "clustering":
            chosen = dict(ALTERNATIVES)
            chosen |= {f"dbscan-{x:g}": ("dbscan", AlternativeConfig(eps=x)) for x in values.eps}
            chosen |= {f"mean-shift-ca-{x:g}": ("mean-shift", AlternativeConfig(bandwidth=x)) for x in values.ca_bandwidth}
            found += [Setting(name, label, base, alternative) for label, alternative in chosen.items()]
        elif name in PARAMETERS:
            found += [Setting(name, f"{x:g}", PARAMETERS[name](base, x)) for x in getattr(values, name)]
        else:
            raise S2PError(f"there is no parameter {name!r} to sweep; the parameters are {', '.join(known)}")
    return found


@dataclass(frozen=True)
class SweepRow:
    """Figures of a setting with 95 % intervals over clusters: the columns of ``sweep.csv``."""

    parameter: str
    value: str
    n_proteins: int
    n_sites: int
    dcc_12: float
    """Recall, DCC < 12 Å from the ligand's centroid, top N+2; so with the other columns, but for cutoff or centre."""
    dcc_12_low: float
    dcc_12_high: float
    dcc_ca_12: float
    """From the mean CA of the site's residues (paper)."""
    dcc_ca_12_low: float
    dcc_ca_12_high: float
    dcc_4: float
    dca_4: float
    pfi: float
    pfi_low: float
    pfi_high: float
    merging: float
    sites_missed: float
    """Share that no pocket touches."""
    pockets: float
    """Per protein."""
    seconds: float
    """Mean of a protein, from residue scores to ranked pockets."""
    seconds_scores: float
    """Mean of a protein, language model: the same for all settings."""


def sweep(
    cases: CaseSet,
    predictor: Seq2Pocket,
    chosen: Sequence[Setting],
    *,
    config: BenchmarkConfig | None = None,
    quiet: bool = False,
) -> list[SweepRow]:
    """Figures of every setting over the cases.

    Raises
    ------
    S2PError
        If a case cannot be read or has no ligands: settings can be compared by pockets only.
    """
    config = config or BenchmarkConfig()
    truths: list[tuple[str, str, Truth, ResidueScores]] = []
    spent = []
    for case in progress_bar(cases.cases, "residue scores", quiet):
        truth = case.read()
        if not truth.ligands:
            if case.kind == "inside":  # a folder may well hold structures without ligands
                continue
            raise S2PError(f"{case.id}: labels of residues only; a sweep needs complexes with ligands")
        start = time.perf_counter()
        scores = predictor.score(truth.structure)
        spent.append(time.perf_counter() - start)
        truths.append((case.id, case.cluster, truth, scores))
    if not truths:
        raise S2PError(f"{cases.name}: no structure in it has a ligand to find")
    predictor.pockets(truths[0][2].structure, truths[0][3])  # compiles or loads the kernels outside of what is timed
    if predictor.checkpoint.surface is None:
        chosen = [setting for setting in chosen if setting.config.ranking != "surface"]
    rows = []
    for setting in progress_bar(chosen, "settings", quiet):
        results, seconds = _run_setting(setting, predictor, truths, config)
        rows.append(_row(setting, results, seconds, float(np.mean(spent)), config))
    return rows


def _run_setting(
    setting: Setting, predictor: Seq2Pocket, truths: Iterable[tuple[str, str, Truth, ResidueScores]], config: BenchmarkConfig
) -> tuple[list[ComplexResult], list[float]]:
    results, seconds = [], []
    for name, cluster, truth, scores in truths:
        start = time.perf_counter()
        prediction: Prediction = predictor.pockets(truth.structure, scores, setting.config)
        if setting.alternative is not None:
            # Timed alone: its residues come from a prediction whose own clustering is not wanted.
            start = time.perf_counter()
            prediction = cluster_ca(prediction, scores.embeddings, *setting.alternative)
        seconds.append(time.perf_counter() - start)
        results.append(evaluate_complex(prediction, truth.ligands, name=name, cluster=cluster, sites=truth.sites, config=config))
    return results, seconds


def _row(
    setting: Setting, results: Sequence[ComplexResult], seconds: Sequence[float], scoring: float, config: BenchmarkConfig
) -> SweepRow:
    table = summarise(results, config)
    _, plus, _ = config.ranks
    loose, published = (table[recall_name(measure, config.loose_hit, plus)] for measure in ("dcc", "dcc CA"))
    pfi = table["PFI"]
    return SweepRow(
        setting.parameter,
        setting.value,
        len(results),
        sum(len(result.sites) for result in results),
        *(loose.value, loose.low, loose.high),
        *(published.value, published.low, published.high),
        table[recall_name("dcc", config.strict_hit, plus)].value,
        table[recall_name("dca", config.strict_hit, plus)].value,
        *(pfi.value, pfi.low, pfi.high),
        table["merging"].value,
        table["sites missed"].value,
        table["pockets per protein"].value,
        float(np.mean(seconds)),
        scoring,
    )


def write_sweep(
    rows: Sequence[SweepRow], cases: CaseSet, predictor: Seq2Pocket, folder: Path, *, trained: Sequence[str] = ()
) -> list[Path]:
    """Write table, facts and figure into ``folder`` and return their paths; ``trained``: cases the checkpoint was trained on."""
    make_folder(folder)
    table = sweep_frame(rows)
    facts = {"dataset": cases.name, "split": cases.split, "model": predictor.name, "trained_on": list(trained)} | provenance()
    marks = [
        Mark(
            row.parameter,
            row.value or "default",
            (row.pfi, row.pfi_low, row.pfi_high),
            (row.dcc_12, row.dcc_12_low, row.dcc_12_high),
        )
        for row in rows
    ]
    return [
        write_text(folder / "sweep.csv", table.to_csv(index=False, lineterminator="\n")),
        write_text(folder / "sweep.json", json.dumps(facts, indent=1, ensure_ascii=False) + "\n"),
        write_bytes(folder / "sweep.png", dcc_against_pfi(marks).png()),
    ]


def sweep_frame(rows: Sequence[SweepRow]) -> pd.DataFrame:
    """The rows as a data frame."""
    import pandas as pd

    return pd.DataFrame([asdict(row) for row in rows], columns=[field.name for field in fields(SweepRow)])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.studies.sweep",
        description="Change one setting of the pocket stage at a time and write recall, fragmentation and time of each. Settings "
        "are chosen on validation, which is the default split of complexes here.",
    )
    add_cases(parser)
    parser.add_argument("--split", metavar="NAME", help="of complexes (default: validation)")
    known = ", ".join((*PARAMETERS, "smoothing", "ranking", "clustering"))
    parser.add_argument("--parameter", type=names, metavar="A,B", help=f"of {known} (default: all)")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/sweep"), metavar="DIR", help="default: %(default)s")
    return parser


def _run(options: argparse.Namespace) -> None:
    chosen = settings(options.parameter)
    split = options.split or ("validation" if (Path(options.dataset) / "index.csv").is_file() else None)
    cases = cases_of(options, split)
    cases, seen = guard(cases, ["s2p"], options)
    predictor = Seq2Pocket.load(options.model, device="cpu")
    rows = sweep(cases, predictor, chosen, quiet=options.quiet)
    paths = write_sweep(rows, cases, predictor, options.output, trained=seen["s2p"].trained_on)
    if not options.quiet:
        shown = ["parameter", "value", "dcc_12", "dcc_ca_12", "dca_4", "pfi", "merging", "sites_missed", "pockets", "seconds"]
        print(sweep_frame(rows)[shown].to_string(index=False, float_format=lambda x: f"{x:.3f}"))
        print("\n".join(f"wrote {path}" for path in paths))


@reported
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    _run(_parser().parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
