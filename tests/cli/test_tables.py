from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from darkside_cli.cli.evaluate import HEADING
from darkside_cli.cli.evaluate import SPARE as EVALUATION_SPARE
from darkside_cli.cli.models import COLUMNS, SPARE
from darkside_cli.cli.tables import facts, table
from darkside_cli.networks.catalog import MODELS

WORDS = st.lists(st.text("abc", min_size=1, max_size=12), max_size=8).map(" ".join)


def models_rows() -> list[tuple[str, ...]]:
    score = "92.0 | 66.8 | 76.4"
    return [(m.name, m.kind, "missing", "166.4 MB", score, m.licence, m.source) for m in MODELS]


def test_the_models_take_a_line_each_at_eighty_columns_and_at_sixty() -> None:
    for width in (60, 80, 130):
        lines = table(COLUMNS, models_rows(), width, spare=SPARE).splitlines()
        assert max(map(len, lines)) <= width
        for name in MODELS.names():
            assert len([line for line in lines if line.startswith(f"{name} ")]) == 1
        assert sum("92.0 | 66.8 | 76.4" in line for line in lines) == len(list(MODELS))
        head = lines.index(next(line for line in lines if line.startswith("--")))
        assert lines[head + 1 + len(list(MODELS)) :][:1] in ([], [""])


def test_what_is_left_out_is_told() -> None:
    text = table(("name", "what", "source"), [("n", "w" * 20, "s" * 40)], 60, spare=("source",))
    assert "sss" not in text
    assert "not shown for want of room: source;" in text
    assert "not shown" not in table(
        ("name", "what", "source"), [("n", "w" * 20, "s" * 40)], 70, spare=("source",)
    )


def test_rows_become_paragraphs_where_no_table_fits() -> None:
    columns = ("model", "data set", *(f"R@{n}" for n in range(12)))
    text = table(columns, [("gem_resnet101_cyclegan", "tokyo247", *["92.0"] * 11, "-")], 60)
    assert text.splitlines() == [
        "gem_resnet101_cyclegan",
        "  data set tokyo247, R@0 92.0, R@1 92.0, R@2 92.0, R@3 92.0,",
        "  R@4 92.0, R@5 92.0, R@6 92.0, R@7 92.0, R@8 92.0, R@9",
        "  92.0, R@10 92.0",
    ]


def test_paragraphs_leave_nothing_out() -> None:
    rows = [("gem_resnet101_cyclegan", "roxford5k", "medium", *(f"{n}.0" for n in range(11)))]
    text = table(HEADING, rows, 50, spare=EVALUATION_SPARE)
    assert all(name in text for name in HEADING[1:])
    assert "not shown" not in text
    assert "published" in table(HEADING, rows, 80, spare=EVALUATION_SPARE).splitlines()[0]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=1, max_size=4), st.integers(30, 100))
def test_no_word_is_broken_or_lost(rows: list[tuple[str, str, str]], width: int) -> None:
    text = table(("one", "two", "three"), rows, width)
    assert sorted(w for row in rows for cell in row for w in cell.split()) == sorted(
        w for w in text.replace(",", " ").split() if w.strip("abc") == ""
    )


def test_facts_are_aligned() -> None:
    assert facts([("a", "x y"), ("long", "z")], None) == "a     x y\nlong  z"
    assert facts([("long", "one two three")], 12) == "long  one\n    two\n    three"
