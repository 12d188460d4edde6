"""The page in a real browser, from a file and without a network: no request, no message on the console, everything works."""

import json
import re
import shutil
import subprocess

import pytest

from promet.report.report import run

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine"),
]
# Does what a person would, and leaves what came of it in the title.
ACTIONS = """
<script>
(async () => {
  const found = {};
  const text = selector => document.querySelector(selector)?.textContent ?? "";
  const gallery = document.querySelector(".gallery[data-sorts]");
  const [search, order, highest, warned] = gallery.previousElementSibling.querySelectorAll("input, select");
  const values = () => [...gallery.children].map(item => JSON.parse(item.dataset.values).suv_peak);
  order.value = "suv_peak"; highest.checked = true; highest.onchange();
  found.sorted = values();
  search.value = "metachronous"; search.oninput();
  found.filtered = [...gallery.children].filter(item => !item.hidden).map(item => item.dataset.part);
  search.value = ""; search.oninput();
  const table = document.querySelector("table.sortable"), head = [...table.tHead.rows[0].cells].findIndex(cell => cell.textContent);
  const button = table.tHead.rows[0].cells[head].querySelector("button");
  button.focus(); button.click(); button.click();
  found.table = [...table.tBodies[0].rows].map(row => row.cells[head].textContent);
  found.state = table.tHead.rows[0].cells[head].getAttribute("aria-sort");
  const roc = document.querySelector("#figure-roc");
  roc.querySelector(".tools button:nth-of-type(2)").click();
  found.point = roc.querySelector(".said").textContent;
  found.mark = !roc.querySelector(".mark").hidden;
  gallery.querySelector("button.open").click();
  for (let waited = 0; waited < 600 && /^(Loading)?$/.test(text("#viewer [role=status]")); waited++) await new Promise(done => setTimeout(done, 100));
  found.viewer = text("#viewer [role=status]");
  found.who = text("#viewer-title");
  document.querySelector("#viewer canvas").dispatchEvent(new KeyboardEvent("keydown", {key: "PageUp", bubbles: true}));
  for (let k = 0; k < 20; k++) document.querySelector("#viewer canvas").dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight"}));
  found.moved = text("#viewer [role=status]");
  const form = document.querySelector("#viewer form");
  form.top.value = 5; form.masks.checked = false; form.oninput();
  form.masks.checked = true; form.view.value = "1"; form.oninput();
  found.open = document.querySelector("#viewer").open;
  document.querySelector("#viewer [data-close]").click();
  found.closed = !document.querySelector("#viewer").open;
  document.title = "DONE " + JSON.stringify(found);
})().catch(error => { document.title = "FAILED " + error.stack; });
</script>
"""


def visit(page, folder):
    """The page's source when it is at rest, the messages of its console, and every address that was asked for."""
    log = folder / "net.json"
    command = [
        BROWSER, "--headless", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-logging=stderr",
        f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}", "--timeout=120000", "--virtual-time-budget=100000", "--dump-dom",
        page.as_uri(),
    ]  # fmt: skip
    ran = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    said = [line for line in ran.stderr.splitlines() if "CONSOLE" in line]
    # what the browser asks for on its own account has no origin
    asked = re.findall(
        r'"initiator":"(?!not an origin)[^"]*"[^\n]*?"url":"((?!data:)[^"]*)"',
        log.read_text(errors="replace"),
    )
    return ran.stdout, said, set(asked)


@pytest.fixture(scope="module")
def visited(full, tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    run(*full.arguments())
    page = folder / "a page.html"
    html = full.out.with_name("report.html").read_text(encoding="utf-8")
    page.write_text(html.replace("</body>", ACTIONS + "</body>"), encoding="utf-8")
    return page, *visit(page, folder)


def test_nothing_is_asked_for_and_nothing_goes_wrong(visited):
    _, _, said, asked = visited
    assert said == []
    assert asked == set()


def test_everything_works(visited):
    title = re.search(r"<title>(\w+) (.*?)</title>", visited[1], re.S)
    assert title and title[1] == "DONE", title and title[2][:500]
    found = json.loads(title[2].replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))
    known = [value for value in found["sorted"] if value is not None]
    assert len(known) > 40 and known == sorted(known, reverse=True)
    assert len(found["filtered"]) == 14 and set(found["filtered"]) == {"metachronous"}
    assert found["table"] == sorted(found["table"], reverse=True) and found["state"] == "descending"
    assert "sensitivity" in found["point"] and found["mark"]
    # the crosshair begins at the hottest voxel of the lesions
    assert re.match(r"SUV (at least )?\d+\.\d at the crosshair, lesion", found["viewer"]), found["viewer"]
    assert found["moved"].startswith("SUV") and "outside the prostate" in found["moved"]  # by the keyboard
    assert found["who"].startswith("PH") and found["open"] and found["closed"]


def test_a_message_and_a_request_would_be_seen(tmp_path):
    page = tmp_path / "bad.html"
    page.write_text(
        '<!doctype html><title>x</title><img src="http://localhost:9/x.png"><script>console.error("bad")</script>'
    )
    _, said, asked = visit(page, tmp_path)
    assert any("bad" in line for line in said) and any("localhost:9" in address for address in asked)
