"""The PyMOL script opened by PyMOL itself selects exactly the atoms of the pockets; skipped where there is no PyMOL."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import make_prediction

from s2p.prediction import Prediction
from s2p.structure.reading import read_structure


def interpreter() -> str | None:
    """A Python that has PyMOL: the one named in the environment, ours, or the system's (Debian's package)."""
    for python in (os.environ.get("S2P_PYMOL_PYTHON", sys.executable), sys.executable, "/usr/bin/python3"):
        if (
            shutil.which(python)
            and subprocess.run([python, "-c", "import pymol"], capture_output=True, check=False).returncode == 0
        ):
            return python
    return None


PYMOL = interpreter()
pytestmark = pytest.mark.skipif(PYMOL is None, reason="no PyMOL")


def selected(script: Path) -> dict[str, list[tuple[float, ...]]]:
    """Coordinates of the atoms of each selection after the script has run."""
    end = script.with_name("end.pml")
    end.write_text(
        f"@{script}\n"
        "python\nimport json\nfrom pymol import cmd\n"
        "found = {s: [] for s in cmd.get_names('selections')}\n"
        "for s in found: cmd.iterate_state(1, s, 'rows.append((x, y, z))', space={'rows': found[s]})\n"
        f"json.dump(found, open({str(script.with_name('found.json'))!r}, 'w'))\npython end\n"
    )
    done = subprocess.run([str(PYMOL), "-m", "pymol", "-cq", str(end)], capture_output=True, text=True, timeout=120, check=False)
    assert "rror" not in done.stdout + done.stderr, done.stdout + done.stderr
    found: dict[str, list[tuple[float, ...]]] = json.loads(script.with_name("found.json").read_text())
    return found


def check(prediction: Prediction, folder: Path) -> None:
    paths = prediction.save(folder, ("pml",))
    found = selected(next(path for path in paths if path.suffix == ".pml"))
    atoms = prediction.structure.atoms
    for p in prediction.pockets:
        (name,) = (s for s in found if s.endswith(f"_pocket{p.rank}"))
        wanted = atoms.coord[np.isin(atoms.residue_index, p.residues)].astype(float).round(3)
        order = lambda x: sorted(map(tuple, np.asarray(x, float).reshape(-1, 3).tolist()))  # noqa: E731
        assert len(found[name]) == len(wanted)
        assert np.allclose(order(found[name]), order(wanted), atol=2e-3)


@pytest.mark.parametrize(
    ("chains", "numbers"),
    [
        (("A", "B"), (-3, 1)),  # negative numbers, zero, an insertion code (0A)
        (("A", "a"), (1, 1)),  # chains that differ in case
        (("AA", "AB"), (-20, 9990)),  # long chains and numbers of five digits: an mmCIF file
        (("A-B", "x.1"), (1, 1)),  # operators of PyMOL's selection language
        (("and", "not"), (5, 5)),  # its words
        ((" ", "B"), (1, 1)),  # no name
    ],
)
def test_selections_are_the_pockets(tmp_path: Path, chains: tuple[str, str], numbers: tuple[int, int]) -> None:
    prediction = make_prediction("case", chains=chains, numbers=numbers)
    assert len(prediction.pockets) == 2
    check(prediction, tmp_path)


ODD = """! # $ % & ' ( ) * + , - . / : ; < = > ? @ [ \\ ] ^ _ ` { | } ~ " A% %A A" "A A*A A* a* AA Aa aA é and all""".split()


def test_any_chain_name_and_letters_of_either_case(tmp_path: Path) -> None:
    """One residue, or two, a chain, whose numbers are 1A and 1a; a pocket for each chain."""
    p = make_prediction("odd")
    structure, one = p.structure, p.pockets[0]
    n = len(structure.residues)
    chain = np.array([*ODD, "A B"])[np.arange(n) % (len(ODD) + 1)]
    code = np.where(np.arange(n) <= len(ODD), "A", "a")
    residues = replace(structure.residues, chain=chain, number=np.ones(n, np.int32), insertion_code=code)
    pockets = tuple(replace(one, rank=k + 1, residues=np.array([k], np.int32)) for k in range(n))
    check(replace(p, structure=replace(structure, residues=residues, ligands=()), pockets=pockets), tmp_path)


def test_real_structure_with_several_chains(tmp_path: Path, examples: Path) -> None:
    structure = read_structure(examples / "1ake.cif.gz")
    demo = make_prediction().pockets[0]
    rng = np.random.default_rng(1)
    n = len(structure.residues)
    pockets = tuple(
        replace(demo, rank=k, residues=np.sort(rng.choice(n, 30, replace=False)).astype(np.int32), atoms=np.zeros(1, np.int32))
        for k in (1, 2, 3)
    )
    nothing = np.zeros(n, bool)
    check(Prediction(structure, rng.random(n).astype(np.float32), nothing, nothing, pockets, "test"), tmp_path)


def test_insertion_codes_of_an_antibody_like_numbering(tmp_path: Path) -> None:
    p = make_prediction("loop")
    residues = p.structure.residues
    number, code = residues.number.copy(), residues.insertion_code.copy()
    number[:6], code[:6] = 52, list(" ABCDE")  # 52, 52A … 52E
    code[0] = ""
    structure = replace(p.structure, residues=replace(residues, number=number, insertion_code=code))
    one = replace(p.pockets[0], residues=np.array([0, 2, 4], np.int32))
    check(replace(p, structure=structure, pockets=(one,)), tmp_path)
