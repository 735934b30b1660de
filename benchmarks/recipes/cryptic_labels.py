"""Label files of cryptic sites from CryptoBench without its structures: which residues do the published numbers mean?

``python -m benchmarks.recipes.cryptic_labels DIR --label-numbers JSON --observed JSON -o FOLDER``

With the structures there is nothing to infer: ``s2p labels STRUCTURES --cryptobench test.json`` reads the published JSON. Here
DIR holds ``annotated_sequences.csv`` (UniProt sequences, residue numbers of the *structure* less 1) and ``folds.json``. The
numbers fit the sequence in 74 of 100 chains only: where the depositor did not number by UniProt, all labels are shifted.

* Test chains (``--observed``: observed residues with their author numbers) are exact; a chain without them is left out.
* Training chains are placed by what is known of a shift: the numbers in the entry's own sequence (``--label-numbers``, the
  authors' ``label_dataset.json``) tell where the construct starts, a signal peptide or a protein far longer than its construct
  makes a shift likely, and the scores of the general model say how well the sites fit at every shift. Chains that stay in doubt
  are left out.

Measured on the chains of ``--observed``, whose shift is known: 74 % have none; of those that the rules alone (no scores) would
keep, 85 %.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.command import log, reported
from s2p.checkpoint import load_checkpoint
from s2p.config import DEFAULT_MODEL
from s2p.datasets.label_files import Annotation, format_annotations
from s2p.io.files import read_csv, read_text, write_text
from s2p.language.cache import embed_residues

__all__ = ["Construct", "place", "place_all", "shift_prior", "signal_peptide", "write_labels"]

HYDROPATHY = dict(
    zip(
        "ARNDCQEGHILKMFPSTWYV",
        (1.8, -4.5, -3.5, -3.5, 2.5, -3.5, -3.5, -0.4, -3.2, 4.5, 3.8, -3.9, 1.9, 2.8, -1.6, -0.8, -0.7, -0.9, -1.3, 4.2),
        strict=True,
    )
)
"""Kyte and Doolittle, J. Mol. Biol. 157, 105 (1982)."""
SIGNAL = 2.0
"""Mean hydropathy of nine residues near the start above which a signal peptide is assumed."""
EARLY = 15
"""A construct whose numbers start up to here would hold the signal peptide, which is cut off."""
FAR = 600
"""Residues beyond the construct that make it doubtful that its numbers are UniProt's."""
TEMPER = 0.4
"""Factor on the log-likelihoods, because neighbours in a site are not independent evidence."""
SURE = 0.7
"""Posterior probability from which a shift is accepted."""
MARGIN = 80
"""Residues kept after the last labelled one, because the end of the construct is not known."""


@dataclass(frozen=True, eq=False)
class Construct:
    """A chain whose residue numbers are to be placed in its UniProt sequence."""

    pdb: str
    sequence: str
    numbers: NDArray[np.int64]
    """1-based author numbers of the labelled residues."""
    offset: int | None
    """Number in the entry's own sequence less the author's; ``None`` where it is not the same throughout."""

    @property
    def start(self) -> int:
        """Author number of the first residue of the entry's sequence, tags included; 1 if unknown."""
        return 1 - (self.offset or 0)


def signal_peptide(sequence: str) -> bool:
    """Whether the first 33 residues hold a stretch as hydrophobic as that of a signal peptide (or a membrane anchor)."""
    values = [HYDROPATHY.get(letter, 0.0) for letter in sequence[2:33]]
    return len(values) > 9 and float(np.convolve(values, np.ones(9) / 9, "valid").max()) >= SIGNAL


def shift_prior(c: Construct, shifts: NDArray[np.int64]) -> NDArray[np.float64]:
    """(S,) log prior of each shift; shares are those seen where the shift is known, rounded."""
    early, long = c.start <= EARLY, len(c.sequence) - max(c.start, 1) > FAR and c.start <= EARLY
    none, first, cut = 0.85, 0.05, 0.0
    if early and signal_peptide(c.sequence):
        none, first, cut = 0.2, 0.0, 0.65
    elif long or c.offset is None:
        none, first = 0.5, 0.02
    prior = np.full(len(shifts), (1 - none - first - cut) / len(shifts))
    prior[shifts == 0] += none
    for chosen, share in ((abs(shifts) == 1, first), ((shifts >= 14) & (shifts <= 45), cut)):
        prior[chosen] += share / max(int(chosen.sum()), 1)
    result: NDArray[np.float64] = np.log(prior)
    return result


def place(c: Construct, evidence: NDArray[np.float64]) -> tuple[int, float] | None:
    """The most likely shift of the numbers and its posterior probability; ``None`` if they fit nowhere.

    ``evidence`` is the (N,) log-likelihood ratio of each residue, in a site against not.
    """
    shifts = np.arange(1 - c.numbers.min(), len(c.sequence) - c.numbers.max() + 1)
    if not len(shifts):
        return None
    score = TEMPER * evidence[(c.numbers - 1)[None, :] + shifts[:, None]].sum(axis=1) + shift_prior(c, shifts)
    weight = np.exp(score - score.max())
    best = int(np.argmax(weight))
    return int(shifts[best]), float(weight[best] / weight.sum())


def evidence_of(logits: Sequence[NDArray[np.floating]], sites: Sequence[NDArray[np.int64]]) -> tuple[float, float]:
    """Slope and intercept that turn a logit of the general model into the log-likelihood ratio of being in a site."""
    from sklearn.linear_model import LogisticRegression

    x = np.concatenate(logits)
    y = np.concatenate([np.isin(np.arange(len(row)), site) for row, site in zip(logits, sites, strict=True)])
    model = LogisticRegression().fit(x[:, None], y)
    return float(model.coef_[0, 0]), float(model.intercept_[0] - np.log(y.mean() / (1 - y.mean())))


def place_all(
    constructs: Sequence[Construct], logits: Sequence[NDArray[np.floating]], rounds: int = 3
) -> list[tuple[int, float] | None]:
    """:func:`place` of all; the evidence is learned from those that are sure, at first from those that nothing speaks against."""
    plain = [place(c, np.zeros(len(c.sequence))) for c in constructs]
    found: list[tuple[int, float] | None] = plain
    for _ in range(rounds):
        sure = [(c, x, f[0]) for c, x, f in zip(constructs, logits, found, strict=True) if f is not None and f[1] > SURE]
        slope, intercept = evidence_of([x for _, x, _ in sure], [c.numbers - 1 + shift for c, _, shift in sure])
        found = [place(c, np.clip(slope * x + intercept, -3, 4)) for c, x in zip(constructs, logits, strict=True)]
    return found


def read_constructs(folder: Path, label_numbers: Path) -> tuple[dict[str, list[Construct]], Counter[str]]:
    """Chains of every fold, and how many were left out and why."""
    folds, own = json.loads(read_text(folder / "folds.json")), json.loads(read_text(label_numbers))
    fold = {pdb: name for name, members in folds.items() for pdb in members}
    left: Counter[str] = Counter()
    found: dict[str, list[Construct]] = {name: [] for name in folds if name != "test"}
    for row in read_csv(folder / "annotated_sequences.csv", ("apo_structure_id", "cryptic_residues", "sequence")):
        pdb = row["apo_structure_id"]
        if fold[pdb] not in found:
            continue
        numbers = np.array(sorted({int(token) + 1 for token in row["cryptic_residues"].split()}))
        labels = [token.split("_") for token in own[pdb]]
        if len({chain for chain, _ in labels}) > 1:
            left["sites of several chains"] += 1
            continue
        shifts = Counter(int(label) - number for _, label in labels for number in numbers.tolist())
        offset, count = shifts.most_common(1)[0]
        known = count >= 0.6 * max(len(labels), len(numbers))
        found[fold[pdb]].append(Construct(pdb, row["sequence"], numbers, offset if known else None))
    left["no sequence in the archive"] = (
        sum(name in found for name in fold.values()) - sum(map(len, found.values())) - left.total()
    )
    return found, left


def training_line(c: Construct, shift: int) -> Annotation:
    """The labels on the part of the sequence that is in the crystal, as far as that is known."""
    first = max(c.start + shift, 1) - 1 if c.offset is not None else 0
    first = min(first, int(c.numbers.min()) + shift - 1)
    sequence = c.sequence[first : int(c.numbers.max()) + shift + MARGIN]
    return Annotation(c.pdb, "", "CRYPTIC", (c.numbers - 1 + shift - first).astype(np.int32), sequence)


def observed_lines(path: Path) -> list[Annotation]:
    """The test fold: by entry ``chain``, ``sequence``, the author ``numbers`` of its letters and those of the ``labels``."""
    lines = []
    for pdb, c in json.loads(read_text(path)).items():
        indices = np.flatnonzero(np.isin(c["numbers"], c["labels"])).astype(np.int32)
        lines.append(Annotation(pdb, c["chain"], "CRYPTIC", indices, c["sequence"]))
    return lines


def write_labels(folder: Path, label_numbers: Path, observed: Path, out: Path) -> dict[str, Any]:
    """A label file a fold, and ``counts.json``, which is also returned."""
    found, left = read_constructs(folder, label_numbers)
    constructs = [c for members in found.values() for c in members]
    model = load_checkpoint(DEFAULT_MODEL).model
    outputs = embed_residues(model, [c.sequence for c in constructs], out / "embeddings")
    placed = dict(zip((c.pdb for c in constructs), place_all(constructs, [logits for logits, _ in outputs]), strict=True))
    counts: dict[str, Any] = {"left out": left}
    for name, members in found.items():
        sure = [(c, p[0]) for c in members if (p := placed[c.pdb]) is not None and p[1] > SURE]
        left["numbering stays in doubt"] += len(members) - len(sure)
        counts[name] = Counter("none" if s == 0 else "one residue" if abs(s) == 1 else "more" for _, s in sure)
        write_text(out / f"{name}.txt", format_annotations([training_line(c, shift) for c, shift in sure]))
    test = observed_lines(observed)
    write_text(out / "test.txt", format_annotations(test))
    write_text(out / "counts.json", json.dumps(counts | {"test": len(test)}, indent=1))
    return counts


@reported
def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recipes.cryptic_labels", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--label-numbers", type=Path, required=True, metavar="JSON")
    parser.add_argument("--observed", type=Path, required=True, metavar="JSON")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FOLDER")
    options = parser.parse_args(argv)
    log(json.dumps(write_labels(options.folder, options.label_numbers, options.observed, options.out)))


if __name__ == "__main__":
    sys.exit(main())
