"""The page in a browser, as ``learner serve`` serves it: a real Chromium presses, types and reads."""

import json
import random
import re

import pytest

from learner.service.store import Store
from tests.browser import PROGRAM, Browser
from tests.conftest import wait_until

pytest.importorskip("starlette", reason="needs the extra serve")
pytest.importorskip("uvicorn", reason="needs the extra serve")
if PROGRAM is None:
    pytest.skip("needs Chromium: apt-get install chromium", allow_module_level=True)

MOST_BYTES = 60_000  # of the page in all
TOKEN = "-".join(["a", "token", "of", "the", "test"])
IMAGE = '<img src=x onerror="window.hacked=1">'
NAMES = (IMAGE, "\x1b[2J", "__proto__", "<script>window.hacked=2</script>")
FIELD = "[...document.querySelectorAll('.fields input')].find((each) => each.name === {})"
CONTRAST = r"""
(() => {
  const parsed = (text) => text.match(/[\d.]+/g).map(Number);
  const light = (rgb) => {
    const [r, g, b] = rgb.map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (each) => {
    for (; each; each = each.parentElement) {
      const [r, g, b, a = 1] = parsed(getComputedStyle(each).backgroundColor);
      if (a) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const worst = [];
  for (const each of document.querySelectorAll("body *")) {
    const hasText = [...each.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!hasText || !each.getClientRects().length) continue;
    const style = getComputedStyle(each), colour = each.closest("svg") ? style.fill : style.color;
    const a = light(parsed(colour).slice(0, 3)), b = light(behind(each));
    worst.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), each.textContent.slice(0, 40)]);
  }
  return worst.sort((a, b) => a[0] - b[0])[0];
})()
"""


@pytest.fixture(scope="module")
def browser():
    """A browser for all tests of this module."""
    opened = Browser()
    yield opened
    opened.close()


@pytest.fixture
def page(start, redis_url):
    """Serve the models; returns the page's URL, and its process as `page.process`."""

    def served(*options):
        process = start(redis_url, "serve", "--listen", "127.0.0.1:0", *options)
        line = next(each for each in process.stderr if "url=" in each)
        return re.search(r"url=(\S+)", line)[1] + "/", process

    return served


def push(client, name, records):
    """Push records with their targets, an entry each."""
    for record, target in records:
        client.xadd(Store(client, name).keys.examples, {"record": json.dumps(record), "target": target})


def learned(client, create, drain):
    """Make two models that have learned something; one has hostile names."""
    r = random.Random(5)
    create("spam", featurizer="fields", labels=["ham", "spam"])
    push(client, "spam", [({"words": {IMAGE: [1]}}, "spam")])
    rows = [({"words": r.randrange(9), "from": r.choice(["Lyon", "Nice"])}, r.random()) for _ in range(300)]
    push(client, "spam", [(record, "spam" if record["words"] + 2 * noise > 5 else "ham") for record, noise in rows])
    create("hostile", task="multiclass", featurizer="fields")
    rows = [{field: r.random() for field in NAMES} for _ in range(100)]
    push(client, "hostile", [(record, IMAGE if record[IMAGE] > 0.5 else "b\u202e") for record in rows])
    for name in ("spam", "hostile"):
        drain(name, commit_seconds=0.0)
    figures = dict(Store(client, "spam").progress()[-1])
    drift = {"drift_examples": 120, "drift_before": 0.4, "drift_after": 0.6}
    client.xadd(Store(client, "spam").keys.progress, figures | drift)


def test_a_record_is_asked_and_what_a_field_changes_is_seen(browser, page, client, create, drain, serving, redis_url):
    from learner.client import Client

    learned(client, create, drain)
    url, process = page()
    browser.resize(1200)
    browser.requests.clear()
    with serving("spam", commit_seconds=1000.0):
        browser.open(url)
        browser.wait("document.querySelectorAll('.models tbody tr').length === 2")
        assert "multiclass" in browser.text()
        browser.run("document.querySelector('a[href=\"#/models/spam\"]').click()")
        browser.wait("document.querySelectorAll('.chart path').length >= 4")  # recent, constant, progressive, the flag
        browser.wait("document.querySelectorAll('#strongest').length && document.querySelector('.effects tbody tr')")
        text = browser.text()
        assert "The loss rose from 0.4 to 0.6, found at 120 examples" in text
        assert "best constant" in text
        assert "log loss" in browser.run("document.querySelector('.chart').textContent")
        browser.wait("document.querySelector('.rejected li')")
        assert f"field 'words.{IMAGE}' must be a list" in browser.text()
        before = browser.run("document.querySelector('.legend').textContent")
        browser.run("document.querySelector('.chart').focus()")
        browser.press("ArrowLeft", "ArrowLeft")
        assert browser.run("document.querySelector('.legend').textContent") != before

        asker = Client("spam", redis_url)
        browser.wait(f"{FIELD.format('`words`')}")  # of the last record that was pushed
        browser.run("document.querySelector('.ask details').open = true")
        browser.run('document.querySelector(\'#pasted\').value = \'{"words": 7, "from": "Nice"}\'')
        browser.run("document.querySelector('.ask details button').click()")
        browser.wait("document.querySelector('.ask .adds')")
        first = asker.predict({"words": 7, "from": "Nice"})
        assert browser.run("document.querySelector('.ask .value').innerText") == f"spam {100 * first:.1f}%"
        cells = "[row.cells[0].innerText, row.cells[2].innerText]"
        adds = dict(browser.run(f"[...document.querySelectorAll('.adds tbody tr')].map((row) => {cells})"))
        reply = asker.explain({"words": 7, "from": "Nice"})
        strongest = max(reply["contributions"], key=lambda part: abs(part[4]))
        assert float(adds[strongest[0]].replace("−", "-")) == pytest.approx(strongest[4], rel=1e-3)

        push(client, "spam", [({"words": 7, "from": "Nice"}, "ham")] * 30)  # it learns on
        wait_until(lambda: abs(asker.predict({"words": 7, "from": "Nice"}) - first) > 0.01)
        browser.run(f"{FIELD.format('`words`')}.select(), {FIELD.format('`words`')}.focus()")
        browser.press("2")
        browser.wait("document.querySelector('.ask').innerText.includes('before')")
        first, second = (asker.predict({"words": words, "from": "Nice"}) for words in (7, 2))
        shown = browser.run("document.querySelector('.answer').innerText")
        assert f"spam {100 * second:.1f}%" in shown
        assert f"spam {100 * first:.1f}%" in shown  # by the same weights
        assert f"{100 * (first - second):.4g}"[:3] in shown
        assert "now" in shown
        assert "words" in browser.run("document.querySelector('.adds tbody').innerText")
        assert "before" in browser.run("document.querySelector('#announce').textContent")
        browser.run("[...document.querySelectorAll('.ask button')].at(-1).click()")  # compare with this from now on
        browser.wait("!document.querySelector('.ask').innerText.includes('before')")
        browser.run(f"{FIELD.format('`words`')}.select()")
        browser.press("[not a number")
        browser.wait("document.querySelector('.ask .notice, .ask .error')")  # the server's words

        for width in (400, 900, 1440):
            for dark in (False, True):
                browser.resize(width, dark=dark)
                assert browser.run("document.documentElement.scrollWidth") <= width
                contrast, where = browser.run(CONTRAST)
                assert contrast >= 4.5, (where, width, dark)
    origins = {each.split("/")[2] for each in browser.requests if "://" in each}
    assert origins == {url.split("/")[2]}
    sizes = browser.run(
        "performance.getEntriesByType('resource').filter((e) => e.name.includes('/page/')).map((e) => e.encodedBodySize)"
    )
    assert 10_000 < sum(sizes) < MOST_BYTES
    assert browser.errors == []

    process.terminate()
    assert process.wait(30) == 0
    browser.wait(
        "document.querySelector('#health').textContent.includes('can’t be reached') || document.querySelector('.health.bad')"
    )
    browser.errors.clear()  # of the requests that failed


def test_hostile_names_are_text(browser, page, client, create, drain, serving):
    learned(client, create, drain)
    url, _ = page()
    browser.resize(900)
    with serving("hostile", commit_seconds=1000.0):
        browser.open(url + "#/models/hostile")
        browser.wait("document.querySelector('.effects tbody tr')")
        browser.wait(f"{FIELD.format(json.dumps(IMAGE))}")
        assert browser.run("[...document.querySelectorAll('.fields input')].map((each) => each.name)") == list(NAMES)
        browser.run(f"{FIELD.format(json.dumps(IMAGE))}.form.requestSubmit()")
        browser.wait("document.querySelector('.ask .adds')")
        text = browser.text()
        assert IMAGE in text
        assert "\\u{202e}" in text
        assert "\u202e" not in text
        assert "\x1b" not in text
        browser.open(url + "#/models/" + "%3Cimg%20src%3Dx%20onerror%3D%22window.hacked%3D3%22%3E")
        browser.wait("document.querySelector('.notice.bad')")  # no such model, in the server's words
    assert browser.run("window.hacked") is None
    assert browser.run("document.querySelectorAll('main img, main script').length") == 0
    browser.errors.clear()


def test_by_keyboard_alone_with_a_token(browser, page, client, create, drain, serving, tmp_path):
    learned(client, create, drain)
    file = tmp_path / "tokens.toml"
    file.write_text(f'[[token]]\ntoken = "{TOKEN}"\nroles = ["asker", "monitor"]\n')
    file.chmod(0o600)
    url, _ = page("--tokens", str(file))
    browser.resize(900)
    focused = "document.activeElement"
    with serving("spam", commit_seconds=1000.0):
        browser.open(url)
        browser.wait("document.querySelector('dialog[open]')")
        browser.press("not the token", "Enter")
        browser.wait("document.querySelector('dialog [role=alert]')")
        assert "token must be one of the server's" in browser.text()
        browser.press(TOKEN, "Enter")
        browser.wait("document.querySelectorAll('.models tbody tr').length === 2")
        assert TOKEN not in browser.run("location.href")
        for _ in range(20):
            browser.press("Tab")
            if browser.run(f"{focused}.getAttribute('href')") == "#/models/spam":
                break
        assert browser.run(f"getComputedStyle({focused}).outlineStyle") == "solid"
        browser.press("Enter")
        browser.wait("document.querySelector('h1').innerText === 'spam'")
        browser.wait("document.querySelector('.ask .error, .ask details[open]')")
        assert "token must have the role administrator for this" in browser.text()  # of weights and rejected records
        for _ in range(20):
            browser.press("Tab")
            if browser.run(f"{focused}.id") == "pasted":
                break
        browser.press('{"words": 8}', "Tab", "Enter")
        browser.wait("document.querySelector('.ask .adds')")
        assert browser.run(f"{focused}.name") == "words"
        browser.press("1", "Enter")
        browser.wait("document.querySelector('.ask').innerText.includes('before')")
    browser.errors.clear()  # 401 and 403
