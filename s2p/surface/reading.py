"""Output of the surface network for an assembly: ligandability of surface points, centres of ligands, binding residues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from s2p.errors import WeightsError
from s2p.structure.reading import Structure
from s2p.surface import mpnn
from s2p.surface.graph import neighbours
from s2p.surface.network import Inputs, NetworkConfig, Outputs, forward, shapes
from s2p.surface.points import SoftPoints
from s2p.surface.surroundings import Surroundings

__all__ = ["Reading", "SurfaceNetwork", "atom_kinds", "atom_names", "averaged", "kind_rows"]


@dataclass(frozen=True, eq=False)
class Reading:
    """Output of the network for an assembly with N residues and P surface points, in the coordinates of the file."""

    cloud: SoftPoints
    """Surface points of all atoms, with their exposure."""
    ligandability: NDArray[np.float32]
    """(P,) probability that a ligand atom is near (within some 3.5 Å)."""
    centers: NDArray[np.float32]
    """(P, 3) Å: vote of each point for the centre of a ligand."""
    extent: NDArray[np.float32]
    """(P,) Å: radius of gyration of the ligand."""
    residues: NDArray[np.float32]
    """(N,) probability that the residue binds."""


def averaged(said: Sequence[Outputs], cloud: SoftPoints) -> Reading:
    """Mean output of several networks for an assembly with these surface points, in the coordinates of the points."""
    ligand, vote, extent, residue = (np.mean([getattr(x, f.name) for x in said], axis=0) for f in fields(Outputs))
    near, binding = (expit(logit).astype(np.float32) for logit in (ligand, residue))
    return Reading(cloud, near, (cloud.coord + vote).astype(np.float32), np.exp(extent), binding)


def atom_names(structure: Structure) -> NDArray[np.str_]:
    """(A,) ``K:NZ``: letter of the residue and name of the atom."""
    atoms = structure.atoms
    return np.char.add(np.char.add(structure.residues.one_letter[atoms.residue_index], ":"), atoms.name)


def kind_rows(names: NDArray[np.str_], element: NDArray[np.str_], types: Sequence[str]) -> NDArray[np.int64]:
    """(A,) row in ``types`` of the type of each atom: its name, or ``*:N`` for an atom of that element that is not among them."""
    row = {name: k for k, name in enumerate(types)}
    kinds, inverse = np.unique(np.char.add(np.char.add(names, "|*:"), element), return_inverse=True)
    pairs = (kind.split("|") for kind in kinds.tolist())
    return np.array([row.get(own, row.get(other, row["*:X"])) for own, other in pairs], np.int64)[inverse]


def atom_kinds(structure: Structure, types: Sequence[str]) -> NDArray[np.int64]:
    """(A,) row in ``types`` of the type of each atom of a structure; see :func:`kind_rows`."""
    return kind_rows(atom_names(structure), structure.atoms.element, types)


@dataclass(frozen=True, eq=False)
class SurfaceNetwork:
    """Networks whose outputs are averaged, with the types of atoms and the encoder of the backbone that they read."""

    encoder: mpnn.Encoder = field(repr=False)
    types: tuple[str, ...] = field(repr=False)
    members: tuple[Mapping[str, NDArray[np.float32]], ...] = field(repr=False)
    config: NetworkConfig

    def read(self, part: Surroundings, embeddings: NDArray[np.float32]) -> Reading:
        """Run the networks on an assembly with (N, d) embeddings of its residues from the language model."""
        return self.answer(part, self.inputs(part, embeddings))

    def inputs(self, part: Surroundings, embeddings: NDArray[np.float32]) -> Inputs:
        """Input of the network for an assembly, in the assembly's own frame."""
        c, structure = self.config, part.structure
        cloud = part.points(c.n_points, c.probe_radius)
        return Inputs(
            atom_kinds(structure, self.types),
            structure.atoms.residue_index.astype(np.int64),
            embeddings,
            mpnn.encode(self.encoder, structure),
            cloud.atom,
            cloud.share.astype(np.float32),
            neighbours(part.coord, None, c.atom_reach),
            neighbours(cloud.coord, part.coord, c.reading_reach),
            neighbours(cloud.coord, None, c.point_reach),
        )

    def answer(self, part: Surroundings, inputs: Inputs) -> Reading:
        """Mean output of the members for these inputs of the assembly."""
        c = self.config
        said = averaged([forward(member, inputs, c) for member in self.members], part.points(c.n_points, c.probe_radius))
        cloud = replace(said.cloud, coord=part.outside(said.cloud.coord))
        return replace(said, cloud=cloud, centers=part.outside(said.centers.astype(np.float64)).astype(np.float32))

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """The members' weights by name, ``{member}.{weight}``."""
        return {f"{k}.{name}": value for k, member in enumerate(self.members) for name, value in member.items()}

    def header(self) -> dict[str, Any]:
        """Further arguments of :meth:`from_parts`, ready for JSON."""
        return {"types": list(self.types), "members": len(self.members), "network": asdict(self.config)}

    @classmethod
    def from_parts(cls, arrays: Mapping[str, NDArray[Any]], header: Mapping[str, Any], encoder: mpnn.Encoder) -> SurfaceNetwork:
        """The inverse of :meth:`arrays` and :meth:`header`; :class:`WeightsError` if something is missing or does not fit."""
        try:
            config, types = NetworkConfig(**header["network"]), tuple(header["types"])
            wanted = shapes(config, len(types))
            members = tuple(
                {name: np.asarray(arrays[f"{k}.{name}"], np.float32) for name in wanted} for k in range(header["members"])
            )
        except (KeyError, TypeError) as error:
            raise WeightsError(f"the surface network is damaged or of another version: {error}; download it again") from None
        if not members or any(member[name].shape != shape for member in members for name, shape in wanted.items()):
            raise WeightsError("the surface network was made for other inputs than this version reads; download it again")
        return cls(encoder, types, members, config)
