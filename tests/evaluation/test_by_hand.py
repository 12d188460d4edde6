"""The stand-alone commands: every figure, every file kind, every table that leaves nothing to compute."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from promet.core.errors import UsageError
from promet.evaluation import terminal
from promet.evaluation.cli import app


@pytest.fixture(params=["csv", "tsv", "parquet"])
def table(request, tmp_path):
    random = np.random.default_rng(0)
    y = np.arange(40) % 2
    frame = pd.DataFrame(
        {
            "y": y,
            "a": random.normal(size=40) + y,
            "b": random.normal(size=40),
            "p": 1 / (1 + np.exp(-random.normal(size=40) - y)),
            "t": random.exponential(20, 40).round(2),
            "arm": np.where(y == 1, "x", "z"),
            "psa": 7.0,
            "grade_group": 2,
            "clinical_t": "T3a",
            "positive_cores_percent": 40.0,
            "age": 60,
        }
    )
    frame.loc[0, "b"] = np.nan
    path = tmp_path / f"some table.{request.param}"
    if request.param == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="," if request.param == "csv" else "\t")
    return path, frame


def call(*arguments: object):
    if arguments[0] == "survival":
        arguments = (*arguments, "--bootstrap", "100")
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "200"})


def test_auc_command(table) -> None:
    path, frame = table
    found = json.loads(call("auc", path, "--label", "y", "--score", "a", "--json").stdout)
    assert found["auc"] == pytest.approx(roc_auc_score(frame["y"], frame["a"]))
    assert found["compared"] == {} and found["paired"] == []
    assert set(found) >= {
        "n",
        "positives",
        "auc",
        "delong",
        "logit",
        "bootstrap",
        "hanley_mcneil",
        "mann_whitney",
        "youden",
    }
    with_others = ["auc", path, "--label", "y", "--score", "a", "--compare", "b", "--compare", "t"]
    both = json.loads(call(*with_others, "--json").stdout)
    assert {key: both[key] for key in found if key not in ("compared", "paired")} == {
        key: found[key] for key in found if key not in ("compared", "paired")
    }
    assert both["compared"]["b"]["missing"] == 1 and list(both["compared"]) == ["b", "t"]
    pairs = {(pair["a"], pair["b"]): pair for pair in both["paired"]}
    assert list(pairs) == [("a", "b"), ("a", "t"), ("b", "t")]
    assert [pair["n"] for pair in both["paired"]] == [39, 40, 39]
    known = frame["b"].notna()
    wanted = roc_auc_score(frame["y"][known], frame["a"][known]) - roc_auc_score(
        frame["y"][known], frame["b"][known]
    )
    assert pairs["a", "b"]["difference"] == pytest.approx(wanted)
    text = call(*with_others, "--level", "0.9").stdout
    assert (
        f"{found['auc']:.3f}" in text
        and "Paired DeLong" in text
        and "90 % DeLong" in text
        and "a - t" in text
    )


@pytest.mark.usefixtures("without_resampling")
def test_survival_command(table) -> None:
    path, _ = table
    found = json.loads(call("survival", path, "--time", "t", "--event", "y", "--score", "a", "--json").stdout)
    assert list(found["cuts"]) == ["tertiles"] and found["cox"]["n"] == 40
    text = call("survival", path, "--time", "t", "--event", "y", "--score", "a", "--cut", "median").stdout
    assert "hazard ratio" in text and "at risk 0" in text and "Free of the event" in text
    options = ["--score", "a", "--horizon", "30", "--probability", "p"]
    brier = json.loads(call("survival", path, "--time", "t", "--event", "y", *options, "--json").stdout)
    assert 0 < brier["dynamic"]["brier"]["value"] < 1
    groups = json.loads(
        call("survival", path, "--time", "t", "--event", "y", "--group", "arm", "--json").stdout
    )
    assert [g["name"] for g in groups["groups"]] == ["x", "z"] and groups["logrank"]["p"] is not None
    assert "no events" in call("survival", path, "--time", "t", "--event", "y", "--group", "arm").stdout


def test_capra_command(table) -> None:
    path, _ = table
    found = json.loads(call("capra", path, "--json").stdout)
    assert len(found) == 40 and found[0]["capra"] == 1 + 1 + 1 + 1 + 1
    assert "intermediate" in call("capra", path).stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["auc", "{}", "--label", "y", "--score", "nope"], "E_COLUMN_MISSING"),
        (["auc", "{}", "--label", "nope", "--score", "a"], "E_COLUMN_MISSING"),
        (["auc", "{}", "--label", "a", "--score", "y"], "E_TABLE_LABEL"),
        (["auc", "{}", "--label", "y", "--score", "arm"], "E_TABLE_NUMBER"),
        (["auc", "{}.nothing", "--label", "y", "--score", "a"], "E_FILE_MISSING"),
        (["auc", "{}", "--label", "y", "--score", "a", "--compare", "a"], "E_OPTIONS"),
        (["survival", "{}", "--time", "t", "--event", "y"], "E_OPTIONS"),
        (
            ["survival", "{}", "--time", "t", "--event", "y", "--group", "arm", "--probability", "p"],
            "E_OPTIONS",
        ),
        (["survival", "{}", "--time", "a", "--event", "y", "--score", "b"], "E_TIME"),
        (["survival", "{}", "--time", "t", "--event", "y", "--group", "nope"], "E_COLUMN_MISSING"),
    ],
)
def test_commands_refuse_with_a_code(table, arguments: list[str], code: str) -> None:
    result = call(*(a.format(table[0]) for a in arguments))
    assert isinstance(result.exception, UsageError) and result.exception.code == code
    assert "some table" not in str(result.exception)


def plain(n: int = 12) -> pd.DataFrame:
    """A table on which every command has something to say."""
    random, y = np.random.default_rng(3), np.arange(n) % 2
    return pd.DataFrame(
        {
            "y": y.astype(float),
            "a": random.normal(size=n) + y,
            "p": 1 / (1 + np.exp(-random.normal(size=n) - y)),
            "t": random.exponential(20, n).round(1),
            "g": np.where(np.arange(n) < n // 2, "x", "z"),
            "psa": 7.0,
            "grade_group": 2.0,
            "clinical_t": "T2a",
            "positive_cores_percent": 40.0,
            "age": 60.0,
        }
    )


def spoiled(rows: slice | list[int], **cells: object) -> pd.DataFrame:
    frame = plain()
    for column, value in cells.items():
        frame.loc[rows, column] = value
    return frame


EVERY = slice(None)
DEGENERATE = {
    "separated": plain().assign(a=lambda d: d["y"] + np.arange(12) / 100, p=lambda d: 0.1 + 0.8 * d["y"]),
    "constant": spoiled(EVERY, a=3.0, p=0.4),
    "none with": spoiled(EVERY, y=0.0),
    "none without": spoiled(EVERY, y=1.0),
    "one event": spoiled(slice(1, None), y=0.0),
    "a group without events": spoiled(slice(6, None), y=0.0),
    "one group": spoiled(EVERY, g="x"),
    "missing": spoiled([2, 3, 4], a=np.nan, p=np.nan, t=np.nan, y=np.nan, g=None, psa=np.nan),
    "nothing known": spoiled(EVERY, a=np.nan, p=np.nan, t=np.nan, y=np.nan, g=None, psa=np.nan),
    "infinite": spoiled([3], a=np.inf, p=np.inf, psa=np.inf),
    "impossible": spoiled([3], a=-np.inf, p=1.4, psa=-1.0, age=-3.0, grade_group=7.0, clinical_t="X"),
    "zero and one": spoiled([3], p=1.0),
    "one time": spoiled(EVERY, t=5.0),
    "time zero": spoiled(EVERY, t=0.0),
    **{f"{n} rows": plain().head(n) for n in (0, 1, 2, 3)},
}
# Nothing to say: all of it can be computed.
FINE = {
    *(
        (command, name)
        for command in ("auc", "decision", "calibration")
        for name in ("one group", "one time", "time zero")
    ),
    *(("tertiles", name) for name in ("none without", "one group", "3 rows", "zero and one")),
    *(("auc", name) for name in ("a group without events", "zero and one", "3 rows")),
}
COMMANDS = {
    "auc": (
        "auc",
        "--label",
        "y",
        "--score",
        "a",
        "--compare",
        "p",
        "--compare",
        "age",
        "--bootstrap",
        "100",
    ),
    "groups": ("survival", "--time", "t", "--event", "y", "--group", "g"),
    "tertiles": ("survival", "--time", "t", "--event", "y", "--score", "a"),
    "calibration": ("calibration", "--label", "y", "--probability", "p", "--bootstrap", "100"),
    "decision": ("decision-curve", "--label", "y", "--probability", "p"),
    "capra": ("capra",),
}


def sentences(value: object) -> list[str]:
    """Every note anywhere in a result."""
    if isinstance(value, dict):
        own = [note for key in ("notes", "excluded") for note in value.get(key) or []]
        return own + [s for key, v in value.items() if key not in ("notes", "excluded") for s in sentences(v)]
    return [s for v in value for s in sentences(v)] if isinstance(value, list) else []


@pytest.fixture
def without_resampling(monkeypatch) -> None:
    """Seconds saved; test_dynamic looks at the intervals over time."""
    monkeypatch.setattr("promet.evaluation.stats.dynamic._intervals", lambda *_: None)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", DEGENERATE)
@pytest.mark.usefixtures("without_resampling")
def test_degenerate_tables_give_null_and_a_sentence(tmp_path, name: str, command: str) -> None:
    name_, *options = COMMANDS[command]
    DEGENERATE[name].to_csv(tmp_path / "t.csv", index=False)
    DEGENERATE[name].to_parquet(tmp_path / "t.parquet")
    assert call(name_, tmp_path / "t.parquet", *options).exit_code == 0
    done = call(name_, tmp_path / "t.csv", *options, "--json")
    assert done.exit_code == 0, done.exception
    found = json.loads(done.stdout, parse_constant=pytest.fail)  # no NaN, no infinity
    if command == "capra":
        assert all(row["capra"] is not None or row["notes"] for row in found)
    elif (command, name) not in FINE and command != "groups":
        assert sentences(found)


@pytest.mark.usefixtures("without_resampling")
def test_no_number_is_made_up(tmp_path) -> None:
    def of(name: str, command: str) -> dict:
        DEGENERATE[name].to_csv(tmp_path / "t.csv", index=False)
        name_, *options = COMMANDS[command]
        return json.loads(call(name_, tmp_path / "t.csv", *options, "--json").stdout)

    perfect = of("separated", "auc")
    assert perfect["auc"] == 1 and perfect["delong"]["low"] is None and perfect["bootstrap"]["low"] is None
    assert perfect["paired"][0]["p"] is None
    assert of("constant", "auc")["mann_whitney"]["p"] is None
    for name in ("none with", "none without", "nothing known", "infinite", "0 rows", "2 rows"):
        assert of(name, "auc")["auc"] is None and of(name, "auc")["youden"]["threshold"] is None
    assert of("one event", "groups")["logrank"]["p"] is None
    assert of("one event", "tertiles")["cox"]["hazard_ratio"] is None
    without = of("a group without events", "groups")["groups"][1]
    assert without["median"] is None and set(without["curve"]["low"]) == {None}
    assert of("constant", "tertiles")["dynamic"]["uno"]["value"] is None
    assert of("0 rows", "tertiles")["cuts"]["tertiles"]["groups"] == []
    assert of("separated", "calibration")["slope"]["value"] is None
    for name in ("none with", "infinite", "impossible"):
        assert of(name, "calibration")["intercept"]["value"] is None


def test_unreadable_files_are_refused(tmp_path) -> None:
    for name, content, code in [
        ("a.parquet", b"no parquet", "E_FILE_BROKEN"),
        ("a.csv", b"", "E_TABLE_EMPTY"),
        ("a.xls", b"x", "E_FILE_KIND"),
        ("b.csv", b"x,y\n1,2\n", "E_COLUMN_MISSING"),
    ]:
        (tmp_path / name).write_bytes(content)
        assert call("capra", tmp_path / name).exception.code == code


DAMAGES = {
    "trailing delimiter": lambda lines: [lines[0], *(line + "," for line in lines[1:])],
    "one trailing delimiter": lambda lines: [*lines[:-1], lines[-1] + ","],
    "a column twice": lambda lines: [line + "," + line.split(",")[1] for line in lines],
    "a quote": lambda lines: [*lines[:3], '"' + lines[3], *lines[4:]],
    "semicolons": lambda lines: [line.replace(",", ";").replace(".", ",") for line in lines],
    "a row cut off": lambda lines: [*lines[:-1], lines[-1].rsplit(",", 1)[0]],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_table_is_refused_by_every_command(tmp_path, damage: str, command: str) -> None:
    path = tmp_path / "t.csv"
    lines = plain().to_csv(index=False).splitlines()
    path.write_text("\n".join(DAMAGES[damage](lines)) + "\n")
    name, *options = COMMANDS[command]
    error = call(name, path, *options).exception
    assert isinstance(error, UsageError) and error.code in ("E_TABLE_DAMAGED", "E_TABLE_SEPARATOR")
    assert "t.csv" in str(error)


@pytest.mark.parametrize("cell", ["1_5", "1,5", "١", "0x1", "1 234", "<0.1", "-", "unknown"])
def test_what_is_no_number_is_named_by_its_line(tmp_path, cell: str) -> None:
    path = tmp_path / "t.tsv"
    path.write_text(f"y\ta\n0\t1\n\n1\t{cell}\n")
    error = call("auc", path, "--label", "y", "--score", "a").exception
    assert error.code == "E_TABLE_NUMBER" and "Column a, line 4 of the table: found" in str(error)


def test_command_line_is_light() -> None:
    code = "import sys, promet.evaluation.cli; print({'pandas', 'numpy', 'scipy', 'lifelines'} & set(sys.modules))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "set()\n"
    )


def test_no_number_is_cut_in_a_narrow_terminal(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    label, names = np.arange(40) % 2, [f"a_long_name_of_score_{i}" for i in range(8)]
    table = pd.DataFrame({"y": label} | {name: random.normal(0.6 * label) for name in names})
    table.to_csv(tmp_path / "a.csv", index=False)
    call = ["auc", str(tmp_path / "a.csv"), "--label", "y", "--score", names[0]]
    call += [word for name in names[1:] for word in ("--compare", name)]
    shown = CliRunner().invoke(app, call, env={"COLUMNS": "60"}).output
    found = json.loads(CliRunner().invoke(app, [*call, "--json"]).output)
    assert "…" not in shown
    lines = {
        line.split("│")[1].strip(): line.split("│")[2:-1]
        for line in shown.splitlines()
        if line.count("│") > 3
    }
    for name, p in zip(names, lines["Mann-Whitney p, no corrections"], strict=True):
        record = found if name == names[0] else found["compared"][name]
        assert float(p) == pytest.approx(record["mann_whitney"]["p"], abs=0.5e-4)


def test_tiny_numbers_keep_their_sign():
    shown = [terminal._n(x) for x in (0.0, 0.0004, -0.0004, 0.0006, -0.0158, None)]
    assert shown == ["0.000", "< 0.001", "> -0.001", "0.001", "-0.016", "–"]
    assert terminal._interval({"low": 0.1, "high": None}) == "(0.100 to –)"
