"""The house style, as far as a machine can judge it: ``docs/house_style.md`` says why.

Each rule is a pure function from one source file to its violations. There is no list of
exceptions: a file that cannot keep a rule changes, or the rule changes for everybody. For each rule
a sample that breaks it stands beside one that keeps it, so a rule that has gone blind fails too.
"""

import ast
import gc
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

ROOT = Path(__file__).parents[2]
FUNCTION_LINES_MAX = 70
MODULE_LINES_MAX = 600
CODE_FOLDERS = ("flowactor", "tests", "benchmarks", "simulations", "docs")
TEXT_SUFFIXES = {".md", ".py", ".toml", ".txt", ".yaml", ".yml"}

UNFINISHED = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX")) + r")\b")
"""Words of work left undone; joined at run time, so that this file keeps the rule too."""
MACHINE_PATH = re.compile(r"/(work|farm|root|home|Users|opt)/[a-z]")
"""Where a checkout, a home or a tool lies on one particular machine."""

CLOCKS = re.compile(r"\bmark\.processes\b|\bMockClock\b|\bautojump_clock\b")
"""The words of a test whose time is virtual, or that of real processes."""


@frozen
class Source:
    """One Python file: its path from the root of the checkout, its text, and its syntax tree with
    the nodes sorted by their kind.
    """

    path: str
    text: str
    tree: ast.Module
    nodes: dict[type[ast.AST], list[ast.AST]]

    @classmethod
    def parse(cls, path: str, text: str) -> "Source":
        tree = ast.parse(text)
        nodes = defaultdict(list)
        for node in ast.walk(tree):
            nodes[type(node)].append(node)
        return cls(path, text, tree, nodes)

    def of(self, *kinds: type[ast.AST]) -> Iterator[Any]:
        """All nodes of these kinds."""
        return chain.from_iterable(self.nodes.get(kind, ()) for kind in kinds)

    def within(self, folder: str) -> bool:
        return self.path.startswith(folder + "/")


Rule = Callable[[Source], Iterator[str]]
"""Yields ``path:line: what is wrong`` for each violation."""


@cache
def sources() -> tuple[Source, ...]:
    """Every Python file of the project."""
    paths = [path for folder in CODE_FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    gc.disable()  # trees have no garbage, and looking for it takes as long as parsing
    try:
        return tuple(Source.parse(name(path), path.read_text()) for path in paths)
    finally:
        gc.enable()


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def floors() -> frozenset[str]:
    """The modules and packages directly inside ``flowactor``."""
    return frozenset(path.stem for path in (ROOT / "flowactor").iterdir())


def texts() -> Iterator[tuple[str, str]]:
    """Every text file that belongs to the project, with its path from the root."""
    folders = [ROOT / name for name in (*CODE_FOLDERS, ".ci")]
    top = [path for path in ROOT.iterdir() if path.is_file() and path.suffix in TEXT_SUFFIXES]
    for path in top + [path for folder in folders for path in folder.rglob("*")]:
        if path.is_file() and (path.suffix in TEXT_SUFFIXES or path.parent.name == ".ci"):
            yield name(path), path.read_text()


def at(source: Source, node: ast.AST, what: str) -> str:
    return f"{source.path}:{getattr(node, 'lineno', 1)}: {what}"


def dotted(node: ast.AST) -> str:
    """``a.b.c`` for a name or a chain of attributes, else the empty string."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (head := dotted(node.value)):
        return f"{head}.{node.attr}"
    return ""


def modules_imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module]
    return []


def a_function_fits_a_screen(source: Source) -> Iterator[str]:
    for node in source.of(ast.FunctionDef, ast.AsyncFunctionDef):
        lines = node.end_lineno - node.lineno + 1
        if lines > FUNCTION_LINES_MAX and ast.get_docstring(node, clean=False) is not None:
            lines -= node.body[0].end_lineno - node.body[0].lineno + 1
        if lines > FUNCTION_LINES_MAX:
            yield at(source, node, f"{node.name} has {lines} lines, at most {FUNCTION_LINES_MAX}")


def a_module_fits_a_sitting(source: Source) -> Iterator[str]:
    lines = source.text.count("\n")
    if lines > MODULE_LINES_MAX:
        yield f"{source.path}:1: {lines} lines, at most {MODULE_LINES_MAX}: split it"


def errors_are_named_where_caught(source: Source) -> Iterator[str]:
    for node in source.of(ast.ExceptHandler):
        if node.type is None:
            yield at(source, node, "a bare except: name what is expected")


def only_the_command_line_prints(source: Source) -> Iterator[str]:
    if not source.within("flowactor") or source.within("flowactor/cli"):
        return
    for node in source.of(ast.Call):
        if dotted(node.func) == "print":
            yield at(source, node, "print outside flowactor/cli: emit an event")


def the_world_enters_by_ports(source: Source) -> Iterator[str]:
    """Clock and entropy are taken from the air only in files named ``system.py``: they implement
    the ports. A generator seeded by its owner, ``random.Random(seed)``, is no chance from the air.
    """
    if not source.within("flowactor") or source.path.endswith("/system.py"):
        return
    for node in source.of(ast.Import, ast.ImportFrom):
        for module in modules_imported(node):
            if module in {"secrets", "time"}:
                yield at(source, node, f"imports {module}: take it from ports.py")
        if isinstance(node, ast.ImportFrom) and node.module == "random":
            names = [alias.name for alias in node.names if alias.name != "Random"]
            if names:
                yield at(source, node, f"random.{names[0]} is chance from the air: seed a Random")
    for node in source.of(ast.Call):
        name = dotted(node.func)
        if name.endswith(("os.urandom", "uuid.uuid1", "uuid.uuid4", "datetime.now", "date.today")):
            yield at(source, node, f"{name}: take it from ports.py")
        if name.startswith("random.") and name.count(".") == 1 and name != "random.Random":
            yield at(source, node, f"{name} is chance from the air: seed a random.Random")


def nobody_imports_the_facade(source: Source) -> Iterator[str]:
    """Inside the package a name is imported from the module that owns it."""
    if not source.within("flowactor"):
        return
    for node in source.of(ast.Import, ast.ImportFrom):
        if "flowactor" not in modules_imported(node):
            continue
        names = [alias.name for alias in node.names] if isinstance(node, ast.ImportFrom) else [""]
        if not floors().issuperset(names):
            yield at(source, node, "imports the root package: import the module that owns the name")


def public_names_are_sorted(source: Source) -> Iterator[str]:
    """Constants, then classes, then the rest, each in the order of the alphabet, none twice."""
    for node in source.tree.body:
        if isinstance(node, ast.Assign) and [dotted(target) for target in node.targets] == [
            "__all__"
        ]:
            names = ast.literal_eval(node.value)
            if names != sorted(set(names), key=lambda name: (kind(name), name)):
                yield at(source, node, "__all__ is not sorted")


def kind(name: str) -> int:
    if name.isupper() and len(name) > 1:
        return 0
    return 1 if name[0].isupper() else 2


def a_test_says_what_it_proves(source: Source) -> Iterator[str]:
    if not source.within("tests"):
        return
    for node in source.of(ast.FunctionDef, ast.AsyncFunctionDef):
        if node.name.startswith("test_") and not ast.get_docstring(node):
            yield at(source, node, f"{node.name} does not say what it proves: give it a docstring")


def no_test_sleeps(source: Source) -> Iterator[str]:
    """Only a test of real processes may let real time pass; others turn a mock clock, or wait for
    the thing itself. Inside a workflow class a foreign sleep is refused before it sleeps.
    """
    if not source.within("tests") or turns_the_clock(source):
        return
    workflows = [node for node in source.of(ast.ClassDef) if is_workflow(node)]
    for node in source.of(ast.Call):
        if dotted(node.func) not in {"time.sleep", "trio.sleep"}:
            continue
        seconds = node.args[0] if node.args else None
        instant = isinstance(seconds, ast.Constant) and seconds.value == 0
        if not instant and not any(cls.lineno < node.lineno <= cls.end_lineno for cls in workflows):
            yield at(source, node, "a test that sleeps: use a mock clock, or await the event")


def is_workflow(node: ast.ClassDef) -> bool:
    decorators = (getattr(item, "func", item) for item in node.decorator_list)
    return any(dotted(item).endswith("workflow") for item in decorators)


def turns_the_clock(source: Source) -> bool:
    """Whether time is virtual here, or that of processes; a helper lives in its tests' time."""
    folder, _, name = source.path.rpartition("/")
    if name.startswith("test_"):
        return CLOCKS.search(source.text) is not None
    tests = (other for other in sources() if other.path.startswith(f"{folder}/test_"))
    return any(CLOCKS.search(other.text) for other in tests)


RULES: tuple[tuple[Rule, str, str, str], ...] = (
    (
        a_function_fits_a_screen,
        "a.py",
        "def f():\n" + " x = 1\n" * 70,
        "def f():\n" + " x = 1\n" * 69,
    ),
    (a_module_fits_a_sitting, "a.py", "x = 1\n" * 601, "x = 1\n" * 600),
    (
        errors_are_named_where_caught,
        "a.py",
        "try:\n x = 1\nexcept:\n x = 2",
        "try:\n x = 1\nexcept ValueError:\n x = 2",
    ),
    (only_the_command_line_prints, "flowactor/a.py", "print(1)", "pprint(1)"),
    (the_world_enters_by_ports, "flowactor/a.py", "import time", "import timeit"),
    (the_world_enters_by_ports, "flowactor/a.py", "os.urandom(8)", "os.fspath(8)"),
    (the_world_enters_by_ports, "flowactor/a.py", "random.random()", "random.Random(1).random()"),
    (
        the_world_enters_by_ports,
        "flowactor/a.py",
        "from random import choice",
        "from random import Random",
    ),
    (nobody_imports_the_facade, "flowactor/a.py", "import flowactor", "import flowactor.ports"),
    (
        nobody_imports_the_facade,
        "flowactor/a.py",
        "from flowactor import Node",
        "from flowactor import limits",
    ),
    (public_names_are_sorted, "a.py", "__all__ = ['b', 'A']", "__all__ = ['LIMIT', 'Ab', 'a']"),
    (public_names_are_sorted, "a.py", "__all__ = ['a', 'a']", "__all__ = []"),
    (
        a_test_says_what_it_proves,
        "tests/a.py",
        "def test_a():\n x = 1",
        "def test_a():\n 'It is so.'",
    ),
    (no_test_sleeps, "tests/a.py", "trio.sleep(0.1)", "trio.sleep(0)"),
    (no_test_sleeps, "tests/a.py", "time.sleep(delay)", "fa.sleep(delay)"),
    (
        no_test_sleeps,
        "tests/a.py",
        "class A:\n x = trio.sleep(1)",
        "@fa.workflow(version=1)\nclass A:\n x = trio.sleep(1)",
    ),
)


@pytest.mark.parametrize(
    "rule", dict.fromkeys(rule for rule, *_ in RULES), ids=lambda rule: rule.__name__
)
def test_the_tree_keeps_the_rule(rule):
    """No file of the project breaks this rule of the house."""
    assert [violation for source in sources() for violation in rule(source)] == []


@pytest.mark.parametrize(("rule", "path", "bad", "good"), RULES)
def test_the_rule_can_fail(rule, path, bad, good):
    """The rule finds its sample violation, and lets pass what only resembles it."""
    assert len(list(rule(Source.parse(path, bad)))) == 1
    assert list(rule(Source.parse(path, good))) == []


@pytest.mark.parametrize("pattern", [UNFINISHED, MACHINE_PATH], ids=["unfinished", "machine_path"])
def test_texts_are_finished_and_at_home_anywhere(pattern):
    """No file speaks of work left undone, or of a place that exists on one machine only."""
    found = [
        f"{path}:{number}: {line.strip()}"
        for path, text in texts()
        if pattern.search(text)
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []


def test_the_text_patterns_can_fail():
    """Both patterns match their samples and leave ordinary prose alone."""
    assert UNFINISHED.search("# TO" + "DO: later")
    assert not UNFINISHED.search("no to-dos")
    assert MACHINE_PATH.search("cd /ho" + "me/me")
    assert not MACHINE_PATH.search("src/workflow/a and docs/homes")


def test_each_package_has_a_design_page():
    """A reader finds ``docs/design/<package>.md`` for every public package."""
    packages = [path.parent.name for path in (ROOT / "flowactor").glob("*/__init__.py")]
    missing = [name for name in sorted(packages) if not (ROOT / f"docs/design/{name}.md").exists()]
    assert packages
    assert missing == []


def test_decisions_are_numbered_without_gaps():
    """Decision records are numbered 0001, 0002, ... and each is listed in their index."""
    records = sorted(path.name for path in (ROOT / "docs/decisions").glob("[0-9]*.md"))
    assert [name[:4] for name in records] == [
        f"{number:04}" for number in range(1, len(records) + 1)
    ]
    index = (ROOT / "docs/decisions/index.md").read_text()
    assert [name for name in records if name not in index] == []


def test_the_map_names_every_file():
    """The list that ends ``docs/architecture.md`` has each module of the package, and no other."""
    listed = []
    for line in (ROOT / "docs/architecture.md").read_text().splitlines():
        if heading := re.match(r"### `(.+)`", line):
            folder = heading[1]
        elif row := re.match(r"\| `(\w+\.py)` \|", line):
            listed.append(f"{folder}/{row[1]}")
    assert sorted(listed) == sorted(file.path for file in sources() if file.within("flowactor"))
