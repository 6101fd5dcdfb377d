from __future__ import annotations

from toolkit.report.formatting import MOST_LETTERS
from toolkit.report.tables.results_tables import label_cell


def test_label_cell_shortens_and_sets_title_when_name_is_long() -> None:
    cell = label_cell("x" * 300)
    assert (len(cell.text), cell.title) == (MOST_LETTERS, "x" * 300)
    assert (label_cell("with_mask").text, label_cell("with_mask").title) == ("with_mask", "")
