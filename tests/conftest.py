"""What all tests share: how much chance Hypothesis explores, and that failures can be repeated."""

import gc
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
SHARING = frozenset({"simulation/timeline/test_page.py", "testing/test_replay.py"})
LASTING_SECONDS = frozenset({"simulation", "testing", "workflow"})
LONG_SECONDS_MAX = 400

gc.disable()  # until all is collected: what that makes stays, and to look for garbage took a fifth


def pytest_collection_modifyitems(items):
    """What takes longest starts first, or one worker would end with it alone."""
    for item in items:
        if item.get_closest_marker("long") is not None:
            item.add_marker(pytest.mark.timeout(LONG_SECONDS_MAX))
    items.sort(key=urgency)


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_make_scheduler(config, log):
    """Each worker gets the next test, or the next tests that share a worker."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return shared_by(nodeid)

    return Scheduling(config, log)


def shared_by(nodeid):
    """What all tests have in common that run in the worker of this one.

    Those that start processes are together: two clusters of three at a time are more than two cores
    keep in step, and each wants ports that nobody else takes. So are those that share a fixture
    which takes longer than they do.
    """
    path = nodeid.partition("::")[0].removeprefix("tests/")
    if path.partition("/")[0] in STARTING_PROCESSES:
        return "processes"
    return path if path in SHARING else nodeid


def pytest_collection_finish():
    """No collection of garbage looks again at what lasts until the end."""
    gc.collect()
    gc.freeze()
    gc.enable()


def urgency(item):
    folder = folder_of(item)
    return (folder not in STARTING_PROCESSES, folder not in LASTING_SECONDS)


def folder_of(item):
    return Path(item.path).relative_to(Path(__file__).parent).parts[0]


@pytest.fixture(scope="session")
def starter(compiled_once, tmp_path_factory):
    """Starts nodes at a tenth of what a start of Python costs. There is one: whoever needs it runs
    in the same worker.
    """
    (shared_folder(tmp_path_factory) / "starter").touch(exist_ok=False)
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
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        patch.setenv("PYTHONPYCACHEPREFIX", str(shared_folder(tmp_path_factory) / "bytecode"))
        yield


def shared_folder(tmp_path_factory):
    """One for all workers of a run."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
