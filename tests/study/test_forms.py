"""A file that rooms share has the declared form, or is refused where it is written and where it is read."""

import copy
import json

import numpy as np
import pandas as pd
import pytest

from promet.core.errors import IntegrityError
from promet.core.files import write_json
from promet.evaluation import evaluate, survive
from promet.evaluation.pool import pool
from promet.evaluation.settings import Evaluation
from promet.study.forms import shapes
from promet.study.forms.metrics import Metrics
from promet.study.forms.pooled import Pooled
from promet.study.forms.survival import Survival
from promet.study.forms.tables import FORMS, PATIENTS, Form


@pytest.fixture(scope="module")
def made():
    """metrics.json and survival.json of 60 patients in three parts."""
    rng = np.random.default_rng(4)
    names = [f"P{i:02d}" for i in range(60)]
    part = ["validation", "test", "metachronous"] * 20
    label = rng.integers(0, 2, 60)
    cohort = {
        name: {"patient": name, "psa": f"{rng.uniform(1, 30):.3g}"}
        | (
            {"progression": str(y), "months": f"{rng.uniform(1, 80):.3g}"}
            if p == "metachronous"
            else {"synchronous_metastasis": str(y)}
        )
        for name, p, y in zip(names, part, label, strict=True)
    }
    score = rng.normal(size=60) + label
    table = pd.DataFrame({"patient": names, "part": part, "psa": 1.0, "cnn_score": score, "suv_peak": np.nan})
    table["multimodal"], table["multimodal_probability"] = score, 1 / (1 + np.exp(-score))
    settings = Evaluation(bootstrap=100)
    measures = pd.DataFrame({"patient": names, "suv_max": rng.uniform(1, 9, 60)})
    metrics, _ = evaluate.study(cohort, table, measures, settings)
    scores = {name: (p, float(s)) for name, p, s in zip(names, part, score, strict=True)}
    again, _ = evaluate.study(cohort, table.assign(multimodal=rng.permutation(score)), measures, settings)
    return {
        Metrics: metrics,
        Survival: survive.study(cohort, scores, settings),
        Pooled: pool([metrics, again]),
    }


def places(value, path=()):
    """Every key of every dictionary, of lists those of the first entry."""
    for key in value if isinstance(value, dict) else range(min(1, len(value))):
        yield (*path, key)
        if isinstance(value[key], dict | list):
            yield from places(value[key], (*path, key))


@pytest.mark.parametrize("kind", [Metrics, Survival, Pooled])
def test_bytes_are_those_of_the_dictionary_and_come_back(kind, made, tmp_path):
    shapes.write(kind, tmp_path / "a.json", made[kind])
    write_json(tmp_path / "b.json", made[kind])
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert shapes.read(kind, tmp_path / "a.json") == json.loads((tmp_path / "b.json").read_text())


@pytest.mark.parametrize("kind", [Metrics, Survival, Pooled])
def test_no_key_may_be_of_another_type_or_absent_or_added(kind, made, tmp_path):
    rng = np.random.default_rng(0)
    every = list(places(made[kind]))
    assert len(every) > 100
    for at in rng.permutation(len(every))[:60]:
        *way, last = every[at]
        for change in ("type", "added"):
            bad = copy.deepcopy(made[kind])
            here = bad
            for step in way:
                here = here[step]
            if change == "type":
                here[last] = {"never": [0]}
            elif isinstance(here, dict):
                here[f"{last}_"] = here.pop(last) if isinstance(last, str) and not way else {"never": [0]}
            else:
                continue
            with pytest.raises(IntegrityError) as error:
                shapes.write(kind, tmp_path / "bad.json", bad)
            assert error.value.code == "E_PRODUCT_FORM" and not (tmp_path / "bad.json").exists()


def filled(form: Form) -> pd.DataFrame:
    return pd.DataFrame(
        {name: ["a", ""] for name in form.text} | {name: [1.5, np.nan] for name in form.numbers}
    )


def refused(code):
    with pytest.raises(IntegrityError) as error:
        code()
    return error.value.code == "E_PRODUCT_FORM" and str(error.value)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_table_is_pandas_own_and_comes_back(form, tmp_path):
    table = filled(form).assign(another=[1, 2])
    form.write(tmp_path / "a.parquet", table)
    table.to_parquet(tmp_path / "b.parquet", index=False)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    pd.testing.assert_frame_equal(form.read(tmp_path / "a.parquet"), table)
    assert form.lists(tmp_path / "a.parquet", ["patient"]) == {"patient": ["a", ""]}
    form.write(tmp_path / "none.parquet", table.head(0))  # when nobody is there, texts have no type
    assert form.read(tmp_path / "none.parquet").empty


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_column_of_a_table_that_is_absent_or_of_another_type_is_named(form, tmp_path):
    path, table = tmp_path / form.file, filled(form)
    for name in (*form.text, *form.numbers):
        other = [1.0, 2.0] if name in form.text else ["1", "2"]
        for wrong in (table.drop(columns=name), table.assign(**{name: other})):
            assert f"column {name}" in refused(lambda wrong=wrong: form.write(path, wrong))
            assert not path.exists()
            wrong.to_parquet(tmp_path / "other.parquet")
            assert f"column {name}" in refused(
                lambda name=name: form.read(tmp_path / "other.parquet", [name])
            )
    assert "column more" in refused(lambda: form.write(path, table.assign(more="text")))
    path.write_bytes(b"PAR1 no table")
    assert refused(lambda: form.lists(path, ["patient"]))


def test_a_stage_that_measures_more_needs_no_other_form(tmp_path):
    PATIENTS.write(tmp_path / PATIENTS.file, filled(PATIENTS).assign(suv_upper=[3.0, np.nan]))
    assert PATIENTS.read(tmp_path / PATIENTS.file)["suv_upper"][0] == 3.0
