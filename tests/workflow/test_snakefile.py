"""The Snakefile is light, plain, and its names agree with the package."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RULES = ROOT / "workflow/rules"
RULE = re.compile(r"^( *)rule (\w+):\n((?:\1    .*\n|\n)*)", re.MULTILINE)
HEAVY = ("torch", "monai", "SimpleITK", "pydicom", "matplotlib", "sklearn", "shap", "lifelines", "scipy")


def rules():
    """(room, rule, text) of every rule."""
    for path in sorted(RULES.glob("*.smk")):
        for _, name, text in RULE.findall(path.read_text()):
            yield ("imaging" if path.stem == "gather" else path.stem), name, text


def test_parsing_loads_nothing_heavy(tmp_path):
    code = (
        "import sys\n"
        "from snakemake.cli import main\n"
        f"sys.argv = ['snakemake', '--snakefile', {str(ROOT / 'Snakefile')!r}, '-n', '--quiet', 'all', '--cores', '1',\n"
        f"            '--config', 'cohort={ROOT / 'config/cohort.tsv'}']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "assert 'promet.workflow.plan' in sys.modules\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_stage_has_its_rule():
    from promet.workflow.stages import STAGES

    assert {name for _, name, _ in rules()} == set(STAGES)


@pytest.mark.parametrize(
    ("room", "rule", "text"), list(rules()), ids=lambda value: value if len(value) < 20 else ""
)
def test_rule_is_pinned_shell_logged_and_named_like_its_module(room, rule, text):
    from promet.workflow.stages import STAGES

    assert re.search(rf'pin=lambda wc: plan\.pin\(\s*"{rule}"', text)
    assert STAGES[rule].room == room and f'**asked("{rule}")' in text
    assert "log:" in text and "conda:" in text
    assert not re.search(r"^ +(run|script|notebook|retries):", text, re.MULTILINE)
    assert (ROOT / "scripts" / STAGES[rule].entry.replace(".", "/")).with_suffix(".py").is_file()
    assert f"promet {room} {rule} " in text
    assert f"logs}}/{room}/" in text


def test_only_training_asks_for_a_gpu():
    assert [name for _, name, text in rules() if re.search(r"\bgpu=1", text)] == ["train"]


def test_rule_files_are_short():
    assert {
        path.name: n for path in RULES.glob("*.smk") if (n := len(path.read_text().splitlines())) > 200
    } == {}


def test_the_checklist_waits_for_every_record_it_reads():
    from promet.evaluation.checklists.facts import FILES
    from promet.workflow.stages import STAGES

    [text] = [text for _, name, text in rules() if name == "tripod"]
    declared = set(re.findall(r'plan\.sidecar\("(\w+)"\)', text.partition("output:")[0]))
    assert {stage for stage, _ in FILES.values()} == declared == set(STAGES["tripod"].before)
