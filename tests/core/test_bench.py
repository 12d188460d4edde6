"""The table of docs/design.md that the bench of training writes is the one that it would write now."""

from bench import training


def test_the_page_has_the_rows_and_columns_of_the_bench():
    page = training.PAGE.read_text(encoding="utf-8")
    there = page.split(training.START)[1].split(training.END)[0].strip().splitlines()
    row = dict.fromkeys((key for key, _ in training.COLUMNS.values()), 1.0)
    made = training.table(dict.fromkeys(training.ALONE, row), 5, 1.0).splitlines()

    def names(lines):
        return [line.split(" | ")[0] for line in lines if line.startswith("|")]

    assert there[:2] == made[:2] and names(there) == names(made)
    assert there[-1].partition(" medians")[0] == made[-1].partition(" medians")[0]
