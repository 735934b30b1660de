"""Inside an ESM-2: hidden states of every layer, attention of every head, and whether attention shows which residues touch.

Attention maps become evidence for contacts as in Rao et al. (2021, *Transformer protein language models are unsupervised
structure learners*): special tokens cut away, symmetrised, corrected for the average product. They then weigh the heads by a
logistic regression; here heads are chosen by their precision on other proteins, which needs no fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from s2p.config import Checked, Count, Natural, Positive
from s2p.errors import S2PError
from s2p.language.numpy_esm import NumpyESM, encode_layer
from s2p.language.sequences import BACKBONES, tokenize

if TYPE_CHECKING:
    from s2p.language.esm import ResidueModel

__all__ = [
    "AttentionConfig",
    "Inside",
    "best_heads",
    "contact_evidence",
    "contact_precision",
    "hidden_states",
    "look_inside",
    "true_contacts",
]


@dataclass(frozen=True)
class AttentionConfig(Checked):
    """Contacts read from attention maps (Rao et al. 2021, with CA in place of CB)."""

    distance: Positive = 8.0
    """Residues with CA atoms closer than this (Å) touch."""
    separation: Natural = 6
    """Positions between the two residues of a pair that is judged, at least: nearer ones touch in any helix."""
    heads: Count = 2
    """Heads whose maps are averaged; ours, the best of 1 to 8 on the bundled proteins."""


@dataclass(frozen=True, eq=False)
class Inside:
    """What an ESM-2 of L layers with H heads computes for a sequence of n residues; special tokens cut away."""

    hidden: NDArray[np.float32]
    """(L + 1, n, d): the input of the first layer, then what each layer gives; the last after the final layer norm."""
    attention: NDArray[np.float32]
    """(L, H, n, n): how much residue i (row) takes from residue j; a row sums to 1 less what the special tokens get."""


def look_inside(model: ResidueModel, sequence: str) -> Inside:
    """Run a sequence once through fair-esm's own module, in PyTorch, and keep everything.

    Raises
    ------
    S2PError
        If the sequence is longer than the model's context, 1022 residues: attention across windows is not defined.
    """
    import torch

    from s2p.config import WindowConfig

    limit = WindowConfig().max_residues
    if not 0 < len(sequence) <= limit:
        raise S2PError(f"attention needs a sequence of 1 to {limit} residues, not {len(sequence)}; choose a shorter chain")
    device = next(model.parameters()).device
    backbone: Any = model.backbone.eval()
    tokens = torch.from_numpy(tokenize(sequence))[None].to(device)
    with torch.no_grad():
        out = backbone(tokens, repr_layers=range(backbone.num_layers + 1), need_head_weights=True)
    hidden = torch.stack([out["representations"][k][0, 1:-1] for k in range(backbone.num_layers + 1)])
    attention = out["attentions"][0, :, :, 1:-1, 1:-1]
    return Inside(hidden.float().cpu().numpy(), attention.float().cpu().numpy())


def hidden_states(model: NumpyESM, sequence: str) -> NDArray[np.float32]:
    """(L + 1, n, d), as in :class:`Inside`, by the steps with which the package predicts."""
    tokens = tokenize(sequence)
    states = [model.embed(tokens)]
    for layer in model.layers:
        states.append(encode_layer(layer, states[-1], BACKBONES[model.name][2]))
    return np.stack([*(x.T for x in states[:-1]), model.encode(tokens)])[:, 1:-1]


def contact_evidence(attention: ArrayLike) -> NDArray[np.float32]:
    """Attention maps made symmetric and corrected for the average product (APC, Dunn et al. 2008).

    Parameters
    ----------
    attention
        (..., n, n)

    Returns
    -------
    (..., n, n)
        a_ij - a_i. a_.j / a_.., with a the map plus its transpose and a dot a sum: what i and j share beyond what each of them
        shares with everybody.
    """
    a = np.asarray(attention, dtype=np.float32)
    a = a + np.swapaxes(a, -1, -2)
    total = a.sum(axis=(-1, -2), keepdims=True)
    expected = a.sum(axis=-1, keepdims=True) * a.sum(axis=-2, keepdims=True) / np.maximum(total, 1e-12)
    evidence: NDArray[np.float32] = a - expected
    return evidence


def true_contacts(ca_coord: ArrayLike, config: AttentionConfig | None = None) -> NDArray[np.bool_]:
    """(n, n) pairs of residues with CA atoms closer than ``config.distance`` Å; (n, 3) ``ca_coord`` in Å."""
    from scipy.spatial.distance import cdist

    ca = np.asarray(ca_coord, dtype=np.float64)
    near: NDArray[np.bool_] = cdist(ca, ca) < (config or AttentionConfig()).distance
    return near


def contact_precision(
    evidence: ArrayLike, contacts: ArrayLike, config: AttentionConfig | None = None
) -> tuple[NDArray[np.float64], float]:
    """Precision of the n pairs with the highest evidence, and that of guessing.

    Parameters
    ----------
    evidence
        (..., n, n), symmetric.
    contacts
        (n, n) bool.
    config
        Pairs at least ``separation`` positions apart are judged.

    Returns
    -------
    precision, base
        (...,) share of contacts among the n best pairs, ties in the order of the pairs; share among all pairs judged.

    Raises
    ------
    S2PError
        If the chain is too short to have n such pairs.
    """
    e, c = np.asarray(evidence), np.asarray(contacts, bool)
    n, separation = len(c), (config or AttentionConfig()).separation
    i, j = np.triu_indices(n, separation)
    if len(i) < n:
        raise S2PError(f"{n} residues have only {len(i)} pairs {separation} apart; precision needs {n}: take a longer chain")
    best = np.argsort(-e[..., i, j], axis=-1, kind="stable")[..., :n]
    truth = c[i, j]
    return np.asarray(truth[best].mean(axis=-1)), float(truth.mean())


def best_heads(precisions: Sequence[ArrayLike], count: int | None = None) -> list[tuple[int, int]]:
    """The (layer, head), from 0, that do best on average over several proteins, best first.

    Parameters
    ----------
    precisions
        (L, H) of each protein; leave out the one on which the choice is to be judged.
    count
        How many; default ``AttentionConfig.heads``.
    """
    mean = np.mean([np.asarray(p) for p in precisions], axis=0)
    order = np.argsort(-mean, axis=None, kind="stable")[: AttentionConfig.heads if count is None else count]
    return [(int(k) // mean.shape[1], int(k) % mean.shape[1]) for k in order]
