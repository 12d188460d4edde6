"""The whole page from fake studies."""

import json
import re
import shutil
from collections import Counter
from html.parser import HTMLParser

import pytest
from fake_study import configuration

from promet.core.errors import IntegrityError, UsageError
from promet.core.sidecar import Sidecar
from promet.report import calibrated, read
from promet.report.cli import app, report
from promet.report.draw import draw
from promet.report.page import context, render
from promet.report.report import Inputs, run
from promet.report.sections.flow import tables as flow
from promet.report.sections.provenance import tables as provenance
from promet.report.sections.survival import tables as survival
from promet.report.settings import Report

VOID = {"meta", "img", "rect", "line", "br", "link", "input"}
FIGURES = {
    "flow", "learning", "spread", "hindsight", "roc", "forest", "calibration", "decision", "shap", "effects", "permutation", "survival",
}  # fmt: skip
PAPER = {"figure-1", "figure-2", "figure-3", "figure-S1"}


class Page(HTMLParser):
    """Checks nesting, keeps ids, links, sources and tags."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.sources, self.tags, self.alts = [], [], [], [], Counter(), []
        self.words = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags[tag] += 1
        if tag not in VOID:
            self.open.append(tag)
        if "id" in attrs:
            self.ids.append(attrs["id"])
        for name in ("src", "href", "action", "poster", "data", "srcset"):
            if name in attrs:
                (self.links if tag == "a" else self.sources).append(attrs[name])
        if tag == "img":
            self.alts.append(attrs.get("alt", ""))

    def handle_startendtag(self, tag, attrs):
        self.tags[tag] += 1

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] not in (["style"], ["script"]):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def made(full):
    record = run(*full.arguments())
    html = full.out.with_name("report.html").read_text(encoding="utf-8")
    return full, record, html, Page(html)


@pytest.fixture(scope="module")
def blank(poor):
    record = run(*poor.arguments())
    html = poor.out.with_name("report.html").read_text(encoding="utf-8")
    return poor, record, html, Page(html)


def test_page_is_whole_and_alone(made):
    _, record, html, page = made
    assert record.ok and len(html) < 5_000_000
    assert html.lower().startswith("<!doctype html>") and html.rstrip().endswith("</html>")
    assert page.sources and all(source.startswith("data:image/") for source in page.sources)
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert not re.search(r"url\(|@import|https?:", re.sub(r"base64,[\w+/=]+", "", html))
    assert len(page.ids) == len(set(page.ids))
    assert all(len(alt) > 20 for alt in page.alts)
    assert page.tags["caption"] == page.tags["table"] >= 12
    assert page.tags["h1"] == 1


def test_every_figure_is_there_twice(made):
    full, record, _, page = made
    made_for = {".svg": FIGURES, ".pdf": PAPER, ".png": FIGURES | PAPER}
    names = {f"{name}{kind}" for kind, of in made_for.items() for name in of}
    assert set(record.values["figures"]) == FIGURES
    assert set(record.products) == {"report.html", *names}
    assert {path.name for path in (full.out.parent / "figures").iterdir()} == names
    pictures = len(list((full.study.parent / "patients").glob("*/picture.png")))
    assert page.tags["figure"] == len(FIGURES) + pictures + 2  # and two of attention


def test_answer_is_the_one_of_the_metrics(made):
    full, _, _, page = made
    metrics = json.loads((full.study / "evaluation/split-00/metrics.json").read_text())
    section = metrics["sections"]["metachronous"]
    delong = section["scores"]["multimodal"]["delong"]
    assert (
        f"n = {section['n']}: {section['positives']} with progression, {section['negatives']} without."
        in page.text
    )
    kind = section["interval_advice"]["prefer"]
    quoted = section["scores"]["multimodal"][kind]
    assert kind != "delong" and f"CI ({calibrated.INTERVALS[kind]}), n" in page.text
    box = page.text[: page.text.index("What speaks against believing it")]
    assert f"{quoted['low']:.2f} to {quoted['high']:.2f}, n" in box  # the one that holds at this size
    assert f"{delong['low']:.2f} to {delong['high']:.2f}" in page.text
    assert "Research use only" in page.text and "Best of 5" in page.text


def test_probabilities_and_time_are_shown(made):
    full, _, _, page = made
    where = full.study / "evaluation/split-00"
    section = json.loads((where / "metrics.json").read_text())["sections"]["metachronous"]
    told = json.loads((where / "survival.json").read_text())["dynamic"]
    logit = section["scores"]["multimodal"]["logit"]
    record = section["calibration"]["multimodal"]["before"]
    slope = record["slope"]
    text = page.text.replace("\N{NO-BREAK SPACE}", " ")
    assert (
        text.count(section["interval_advice"]["sentence"]) == 2
    )  # below the answer and below the table of AUCs
    assert f"logit-DeLong interval is {logit['low']:.2f} to {logit['high']:.2f}." in text
    bounds = f"{slope['low']:.2f} to {slope['high']:.2f}".replace("-", "−")
    assert f"slope {slope['value']:.2f} (95 % CI {bounds}; 1 = right)" in text
    assert f"{slope['value']:.2f} ({bounds})" in text and f"{record['ici']:.3f}" in text
    assert "Net benefit" in text and "net benefit above both treating all and treating none" in text
    assert any("given and" in alt and f"of {record['groups'][0]['n']} observed" in alt for alt in page.alts)
    uno = told["uno"]
    assert f"= {uno['value']:.2f} (95 % CI {uno['low']:.2f} to {uno['high']:.2f})." in text
    assert told["censoring"] in text and told["competing"] in text
    last = told["auc"][-1]
    row = f"48 {last['cases']} {last['controls']} {last['auc']:.2f}"
    assert f"{row} {last['logit']['low']:.2f} to {last['logit']['high']:.2f} {last['low']:.2f}" in text
    at = told["calibration"]
    assert f"{at['n']}; {at['cases']}; {at['controls']}" in text and f"{at['observed']:.2f}" in text


def test_products_of_an_older_evaluation_still_make_a_page(full, tmp_path):
    whole = read.study(full.study, full.cohort, full.ledger, full.config)
    split = whole.splits[0]
    split.metrics.pop("recalibration")
    for part in split.metrics["sections"].values():
        for key in ("calibration", "decision", "interval_advice"):
            part.pop(key)
    split.survival["dynamic"] = {
        "auc": [{"time": 48, "auc": 0.7, "low": 0.5, "high": 0.9, "cases": 9, "controls": 11}],
        "resamples": 9,
    }
    assert survival.over_time(split.survival).rows[0][3:] == ["0.70", "–", "0.50 to 0.90"]
    assert survival.at_horizon(split.survival) is None
    split.survival.pop("dynamic")
    for row in whole.characteristics["rows"]:
        row.pop("known")
    assert flow.characteristics(whole) is not None
    figures = draw(whole, split, tmp_path, patient_level=False)
    text = Page(render(context(whole, Report(), figures))).text
    assert not {"calibration", "decision"} & set(figures.drawn)
    for sentence in (
        "Calibration not examined",
        "what acting on them would be worth was not examined",
        "Discrimination over time was not examined.",
    ):
        assert sentence in text, sentence


def test_same_bytes_again(made):
    full, record, html, _ = made
    again = run(*full.arguments())
    assert again.products == record.products and again.digest == record.digest
    assert full.out.with_name("report.html").read_text(encoding="utf-8") == html


def test_no_path_and_no_patient_unless_asked(made, full, tmp_path):
    _, _, html, page = made
    assert "PH001" in page.text and "PH002" in page.text and "E_PET_UNITS" in page.text
    inputs, settings, _, pin = full.arguments()
    run(inputs, settings.model_copy(update={"patient_level": False}), tmp_path / "report.json", pin)
    shy = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"PH\d\d\d", shy)
    assert not any(re.search(r"PH\d\d\d", path.read_text()) for path in tmp_path.glob("figures/*.svg"))
    assert "A patient (training) is not in the fit set" in shy and "2 patients are scored" in shy
    assert 'id="volumes"' in html and not re.search('id="(volumes|engine)"|waterfall"|threshold −?[0-9]', shy)
    assert not (tmp_path / "figures/figure-S1.pdf").exists()
    for text in (html, shy):
        assert str(full.study.parent.parent) not in text
        assert not re.search(r"\b20\d\d-\d\d-\d\d\b", text)
        assert "frozen as v1 since 2 May 2026" in text


def test_poor_study_says_what_is_missing(blank):
    _, record, _, page = blank
    assert record.ok
    for sentence in (
        "There is no answer yet",
        "Only one run was made, so the spread between runs is not known.",
        "No ROC curve can be drawn",
        "There is no metachronous cohort with predictions, so there are no survival curves.",
        "There are no patients beyond the study",
        "A single run",
        "Calibration not examined",
        "what acting on them would be worth was not examined",
    ):
        assert sentence in page.text, sentence
    assert not re.search(r"\b(None|nan|NaN|null|undefined)\b", page.text.replace("None of the", ""))


def test_methods_name_every_parameter_of_the_augmentation(made):
    settings = made[0].config["network"]["augmentation"]
    text = made[3].text
    for name in settings["transforms"]:
        for key in settings.get(name) or {}:
            assert re.search(rf"{name.replace('_', ' ')} \[[^\]]*{key.replace('_', ' ')} ", text), (name, key)
    assert (
        "rotation [degrees 20]" in text
        and "the fullest voxels" in text
        and "200 permutations of the labels" in text
    )


def test_methods_say_what_is_done(made):
    """The learning rate as torch lowers it, and every interval and p value that the page shows."""
    import torch

    text, training = made[3].text, made[0].config["network"]["training"]
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=training["plateau_patience"])
    plateau.step(1.0)
    bad = 0
    while optimizer.param_groups[0]["lr"] == 1.0:
        bad += 1
        plateau.step(1.0 - 0.5e-4)  # lower, but by less than 0.01 %
    assert f"after {bad} epochs in a row without a validation loss lower by at least 0.01 %" in text
    assert f"patience {training['plateau_patience']}" in text and bad == training["plateau_patience"] + 1
    assert "three 95 % intervals" in text.replace("\u00a0", " ") and "DeLong on the logit scale" in text
    heads = {
        head for head in ("p, DeLong", "p, Mann-Whitney (normal)", "p, Mann-Whitney (exact)") if head in text
    }
    assert len(heads) == 3 and "Three p values" in text and "no exact p" not in text
    assert "with 96 steps the sum misses it by 3.4 %" in text.replace(
        "\u00a0", " "
    ) and "at most 29 %" in text.replace("\u00a0", " ")
    assert "A missing value adds nothing to the score. Its step is not 0 all the same" in text


def test_sections_come_with_their_records(made, blank, full, tmp_path):
    titles = {"Attention", "Locked model", "TRIPOD+AI and model card"}
    shown = [
        {
            title
            for title in titles | {"Repeated splits"}
            if re.search(rf"<h2[^>]*>\d+ {re.escape(title)}", html)
        }
        for html in (made[2], blank[2])
    ]
    assert shown == [titles, set()]
    whole = read.study(full.study, full.cohort, full.ledger, full.config)
    told = (
        ("permutation", whole.splits[0].permutation["models"]["multimodal"]["all"]["p"]),
        ("outlying", None),
    )
    assert f"{told[0][1]:.2f}"[:3] in made[3].text and "Who the patients are" in made[3].text
    assert "Post hoc" in made[3].text and "mean of the best" in made[3].text
    assert len(re.findall('<svg class="waterfall"', made[2])) == len(whole.splits[0].waterfalls["patients"])


def test_repeated_splits_are_pooled(full, tmp_path):
    from promet.evaluation.pool import pool

    copy = tmp_path / "paper"
    shutil.copytree(full.study, copy)
    for room in ("evaluation", "fusion", "select", "score"):
        shutil.copytree(copy / room / "split-00", copy / room / "split-01")
    ledger = tmp_path / "ledger.tsv"
    lines = full.ledger.read_text().splitlines()
    ledger.write_text("\n".join([*lines, *(f"01{line[2:]}" for line in lines[1:])]) + "\n")
    whole = read.study(copy, full.cohort, ledger, configuration() | {"split": {"repeats": 2}})
    assert [split.number for split in whole.splits] == ["00", "01"]
    other = json.loads(json.dumps(whole.splits[1].metrics))
    record = other["sections"]["synchronous"]["scores"]["multimodal"]
    record["auc"] = record["auc"] - 0.1
    whole.pooled = pool([whole.splits[0].metrics, other])
    figures = draw(whole, whole.splits[0], tmp_path / "figures", patient_level=False)
    page = Page(render(context(whole, Report(), figures)))
    assert "splits" in figures.drawn and "Repeated splits" in page.text
    mean = whole.pooled["sections"]["synchronous"]["scores"]["multimodal"]["mean"]
    assert f"{mean:.3f}" in page.text and "Depends on the split" in page.text


ONE = re.compile(
    r"(?<![\d.,])1 (patients|runs|patients|networks|epochs|groups|items|values|warnings|seeds|variants|splits|events|transforms|members"
    r"|files|pictures|tests|scores|permutations|months|voxels)\b"
)


def test_one_is_not_many(made, blank):
    assert ONE.search("of 1 runs") and not ONE.search("21 runs")
    for page in (made[3], blank[3]):
        assert not (found := ONE.search(page.text)), page.text[found.start() - 60 : found.end() + 20]


def test_first_screen_says_whether_to_believe_it(made, blank):
    for page, words in ((made[3], "Can it be believed?"), (blank[3], "There is no answer yet:")):
        assert words in page.text[: page.text.index("What speaks against")]
    lost = "1 patient is excluded because of bad data. 2 patients have no lesion in the prostate and so no network score."
    assert made[3].text.count(lost) == 3  # the first screen, the doubts, the cohort


def test_points_lie_on_the_picture(full, tmp_path):
    whole = read.study(full.study, full.cohort, full.ledger, full.config)
    for name, figure in draw(whole, whole.splits[0], tmp_path, patient_level=True).drawn.items():
        assert all(0 <= x <= 1 and 0 <= y <= 1 for x, y, _ in figure.points), name
        assert len(figure.points) > 4 or name in (
            "flow",
            "forest",
            "calibration",
            "decision",
            "effects",
            "permutation",
        ), name


def test_only_a_table(full, tmp_path):
    study = tmp_path / "results" / "new"
    inputs = Inputs(study, full.cohort, tmp_path / "none.tsv", {})
    record = run(inputs, Report(), study / "report" / "report.json", "pin")
    page = Page((study / "report" / "report.html").read_text(encoding="utf-8"))
    assert record.ok and record.values["figures"] == ["flow"]
    assert (
        "The images have not been gathered yet" in page.text
        and "No network has been trained yet" in page.text
    )


def test_title_is_escaped(full, tmp_path):
    out = tmp_path / "report" / "report.json"
    inputs = Inputs(tmp_path / "new", full.cohort, full.ledger, configuration())
    run(inputs, Report(title="<script>x</script>"), out, "")
    assert "&lt;script&gt;x" in (html := out.with_name("report.html").read_text(encoding="utf-8"))
    assert "<script>x" not in html


def test_changed_product_is_refused(full, tmp_path):
    copy = tmp_path / "paper"
    shutil.copytree(full.study, copy)
    with (copy / "evaluation/split-00/metrics.json").open("a") as handle:
        handle.write(" ")
    with pytest.raises(IntegrityError, match=r"metrics\.json"):
        read.study(copy, full.cohort, full.ledger, {})


def test_bad_configuration_is_refused(full, tmp_path):
    paths = full.study, full.cohort, full.ledger
    for told, word in (("{", "no JSON"), ("[]", "no JSON"), ('{"report": {"colour": 1}}', "colour")):
        with pytest.raises(UsageError, match=word):
            report(
                study=paths[0], cohort=paths[1], ledger=paths[2], config=told, out=tmp_path / "r.json", pin=""
            )


def test_runs_of_an_older_configuration_are_not_shown(full, tmp_path):
    copy = tmp_path / "paper"
    shutil.copytree(full.study, copy)
    shutil.copytree(copy / "network/paper/split-00/seed-00", copy / "network/paper/split-00/seed-44")
    study = read.study(copy, full.cohort, full.ledger, {})
    assert sorted(run.seed for run in study.splits[0].runs) == [0, 1, 2, 3, 4]


def test_warnings_hide_patients_and_join():
    study = read.Study("s", {}, [{"patient": "P1"}, {"patient": "P12"}], [])
    study.records = [
        ("P1", Sidecar("crop", "", warnings=["Only 93.1% inside."])),
        ("P12", Sidecar("crop", "", warnings=["Only 94.2% inside."])),
    ]
    study.records.append(("", Sidecar("dataset", "", warnings=["P12 (training) is lost"])))
    assert provenance.warnings(study, False).rows == [
        ["crop", "Only …% inside.", "2"],
        ["dataset", "A patient (training) is lost", "1"],
    ]
    assert ["dataset", "P12 (training) is lost", "1"] in provenance.warnings(study, True).rows


def test_configuration_shows_every_key():
    rows = dict(
        map(tuple, provenance.configuration({"a": {"b": [1, 2], "c": {}}, "d": True, "e": 1e-09}).rows)
    )
    assert rows == {"a.b": "1, 2", "a.c": "not set", "d": "yes", "e": "1e-09"}


def test_command(full, tmp_path):
    from typer.testing import CliRunner

    options = {
        "--study": tmp_path / "new",
        "--cohort": full.cohort,
        "--ledger": full.ledger,
        "--config": json.dumps(full.config),
        "--out": tmp_path / "report.json",
        "--pin": "abc",
    }
    words = [str(part) for pair in options.items() for part in pair]
    for name in ("build", "report"):  # its name before works for one more version, with a notice
        result = CliRunner().invoke(app, [name, *words])
        assert result.exit_code == 0, result.output
        assert ("deprecated" in result.output) is (name == "build")
    assert Sidecar.read(tmp_path / "report.json").pin == "abc"
