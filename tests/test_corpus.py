"""Awkward files: each gives a result or one clear sentence; real ones are sampled where ``make corpus`` has put them."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest
from corpus import answer, cached_files, run, sources, table
from examination import examine, examine_whole
from mutations import Case, cases, large_case, mutate, seeds

from s2p.structure.reading import read_structure

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")  # a division by zero on the way is a result that is wrong
CASES = cases()


def written(folder: Path, case: Case) -> Path:
    path = folder / case.file
    path.write_bytes(case.data)
    return path


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_awkward_file(tmp_path: Path, case: Case) -> None:
    message = examine(written(tmp_path, case), tmp_path)
    assert case.result is None or case.result == (not message), message or "a result"


@pytest.mark.slow
def test_awkward_files_through_the_whole_prediction(tmp_path: Path) -> None:
    for case in CASES:
        message = examine_whole(written(tmp_path, case), tmp_path)
        assert case.result is None or case.result == (not message), f"{case.name}: {message or 'a result'}"


def test_more_atoms_than_a_pdb_file_can_number(tmp_path: Path) -> None:
    structure = read_structure(written(tmp_path, large_case()))
    assert len(structure.atoms) > 99_999
    assert len(set(structure.residues.ids())) == len(structure.residues) == 76 * (100_000 // 602 + 1)
    assert structure.notes == ()


# ---------------------------------------------------------------------------------------------- what lies under a name


def test_symbolic_links_are_followed_and_broken_ones_refused(tmp_path: Path) -> None:
    (tmp_path / "x.pdb").write_bytes(seeds()["bare.pdb"])
    (tmp_path / "link.pdb").symlink_to("x.pdb")
    (tmp_path / "broken.pdb").symlink_to("nothing.pdb")
    (tmp_path / "loop.pdb").symlink_to("loop.pdb")
    assert examine(tmp_path / "link.pdb") == ""
    assert "no such file" in examine(tmp_path / "broken.pdb")
    assert "cannot be read" in examine(tmp_path / "loop.pdb")


def test_folders_pipes_and_devices_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.pdb").mkdir()
    os.mkfifo(tmp_path / "pipe.pdb")
    assert "is a folder" in examine(tmp_path / "folder.pdb")
    assert "a pipe or a device" in examine(tmp_path / "pipe.pdb")
    assert "a pipe or a device" in examine(Path("/dev/zero"))


# ---------------------------------------------------------------------------------------------- chance


@pytest.mark.parametrize("name", sorted(seeds()))
def test_seeds_are_good(tmp_path: Path, name: str) -> None:
    structure = read_structure(written(tmp_path, Case(name, name, seeds()[name], True)))
    assert (len(structure.residues), [ligand.name for ligand in structure.ligands if ligand.kind == "molecule"]) == (12, ["GBS"])


@pytest.mark.parametrize("name", sorted(seeds()))
def test_random_damage(tmp_path: Path, name: str) -> None:
    data, rng = seeds()[name], random.Random(name)
    outcomes = {bool(examine(written(tmp_path, Case(name, name, mutate(data, rng), None)), tmp_path)) for _ in range(40)}
    assert False in outcomes or name.endswith(".gz")  # damage that does no harm exists, so the file was looked at


def test_damage_is_the_same_for_the_same_seed() -> None:
    for data in seeds().values():
        first, second = ([mutate(data, rng) for _ in range(20)] for rng in (random.Random(5), random.Random(5)))
        assert first == second
        assert len(set(first)) > 10


# ---------------------------------------------------------------------------------------------- the runner and the corpus


def test_the_list_is_complete() -> None:
    listed = sources()
    assert len({source.name for source in listed}) == len(listed)
    assert sum(source.n_files for source in listed) > 500
    for source in listed:
        assert len(source.sha256) == 64 and source.version in source.archive and source.kind in ("sdist", "deb")


def test_the_runner_survives_what_the_files_do(tmp_path: Path) -> None:
    names = ("good.pdb", "bad.pdb", "raises.pdb", "dies.pdb", "hangs.pdb", "grows.pdb", "good.pdb")
    for name in names:
        (tmp_path / name).write_bytes(b"" if name == "bad.pdb" else seeds()["bare.pdb"])
    paths = [tmp_path / name for name in names]
    found = list(run(paths, "awkward:examine", timeout=5, max_memory=400))  # half a GiB is written in 2 s on a busy machine
    assert [x.outcome for x in found] == ["result", "refused", "failed", "died", "hang", "memory", "result"]
    assert "ZeroDivisionError" in found[2].message
    assert found[5].memory > 400 > found[6].memory > 0
    assert table(found, tmp_path).splitlines()[-1] == "| all | 2 | 1 | 1 | 1 | 1 | 1 |"


def test_a_process_that_waits_for_ever_is_given_up() -> None:
    with subprocess.Popen(["sleep", "600"], stdout=subprocess.PIPE, text=True) as process:
        assert answer(process, 0.1) is None
        process.kill()


@pytest.mark.slow
def test_a_sample_of_the_corpus() -> None:
    files = [path for path in cached_files() if path.stat().st_size < 500_000]
    if not files:
        pytest.skip("no corpus here: make corpus")
    found = list(run(random.Random(0).sample(files, min(40, len(files)))))
    assert [x for x in found if x.outcome not in ("result", "refused")] == []
