"""Page, picture and text: the same bytes each time, harmless, and complete in themselves."""

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from hashlib import blake2b
from html.parser import HTMLParser
from pathlib import Path

import pytest

from flowactor.simulation.outcome import Failure
from flowactor.simulation.timeline import Timeline, render_html, render_svg, render_text
from flowactor.simulation.trace import Kind
from tests.simulation.timeline import sample

ROOT = Path(__file__).parents[3]
GOLDEN = Path(__file__).with_name("small.txt")
HOSTILE = "</script><b></script <!--<script>\x1b[31m\x00\ud800&{{data}}{0}"
SVG = "{http://www.w3.org/2000/svg}"

PRINT_DIGESTS = """
from hashlib import blake2b
from flowactor.simulation.timeline import render_html, render_svg, render_text
from tests.simulation.timeline import sample
for timeline in (sample.small(), sample.large(4_000)):
    for render in (render_html, render_svg, render_text):
        print(blake2b(render(timeline).encode()).hexdigest())
"""


@pytest.fixture(scope="module")
def hostile():
    return sample.small(workflow_id=HOSTILE, title=HOSTILE)


@pytest.mark.processes
def test_bytes_do_not_depend_on_the_process():
    """Another process with another seed of hashes renders the same bytes."""
    answer = subprocess.run(
        [sys.executable, "-c", PRINT_DIGESTS],
        env={**os.environ, "PYTHONHASHSEED": "77"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    here = [
        blake2b(render(timeline).encode()).hexdigest()
        for timeline in (sample.small(), sample.large(4_000))
        for render in (render_html, render_svg, render_text)
    ]
    assert answer.stdout.split() == here


def test_the_text_of_the_small_run_is_known():
    """The table says what happened, word by word: a change of it is meant."""
    assert render_text(sample.small(), 110) == GOLDEN.read_text()


@pytest.mark.parametrize("width", [20, 60, 80, 200])
def test_the_text_keeps_to_its_width(width, hostile):
    """No line is wider than the terminal, but for one too narrow for any table."""
    lines = render_text(hostile, width).splitlines()
    assert max(map(len, lines)) <= max(width, 48)


def test_the_text_can_be_cut_to_its_last_rows():
    """An exception shows the end of the run, and how much came before."""
    text = render_text(sample.small(), 100, rows=5)
    assert re.search(r"\.\.\.  \d+ earlier rows are left out", text)
    assert "FAILED I8" in text
    assert "node 1 starts" not in text


def test_the_text_folds_what_repeats():
    """A hundred times as many messages make no more rows."""
    rows = [len(render_text(_heartbeats(count)).splitlines()) for count in (50, 5_000)]
    assert rows[1] <= rows[0] + 1


def _heartbeats(count):
    lines = []
    for number in range(count):
        lines.append((number * 1000, 1, Kind.SENT, (number, 2, "Append", 1)))
        lines.append((number * 1000 + 400, 2, Kind.RECEIVED, (number, 1)))
    return Timeline.of(lines, nodes=2, title="idle")


def test_the_text_tells_of_a_long_wait():
    """What went by in which nothing happened is one row; times keep their column."""
    lines = render_text(sample.waiting(), 100).splitlines()
    assert lines[1] == "seed 5, 3 nodes, 1209601.550 s (14 d) of virtual time, 433 lines, 0 faults"
    [(place, told)] = [(place, line) for place, line in enumerate(lines) if "went by" in line]
    assert told == "~ 1209601.000000 s  █ │ │  14 d went by in which nothing happened"
    assert lines[place + 1].endswith("node 1: step ask_for_review, attempt 1 starts")
    assert {line.find(" s  █") for line in lines if " s  █" in line} == {told.find(" s  █")}


def test_no_control_character_reaches_a_terminal(hostile):
    """A workflow id cannot colour the terminal, or worse."""
    assert all(c.isprintable() or c == "\n" for c in render_text(hostile))


@pytest.mark.parametrize("which", ["small", "large", "hostile", "empty"])
def test_the_picture_is_well_formed(which, hostile):
    """Any parser of XML reads it, whatever was in the record."""
    timeline = {
        "small": sample.small,
        "large": lambda: sample.large(6_000),
        "hostile": lambda: hostile,
        "empty": lambda: Timeline.of((), nodes=1, title=""),
    }[which]()
    root = ET.fromstring(render_svg(timeline).encode())
    assert root.tag == f"{SVG}svg"
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        *("svg", "style", "defs", "pattern", "clipPath", "g", "path", "rect", "circle", "text"),
    }


def test_the_picture_shows_everything():
    """Lanes, faults, the failure and the run are there by name."""
    root = ET.fromstring(render_svg(sample.small()).encode())
    texts = {element.text for element in root.iter(f"{SVG}text")}
    assert {"node 1", "node 2", "node 3", "order-17", "client 1"} <= texts
    assert {"leader · term 1", "leader · term 2", "partition", "completed"} <= texts
    assert any(text.startswith("I8: entry 31 of term 2") for text in texts)
    looks = {element.get("class") for element in root.iter()}
    assert {"band", "cross", "effect", "failure-line", "moved c2", "step cut"} <= looks


def test_the_picture_of_a_long_wait_is_broken():
    """Both ends of it are seen, with its length between them, and how the run ended."""
    root = ET.fromstring(render_svg(sample.waiting()).encode())
    texts = {element.text: element for element in root.iter(f"{SVG}text")}
    assert texts["14 d"].get("class") == "break-name"
    told = ("charge · attempt 1", "14 d", "ask_for_review · attempt 1", "completed")
    places = [float(texts[name].get("x")) for name in told]
    assert places == sorted(places)
    edges = [element for element in root.iter() if element.get("class") == "break-edge"]
    assert len(edges) == 2


def test_the_picture_of_a_large_run_is_bounded():
    """What cannot be told apart is drawn together, and the picture says so."""
    picture = render_svg(sample.large(20_000))
    assert picture.count("<rect") + picture.count("<path") < 5_000
    assert "messages are drawn as density below their sender (Append, AppendReply)" in picture


def test_the_picture_of_a_large_failed_run_is_of_its_end():
    """The time before the failure is shown, and what is left out is said."""
    lines = sample.large_lines(20_000)
    failure = Failure("I1", "two leaders", lines[-1][0] / 1e9)
    picture = render_svg(Timeline.of(lines, nodes=5, title="a bad day", failure=failure))
    assert re.search(r"This picture begins at [34]\.\d+ s", picture)
    assert re.search(r"\d+ runs are not drawn", picture)
    assert "messages are drawn as density" not in picture


class Page(HTMLParser):
    """The elements of a page, and the text of its scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts = ["document"], [], {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attributes]

    def handle_data(self, data):
        self.texts.setdefault(self.tags[-1], []).append(data)


def test_the_page_needs_nothing_else():
    """No address of anything outside is in it, except the name of SVG."""
    page = Page(render_html(sample.small()))
    loading = [
        (tag, name, value)
        for tag, name, value in page.attributes
        if name in {"src", "href", "srcset", "action"} and value != "data:,"
    ]
    assert loading == []
    text = render_html(sample.small()).replace("http://www.w3.org/2000/svg", "")
    assert "http" not in text
    assert "@import" not in text
    assert set(re.findall(r"url\((.)", text)) == {"#"}


def test_hostile_text_stays_text(hostile):
    """A title and a workflow id with tags in them add no element to the page."""
    good, bad = Page(render_html(sample.small())), Page(render_html(hostile))
    assert bad.tags.count("script") == good.tags.count("script") == 2
    assert bad.tags.count("b") == good.tags.count("b")
    assert "</script><b>" in "".join(bad.texts["h1"])


def test_texts_with_places_in_them_are_not_filled():
    """What looks like a slot of the page or of a sentence is left as it is."""
    page = render_html(sample.small(title="{{data}}"))
    assert "<h1>{{data}}</h1>" in page
    timeline = Timeline.of(
        [
            (1, 1, Kind.STEP, ("r", "{0}{form}", 1, "started")),
            (9_000_000, 1, Kind.STEP, ("r", "{0}{form}", 1, "completed")),
        ],
        nodes=1,
        title="",
    )
    assert "{0}{form} · attempt 1" in render_svg(timeline)
