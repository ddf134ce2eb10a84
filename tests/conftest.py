"""What all tests share: how much chance Hypothesis explores, and that failures can be repeated."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.processes.warm import warm_starter

settings.register_profile(
    "fast",
    max_examples=50,  # .ci/run goes through all properties again with "ci"
    deadline=None,  # a shared machine stalls now and then; pytest-timeout bounds the whole test
    print_blob=True,  # a failure prints what reproduces it, on another machine too
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("ci", settings.get_profile("fast"), max_examples=200)
settings.register_profile("nightly", settings.get_profile("fast"), max_examples=10_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))

STARTING_PROCESSES = frozenset({"cli", "docs", "examples", "processes"})
LASTING_SECONDS = frozenset({"simulation", "testing", "workflow"})
LONG_SECONDS_MAX = 400


def pytest_collection_modifyitems(items):
    """Tests that start processes share one worker: two clusters of three at a time are more than
    two cores keep in step, and each wants ports that nobody else takes. What takes longest starts
    first, or one worker would end with it alone.
    """
    for item in items:
        if item.get_closest_marker("long") is not None:
            item.add_marker(pytest.mark.timeout(LONG_SECONDS_MAX))
        if folder_of(item) in STARTING_PROCESSES:
            item.add_marker(pytest.mark.xdist_group("processes"))
    items.sort(key=urgency)


def urgency(item):
    folder = folder_of(item)
    return (folder not in STARTING_PROCESSES, folder not in LASTING_SECONDS)


def folder_of(item):
    return Path(item.path).relative_to(Path(__file__).parent).parts[0]


@pytest.fixture(scope="session")
def starter(compiled_once):
    """Starts nodes at a tenth of what a start of Python costs."""
    with warm_starter(Path(__file__).parents[1]) as warm:
        yield warm


@pytest.fixture(scope="session", autouse=True)
def compiled_once(tmp_path_factory):
    """Where Python keeps no bytecode, each process that a test starts would compile everything
    again, for longer than most of them live. All workers of a run share one place.
    """
    if not sys.dont_write_bytecode:
        yield
        return
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        patch.setenv("PYTHONPYCACHEPREFIX", str(shared / "bytecode"))
        yield
