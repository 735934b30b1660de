"""Label files in three formats: round trips, and every mistake with its line and field."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2p.datasets.label_files import (
    FORMATS,
    Annotation,
    format_annotations,
    read_annotations,
    read_labels,
    read_sequences,
)
from s2p.datasets.labelled import LETTERS
from s2p.errors import S2PError

GOOD = "1abc;A;ATP;C1 D2;ACDEF\n2xyz;BB;HEM;F0;FGH\n"
HEADER = "pdb,chain,type,residues,sequence\n"


def write(tmp_path: Path, text: str, name: str = "x.txt") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        "﻿" + GOOD.replace("\n", "\r\n"),
        "pdb_id;chain;type;residues;sequence\n\n" + GOOD,
        GOOD.replace("C1 D2", "d2 c1 C1").replace("ACDEF", "acdef"),
        HEADER + "1abc,A,ATP,C1 D2,ACDEF\n2xyz,BB,HEM,F0,FGH\n",
        'Chain,note,pdb,type,sequence,residues\nA,,1abc,ATP,ACDEF,"C1, D2"\nBB,,2xyz,HEM,FGH,F0\n',
        ">1abc_A\nACDEF\n01100\n\n>2xyz_BB\nFGH\n100\n",
    ],
    ids=["published", "bom-crlf", "header", "unordered", "csv", "csv-other-order", "records"],
)
def test_all_formats_give_the_same_chains(tmp_path: Path, text: str) -> None:
    chains = read_labels(write(tmp_path, text))
    assert [(c.id, c.sequence, c.labels.tolist(), c.source) for c in chains] == [
        ("1abc_A", "ACDEF", [0, 1, 1, 0, 0], "x"),
        ("2xyz_BB", "FGH", [1, 0, 0], "x"),
    ]
    assert chains[0].labels.dtype == np.uint8


LINE_1 = "1abc;A;ATP;C1;ACDEF\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LINE_1 + "2abc;A;ATP;C1 E2;ACDEF\n", r"line 2, field 4 \(residues\): E2 does not fit, the sequence has D at index 2"),
        (LINE_1 + "2abc;A;ATP;C1 F5;ACDEF\n", r"line 2, field 4 \(residues\): F5 is out of range, the last index .* is 4"),
        (LINE_1 + "2abc;A;ATP;C-1;ACDEF\n", r"field 4 \(residues\): C-1 is out of range"),
        (LINE_1 + "2abc;A;ATP;C2 F5;ACDEF\n", r"line 2, field 4 .*: C2 does not fit, but every residue would .* counted from 1"),
        (LINE_1 + "2abc;A;ATP;C1,12;ACDEF\n", r"line 2, field 4 \(residues\): '12' is not a residue"),
        (LINE_1 + "2abc;A;ATP;A:12;ACDEF\n", r"'A:12' is not a residue"),
        (LINE_1 + "1abc;A;HEM;D2;ACDEFG\n", r"line 2, field 5 \(sequence\): that of 1abc_A is not the one in line 1"),
        ("2abc;A;ATP;;ACDEF\n2abd;A;ATP;;ACDEF\n", "none of its chains has a binding residue"),
        (LINE_1 + "2abc;A;ATP;C1;AC*EF\n", r"line 2, field 5 \(sequence\): '\*' at index 2 is not an amino-acid letter"),
        (LINE_1 + "2abc;A;ATP;C1;ACJEF\n", r"'J' at index 2"),
        (LINE_1 + "2abc;A;ATP;A0;A\n", r"line 2, field 5 \(sequence\): 2abc_A has 1 residue, at least 2"),
        (LINE_1 + "2abc;A;ATP;;\n", r"line 2, field 5 \(sequence\): empty"),
        (LINE_1 + ";A;ATP;A0;ACD\n", r"line 2, field 1 \(pdb\): empty"),
        (LINE_1 + "2abc;A;ATP;A0\n", r"line 2, 4 fields where 5 are expected: pdb, chain"),
        (HEADER + "1abc,A,x,C1,ACD\n1abd,A,x,A1,ACD\n", r"line 3, column residues: A1 .*from 1"),
        (HEADER + "1abc,A,x,C1\n", r"line 2, 4 fields where 5"),
        (HEADER, "contains no chains"),
        ("pdb,chain,residues,sequence\n1abc,A,C1,ACD\n", "line 1: the table has no column 'type'"),
        ("hello\n", "line 1: no known label format"),
        ("structure,file,chain,ligand,ligand_id,residues\nx,x,A,L,L,A:4\n", "table of ligands without sequences"),
        ("", "the file is empty"),
        ("\n \n", "the file is empty"),
        (">a\nACD\n0101\n", r"line 1, labels of a \(line 3\): 3 letters but 4 labels"),
        (">a\nACD\n010\n>b\nACD\n0x0\n", r"line 4, labels of b \(line 6\): labels must be 0 or 1, found 'x' at index 1"),
        (">a\nAC1\n010\n", r"sequence of a \(line 2\): '1' at index 2 is not an amino-acid letter"),
        (">a\nACD\n010\n>a\nACF\n010\n", "line 4, sequence: that of a is not the one in line 1"),
        (">a\nACD\n000\n", "none of its chains has a binding residue"),
        (">a\nACD\n", "three lines a record"),
        (">\nACD\n010\n", "line 1, id: empty"),
    ],
)
def test_mistakes_name_file_line_and_field(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(S2PError, match=message) as caught:
        read_labels(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_lines_of_a_chain_are_joined(tmp_path: Path) -> None:
    text = LINE_1 + "1abd;A;HEM;A0;ACDEF\n1abc;A;HEM;D2;acdef\n1abc;A;none;;ACDEF\n1abc;B;HEM;F4;ACDEF\n"
    chains = read_labels(write(tmp_path, text), empty="refuse")  # one empty line does not make the chain empty
    assert [(c.id, "".join(map(str, c.labels))) for c in chains] == [
        ("1abc_A", "01100"),
        ("1abd_A", "10000"),
        ("1abc_B", "00001"),
    ]


def test_chains_without_a_site_are_used_skipped_or_refused_and_counted(tmp_path: Path) -> None:
    path, said = write(tmp_path, LINE_1 + "2abc;A;;;ACDEF\n3abc;A;;;ACDEF\n"), []
    assert [c.labels.sum() for c in read_labels(path, note=said.append)] == [1, 0, 0]
    assert [c.id for c in read_labels(path, empty="skip", note=said.append)] == ["1abc_A"]
    assert said == [
        "x.txt: 2 of 3 chains have no binding residue: used as negatives (--empty skip leaves them out)",
        "x.txt: 2 of 3 chains have no binding residue: left out",
    ]
    with pytest.raises(S2PError, match=r"line 2, field 4 \(residues\): 2abc_A has no binding .*; line 3, .*--empty use or skip"):
        read_labels(path, empty="refuse")
    assert len(read_labels(write(tmp_path, LINE_1), note=said.append)) == 1 and len(said) == 2


def test_many_mistakes_are_counted(tmp_path: Path) -> None:
    text = "".join(f"{k}abc;A;x;W0;ACD\n" for k in range(10))
    with pytest.raises(S2PError, match=r"line 1, .*line 2, .*line 3, .*and 7 more mistakes"):
        read_labels(write(tmp_path, text))


@pytest.mark.parametrize("content", [b"\xff\xfe\x00\x01", None])
def test_what_is_no_text_gives_a_sentence(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(S2PError, match="not a text file" if content else "no such file"):
        read_labels(path)


def test_lines_are_read_one_by_one_where_a_chain_has_several(tmp_path: Path) -> None:
    path = write(tmp_path, LINE_1 + "1abc;A;HEM;D2;ACDEF\n1abc;B;HEM;D2;ACDEF\n")
    assert [(a.kind, a.indices.tolist(), a.line) for a in read_annotations(path)] == [
        ("ATP", [1], 1),
        ("HEM", [2], 2),
        ("HEM", [2], 3),
    ]
    (short,) = read_annotations(write(tmp_path, "1abc;A;x;;A\n"))
    assert short.labels.tolist() == [0]


@pytest.mark.parametrize("form", FORMATS)
def test_a_chain_of_5000_residues_works(tmp_path: Path, form: str) -> None:
    sequence = "".join(np.random.default_rng(0).choice(list("ACDEFGHIKLMNPQRSTVWY"), 5000))
    a = Annotation("big1", "A", "x", np.arange(5000, dtype=np.int32), sequence)
    (chain,) = read_labels(write(tmp_path, format_annotations([a], form)))
    assert chain.sequence == sequence
    assert chain.labels.all()


names = st.text("abcXYZ019-.", min_size=1, max_size=6)


@st.composite
def annotations(draw: st.DrawFn) -> Annotation:
    sequence = draw(st.text(sorted(LETTERS), min_size=1, max_size=30))
    indices = np.array(sorted(draw(st.sets(st.integers(0, len(sequence) - 1)))), dtype=np.int32)
    return Annotation(draw(names), draw(names), draw(st.text("ABC ,'\"", max_size=5)).strip(), indices, sequence)


@settings(deadline=None, max_examples=60)
@given(st.lists(annotations(), min_size=1, max_size=5), st.sampled_from(FORMATS))
def test_property_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, rows: list[Annotation], form: str) -> None:
    path = write(tmp_path_factory.mktemp("x"), format_annotations(rows, form))
    back = read_annotations(path)
    assert [(a.id, a.indices.tolist(), a.sequence) for a in back] == [(a.id, a.indices.tolist(), a.sequence) for a in rows]
    if form != "records":
        assert [(a.pdb, a.chain, a.kind) for a in back] == [(a.pdb, a.chain, a.kind) for a in rows]


def test_a_name_with_the_separator_is_refused() -> None:
    row = Annotation("1a;b", "A", "x", np.array([0], np.int32), "ACD")
    with pytest.raises(S2PError, match="cannot be written in the published format"):
        format_annotations([row])
    assert "1a;b" in format_annotations([row], "csv")
    with pytest.raises(S2PError, match="no label format 'xml'"):
        format_annotations([row], "xml")


def test_sequences_of_files_folders_and_sets(examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "x.fasta").write_text(">a first\nACDEF\nGHIKL*\n>b\nMMMM\n\n>c\nMMMM\n")
    (tmp_path / "sub" / "records.txt").write_text(">r\nWWWW\n0101\n")
    (tmp_path / "sub" / "labels.csv").write_text("pdb,chain,type,residues,sequence\n1abc,A,x,Y1,YYYY\n")
    (tmp_path / "sub" / "1ubi.pdb.gz").write_bytes((examples / "1ubi.pdb.gz").read_bytes())
    (tmp_path / "sub" / "notes.txt").write_text("no labels at all")
    (tmp_path / "sub" / "picture.png").write_bytes(b"\x89PNG")
    said: list[str] = []
    assert read_sequences(tmp_path / "x.fasta", said.append) == {"MMMM": "c", "ACDEFGHIKL": "a first"} and not said
    found = read_sequences(tmp_path, said.append)
    assert {name for sequence, name in found.items() if len(sequence) < 20} == {"a first", "c", "r", "1abc_A"}
    assert "1ubi.pdb.gz A" in found.values()
    (note,) = said
    assert "notes.txt" in note and "no known label format" in note
    monkeypatch.setattr("s2p.datasets.label_files.dataset_folder", lambda name: tmp_path / name)
    assert set(read_sequences("sub", said.append)) == set(found) - {"MMMM", "ACDEFGHIKL"}
    for wrong in ("none", tmp_path / "sub" / "notes.txt"):
        with pytest.raises(S2PError, match="no protein sequence there"):
            read_sequences(wrong, said.append)
    assert "none: no such file" in said[-2] or "cannot be read" in said[-2]
