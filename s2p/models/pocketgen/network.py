"""PocketGen: residue types and atoms of a pocket around a ligand, by an equivariant network and a protein language model.

Source: PocketGen (Zhang et al., Nature Machine Intelligence 2024); differences are stated. Only pocket residues and the ligand
are queries and move; the residues around them are keys, and are not changed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from s2p.models.pocketgen.atoms import ATOM_CODES, ATOM_NAMES, N_LIGAND_FEATURES, N_SLOTS, N_TYPES
from s2p.models.pocketgen.config import PocketGenConfig
from s2p.models.pocketgen.data import Batch
from s2p.models.pocketgen.layers import LIGAND_OFFSET, MAX_OFFSET, BilevelLayer, Keys, Queries, zeroed
from s2p.models.pocketgen.surroundings.heads import SurroundingsHeads
from s2p.models.pocketgen.surroundings.trace import TraceNet

__all__ = ["LanguageHead", "Output", "PocketGen", "StructuralAdapter"]

OTHER_OFFSET = 2 * MAX_OFFSET + 1


@dataclass(frozen=True, eq=False)
class Output:
    """Output of the network for a batch."""

    logits: Tensor
    """(P, 20) logits of the types."""
    coord: Tensor
    """(P, 14, 3) Å."""
    ligand: Tensor
    """(B, M, 3) Å."""


class LanguageHead(nn.Module):
    """Masked-language head: predicts the type of a masked residue from its features of the language model."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width), nn.Linear(width, N_TYPES - 1))

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) -> (..., 20) logits."""
        out: Tensor = self.net(x)
        return out


class StructuralAdapter(nn.Module):
    """Cross-attention from masked residues of the language model to the structure, and a narrow feed-forward, residual.

    The keys are only the residues that the structure network reads. The public code adds the stream twice. The structure
    network's features of the residue itself are added as well (ours), because attention would first have to find it.
    """

    def __init__(self, config: PocketGenConfig) -> None:
        super().__init__()
        width, self.heads = config.language_width, config.language_heads
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(config.width, width)
        self.value = nn.Linear(config.width, width)
        self.out = zeroed(nn.Linear(width, width))
        self.own = zeroed(nn.Linear(config.width, width))
        self.feed = nn.Sequential(
            nn.Linear(width, width // 2), nn.GELU(), nn.Dropout(config.dropout), zeroed(nn.Linear(width // 2, width))
        )

    def forward(self, x: Tensor, structure: Tensor, rows: Tensor, allowed: Tensor) -> Tensor:
        """(P, width) queries, (R, d) residues, (P,) indices of the queries, (P, R) allowed keys -> (P, width)."""
        h = self.heads
        q = self.query(self.norms[0](x)).view(len(x), h, -1).transpose(0, 1)
        k = self.key(structure).view(len(structure), h, -1).transpose(0, 1)
        v = self.value(structure).view(len(structure), h, -1).transpose(0, 1)
        seen = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        x = x + self.out(seen.transpose(0, 1).flatten(1)) + self.own(structure[rows])
        out: Tensor = x + self.feed(self.norms[1](x))
        return out


class PocketGen(nn.Module):
    """The structure network, the adapter, and the heads.

    Logits are the sum of those of the language head after the adapter, of the structure network's own head, and of the heads that
    read the surroundings of a residue. The paper has the first only, or the second without a language model. The contribution of
    the structure network, by adapter and own head, may get less weight than in training.
    """

    def __init__(self, config: PocketGenConfig) -> None:
        super().__init__()
        self.config = config
        eighth = config.width // 8
        self.number_width = 2 * eighth
        self.name = nn.Embedding(len(ATOM_NAMES) + 1, 3 * eighth)
        self.slot = nn.Embedding(N_SLOTS, eighth)
        self.kind = nn.Embedding(N_TYPES, 2 * eighth)
        self.element = nn.Linear(N_LIGAND_FEATURES, config.width)
        self.again = nn.ModuleDict({kind: nn.LayerNorm(config.width) for kind in ("residue", "ligand")})
        self.layers = nn.ModuleList(BilevelLayer(config) for _ in range(config.layers))
        self.own_head = nn.Sequential(
            nn.LayerNorm(config.width),
            nn.Linear(config.width, config.width),
            nn.SiLU(),
            zeroed(nn.Linear(config.width, N_TYPES - 1)),
        )
        self.adapter = StructuralAdapter(config) if config.language_width else None
        self.language = LanguageHead(config.language_width) if config.language_width else None
        self.surroundings = SurroundingsHeads(config.language_width, config.surroundings_width, config.surroundings_heads)
        self.trace = TraceNet(config.trace_width)
        """Surroundings are counted at its positions before a batch is made: see :func:`s2p.models.pocketgen.data.make_pocket`."""
        self.register_buffer("names", torch.from_numpy(ATOM_CODES), persistent=False)

    def _embed(self, batch: Batch) -> Tensor:
        """(R, 14, d)."""
        codes: Tensor = self.names[batch.types]  # type: ignore[index]
        half = self.number_width // 2
        rate = 10000.0 ** (-2 * torch.arange(half, device=batch.coord.device, dtype=batch.coord.dtype) / self.number_width)
        angle = batch.number[:, None].to(batch.coord.dtype) * rate
        number = torch.cat([angle.cos(), angle.sin()], dim=-1)
        rows = codes.shape[0]
        parts = (
            self.name(codes),
            self.slot.weight.expand(rows, -1, -1),
            self.kind(batch.types)[:, None].expand(-1, N_SLOTS, -1),
            number[:, None].expand(-1, N_SLOTS, -1),
        )
        return torch.cat(parts, dim=-1)

    def _near(self, batch: Batch, ca: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(P, k + 1) residues nearest to each pocket residue by CA, itself first; whether they exist; their offsets."""
        rows = batch.pocket
        distance = (ca[rows, None] - ca[None]).square().sum(dim=-1)
        same = batch.owner[rows, None] == batch.owner[None]
        distance = distance.masked_fill(~same, torch.inf)
        distance[torch.arange(len(rows)), rows] = -1
        found = distance.topk(min(self.config.neighbours + 1, distance.shape[1]), largest=False)
        near = found.indices
        apart = batch.number[near] - batch.number[rows, None]
        beside = (batch.chain[near] == batch.chain[rows, None]) & (apart.abs() <= MAX_OFFSET)
        offset = torch.where(beside, apart + MAX_OFFSET, OTHER_OFFSET)
        return near, found.values.isfinite(), offset

    def forward(self, batch: Batch, passes: int | None = None) -> Output:
        """Types and positions after ``passes`` passes (default: the configuration's), of which only the last has gradients.

        Coordinates are used as given; callers centre them, because digits are lost far from the origin.
        """
        state: tuple[Tensor, Tensor] | None = None
        for k in range(passes or self.config.passes):
            last = k + 1 == (passes or self.config.passes)
            with torch.set_grad_enabled(last and torch.is_grad_enabled()):
                out, state = self._pass(batch, state, with_types=last)
            batch = replace(batch, coord=batch.coord.index_copy(0, batch.pocket, out.coord), ligand=out.ligand)
        return out

    def _pass(
        self, batch: Batch, state: tuple[Tensor, Tensor] | None, *, with_types: bool
    ) -> tuple[Output, tuple[Tensor, Tensor]]:
        rows = batch.pocket
        context, ligand = self._embed(batch), self.element(batch.features)
        x = context[rows]
        if state is not None:
            x, ligand = x + self.again["residue"](state[0]), ligand + self.again["ligand"](state[1])
        coord, place = batch.coord[rows], batch.ligand
        slots = batch.slots
        near, known, offset = self._near(batch, batch.coord[:, 1])
        own, count = batch.owner[rows], torch.bincount(batch.owner[rows], minlength=len(place))
        # Pocket residues of each complex, padded: the keys of its ligand.
        column = torch.arange(len(rows), device=rows.device) - (count.cumsum(0) - count)[own]
        asked = rows.new_zeros(len(place), int(count.max()))
        there = torch.zeros_like(asked, dtype=torch.bool)
        asked[own, column], there[own, column] = rows, True
        alone = torch.arange(len(place), device=rows.device)[:, None]

        def asks_ligand(near: Tensor) -> Keys:
            return Keys("ligand", *molecules, near, torch.ones_like(near, dtype=torch.bool), torch.full_like(near, LIGAND_OFFSET))

        for layer in self.layers:
            residues = context.index_copy(0, rows, x), batch.coord.index_copy(0, rows, coord), slots
            molecules = ligand, place, batch.ligand_mask
            new_x, new_coord = layer(
                Queries("residue", x, coord, slots[rows]),
                [Keys("residue", *residues, near, known, offset), asks_ligand(own[:, None])],
            )
            in_pocket = Keys("residue", *residues, asked, there, torch.full_like(asked, LIGAND_OFFSET))
            ligand, place = layer(Queries("ligand", *molecules), [in_pocket, asks_ligand(alone)])
            x, coord = new_x, new_coord
        logits = x.new_zeros(len(rows), N_TYPES - 1)
        if with_types:
            logits = self._types(batch, context.index_copy(0, rows, x))
        return Output(logits, coord, place), (x, ligand)

    def _types(self, batch: Batch, features: Tensor) -> Tensor:
        """(P, 20)."""
        there = batch.slots.to(features.dtype)[..., None]
        pooled = (features * there).sum(dim=1) / there.sum(dim=1).clamp_min(1)
        logits: Tensor = self.surroundings(batch.language, batch.environment)
        seen = self.own_head(pooled[batch.pocket])
        if self.adapter is not None and self.language is not None:
            allowed = batch.owner[batch.pocket, None] == batch.owner[None]
            alone = self.language(batch.language)
            seen = seen + self.language(self.adapter(batch.language, pooled, batch.pocket, allowed)) - alone
            logits = logits + alone
        logits = logits + self.config.structure_share * seen
        return logits
