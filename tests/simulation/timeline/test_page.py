"""The page in a real browser: it draws, moves, filters and tells, and nothing goes wrong in it."""

import json

import pytest

from flowactor.simulation.timeline import render_html
from flowactor.simulation.timeline.scale import STEPS, Scale
from tests.simulation.timeline import sample
from tests.simulation.timeline.browser import Browser, find_browser

pytestmark = [
    pytest.mark.processes,
    pytest.mark.timeout(30),
    pytest.mark.skipif(
        find_browser() is None,
        reason="these tests look at the page in Chromium or Chrome, and neither is installed:"
        " install one, or name it in CHROME_BIN",
    ),
]

HOSTILE = "</script><b></script x><!--<script>"
"""An end of a script may have white space in it, and a comment hides the end of one."""

OVERLAPS = """
(() => {
  const texts = [...document.querySelectorAll("#lanes text, #ruler text")].map((text) => {
    const box = text.getBoundingClientRect();
    return { said: text.textContent, left: box.left + 1, right: box.right - 1,
      top: box.top + 2, bottom: box.bottom - 2 };
  }).filter((box) => box.right > 200 && box.left < innerWidth);
  const found = [];
  texts.forEach((a, i) => texts.slice(i + 1).forEach((b) => {
    if (a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom)
      found.push(`${a.said} / ${b.said}`);
  }));
  return found;
})()
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(find_browser(), tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Pages by name, each written once."""
    folder = tmp_path_factory.mktemp("pages")
    timelines = {
        "small": sample.small(),
        "large": sample.large(50_000),
        "hostile": sample.small(HOSTILE, "<b>\"&'</title>"),
        "crowded": sample.crowded(),
        "waiting": sample.waiting(),
    }
    for name, timeline in timelines.items():
        (folder / f"{name}.html").write_text(render_html(timeline), encoding="utf-8")
    return folder


@pytest.fixture
def page(browser, files):
    """The page of the small run, freshly opened; it must not complain until the end."""
    browser.errors.clear()
    browser.open(files / "small.html")
    yield browser
    assert browser.errors == []


def count(page, selector):
    return page.evaluate(f"document.querySelectorAll({json.dumps(selector)}).length")


def window(page):
    return page.evaluate("[view.from, view.to]")


def texts(page, selector):
    found = f"[...document.querySelectorAll({json.dumps(selector)})].map(e => e.textContent)"
    return page.evaluate(found)


def middle(page, selector):
    """Where the middle of the first such element is, on the screen."""
    return page.evaluate(
        f"(() => {{ const box = document.querySelector({json.dumps(selector)})"
        ".getBoundingClientRect();"
        " return [box.left + box.width / 2, box.top + box.height / 2]; })()"
    )


def toggle(page, name):
    page.evaluate(f"document.querySelector('input[name={json.dumps(name)}]').click()")
    page.settle()


def test_the_page_shows_the_run(page):
    """Lanes, roles, faults, messages, the failure and its message are there."""
    assert texts(page, "h1") == ["An order, a crash and a partition"]
    assert "I8 at 3.820 s" in texts(page, ".failure")[0]
    titles = texts(page, "#lanes .title")
    assert titles == ["Faults", "node 1", "node 2", "node 3", "order-17", "client 1", "client 2"]
    assert count(page, "#lanes .role.leader") == 2
    assert count(page, "#lanes .absence.down") == 1
    assert count(page, "#lanes .band") >= 6
    assert count(page, "#lanes .fault") == 4
    assert count(page, "#lanes .failure-line") == 1
    assert texts(page, "#ruler .on-failure")[0].startswith("I8: entry 31 of term 2")
    assert page.evaluate("drawing.counts.arrow") == 201
    assert count(page, "#still") == 0


def test_no_two_labels_lie_on_each_other(page):
    """At every level of zoom each label has a place of its own."""
    x, y = middle(page, "#lanes .absence.down")
    for turn in (0, -500, -500, -700, 900):
        page.wheel(x, y, turn)
        assert page.evaluate(OVERLAPS) == []


def test_wheel_buttons_and_keys_zoom(page):
    """The wheel zooms where the pointer is; buttons and keys zoom and show all again."""
    whole = window(page)
    x, y = middle(page, "#lanes .role.leader")
    at = page.evaluate(f"timeAt({x} - document.querySelector('#lanes').getBoundingClientRect().x)")
    page.wheel(x, y, -600)
    begin, end = window(page)
    assert end - begin < (whole[1] - whole[0]) / 2
    assert begin < at < end
    page.click(*middle(page, "#in"))
    assert (window(page)[1] - window(page)[0]) == pytest.approx((end - begin) / 2)
    page.click(*middle(page, "#out"))
    assert window(page) == pytest.approx([begin, end])
    page.key("0")
    assert window(page) == whole
    page.key("+")
    assert window(page)[1] - window(page)[0] < whole[1] - whole[0]


def test_zooming_shows_more_of_what_is_there(page):
    """A label that had no room appears, and what is out of view is not drawn."""
    before = texts(page, "#lanes .on-bar, #lanes .on-owner")
    assert "notify · attempt 2" not in before
    x, y = middle(page, "#lanes .moved")
    page.wheel(x, y, -1200)
    assert "notify · attempt 2" in texts(page, "#lanes .on-bar")
    assert page.evaluate("drawing.counts.arrow") < 60


def test_dragging_moves_the_window(page):
    """What is pulled to the left shows what came later; the overview chooses a window."""
    page.key("+")
    page.key("+")
    begin, end = window(page)
    x, y = middle(page, "#lanes .role.leader")
    page.drag(x, y, x - 80, y)
    assert window(page)[0] > begin
    assert window(page)[1] - window(page)[0] == pytest.approx(end - begin)
    page.key("0")
    x, y = middle(page, "#lanes .role.leader")
    whole = window(page)
    page.drag(x, y, x + 200, y)
    assert window(page) == whole
    x, y = middle(page, "#overview")
    page.drag(x, y, x + 100, y)
    assert window(page)[1] - window(page)[0] < (end - begin) / 2


def test_the_failure_is_one_click_away(page):
    """The button brings the moment of failure into view, larger."""
    page.click(*middle(page, "#failed"))
    begin, end = window(page)
    assert begin < 3_820_000_000 < end
    assert end - begin < 1_000_000_000


@pytest.mark.parametrize(
    ("name", "selector"),
    [
        ("messages", "#lanes .message"),
        ("commits", "#lanes .applied"),
        ("steps", "#lanes .step, #lanes .effect"),
        ("faults", "#lanes .band, #lanes .fault"),
        ("runs", "#lanes .owner"),
        ("clients", "#lanes .operation"),
    ],
)
def test_each_kind_can_be_hidden(page, name, selector):
    """A check box takes away its kind and nothing else, and brings it back."""
    drawn = page.evaluate("drawing.counts")
    assert count(page, selector) > 0
    toggle(page, name)
    assert count(page, selector) == 0
    assert count(page, "#lanes .role") == drawn["role"]
    toggle(page, name)
    assert page.evaluate("drawing.counts") == drawn


def test_a_node_can_be_hidden(page):
    """Its lane goes, and with it the messages from and to it."""
    toggle(page, "node 3")
    assert "node 3" not in texts(page, "#lanes .title")
    assert 0 < page.evaluate("drawing.counts.arrow") < 201


def test_the_thing_under_the_pointer_tells_what_it_is(page):
    """Hovering shows a tip, a click keeps the details, Escape lets them go."""
    x, y = middle(page, "#lanes .step.cut")
    page.mouse("mouseMoved", x, y)
    page.settle()
    assert page.evaluate("document.querySelector('#tooltip').hidden") is False
    assert "step charge, attempt 1: the node stopped" in texts(page, "#tooltip")[0]
    page.click(x, y)
    assert "7d1f0a22c4" in texts(page, "#details dd")
    page.key("Escape")
    assert "Wheel zooms" in texts(page, "#details")[0]


def test_the_keyboard_walks_through_everything(page):
    """N and P go to the next thing in time and back."""
    page.key("n")
    first = texts(page, "#details h2")
    page.key("n")
    second = texts(page, "#details h2")
    assert len(first) == len(second) == 1
    assert count(page, "#marked .chosen") == 1
    page.key("p")
    assert texts(page, "#details h2") == first


def test_a_crowded_row_has_no_label_on_a_label(browser, files):
    """More steps at a time than a lane has rows share the last one, and one label is written."""
    browser.errors.clear()
    browser.open(files / "crowded.html")
    assert count(browser, "#lanes .step") == 9
    assert len(texts(browser, "#lanes .on-bar")) == 6
    assert browser.evaluate(OVERLAPS) == []
    assert browser.errors == []


def test_a_pause_moves_the_label_of_a_role(browser, files):
    """Where a pause covers the beginning of a role, it is seen, and the role is named behind it."""
    browser.open(files / "crowded.html")
    bars = "[...document.querySelectorAll('#lanes .role, #lanes .absence')]"
    assert browser.evaluate(f"{bars}.map(bar => bar.classList[1])") == [
        *("follower", "down", "paused"),
    ]
    role, pause = middle(browser, "#lanes .on-follower"), middle(browser, "#lanes .absence.paused")
    assert role[0] > pause[0]


def test_a_long_wait_is_a_break_in_the_axis(browser, files):
    """Both ends of two weeks are seen at once; what is said of them is virtual time."""
    browser.errors.clear()
    browser.open(files / "waiting.html")
    assert texts(browser, "#ruler .break-name") == ["14 d"]
    assert texts(browser, "#lanes .closed-name") == ["completed"]
    assert texts(browser, "#window") == ["14 d in view"]
    before, after = middle(browser, "#lanes .opened"), middle(browser, "#lanes .closed")
    edge = middle(browser, "#lanes .break-edge")
    assert before[0] + 300 < edge[0] < after[0] - 200
    browser.click(*after)
    assert "1209601.550000 s" in texts(browser, "#details dd")
    browser.click(*middle(browser, "#lanes .break"))
    assert texts(browser, "#details h2") == ["nothing happens"]
    assert "lasts 14 d" in texts(browser, "#details dd")[0]
    for turn in (-500, -500, -700, 900):
        browser.wheel(*edge, turn)
        assert browser.evaluate(OVERLAPS) == []
    assert browser.errors == []


def test_a_label_that_has_no_room_is_not_cut(browser, files):
    """How a run ended is written as a whole or not at all."""
    browser.open(files / "waiting.html")
    browser.evaluate("show(whole.from, data.end)")
    browser.settle()
    assert count(browser, "#lanes .closed") == 1
    assert count(browser, "#lanes .closed-name") == 0


def test_page_and_picture_agree_on_places(browser, files):
    """Both put a moment at the same place of the axis, also within a break, and back."""
    browser.open(files / "waiting.html")
    axis = sample.waiting().axis
    [gap] = axis.breaks
    moments = (0, gap.begin_ns, gap.begin_ns + 12_345, gap.end_ns - 1, gap.end_ns, gap.end_ns + 7)
    asked = f"{json.dumps(moments)}.map(at => data.axis.place(at))"
    assert browser.evaluate(asked) == [axis.place(at_ns) for at_ns in moments]
    drawn = (0, gap.begin_ns, gap.end_ns, gap.end_ns + 7)
    turned = f"{json.dumps(drawn)}.map(at => data.axis.moment(data.axis.place(at)))"
    assert browser.evaluate(turned) == list(drawn)


def test_hostile_text_is_shown_as_it_is(browser, files):
    """Tags in names are letters on the page, and nothing runs."""
    browser.errors.clear()
    browser.open(files / "hostile.html")
    assert texts(browser, "h1") == ["<b>\"&'</title>"]
    assert any("</script>" in title for title in texts(browser, "#lanes .title"))
    x, y = middle(browser, "#lanes .opened")
    browser.click(x, y)
    assert HOSTILE in texts(browser, "#details dd")
    assert browser.errors == []


def test_where_no_script_may_run_the_picture_stands_alone(browser, files):
    """A viewer that forbids scripts shows the still picture, and no dead controls."""
    browser.command("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(files / "small.html")
        shown = "[...document.querySelectorAll('#still svg, header, #lanes, footer')]"
        shown += ".filter(e => e.getBoundingClientRect().width > 0).map(e => e.tagName)"
        assert browser.evaluate(shown) == ["svg"]
    finally:
        browser.command("Emulation.setScriptExecutionDisabled", value=False)


def test_fifty_thousand_lines_stay_quick(browser, files):
    """A large run opens, draws few elements at a time, and shows arrows once there is room."""
    browser.errors.clear()
    browser.open(files / "large.html")
    assert count(browser, "*") < 5_000
    assert "messages in view are shown as density" in texts(browser, "#status")[0]
    assert count(browser, "#lanes .density") >= 2
    assert count(browser, "#lanes .message.vote") >= 1
    x, y = middle(browser, "#lanes .role.leader")
    browser.wheel(x, y, -2400)
    assert browser.evaluate("drawing.counts.arrow") > 0
    assert count(browser, "#lanes .density") == 0
    assert browser.errors == []


def test_page_and_picture_agree_on_time(page):
    """Both rulers choose the same ticks and write them the same way."""
    for span in (1_000, 37_000_000, 3_820_000_000, 4 * 10**12, 40 * 86_400 * 10**9):
        scale = Scale(span, 2 * span, 0, 1000)
        asked = f"(() => {{ const step = rulerStep({span}, 1000); const out = [];"
        asked += f"for (let t = Math.ceil({span} / step) * step; t <= {2 * span}; t += step)"
        asked += " out.push(clock(t, step)); return [out, STEPS]; })()"
        ticks, steps = page.evaluate(asked)
        assert [text for _, text in scale.ticks()] == ticks
        assert steps == list(STEPS)
