"""Self-consistency: folds laid on designs, and the service that folds."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import gemmi
import numpy as np
import pytest
from pocketgen_reference import EXAMPLES, complex_of
from scipy.spatial.transform import Rotation

from s2p.errors import FetchError, S2PError
from s2p.models.pocketgen.atoms import LETTERS
from s2p.models.pocketgen.config import FoldConfig
from s2p.models.pocketgen.data import Pocket
from s2p.models.pocketgen.design import Design
from s2p.models.pocketgen.folded import designed_sequences, fold_design, folded_file, self_consistency
from s2p.models.pocketgen.scores import Scores, add_folded, designability
from s2p.structure.reading import Structure, read_structure
from s2p.structure.transforms import moved, random_rotation


def designed(pocket: Pocket, seed: int = 0) -> Design:
    """Drawn types on the native backbone, displaced by some tenths of an ångström."""
    draw = np.random.default_rng(seed)
    types = draw.integers(1, 21, len(pocket.pocket))
    coord = pocket.coord[pocket.pocket] + draw.normal(0, 0.3, (len(types), 14, 3))
    return Design(types, np.full((len(types), 20), 0.05), coord, pocket.ligand)


def fold_of(structure: Structure, pocket: Pocket, design: Design) -> Structure:
    """The structure with the designed letters and backbone: what a perfect predictor would give."""
    residues, atoms = structure.residues, structure.atoms
    index = pocket.residues[pocket.pocket]
    letters, coord = residues.one_letter.copy(), atoms.coord.copy()
    letters[index] = list(design.sequence)
    for place, k in enumerate(index.tolist()):
        for slot, name in enumerate(("N", "CA", "C", "O")):
            coord[(atoms.residue_index == k) & (atoms.name == name)] = design.coord[place, slot]
    return replace(
        structure, name="fold", residues=replace(residues, one_letter=letters), atoms=replace(atoms, coord=coord), ligands=()
    )


@pytest.fixture(scope="module")
def case() -> tuple[Structure, Pocket, Design]:
    structure, _, pocket = complex_of("1a28.pdb.gz")
    return structure, pocket, designed(pocket)


def test_a_perfect_fold_has_no_error_wherever_it_lies(case: tuple[Structure, Pocket, Design]) -> None:
    structure, pocket, design = case
    fold = fold_of(structure, pocket, design)
    assert self_consistency(structure, pocket, design, fold) < 1e-5
    draw = np.random.default_rng(1)
    assert self_consistency(structure, pocket, design, moved(fold, random_rotation(draw), draw.normal(0, 50, 3))) < 2e-3


def test_error_of_a_pocket_that_moved(case: tuple[Structure, Pocket, Design]) -> None:
    """The rest stays: the superposition sees nothing of it."""
    structure, pocket, design = case
    shift = np.array([1.0, 2.0, 2.0])
    away = replace(design, coord=design.coord + shift)
    assert self_consistency(structure, pocket, design, fold_of(structure, pocket, away)) == pytest.approx(3.0, abs=1e-4)


def test_against_another_superposition(case: tuple[Structure, Pocket, Design]) -> None:
    structure, pocket, design = case
    fold = fold_of(structure, pocket, design)
    draw = np.random.default_rng(2)
    noisy = replace(fold, atoms=replace(fold.atoms, coord=fold.atoms.coord + draw.normal(0, 0.8, fold.atoms.coord.shape)))
    ca = noisy.atoms.name == "CA"
    place = noisy.residues.ca_coord.copy()
    place[noisy.atoms.residue_index[ca]] = noisy.atoms.coord[ca]
    noisy = moved(
        replace(noisy, residues=replace(noisy.residues, ca_coord=place)), random_rotation(draw), np.array([5.0, 6.0, 7.0])
    )
    index = pocket.residues[pocket.pocket]
    chain = structure.residues.chain
    around = np.setdiff1d(np.flatnonzero(np.isin(chain, chain[index])), index)
    target, source = structure.residues.ca_coord[around].astype(float), noisy.residues.ca_coord[around].astype(float)
    rotation, _ = Rotation.align_vectors(target - target.mean(axis=0), source - source.mean(axis=0))
    error = []
    for k, row in enumerate(index.tolist()):
        for slot, name in enumerate(("N", "CA", "C", "O")):
            own = noisy.atoms.coord[(noisy.atoms.residue_index == row) & (noisy.atoms.name == name)]
            error.append(rotation.apply(own[0] - source.mean(axis=0)) + target.mean(axis=0) - design.coord[k, slot])
    expected = np.sqrt(np.square(error).sum(axis=1).mean())
    assert expected > 0.5
    assert self_consistency(structure, pocket, design, noisy) == pytest.approx(expected, abs=2e-3)


def test_chains_are_found_by_sequence_and_gaps_may_be_filled(case: tuple[Structure, Pocket, Design]) -> None:
    structure, pocket, design = case
    fold = fold_of(structure, pocket, design)
    renamed = np.where(fold.residues.chain == "A", "X", np.where(fold.residues.chain == "B", "A", fold.residues.chain))
    assert self_consistency(structure, pocket, design, replace(fold, residues=replace(fold.residues, chain=renamed))) < 1e-5
    # The structure lacks some residues that the fold has.
    gone = np.setdiff1d(np.arange(20, 26), pocket.residues[pocket.pocket])
    kept = ~np.isin(np.arange(len(structure.residues)), gone)
    number = np.cumsum(kept) - 1
    r = structure.residues
    cut = replace(
        structure,
        atoms=replace(
            structure.atoms,
            **{
                name: getattr(structure.atoms, name)[kept[structure.atoms.residue_index]]
                for name in ("coord", "element", "name", "b_factor")
            },
            residue_index=number[structure.atoms.residue_index[kept[structure.atoms.residue_index]]].astype(np.int32),
        ),
        residues=type(r)(*(getattr(r, name)[kept] for name in r.__dataclass_fields__)),
    )
    there = replace(pocket, residues=number[pocket.residues])
    assert self_consistency(cut, there, design, fold) < 1e-5


def test_what_does_not_fit_is_said(case: tuple[Structure, Pocket, Design]) -> None:
    structure, pocket, design = case
    fold = fold_of(structure, pocket, design)
    other = designed(pocket, 1)
    with pytest.raises(S2PError, match="no chain of it has the sequence of the design's chain A"):
        self_consistency(structure, pocket, other, fold)
    with pytest.raises(S2PError, match="no chain of it has the sequence"):
        self_consistency(structure, pocket, design, complex_of("4CUP.cif")[0])


def test_files_are_named_like_designs(tmp_path: Path, case: tuple[Structure, Pocket, Design]) -> None:
    with pytest.raises(S2PError, match=r"there is no structure x_design_1\.pdb"):
        folded_file(tmp_path, "x_design_1")
    (tmp_path / "x_design_1.cif.gz").touch()
    assert folded_file(tmp_path, "x_design_1").name == "x_design_1.cif.gz"
    structure, pocket, _ = case
    scores = add_folded(structure, pocket, [], [Scores(-5.0)], tmp_path, "x")
    assert scores == [Scores(-5.0)]
    assert np.isnan(designability(scores))
    assert designability([Scores(0.0), Scores(0.0, sc_rmsd=1.9), Scores(0.0, sc_rmsd=2.1)]) == 0.5


@dataclass
class Service:
    """A server in the folding service's place: answers with ``answer`` and keeps what it was sent."""

    url: str = ""
    answer: bytes | None = None
    sent: list[bytes] = field(default_factory=list)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    state = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            state.sent.append(self.rfile.read(int(self.headers["Content-Length"])))
            if state.answer is None:
                self.send_error(429)
                return
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(state.answer)

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    state.url = f"http://127.0.0.1:{httpd.server_port}/fold"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield state
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def test_folding_service(service: Service, tmp_path: Path) -> None:
    structure, _, pocket = complex_of("4CUP.cif")
    design = replace(designed(pocket), coord=pocket.coord[pocket.pocket].astype(float))
    config = FoldConfig(url=service.url, timeout=5)
    target = tmp_path / "folded" / "4CUP_design_1.pdb"
    with pytest.raises(FetchError, match=r"fold of 4CUP_design_1: .*status 429"):
        fold_design(structure, pocket, design, target, config)
    service.answer = b"<html>maintenance</html>"
    with pytest.raises(FetchError, match="the answer is no structure"):
        fold_design(structure, pocket, design, target, config)
    assert not target.exists()

    # A fold, as the service would give it: the designed sequence in a PDB file.
    parsed = gemmi.read_structure(str(EXAMPLES / "4CUP.cif"))
    parsed.setup_entities()
    parsed.remove_ligands_and_waters()
    names = {int(structure.residues.number[k]): d for k, d in zip(pocket.residues[pocket.pocket], design.sequence, strict=True)}
    for residue in parsed[0]["A"]:
        if residue.seqid.num in names:
            residue.name = gemmi.expand_one_letter(names[residue.seqid.num], gemmi.ResidueKind.AA)
    service.answer = parsed.make_pdb_string().encode()
    path = fold_design(structure, pocket, design, target, config)
    ((_, sequence),) = designed_sequences(structure, pocket, design).items()
    assert service.sent[-1].decode() == sequence
    assert self_consistency(structure, pocket, design, read_structure(path)) < 0.01
    scored = add_folded(structure, pocket, [design], [Scores(-1.0), Scores(-2.0)], tmp_path / "again", "4CUP", service=config)
    assert scored[0].sc_rmsd is None
    assert scored[1].vina_like == -2.0 and scored[1].sc_rmsd == pytest.approx(0, abs=0.01)
    small = replace(config, max_bytes=1000)
    with pytest.raises(FetchError, match="larger than the limit"):
        fold_design(structure, pocket, design, target, small)


def test_what_the_service_cannot_fold(case: tuple[Structure, Pocket, Design], tmp_path: Path) -> None:
    structure, pocket, design = case
    target = tmp_path / "x.pdb"
    with pytest.raises(S2PError, match=r"chain A has \d+ residues; the folding service takes 100 at most"):
        fold_design(structure, pocket, design, target, FoldConfig(url="http://127.0.0.1:9", max_residues=100))
    index = pocket.residues[pocket.pocket]
    chain = structure.residues.chain.copy()
    chain[index[-1]] = "B"
    two = replace(structure, residues=replace(structure.residues, chain=chain))
    with pytest.raises(S2PError, match="the folding service takes one chain"):
        fold_design(two, pocket, design, target)
    letters = structure.residues.one_letter.copy()
    letters[0] = "X"
    odd = replace(structure, residues=replace(structure.residues, one_letter=letters))
    with pytest.raises(S2PError, match="residues of no known type"):
        fold_design(odd, pocket, design, target)
    assert not target.exists()
    assert set(design.sequence) <= set(LETTERS)
