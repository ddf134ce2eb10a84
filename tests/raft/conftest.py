"""The flag that rewrites transcripts, and the fixture that compares them."""

from pathlib import Path

import pytest

TRANSCRIPTS = Path(__file__).parent / "transcripts"


def pytest_addoption(parser):
    parser.addoption(
        "--rewrite-transcripts",
        action="store_true",
        help="write tests/raft/transcripts anew; review the difference before you keep it",
    )


@pytest.fixture
def transcript(request):
    """A function that compares lines with the transcript of this name, or rewrites it."""

    def compare(name, lines):
        path = TRANSCRIPTS / f"{name}.txt"
        text = "\n".join(lines) + "\n"
        if request.config.getoption("--rewrite-transcripts", default=False):
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"no {path.name}: run with --rewrite-transcripts"
        assert text == path.read_text(encoding="utf-8")

    return compare
