"""ChimeraX specifications, read back by its documented grammar, name exactly the residues of the pockets."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from fnmatch import fnmatchcase

import pytest
from builders import make_prediction
from hypothesis import given
from hypothesis import strategies as st

from s2p.output.viewers import chimerax_script, chimerax_selection
from s2p.prediction import Prediction

Place = tuple[str, int, str, str]
"""Chain, number, insertion code and name of a residue."""

NUMBERS = r"-?\d+[A-Za-z]?(?:,-?\d+[A-Za-z]?)*"
TEST = r"""(chain_id|name)==(?:"([^"]+)"|'([^']+)')"""
PART = re.compile(rf"(?:/([A-Za-z0-9_]+))?:({NUMBERS})(?:::({TEST}(?:,{TEST})*))?")
COMMANDS = (
    r"#.*",
    r'open "[^"]+"',
    r"hide atoms",
    r"show (?:protein cartoons|ligand atoms)",
    r"style ligand stick",
    r"color byattribute bfactor protein palette (?:\d+,#[0-9A-F]{6}:?)+",
    r"name pocket\d+ SPEC",
    r"color SPEC #[0-9A-F]{6}",
    r"show SPEC atoms",
    r"style SPEC stick",
    r'shape sphere radius 1 center -?[\d.]+,-?[\d.]+,-?[\d.]+ color #[0-9A-F]{6}( mesh true)? name "centre \d+( cryptic)?"',
    r"view",
)


def chosen(specification: str, places: Iterable[Place]) -> set[Place]:
    """What a specification names among ``places``; every character of it must belong to it."""
    everything, found, position, chained = set(places), set[Place](), 0, False
    while position < len(specification):
        part = PART.match(specification, position)
        assert part, specification[position:]
        assert part[1] or not chained, "residues without a chain would be of the chain before them"
        chained = part[1] is not None
        tests = {key: a or b for key, a, b in re.findall(TEST, part[3] or "")}
        for place in everything:
            chain, number, code, name = place
            found |= {
                place
                for text in part[2].split(",")
                if f"{number}{code}" == text
                and part[1] in (None, chain)
                and fnmatchcase(chain, tests.get("chain_id", "*"))
                and fnmatchcase(name, tests.get("name", "*"))
            }
        position = part.end()
    return found


def places(prediction: Prediction) -> list[Place]:
    """All residues, and the ligands after them."""
    r = prediction.structure.residues
    own = zip(r.chain.tolist(), r.number.tolist(), r.insertion_code.tolist(), r.name.tolist(), strict=True)
    return [*own, *((x.chain, x.number, x.insertion_code, x.name) for x in prediction.structure.ligands)]


def wanted(prediction: Prediction, k: int) -> set[Place]:
    return {places(prediction)[i] for i in prediction.pockets[k].residues}


@pytest.mark.parametrize("chains", [("A", "B"), ("A", "a"), ("AA", "AB"), ("A-1", "x.1"), ("1", "2"), ("%", "A"), ('"', "[*")])
def test_specification_names_the_pocket(chains: tuple[str, str]) -> None:
    p = make_prediction(chains=chains)
    for k in range(2):
        assert chosen(chimerax_selection(p, p.pockets[k]), places(p)) == wanted(p, k)


name = st.text("ABab01-+._:/@#%*?[]' ", min_size=1, max_size=4)


@given(st.tuples(name, name).filter(lambda x: x[0] != x[1]), st.integers(-900, 9000))
def test_any_chain_and_number(chains: tuple[str, str], first: int) -> None:
    p = make_prediction(chains=chains, numbers=(first, first))
    assert chosen(chimerax_selection(p, p.pockets[0]), places(p)) == wanted(p, 0)


def test_a_ligand_of_the_same_number_is_not_named() -> None:
    p = make_prediction()
    first = p.pockets[0].residues[0]
    structure = p.structure
    chain, number, code, _ = places(p)[first]
    ligand = replace(structure.ligands[0], chain=chain, number=number, insertion_code=code)
    p = replace(p, structure=replace(structure, ligands=(ligand,)))
    assert chosen(chimerax_selection(p, p.pockets[0]), places(p)) == wanted(p, 0)


def test_every_command_of_the_script_is_in_the_grammar() -> None:
    p = make_prediction()
    specs = [chimerax_selection(p, pocket) for pocket in p.pockets]
    for line in chimerax_script(p, "demo", "pdb").splitlines():
        for spec in specs:
            line = line.replace(spec, "SPEC")
        assert any(re.fullmatch(pattern, line) for pattern in COMMANDS), line
