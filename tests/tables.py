"""The tables that two rooms share, of those columns alone that a test is about."""

from pathlib import Path

import pandas as pd

from promet.study.forms.tables import Form


def write(form: Form, path: Path, table: pd.DataFrame) -> None:
    """Write the table with the columns that it lacks: no text, no number."""
    blank = dict.fromkeys(form.text, "") | {name: float("nan") for name in form.numbers}
    lacking = {name: value for name, value in blank.items() if name not in table}
    form.write(path, table.assign(**lacking))
