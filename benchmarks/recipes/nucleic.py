"""Chains that bind DNA or RNA: their split, the training of CrossBind's sequence branch on them, and its figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from course.residue_figures import ResidueFigures, residue_figures
from s2p.config import Checked, Share
from s2p.datasets.labelled import LabelledChain
from s2p.datasets.splits import cluster, drawn
from s2p.errors import S2PError
from s2p.evaluation.intervals import Summary, bootstrap, bootstrap_mean
from s2p.language.esm import ResidueModel
from s2p.language.lora import merge_lora
from s2p.language.sequences import DEFAULT_HEADS
from s2p.models.crossbind.filter import LETTERS
from s2p.models.crossbind.sequence import DOWN, HEAD, UP, fresh_model
from s2p.training.batches import ChainsByHead
from s2p.training.config import FinetuneConfig
from s2p.training.finetuning import finetune
from s2p.training.loop import EpochLog

__all__ = [
    "METRICS",
    "CrossBindSequenceConfig",
    "NucleicFigures",
    "averaged",
    "low_rank_update",
    "nucleic_figures",
    "propensities",
    "split_chains",
    "train_sequence_branch",
]

METRICS = ("recall", "precision", "f1", "mcc", "auc", "auprc")


@dataclass(frozen=True)
class CrossBindSequenceConfig(Checked):
    """Training of the sequence branch: a low-rank update of a shipped language model. All ours."""

    identity: Share = 0.3
    """Chains at least this alike (identical share of an alignment) go to the same side of the split."""
    coverage: Share = 0.5
    """Share of the shorter sequence that such an alignment covers."""
    validation: Share = 0.1
    """Share of the clusters that validates (paper: a tenth of the chains)."""
    salt: str = "crossbind-1"
    finetune: FinetuneConfig = field(
        default_factory=lambda: FinetuneConfig(
            head_epochs=1,
            full_epochs=4,
            backbone_lr=1e-3,
            layer_decay=1.0,
            token_budget=2048,
            pos_weight=1.0,
            lora_rank=16,
            lora_alpha=32.0,
            lora_targets=("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"),
            precision="bf16",
            save_minutes=2.0,
        )
    )
    """The loss is unweighted, as published, so that probabilities stay calibrated."""

    @classmethod
    def joint(cls) -> CrossBindSequenceConfig:
        """Settings for two kinds of nucleic acid together: fewer epochs with more chains, more dropout, averaged weights."""
        own = cls()
        return replace(own, finetune=replace(own.finetune, full_epochs=3, dropout=0.2, ema_decay=0.99))

    @classmethod
    def fast(cls) -> CrossBindSequenceConfig:
        """Seconds instead of minutes: for tests and notebooks."""
        short = FinetuneConfig(head_epochs=1, full_epochs=1, token_budget=1024, max_residues=128, pos_weight=1.0, lora_rank=2)
        return cls(validation=0.25, finetune=short)


def split_chains(
    chains: Sequence[LabelledChain], config: CrossBindSequenceConfig | None = None
) -> tuple[list[LabelledChain], list[LabelledChain]]:
    """Training and validation chains: whole clusters of homologues, by a hash of the cluster's smallest sequence.

    Parameters
    ----------
    chains
        Of the training set only.
    config
        Identity and coverage of the clusters, and the share of them that validates.

    Raises
    ------
    S2PError
        If either side would be empty.
    """
    config = config or CrossBindSequenceConfig()
    names = {str(k): c.sequence for k, c in enumerate(chains)}
    held: set[int] = set()
    for group in cluster(names, identity=config.identity, coverage=config.coverage):
        smallest = min(names[name] for name in group)
        draw = drawn(f"{config.salt}:{smallest}")
        if draw < config.validation:
            held.update(int(name) for name in group)
    training = [c for k, c in enumerate(chains) if k not in held]
    validation = [c for k, c in enumerate(chains) if k in held]
    if not training or not validation:
        raise S2PError(
            f"{len(chains)} chains make too few clusters to validate on {config.validation:.0%} of them; "
            "give more chains or a larger share"
        )
    return training, validation


def train_sequence_branch(
    base: ResidueModel,
    training: Sequence[LabelledChain] | ChainsByHead,
    validation: Sequence[LabelledChain] | ChainsByHead,
    config: CrossBindSequenceConfig | None = None,
    *,
    folder: str | Path | None = None,
    quiet: bool = False,
) -> tuple[ResidueModel, list[EpochLog]]:
    """A copy of ``base`` with a new head and a low-rank update, and its log; ``base`` stays as it was.

    Chains by kind of site train one update with a head for each kind; the model's own head is that of the first.
    A run that finds its state in ``folder`` resumes from it (see :func:`s2p.training.finetuning.finetune`).

    Raises
    ------
    S2PError
        Without chains or binding residues.
    """
    config = config or CrossBindSequenceConfig()
    torch.manual_seed(config.finetune.seed)
    heads = tuple(training) if isinstance(training, Mapping) else DEFAULT_HEADS
    model = fresh_model(base, config.finetune.dropout, heads)
    log = finetune(model, training, validation, config.finetune, folder=folder, quiet=quiet)
    merge_lora(model.backbone)
    return model.eval(), log


@torch.no_grad()
def low_rank_update(base: ResidueModel, tuned: ResidueModel, rank: int) -> dict[str, Tensor]:
    """The head of ``tuned``, and per changed matrix W of its backbone two factors with ``W ≈ W_base + up · down``.

    After training with LoRA of the same rank the factors are exact up to rounding; the best of that rank otherwise.

    Returns
    -------
    ``head.weight``, ``head.bias``, and ``backbone.….down`` (rank, in) and ``….up`` (out, rank), fp32, the singular values
    shared evenly between the two so that both fit fp16.

    Raises
    ------
    S2PError
        If the models differ in anything but matrices, say in a bias.
    """
    own, other = base.backbone.state_dict(), tuned.backbone.state_dict()
    arrays = {HEAD + key: value.detach().clone() for key, value in tuned.head.state_dict().items()}
    for key, value in own.items():
        difference = other[key].double() - value.double()
        if not difference.any():
            continue
        if difference.ndim != 2:
            raise S2PError(f"{key} was changed, and it is no matrix: a low-rank update cannot hold it")
        u, s, v = torch.linalg.svd(difference, full_matrices=False)
        root = s[:rank].sqrt()
        arrays[f"backbone.{key}{UP}"] = (u[:, :rank] * root).float().contiguous()
        arrays[f"backbone.{key}{DOWN}"] = (root[:, None] * v[:rank]).float().contiguous()
    return arrays


def averaged(base: ResidueModel, models: Sequence[ResidueModel]) -> ResidueModel:
    """The mean of the weights of models trained from ``base``, and of their own heads; the models stay as they were.

    Its update has at most the sum of their ranks.
    """
    model = fresh_model(base)
    states = [one.backbone.state_dict() for one in models]
    mean = {
        key: torch.stack([state[key] for state in states]).mean(dim=0) for key in states[0] if states[0][key].is_floating_point()
    }
    model.backbone.load_state_dict(mean, strict=False)
    heads = [one.head.state_dict() for one in models]
    model.head.load_state_dict({key: torch.stack([head[key] for head in heads]).mean(dim=0) for key in heads[0]})
    return model.eval()


def propensities(chains: Iterable[LabelledChain]) -> dict[str, float]:
    """ξ of each of the twenty amino acids: its share among binding residues over its share among the others.

    Counts are pooled over all chains. One is added to both counts of a type that lacks either, so that a ratio is never 0 or
    infinite.

    Parameters
    ----------
    chains
        Of the training set: nothing of a test set may enter.
    """
    counts = {letter: np.zeros(2) for letter in LETTERS}
    for chain in chains:
        for letter, label in zip(chain.sequence, chain.labels.tolist(), strict=True):
            if letter in counts:
                counts[letter][label] += 1
    table = np.array([counts[letter] for letter in LETTERS])
    table[(table == 0).any(axis=1)] += 1
    share = table / table.sum(axis=0)
    return dict(zip(LETTERS, (share[:, 1] / share[:, 0]).tolist(), strict=True))


@dataclass(frozen=True)
class NucleicFigures:
    """Measures of one predictor on one set."""

    chains: int
    residues: int
    prevalence: float
    threshold: float
    pooled: dict[str, Summary]
    """Over all residues together, by name of :data:`METRICS`; intervals over chains."""
    per_chain: dict[str, Summary]
    """Mean over the chains for which the measure is defined."""

    def plain(self) -> dict[str, object]:
        """As JSON: value, low, high of each."""

        def rounded(table: dict[str, Summary]) -> dict[str, list[float]]:
            return {name: [round(x, 4) for x in (s.value, s.low, s.high)] for name, s in table.items()}

        return {
            "chains": self.chains,
            "residues": self.residues,
            "prevalence": round(self.prevalence, 4),
            "threshold": self.threshold,
            "pooled": rounded(self.pooled),
            "per_chain": rounded(self.per_chain),
        }


def nucleic_figures(
    chains: Sequence[LabelledChain], probabilities: Sequence[NDArray[np.floating]], threshold: float, *, n: int = 300
) -> NucleicFigures:
    """All measures at a threshold that was chosen elsewhere.

    Parameters
    ----------
    probabilities
        (N,) of each chain.
    n
        Draws of the bootstrap over chains, which in the public test sets have less than 30 % identity with each other.
    """

    def over(rows: Sequence[int]) -> ResidueFigures:
        p = np.concatenate([probabilities[k] for k in rows])
        return residue_figures(np.concatenate([chains[k].labels for k in rows]), p, p > threshold)

    drawn: dict[bytes, ResidueFigures] = {}

    def one(name: str) -> Summary:
        def value(rows: NDArray[np.int64]) -> float:
            # The draws are the same for every measure: each is worked out once.
            key = rows.tobytes()
            if key not in drawn:
                drawn[key] = over(rows.tolist())
            return float(getattr(drawn[key], name))

        return bootstrap(value, names, n=n)

    names = [str(k) for k in range(len(chains))]
    whole = over(range(len(chains)))
    single = [over([k]) for k in range(len(chains))]
    return NucleicFigures(
        len(chains),
        whole.n_residues,
        whole.prevalence,
        threshold,
        {name: one(name) for name in METRICS},
        {name: bootstrap_mean([getattr(s, name) for s in single], names, n=n) for name in METRICS},
    )
