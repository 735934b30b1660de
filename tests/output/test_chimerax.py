"""ChimeraX specifications, read back by its documented grammar, name exactly the residues of the pockets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from builders import make_prediction
from hypothesis import given
from hypothesis import strategies as st

from s2p.output.viewers import chimerax_script, chimerax_selection
from s2p.prediction import Prediction

RESIDUE = re.compile(r"(-?\d+)([A-Za-z]?)")
PART = re.compile(r'(?:/([A-Za-z0-9_]+)|//chain_id="([^"]*)"):((?:-?\d+[A-Za-z]?)(?:,-?\d+[A-Za-z]?)*)')
COMMANDS = (
    r"#.*",
    r'open "[^"]+"',
    r"hide atoms",
    r"show (?:protein cartoons|ligand atoms)",
    r"style ligand stick",
    r"color byattribute bfactor protein palette (?:\d+,#[0-9A-F]{6}:?)+",
    r"name pocket\d+ SPEC",
    r"color SPEC & protein #[0-9A-F]{6}",
    r"show SPEC & protein atoms",
    r"style SPEC & protein stick",
    r'shape sphere radius 1 center -?[\d.]+,-?[\d.]+,-?[\d.]+ color #[0-9A-F]{6} name "centre \d+"',
    r"view",
)


def residues_of(specification: str) -> set[tuple[str, int, str]]:
    """(chain, number, insertion code) that a specification names; every character must belong to it."""
    found, position = set(), 0
    while position < len(specification):
        part = PART.match(specification, position)
        assert part, specification[position:]
        chain = part[1] if part[1] is not None else part[2]
        for text in part[3].split(","):
            residue = RESIDUE.fullmatch(text)
            assert residue
            found.add((chain, int(residue[1]), residue[2]))
        position = part.end()
    return found


def wanted(prediction: Prediction, k: int) -> set[tuple[str, int, str]]:
    r = prediction.structure.residues
    return {(str(r.chain[i]), int(r.number[i]), str(r.insertion_code[i])) for i in prediction.pockets[k].residues}


@pytest.mark.parametrize("chains", [("A", "B"), ("A", "a"), ("AA", "AB"), ("A-1", "x.1"), ("1", "2")])
def test_specification_names_the_pocket(chains: tuple[str, str]) -> None:
    p = make_prediction(chains=chains)
    for k in range(2):
        assert residues_of(chimerax_selection(p, p.pockets[k])) == wanted(p, k)


name = st.text("ABCabc019-+._:/@#", min_size=1, max_size=4)


@given(st.tuples(name, name).filter(lambda x: x[0] != x[1]), st.integers(-900, 9000))
def test_any_chain_and_number(chains: tuple[str, str], first: int) -> None:
    p = make_prediction(chains=chains, numbers=(first, first))
    assert residues_of(chimerax_selection(p, p.pockets[0])) == wanted(p, 0)


def test_every_command_of_the_script_is_in_the_grammar(tmp_path: Path) -> None:
    p = make_prediction()
    specs = [chimerax_selection(p, pocket) for pocket in p.pockets]
    for line in chimerax_script(p, "demo", "pdb").splitlines():
        for spec in specs:
            line = line.replace(spec, "SPEC")
        assert any(re.fullmatch(pattern, line) for pattern in COMMANDS), line
