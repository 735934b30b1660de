"""Run predictors over a data set, with a record for every structure, and write tables of the results.

A run is a folder: ``run.json`` (what was run, where, when), ``records/<predictor>.jsonl`` (one line per protein, appended as
it finishes, from which an interrupted run resumes) and the tables made from them, ``sites.csv``, ``proteins.csv``,
``summary.csv``, ``paired.csv``, ``failures.csv``, and ``.parquet`` files of the first two if pyarrow is installed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2p import __version__
from s2p.config import DEFAULT_MODEL, PredictConfig
from s2p.errors import S2PError
from s2p.evaluation.cases import Case, CaseSet, Truth
from s2p.evaluation.compare import evaluate_complex
from s2p.evaluation.config import OURS, BenchmarkConfig
from s2p.evaluation.guard import Seen
from s2p.evaluation.provenance import provenance
from s2p.evaluation.residues import auprc_trapezoid, average_precision, f1, matthews, roc_auc
from s2p.evaluation.rows import ComplexResult, ProteinRow, SiteRow
from s2p.io.files import file_stem, make_folder, sha256_file, write_text
from s2p.io.processes import Answer, isolated
from s2p.io.runtime import measure
from s2p.io.weights import weights_path
from s2p.prediction import Prediction, Predictor, import_predictor, names_class, predict_with
from s2p.structure.reading import Structure

__all__ = ["Configured", "Record", "Run", "evaluate_case", "load_named", "read_lines", "run_benchmark"]


@dataclass(frozen=True)
class Record(ComplexResult):
    """A line of a run."""

    labels: str
    """``0`` and ``1`` of the N residues."""
    positive: str
    """Likewise, the residues predicted as binding; empty if the prediction failed."""
    scores: tuple[float, ...]
    """(N,) of the residues, four decimals; empty if the prediction failed."""

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> Record:
        """From :meth:`to_json`; :class:`S2PError` for a line of another version of s2p, which has other columns."""
        values = json.loads(line)
        try:
            protein, sites = ProteinRow(**values["protein"]), tuple(SiteRow(**row) for row in values["sites"])
        except TypeError as error:
            key = values["protein"].get("protein", "?")
            raise S2PError(f"{key}: its record is from another version of s2p ({error}); run it again in a new folder") from None
        return cls(protein, sites, values["labels"], values["positive"], tuple(values["scores"]))


@dataclass(frozen=True, eq=False)
class Run:
    """The run in a folder."""

    folder: Path
    facts: dict[str, Any]
    """``run.json``."""
    records: dict[str, list[Record]]
    """By predictor, in the order of the data set."""

    def training(self, name: str) -> Seen:
        """What is known about the training of a predictor."""
        known = self.facts["predictors"].get(name, {}).get("training", {"unknown": "the run does not say"})
        return Seen(tuple(known.get("trained_on", ())), known["unknown"])

    @property
    def config(self) -> BenchmarkConfig:
        """Settings of the run; time limits are those of the present version."""
        known = {field.name for field in fields(BenchmarkConfig)}
        return BenchmarkConfig(**{key: value for key, value in self.facts["config"].items() if key in known})


def read_lines(path: Path) -> list[Record]:
    """Records of a file; an incomplete last line of an interrupted run is removed."""
    if not path.is_file():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        os.truncate(path, len(whole))
    return [Record.from_json(line) for line in whole.decode("utf-8").split("\n") if line]


class Configured:
    """A predictor that is called with its own settings, and whose predictions have ``name`` as their model."""

    def __init__(self, name: str, predictor: Predictor, config: PredictConfig) -> None:
        self.name, self.predictor, self.config = name, predictor, config
        self.version = f"{__version__} ({predictor.name})"

    def predict(self, structure: Structure) -> Prediction:
        """Pockets of ``structure``, under this predictor's name."""
        return replace(predict_with(self.predictor, structure, self.config), model=self.name)


def load_named(name: str, model: str | Path = DEFAULT_MODEL) -> Predictor:
    """A predictor by name, on the CPU.

    Parameters
    ----------
    name
        One of :data:`s2p.evaluation.config.OURS`, which is ``model`` with those settings, or what :func:`s2p.load` accepts: a
        shipped model, the path of a checkpoint, or ``package.module:Class``.

    Raises
    ------
    S2PError
        If there is none, or a package that it needs is not installed.
    """
    if names_class(name):  # without PyTorch, which would count as memory of predictors that do not use it
        return import_predictor(name)
    from s2p.predictor import load

    if name in OURS:
        return Configured(name, load(model, device="cpu"), OURS[name])
    return load(name, device="cpu")


def describe(predictor: Predictor) -> str:
    """Version of a predictor, if it states one."""
    return str(getattr(predictor, "version", ""))


def evaluate_case(predictor: Predictor, case: Case, *, name: str = "", config: BenchmarkConfig | None = None) -> Record:
    """Predict and evaluate one case, as a worker does; only the prediction is timed.

    :class:`S2PError` if the case cannot be read, or the prediction is invalid.
    """
    truth = case.read()
    prediction, seconds, peak = measure(lambda: predictor.predict(truth.structure))
    for pocket in prediction.pockets:
        if not np.isfinite(pocket.center).all():
            raise S2PError(f"pocket {pocket.rank} has no finite centre")
    if len(prediction.probabilities) != len(truth.labels):
        raise S2PError(f"{len(prediction.probabilities)} residue scores for {len(truth.labels)} residues")
    if not np.isfinite(prediction.probabilities).all():
        raise S2PError("a residue score is not a number")
    # A program that was started for the prediction reports its own time and memory.
    seconds = float(prediction.settings.get("seconds", seconds))
    peak = float(prediction.settings.get("peak_mb", peak))
    record = record_of(truth, replace(prediction, model=name or predictor.name), case, config)
    labels, scores, positive = truth.labels, prediction.probabilities, decided(prediction)
    protein = replace(
        record.protein,
        seconds=seconds,
        peak_mb=peak,
        auprc=auprc_trapezoid(labels, scores),
        average_precision=average_precision(labels, scores),
        auc=roc_auc(labels, scores),
        mcc=matthews(labels, positive),
        f1=f1(labels, positive),
    )
    return replace(record, protein=protein)


def record_of(truth: Truth, prediction: Prediction, case: Case, config: BenchmarkConfig | None = None) -> Record:
    """Rows of a prediction."""
    result = evaluate_complex(
        prediction, truth.ligands, name=case.id, cluster=case.cluster, ligand_names=truth.names, sites=truth.sites, config=config
    )
    scores = tuple(round(x, 4) for x in prediction.probabilities.astype(float).tolist())
    return Record(result.protein, result.sites, _bits(truth.labels), _bits(decided(prediction)), scores)


def decided(prediction: Prediction) -> NDArray[np.bool_]:
    """(N,) residues predicted as binding; for a predictor of pockets only, the residues of its pockets."""
    if prediction.positive.any():
        return prediction.positive
    inside = np.zeros(len(prediction.probabilities), np.bool_)
    for pocket in prediction.pockets:
        inside[pocket.residues] = True
    return inside


def _bits(mask: NDArray[np.bool_]) -> str:
    return "".join(np.where(mask, "1", "0"))


def failed_record(answer: Answer[Case], name: str, config: BenchmarkConfig | None = None) -> Record:
    """A record in which all sites of the case are missed; without sites if the case itself cannot be read."""
    case = answer.item
    try:
        truth = case.read()
    except S2PError as error:
        nothing = ProteinRow(name, case.id, case.cluster, *(0,) * 12, *(float("nan"),) * 4, "unreadable", str(error))
        return Record(nothing, (), "", "", ())
    n = len(truth.labels)
    empty = Prediction(truth.structure, np.zeros(n, np.float32), np.zeros(n, bool), np.zeros(n, bool), (), name)
    record = record_of(truth, empty, case, config)
    protein = replace(record.protein, status=answer.status, message=answer.message, seconds=answer.seconds)
    return replace(record, protein=protein, positive="", scores=())


def run_benchmark(
    cases: CaseSet,
    predictors: Sequence[str] | Mapping[str, str],
    folder: Path,
    *,
    model: str = DEFAULT_MODEL,
    workers: int = 1,
    resume: bool = False,
    config: BenchmarkConfig | None = None,
    report: Callable[[str, int, int], None] | None = None,
    trained: Mapping[str, Seen] | None = None,
) -> Run:
    """Run predictors over the cases, one after the other, and write their records (:func:`s2p.evaluation.tables.write_tables`).

    Parameters
    ----------
    predictors
        Names as for :func:`load_named`; a mapping gives them shorter ones for the tables.
    model
        Checkpoint of the predictors in :data:`s2p.evaluation.config.OURS`.
    workers
        Processes. Times and memory are of one prediction in one process with one thread, but processes share the machine.
    resume
        Continue the run in the folder: proteins with a record, also a failed one, are not predicted again.
    report
        Called with predictor, number of finished proteins, and number of all proteins.
    trained
        What is known about the training of the predictors (:func:`s2p.evaluation.guard.guard_cases`), to be stored.

    Returns
    -------
    A predictor that cannot be loaded has no records; the reason is in ``facts["predictors"]``.

    Raises
    ------
    S2PError
        If the folder contains a run and ``resume`` is off, or a run on other data or with other versions.
    """
    config = config or BenchmarkConfig()
    facts = _open_run(folder, cases, model, config, resume)
    records: dict[str, list[Record]] = {}
    order = {case.id: k for k, case in enumerate(cases.cases)}
    named = predictors if isinstance(predictors, Mapping) else dict(zip(predictors, predictors, strict=True))
    for name, source in named.items():
        path = folder / "records" / f"{file_stem(name)}.jsonl"
        known = {record.protein.protein: record for record in read_lines(path)}
        found = [known[case.id] for case in cases.cases if case.id in known]
        pending = [case for case in cases.cases if case.id not in known]
        entry = facts["predictors"].setdefault(name, {})
        entry["training"] = asdict((trained or {}).get(source, Seen(unknown="this was not looked up")))
        answers = isolated(
            partial(load_named, source, model),
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
                    record = _record_of_answer(answer, name, config)
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


def _record_of_answer(answer: Answer[Case], name: str, config: BenchmarkConfig) -> Record:
    record: Record = answer.value if answer.status == "ok" else failed_record(answer, name, config)
    first = answer.first and record.protein.status != "unreadable"  # nothing was predicted for them
    return replace(record, protein=replace(record.protein, first=first))


class _OtherVersion(S2PError):
    """The predictor differs from the one that wrote the existing records."""


def _same_version(entry: dict[str, Any], name: str, resumed: bool, version: str) -> None:
    if resumed and entry.get("version", version) != version:
        raise _OtherVersion(
            f"{name} was {entry['version']} when this run began and is {version} now; start a new run in another folder"
        )
    entry["version"] = version


def _open_run(folder: Path, cases: CaseSet, model: str, config: BenchmarkConfig, resume: bool) -> dict[str, Any]:
    """Content of ``run.json``, new or, with ``resume``, that of the interrupted run."""
    path = folder / "run.json"
    make_folder(folder / "records")
    # Time limits may change when a run is resumed; settings of the metrics may not.
    measured = {key: value for key, value in asdict(config).items() if "timeout" not in key}
    weights = weights_path(model)
    digest = sha256_file(weights) if weights.is_file() else ""  # missing ones are reported when they are loaded
    asked = {"dataset": cases.name, "split": cases.split, "model": str(model), "model_sha256": digest, "config": measured}
    if not path.is_file():
        facts: dict[str, Any] = asked | {"n_cases": len(cases.cases), "predictors": {}}
        facts |= provenance()
        write_text(path, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
        return facts
    if not resume:
        raise S2PError(f"{folder} contains a run already; resume it with --resume, or choose another folder")
    facts = json.loads(path.read_text(encoding="utf-8"))
    if (version := facts.get("versions", {}).get("s2p")) != __version__:
        raise S2PError(f"{folder} contains a run of s2p {version}, not {__version__}; choose another folder")
    for key, value in asked.items():
        if facts.get(key) != value:
            raise S2PError(f"{folder} contains a run with {key} {facts.get(key)!r}, not {value!r}; choose another folder")
    return facts | {"n_cases": len(cases.cases)}
