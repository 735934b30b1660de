"""Run predictors over a data set so that every structure is answered for, and write tables of what they found.

A run is a folder: ``run.json`` (what was run, where, when), ``records/<predictor>.jsonl`` (one line a protein, appended as
they finish: what a killed run resumes from) and the tables made of them, ``sites.csv``, ``proteins.csv``, ``summary.csv``,
``paired.csv``, ``failures.csv``, and ``.parquet`` beside the first two where pyarrow is installed.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import PREDICTORS, load_predictor
from course.clusterings import VARIANTS, Variant
from s2p.config import DEFAULT_MODEL
from s2p.errors import S2PError
from s2p.evaluation.cases import Case, CaseSet, Truth
from s2p.evaluation.compare import evaluate_complex
from s2p.evaluation.config import BenchmarkConfig
from s2p.evaluation.provenance import provenance
from s2p.evaluation.records import Record, Run, read_lines
from s2p.evaluation.residues import residue_figures
from s2p.evaluation.rows import ProteinRow
from s2p.io.files import file_stem, make_folder, sha256_file, write_text
from s2p.io.processes import Answer, isolated
from s2p.io.runtime import measure
from s2p.io.weights import SHIPPED
from s2p.models import POCKET_FINDERS
from s2p.prediction import Prediction, Predictor

__all__ = ["evaluate_case", "load_named", "predictor_names", "run_benchmark"]


def predictor_names() -> tuple[str, ...]:
    """Names :func:`load_named` knows, whether or not what they need is installed."""
    return (*PREDICTORS, *VARIANTS, *POCKET_FINDERS)


def load_named(name: str, model: str | Path = DEFAULT_MODEL) -> Predictor:
    """A predictor by name.

    It is a variant of Seq2Pocket, a peer (:mod:`benchmarks.peers`), another of our methods with its shipped checkpoint
    (:data:`s2p.models.POCKET_FINDERS`), or ``package.module:Class`` of your own.

    Raises
    ------
    S2PError
        If there is none, or what it needs is not installed.
    """
    if name in VARIANTS:
        return Variant(name, model)
    if name in POCKET_FINDERS:
        from s2p.loading import load_model  # PyTorch: workers of other predictors do without

        found: Predictor = load_model(name, device="cpu")
        return found
    if ":" in name:
        module, _, attribute = name.partition(":")
        try:
            found = getattr(importlib.import_module(module), attribute)()
        except (ImportError, AttributeError) as error:
            raise S2PError(f"predictor {name!r} cannot be imported ({error}); write package.module:Class") from None
        if not isinstance(found, Predictor):
            raise S2PError(f"{name} is no predictor: it needs a name and a method predict(structure)")
        return found
    return load_predictor(name, model=model, device="cpu") if name.startswith("s2p") else load_predictor(name)


def describe(predictor: Predictor) -> str:
    """Version of a predictor, as far as it says."""
    return str(getattr(predictor, "version", ""))


def evaluate_case(predictor: Predictor, case: Case, *, name: str = "", config: BenchmarkConfig | None = None) -> Record:
    """Predict one case and compare; what a worker does. Only the prediction is timed.

    Raises
    ------
    S2PError
        If the case cannot be read, or what was predicted cannot be right.
    """
    truth = case.read()
    prediction, seconds, peak = measure(lambda: predictor.predict(truth.structure))
    for pocket in prediction.pockets:
        if not np.isfinite(pocket.center).all():
            raise S2PError(f"pocket {pocket.rank} has no finite centre")
    if len(prediction.probabilities) != len(truth.labels):
        raise S2PError(f"{len(prediction.probabilities)} residue scores for {len(truth.labels)} residues")
    # A program that was started for the prediction knows its own time and memory better.
    seconds = float(prediction.settings.get("seconds", seconds))
    peak = float(prediction.settings.get("peak_mb", peak))
    record = record_of(truth, replace(prediction, model=name or predictor.name), case, config)
    figures = residue_figures(truth.labels, prediction.probabilities, decided(prediction))
    protein = replace(
        record.protein,
        seconds=seconds,
        peak_mb=peak,
        auprc=figures.auprc,
        average_precision=figures.average_precision,
        auc=figures.auc,
        mcc=figures.mcc,
        f1=figures.f1,
    )
    return replace(record, protein=protein)


def record_of(truth: Truth, prediction: Prediction, case: Case, config: BenchmarkConfig | None = None) -> Record:
    """Rows of a prediction."""
    result = evaluate_complex(
        prediction, truth.ligands, name=case.id, cluster=case.cluster, ligand_names=truth.names, config=config
    )
    scores = tuple(round(x, 4) for x in prediction.probabilities.astype(float).tolist())
    return Record(result.protein, result.sites, _bits(truth.labels), _bits(decided(prediction)), scores)


def decided(prediction: Prediction) -> NDArray[np.bool_]:
    """(N,) residues predicted to bind; of a predictor that decides about pockets only, those of its pockets."""
    if prediction.positive.any():
        return prediction.positive
    inside = np.zeros(len(prediction.probabilities), np.bool_)
    for pocket in prediction.pockets:
        inside[pocket.residues] = True
    return inside


def _bits(mask: NDArray[np.bool_]) -> str:
    return "".join("1" if x else "0" for x in np.asarray(mask, bool).tolist())


def failed_record(answer: Answer[Case], name: str, config: BenchmarkConfig | None = None) -> Record:
    """A record in which every site of the case is missed; if the case itself cannot be read, one without sites."""
    case = answer.item
    try:
        truth = case.read()
    except S2PError as error:
        nothing = ProteinRow(name, case.id, case.cluster, *(0,) * 12, *(float("nan"),) * 4, "unreadable", str(error))
        return Record(nothing, (), "", "", ())
    n = len(truth.labels)
    empty = Prediction(truth.structure, np.zeros(n, np.float32), np.zeros(n, bool), np.zeros(n, bool), (), name)
    record = record_of(truth, empty, case, config)
    protein = replace(record.protein, status=answer.status, message=answer.message, seconds=answer.seconds, first=answer.first)
    return replace(record, protein=protein, positive="", scores=())


def run_benchmark(
    cases: CaseSet,
    predictors: Sequence[str],
    folder: Path,
    *,
    model: str = DEFAULT_MODEL,
    workers: int = 1,
    resume: bool = False,
    config: BenchmarkConfig | None = None,
    report: Callable[[str, int, int], None] | None = None,
    trained: Sequence[str] = (),
) -> Run:
    """Run predictors over the cases, one after the other, and write the folder (tables:
    :func:`s2p.evaluation.tables.write_tables`).

    Parameters
    ----------
    model
        Checkpoint of the variants of Seq2Pocket.
    workers
        Processes. Times and memory are of one prediction in one process with one thread, but processes share the machine.
    resume
        Go on with the folder: proteins that have a record, failures included, are not predicted again.
    report
        Called with predictor, proteins done and proteins in all.
    trained
        Ids of cases the checkpoint was trained on (:func:`s2p.evaluation.run_guard.guard_cases`), for the record.

    Returns
    -------
    A predictor that cannot be loaded has no records; ``facts["predictors"]`` says why.

    Raises
    ------
    S2PError
        If the folder holds a run and ``resume`` is off, or holds a run over something else or by other versions.
    """
    config = config or BenchmarkConfig()
    make_folder(folder / "records")
    facts = _open_run(folder, cases, model, config, resume) | {"trained_on": list(trained)}
    records: dict[str, list[Record]] = {}
    order = {case.id: k for k, case in enumerate(cases.cases)}
    for name in predictors:
        path = folder / "records" / f"{file_stem(name)}.jsonl"
        known = {record.protein.protein: record for record in read_lines(path)}
        found = [known[case.id] for case in cases.cases if case.id in known]
        pending = [case for case in cases.cases if case.id not in known]
        entry = facts["predictors"].setdefault(name, {})
        answers = isolated(
            partial(load_named, name, model),
            partial(evaluate_case, name=name, config=config),
            pending,
            workers=workers,
            log=folder / "records" / f"{file_stem(name)}.log",
            describe=describe,
            on_load=partial(_same_version, entry, name, bool(found)),
            timeout=config.timeout,
            load_timeout=config.load_timeout,
        )
        entry.pop("error", None)
        try:
            with open(path, "a", encoding="utf-8") as handle:
                for answer in answers:
                    record = _of_answer(answer, name, config)
                    handle.write(record.to_json() + "\n")
                    handle.flush()
                    os.fsync(handle.fileno())
                    found.append(record)
                    if report is not None:
                        report(name, len(found), len(cases.cases))
        except _OtherVersion as error:
            raise S2PError(str(error)) from None
        except S2PError as error:
            entry["error"] = str(error)
        if found:
            records[name] = sorted(found, key=lambda record: order[record.protein.protein])
        write_text(folder / "run.json", json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    return Run(folder, facts, records)


class _OtherVersion(S2PError):
    """The predictor is not the one that made the records that are there."""


def _same_version(entry: dict[str, Any], name: str, resumed: bool, version: str) -> None:
    if resumed and entry.get("version", version) != version:
        raise _OtherVersion(
            f"{name} was {entry['version']} when this run began and is {version} now; start a new run in another folder"
        )
    entry["version"] = version


def _of_answer(answer: Answer[Case], name: str, config: BenchmarkConfig) -> Record:
    if answer.status != "ok":
        return failed_record(answer, name, config)
    record: Record = answer.value
    return replace(record, protein=replace(record.protein, first=answer.first))


def _open_run(folder: Path, cases: CaseSet, model: str, config: BenchmarkConfig, resume: bool) -> dict[str, Any]:
    """``run.json``, new or, with ``resume``, as it was left."""
    path = folder / "run.json"
    # Time limits may change between the parts of a run; what is measured may not.
    measured = {key: value for key, value in asdict(config).items() if "timeout" not in key}
    asked = {"dataset": cases.name, "split": cases.split, "model": str(model), "model_sha256": _digest(model), "config": measured}
    if not path.is_file():
        facts: dict[str, Any] = asked | {"n_cases": len(cases.cases), "predictors": {}} | provenance()
        write_text(path, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
        return facts
    if not resume:
        raise S2PError(f"{folder} holds a run already; go on with it by --resume, or choose another folder")
    facts = json.loads(path.read_text(encoding="utf-8"))
    for key, value in asked.items():
        if facts.get(key) != value:
            raise S2PError(f"{folder} holds a run with {key} {facts.get(key)!r}, not {value!r}; choose another folder")
    return facts | {"n_cases": len(cases.cases)}


def _digest(model: str) -> str:
    """What tells a checkpoint from another of the same name; empty if there is none, which is said when it is loaded."""
    shipped = SHIPPED / f"{model}.safetensors"
    path = shipped if shipped.is_file() else Path(model)
    return sha256_file(path) if path.is_file() else ""
