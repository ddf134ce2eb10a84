"""One simulated run made visible: a page to explore, a picture to keep, a table for the terminal.

``Timeline.of(lines, ...)`` reads the record of a run; the renderers draw what it found. Equal
records give equal bytes. What is drawn and how it is called stands in ``facts`` and ``wording``;
the look of the page and of the picture is one style sheet, ``picture.css``.
"""

from flowactor.simulation.timeline.model import Timeline
from flowactor.simulation.timeline.page import render_html
from flowactor.simulation.timeline.picture import render_svg
from flowactor.simulation.timeline.table import render_text

__all__ = ["Timeline", "render_html", "render_svg", "render_text"]
