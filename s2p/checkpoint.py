"""Checkpoints: one ``.safetensors`` file with everything a prediction needs, and a ``.json`` card with its origin."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from s2p.errors import WeightsError
from s2p.io.weights import SHIPPED, SURFACE, TOGETHER, checksum, digest, find_weights, read_arrays, weights_path, write_weights
from s2p.language.numpy_esm import NumpyESM, fold_updates
from s2p.language.sequences import BACKBONES, DEFAULT_HEADS
from s2p.pockets.ranking import PocketModel
from s2p.pockets.voting import VoteModel
from s2p.residues import Smoother
from s2p.surface.mpnn import Encoder
from s2p.surface.reading import SurfaceNetwork

if TYPE_CHECKING:
    import torch

    from s2p.language.esm import ResidueModel

__all__ = [
    "METHODS",
    "SURFACE_FORMAT",
    "Checkpoint",
    "OtherHead",
    "SurfaceModel",
    "checkpoint_format",
    "language_hash",
    "load_checkpoint",
    "load_mpnn",
    "load_surface",
    "save_checkpoint",
]

FORMAT = "s2p-1"
FOREIGN = "not an s2p checkpoint; `s2p finetune` writes them"
SURFACE_FORMAT = "s2p-surface-1"
ENCODER_FORMAT = "proteinmpnn-encoder"
SMALL = next(iter(BACKBONES))
"""The language model of the shipped checkpoints."""


METHODS = {
    "crossbind": "s2p.models.crossbind.predictor:CrossBindBoth",
    "s2p-1": "s2p.predictor:Seq2Pocket",
    "s2p-crossbind-1": "s2p.models.crossbind.predictor:CrossBindPredictor",
    "s2p-kalasanty-1": "s2p.models.kalasanty.predictor:KalasantyPredictor",
    "s2p-vabsnet-1": "s2p.models.vabsnet.predictor:VabsNetPredictor",
}
"""Format of a checkpoint, or name in :data:`~s2p.io.weights.TOGETHER` -> the class that predicts with it; its ``load`` takes the
model, ``backbone`` and ``device``."""

OTHERS = {
    "s2p-surface-1": "it is the surface network of s2p-esm2-8m",
    "proteinmpnn-encoder": "it is the encoder of backbones that the surface network reads",
    "ligandmpnn": "it draws residue types; use s2p design",
    "s2p-encoder-difference-1": "it is the language model that CrossBind and PocketGen start from",
    "s2p-pocketgen-1": "it designs pockets around a ligand; use s2p design",
}
"""Formats of checkpoints that do not find pockets, and their purpose."""


@dataclass(frozen=True, eq=False)
class SurfaceModel:
    """The surface network, and the models that make pockets and binding residues from its outputs."""

    network: SurfaceNetwork
    votes: VoteModel
    threshold: float
    """Residues with a probability above this are shown as binding; tuned on validation."""
    card: dict[str, Any] = field(default_factory=dict)
    """Data, split, seeds, validation figures, licence."""


@dataclass(frozen=True, eq=False)
class OtherHead:
    """Thresholds and models of a head after the first; the language model is shared."""

    threshold: float
    """Residue threshold tuned on validation."""
    smoother: Smoother | None = None
    smoothing_threshold: float = 0.4
    pocket_model: PocketModel | None = None


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A trained predictor."""

    name: str
    model: ResidueModel | Any
    """The language model and its heads: a PyTorch module, or a :class:`NumpyESM`, which does not need PyTorch (see
    :func:`load_checkpoint`)."""
    smoother: Smoother | None
    pocket_model: PocketModel | None
    threshold: float
    """Residue threshold of the first head, tuned on validation."""
    smoothing_threshold: float
    ranking: str
    """``surface`` or ``published``, whichever was better on validation."""
    card: dict[str, Any] = field(default_factory=dict)
    """Data, split, seeds, validation figures, licence."""
    surface: SurfaceModel | None = None
    """The surface network, if there is one for this language model."""
    others: dict[str, OtherHead] = field(default_factory=dict)
    """Heads of ``model`` after the first, by name."""
    head: str = ""
    """The kind of site that is predicted, a head of ``model``; empty: the first head."""

    @property
    def sites(self) -> str:
        """Kind of site that is predicted: ``general``, ``cryptic``."""
        return self.head or self.model.heads[0]

    def with_head(self, head: str) -> Checkpoint:
        """The same model as a predictor for another of its heads, whose pockets are made by the published method."""
        own: dict[str, Any] = vars(self.others[head]) | {"surface": None, "others": {}}
        return replace(self, head=head, ranking="published", **own)


def save_checkpoint(checkpoint: Checkpoint, path: str | Path, *, half: bool = True) -> None:
    """Write ``path`` (``.safetensors``) and its card beside it.

    A model with low-rank updates beside its weights is stored as an adapter: the updates, and the name (``model.base``) and
    SHA-256 of the weights, which are searched when it is loaded. After ``merge_lora(model.backbone)`` it is stored whole.
    ``half``: store fp16, half the size; residue probabilities of the bundled structures changed by 0.0012 at most.
    """
    model, adapter = checkpoint.model, _adapter(checkpoint.model)
    arrays = {f"residue.{key}": value for key, value in model.state_dict().items()}
    if adapter:
        arrays = {key: value for key, value in arrays.items() if ".lora_" in key or not key.startswith("residue.backbone.")}
        arrays = {key.replace("residue.backbone.", "adapter."): value for key, value in arrays.items()}
    smoothers = {"smoother": checkpoint.smoother} | {f"smoother_{name}": x.smoother for name, x in checkpoint.others.items()}
    arrays |= {f"{name}.{key}": value for name, x in smoothers.items() if x for key, value in x.arrays.items()}
    header = {
        "format": FORMAT,
        "name": checkpoint.name,
        "backbone": model.name,
        "heads": list(model.heads),
        "adapter": adapter,
        **_head(checkpoint),
        "ranking": checkpoint.ranking,
        "other_heads": {name: _head(x) for name, x in checkpoint.others.items()},
    }
    write_weights(Path(path), arrays, header, checkpoint.card, half=half)


def _head(x: Checkpoint | OtherHead) -> dict[str, Any]:
    """Values of a head that are stored in the header."""
    return {
        "threshold": x.threshold,
        "smoothing_threshold": x.smoothing_threshold,
        "smoother_width": x.smoother.width if x.smoother else None,
        "pocket_model": asdict(x.pocket_model) if x.pocket_model else None,
    }


def load_checkpoint(
    model: str | Path, *, backbone: str | Path | None = None, device: str | torch.device | None = "cpu"
) -> Checkpoint:
    """Load a shipped checkpoint by name, or any checkpoint by path.

    Parameters
    ----------
    model
        Name of a shipped checkpoint, or path of a ``.safetensors`` file.
    backbone
        Name of the backbone, or for an adapter the file with the weights to which it belongs.
    device
        Device of the language model in PyTorch. ``None``: run it in NumPy, without PyTorch, for predictions on a CPU, if it is
        the small ESM-2 and its weights are in the checkpoint or in a shipped one.

    Raises
    ------
    WeightsError
        If the checkpoint does not exist or cannot be used.
    """
    shipped = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.safetensors")))
    path = find_weights(model, f"give the path of a .safetensors checkpoint, or one of {shipped}")
    header, arrays = read_arrays(path, FORMAT, FOREIGN)
    name, adapter = header["backbone"], header.get("adapter")
    if backbone is not None and str(backbone) != name and not Path(backbone).is_file():
        raise WeightsError(f"{path} was trained on {name}, not on {backbone}; drop --backbone or choose another model")
    given = Path(backbone) if backbone is not None and Path(backbone).is_file() else None
    if given is not None and not adapter:
        raise WeightsError(f"{path} is not an adapter and has its own backbone, so {given} would not be used; drop --backbone")
    base = SHIPPED / f"{adapter['base']}.safetensors" if adapter and given is None else None
    in_numpy = device is None and name == SMALL and (not adapter or (base is not None and base.is_file()))
    residue = _in_numpy(header, arrays, path, base) if in_numpy else _in_pytorch(header, arrays, path, given, device or "cpu")

    def head_of(values: dict[str, Any], part: str) -> OtherHead:
        smoother, model = None, values.get("pocket_model")
        if values.get("smoother_width"):
            smoother = Smoother(_part(arrays, part))
        pockets = PocketModel.from_dict(model) if model else None
        return OtherHead(values["threshold"], smoother, values.get("smoothing_threshold", 0.4), pockets)

    # Earlier checkpoints of several heads have the thresholds of the others in their card only.
    of_others = header.get("other_heads") or header["card"].get("validation", {})
    others = {name: head_of(of_others[name], f"smoother_{name}") for name in residue.heads[1:]}
    own = head_of(header, "smoother")
    if header.get("context_sizes"):
        # They were tuned for a removed head between language model and pockets; these are the paper's, for the sequence alone.
        own = replace(own, threshold=0.7, smoothing_threshold=0.4, pocket_model=None)
    surface = load_surface(residue) if residue.heads[0] == DEFAULT_HEADS[0] else None
    return Checkpoint(
        header["name"],
        residue,
        own.smoother,
        own.pocket_model,
        own.threshold,
        own.smoothing_threshold,
        header["ranking"] if surface else "published",
        header["card"],
        surface,
        others,
    )


def language_hash(model: ResidueModel | NumpyESM) -> str:
    """Hash of the first numbers of every array of the language model without heads; models that read its embeddings store it."""
    return digest(value for key, value in model.state_dict().items() if key.startswith("backbone."))


def load_surface(model: ResidueModel | NumpyESM, path: Path | None = None) -> SurfaceModel | None:
    """The shipped surface network, or that of ``path``; ``None`` if it reads the embeddings of another language model.

    It is a separate file, with the weights of the members under ``0.``, ``1.`` ... in fp16; ProteinMPNN's encoder, whose output
    it reads too, is another file. :class:`WeightsError` if one of them is damaged or missing.
    """
    path = path or SURFACE
    foreign = "not a surface network; `python -m benchmarks.recipes.surface_ship` writes them"
    header, members = read_arrays(path, SURFACE_FORMAT, foreign)
    if header["language_hash"] != language_hash(model):
        return None
    try:
        votes, threshold, reader = VoteModel.from_dict(header["votes"]), float(header["threshold"]), load_mpnn()
    except (KeyError, TypeError) as error:
        raise WeightsError(f"{path}: damaged or of another version ({error}); download it again") from None
    return SurfaceModel(SurfaceNetwork.from_parts(members, header, reader), votes, threshold, header["card"])


def load_mpnn() -> Encoder:
    """ProteinMPNN's encoder as it is shipped; :class:`WeightsError` if its file is damaged or missing."""
    foreign = "not ProteinMPNN's encoder; install s2p again"
    return Encoder.from_arrays(read_arrays(SHIPPED / "proteinmpnn.safetensors", ENCODER_FORMAT, foreign)[1])


def _part(arrays: dict[str, NDArray[Any]], name: str) -> dict[str, NDArray[Any]]:
    return {key.removeprefix(f"{name}."): value for key, value in arrays.items() if key.startswith(f"{name}.")}


def _adapter(model: ResidueModel | NumpyESM) -> dict[str, Any] | None:
    """Description of the updates of a model for the header; ``None`` without any."""
    if isinstance(model, NumpyESM):
        return None
    from s2p.language.lora import base_checksum, lora_updates

    if not (updates := lora_updates(model.backbone)):
        return None
    rank, scale = len(updates[0][-1].lora_a), updates[0][-1].scale
    names = list(dict.fromkeys(name for _, name, _ in updates))
    known = {"base": model.base, "sha256": model.base_sha256 or base_checksum(model.backbone)}
    return known | {"rank": rank, "alpha": scale * rank, "targets": names}


def _in_numpy(header: dict[str, Any], arrays: dict[str, NDArray[Any]], path: Path, base: Path | None) -> NumpyESM:
    """The language model of a checkpoint in NumPy; ``base`` is the shipped checkpoint that an adapter belongs to."""
    state, adapter = _part(arrays, "residue"), header.get("adapter")
    if adapter and base is not None:
        whole = _part(read_arrays(base, FORMAT, FOREIGN)[1], "residue.backbone")
        whole = {key: value.astype(np.float32) for key, value in whole.items()}
        _check_base(adapter, checksum("", whole), path, base)
        updates = _part(arrays, "adapter")
        if missing := 2 * BACKBONES[SMALL][0] * len(adapter["targets"]) - len(updates):
            raise WeightsError(f"{path}: damaged, {missing} arrays are missing")
        whole = fold_updates(whole, updates, adapter["alpha"] / adapter["rank"])
        state |= {f"backbone.{key}": value for key, value in whole.items()}
    try:
        return NumpyESM(header["backbone"], state, tuple(header.get("heads", DEFAULT_HEADS)))
    except WeightsError as error:
        raise WeightsError(f"{path}: damaged ({error})") from None


def _in_pytorch(
    header: dict[str, Any], arrays: dict[str, NDArray[Any]], path: Path, given: Path | None, device: str | torch.device
) -> ResidueModel:
    """The language model of a checkpoint as a module; ``given`` is the file of the weights that an adapter belongs to."""
    import torch

    from s2p.language.esm import ResidueModel
    from s2p.language.lora import lora_updates

    # Checkpoints that are older than several heads do not name them.
    residue = ResidueModel(header["backbone"], heads=header.get("heads", DEFAULT_HEADS))
    state, adapter = _part(arrays, "residue"), header.get("adapter")
    if adapter:
        _put_adapter(residue, adapter, path, given)
        state |= {f"backbone.{key}": value for key, value in _part(arrays, "adapter").items()}
    else:
        residue.base = header["name"]
    report = residue.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()}, strict=False)
    missing = [key for key in report.missing_keys if ".lora_" in key or not (adapter and key.startswith("backbone."))]
    if missing or report.unexpected_keys:
        raise WeightsError(f"{path}: damaged, {len(missing)} arrays are missing and {len(report.unexpected_keys)} unknown")
    for *_, update in lora_updates(residue.backbone):
        update.fold()
    return residue.to(device).eval()


def _put_adapter(residue: ResidueModel, adapter: dict[str, Any], path: Path, given: Path | None) -> None:
    """Give the residue model the backbone that an adapter belongs to, with updates that are still to be filled."""
    from s2p.language.esm import find_weights as find_backbone
    from s2p.language.esm import load_backbone
    from s2p.language.lora import add_lora, base_checksum

    base = adapter["base"]
    try:
        if given is None and base not in BACKBONES:
            given = shipped if (shipped := weights_path(base)).is_file() else find_backbone(base, download=False)
        residue.backbone = load_backbone(residue.name, given)
    except WeightsError as error:
        raise WeightsError(f"{path} is an adapter of {base}: {error}, or give the file with --backbone") from None
    residue.base, residue.base_sha256 = base, base_checksum(residue.backbone)
    _check_base(adapter, residue.base_sha256, path, given)
    add_lora(residue.backbone, adapter["rank"], adapter["alpha"], adapter["targets"])


def _check_base(adapter: dict[str, Any], found: str, path: Path, base: Path | None) -> None:
    """:class:`WeightsError` if an adapter belongs to other weights than were found."""
    if found != adapter["sha256"]:
        raise WeightsError(
            f"{path} is an adapter of {adapter['base']} with the SHA-256 {adapter['sha256'][:12]}…, but that of "
            f"{base or 'the weights found'} is {found[:12]}…; give the weights that it was trained on with --backbone FILE"
        )


def checkpoint_format(model: str | Path, others: Sequence[str] = ()) -> str:
    """The key of :data:`METHODS` for a model: its name, or the format that the header of its checkpoint names.

    ``others``: further names that the caller accepts, to be listed with those of the models. :class:`WeightsError` if there is no
    such checkpoint, or if it does not find pockets; its message lists the available ones.
    """
    if str(model) in TOGETHER:
        return str(model)
    shipped = [p.stem for p in SHIPPED.glob("*.json") if json.loads(p.read_text("utf-8")).get("format") in METHODS]
    known = ", ".join((*others, *sorted((*TOGETHER, *shipped))))
    offer = f"give one of {known}, the path of a checkpoint, or package.module:Class"
    if str(model) in BACKBONES:
        raise WeightsError(f"{model} is a language model, which finds no pockets before `s2p finetune`; {offer}")
    path = find_weights(model, offer)
    try:
        with safe_open(path, framework="np") as handle:
            header = json.loads((handle.metadata() or {}).get("s2p", "null"))
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read as a checkpoint ({error}); {offer}") from None
    kind = header.get("format") if isinstance(header, dict) else None
    if kind is None:
        raise WeightsError(f"{path}: no checkpoint of s2p (weights of a language model alone find no pockets); {offer}")
    if kind not in METHODS:
        reason = f"finds no pockets: {OTHERS[kind]}" if kind in OTHERS else f"is of the unknown format {kind!r}"
        raise WeightsError(f"{model} {reason}; {offer}")
    return str(kind)
