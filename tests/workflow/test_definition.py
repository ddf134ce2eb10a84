"""Decorators and the registry: early, helpful refusals, and a public surface that stays typed."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import flowactor as fa
from flowactor.workflow import HandlerKind, definition_of, handler_of
from tests.workflow.driver import Driver
from tests.workflow.flows import Order

ROOT = Path(__file__).parents[2]


@fa.workflow(version=1, name="Hello")
class HelloOne:
    async def run(self, name: str, /, greeting: str = "hello") -> str:
        return f"{greeting} {name}"

    @fa.signal
    def poke(self, times: int) -> None: ...

    @fa.query
    def mood(self) -> str:
        return "fine"


@fa.workflow(version=2, name="Hello", standby="cold")
class HelloTwo(HelloOne):
    @fa.signal
    def poke(self, times: int) -> None: ...

    @fa.signal
    async def wave(self) -> None: ...


@fa.workflow
class Lonely:
    async def run(self) -> None: ...


def test_definitions_know_their_class():
    """Type, version, handlers and signatures; a subclass that inherits run is a workflow of its
    own."""
    one, two = definition_of(HelloOne.run), definition_of(HelloTwo.run)
    assert (one.name, one.version, one.standby, one.cls) == ("Hello", 1, "hot", HelloOne)
    assert (two.name, two.version, two.standby, two.cls) == ("Hello", 2, "cold", HelloTwo)
    assert definition_of(HelloTwo) is two
    assert list(one.signals) == ["poke"]
    assert list(two.signals) == ["poke", "wave"]
    assert dict(one.run.hints) == {"name": str, "greeting": str}
    assert one.run.returns is str
    assert handler_of(HelloOne.mood, HandlerKind.QUERY).signature.returns is str
    assert Driver(HelloTwo, "you").run() == "hello you"


def test_arguments_from_json():
    """People write arguments as a JSON array, or as the only argument."""
    signature = definition_of(HelloOne).run
    assert signature.decode(signature.encode_json('["ada", "hi"]')) == (("ada", "hi"), {})
    assert signature.decode(signature.encode_json('"ada"')) == (("ada",), {})
    with pytest.raises(
        fa.InvalidInput, match="arguments of Hello: 0 arguments given, the parameters are: name, g"
    ):
        signature.encode_json("[]")
    with pytest.raises(fa.InvalidInput, match="arguments of Hello: not JSON"):
        signature.encode_json("{")


def test_app_registers_versions_side_by_side():
    """A-R14: versions of one type live together; the highest is the default."""
    app = fa.App([HelloTwo, Lonely, HelloOne])
    assert app.registered == (("Hello", 1), ("Hello", 2), ("Lonely", 1))
    assert app.get("Hello").version == 2
    assert app.get("Hello", 1) is definition_of(HelloOne)
    assert app.find("Hello", 3) is None
    assert [definition.name for definition in app.definitions] == ["Hello", "Hello", "Lonely"]


def test_app_refuses_duplicates_and_lists_what_it_knows():
    """A second registration of (type, version) is an error; unknown types list the known ones."""
    with pytest.raises(
        fa.ConfigurationError, match="Hello v1 is registered twice: HelloOne and HelloOne"
    ):
        fa.App([HelloOne, HelloOne])
    with pytest.raises(
        fa.ConfigurationError, match=r"Order is no workflow: decorate it with @fa\.workflow"
    ):
        fa.App([Order])
    app = fa.App([HelloOne, Lonely])
    with pytest.raises(
        fa.UnknownWorkflowType,
        match="'Nope' is not registered; registered are: Hello v1, Lonely v1",
    ):
        app.get("Nope")
    with pytest.raises(fa.UnknownWorkflowType, match="'Hello' version 7 is not registered"):
        app.get("Hello", 7)
    with pytest.raises(fa.UnknownWorkflowType, match="registered are: nothing"):
        fa.App([]).get("Nope")


@fa.workflow
class BadHint:
    async def run(self, value: "NoSuchType") -> None: ...  # type: ignore[name-defined]  # noqa: F821


def test_app_resolves_type_hints():
    """A hint that names nothing is found when the service starts, not when a run does."""
    with pytest.raises(
        fa.ConfigurationError, match="arguments of BadHint: name 'NoSuchType' is not defined"
    ):
        fa.App([BadHint])


def no_run() -> Any:
    class Bad: ...

    return Bad


def sync_run() -> Any:
    class Bad:
        def run(self) -> None: ...

    return Bad


def init_with_input() -> Any:
    class Bad:
        def __init__(self, order: Order) -> None: ...
        async def run(self) -> None: ...

    return Bad


def two_names() -> Any:
    class Bad:
        async def run(self) -> None: ...
        @fa.signal
        def go(self) -> None: ...
        @fa.query(name="go")
        def other(self) -> None: ...

    return Bad


def bare_override() -> Any:
    class Bad(HelloOne):
        def poke(self, times: int) -> None: ...

    return Bad


def no_self() -> Any:
    class Bad:
        async def run() -> None: ...  # type: ignore[misc]

    return Bad


def starred() -> Any:
    class Bad:
        async def run(self, *orders: Order) -> None: ...

    return Bad


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (no_run, "Bad needs its code as 'async def run"),
        (sync_run, "Bad needs its code as 'async def run"),
        (init_with_input, "takes 'order'; it is called with nothing"),
        (two_names, "two handlers named 'go'"),
        (bare_override, "Bad.poke overrides a handler"),
        (no_self, "its first parameter is self"),
        (starred, r"\*orders: .*Order cannot be recorded"),
    ],
)
def test_bad_workflow_classes_are_refused(make: Any, text: str):
    """The mistake is named when the class is decorated, with what to write."""
    with pytest.raises(fa.ConfigurationError, match=text):
        fa.workflow(make())


def test_bad_decorations_are_refused():
    """Versions, standby modes and handlers are checked at once."""
    with pytest.raises(fa.ConfigurationError, match="version is 0"):
        fa.workflow(version=0)(Lonely)
    with pytest.raises(fa.ConfigurationError, match="standby is 'warm'"):
        fa.workflow(standby="warm")(Lonely)  # type: ignore[arg-type]
    with pytest.raises(fa.ConfigurationError, match="query slow must be a plain method"):

        @fa.query
        async def slow(self: object) -> None: ...

    with pytest.raises(fa.ConfigurationError, match="first parameter is self"):

        @fa.signal
        def lost() -> None: ...

    with pytest.raises(
        fa.InvalidInput,
        match=r"HelloOne\.mood is no signal of a workflow: decorate it with @fa\.sig",
    ):
        handler_of(HelloOne.mood, HandlerKind.SIGNAL)


class Plain:
    async def run(self) -> None: ...


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        (Plain.run, r"^Plain\.run: decorate Plain with @fa\.workflow\(version=1\)$"),
        (Plain, r"^Plain is no workflow: decorate it with @fa\.workflow\(version=1\)$"),
        (
            HelloOne.mood,
            r"^HelloOne\.mood is no workflow: give its class, or the run of its class$",
        ),
        ("Plain", "^'Plain' is no workflow: give its class"),
    ],
)
def test_what_is_no_workflow_is_told_how_to_become_one(reference: object, text: str):
    """By the names people wrote, not by addresses in memory."""
    with pytest.raises(fa.InvalidInput, match=text):
        definition_of(reference)


@pytest.mark.parametrize(
    ("given", "text"), [(HelloOne, r"fa\.App\(\[HelloOne\]\)"), (3, r"not 3: write fa\.App")]
)
def test_an_app_takes_a_list(given: Any, text: str):
    """One class alone is the likeliest slip; the answer is what to write."""
    with pytest.raises(fa.ConfigurationError, match=text):
        fa.App(given)


def test_code_without_parameters_takes_no_arguments():
    """Whichever way it is called, the text does not list parameters that are none."""
    signature = definition_of(Lonely).run
    with pytest.raises(
        fa.InvalidInput, match="arguments of Lonely: it takes no arguments, 1 given"
    ):
        signature.encode_json("1")
    with pytest.raises(fa.InvalidInput, match="it takes no arguments, given were 2 by position"):
        signature.encode((1, 2), {})


def test_workflow_calls_outside_a_workflow_are_misuse():
    """Calling the workflow API elsewhere says where it works."""
    for call in (fa.now, fa.random, fa.uuid4, fa.time_ns, fa.workflow_info):
        with pytest.raises(
            fa.WorkflowMisuse, match=f"{'random' if call is fa.uuid4 else call.__name__} works only"
        ):
            call()
    with (
        pytest.raises(fa.WorkflowMisuse, match="a cancel scope works only inside"),
        fa.move_on_after(1),
    ):
        pass


TYPED = """
from typing import assert_type
import flowactor as fa
from tests.workflow.flows import Order, charge_card

async def count(order: Order, by: int) -> int:
    return by

def price(order: Order) -> float:
    return 1.5

@fa.workflow(version=3)
class Typed:
    async def run(self, order: Order) -> str:
        assert_type(await charge_card(order, urgent=True), str)
        assert_type(await fa.variable("x", 1), fa.Variable[int])
        assert_type(await fa.compute("c", count, order, 3), int)
        assert_type(await fa.compute("p", price, order), float)
        assert_type(await fa.gather(charge_card(order), charge_card(order)), list[str])
        both = await fa.gather(charge_card(order), return_exceptions=True)
        assert_type(both, list[str | Exception])
        assert_type(await fa.race(charge_card(order)), str)
        async with fa.open_nursery() as nursery:
            nursery.start_soon(charge_card, order)
            nursery.start_soon(count, order, 1)
        return ""

    @fa.signal
    def note(self, text: str) -> None: ...

    @fa.query
    def size(self, unit: str = "m") -> int:
        return 1

assert_type(Typed().size("m"), int)

async def wrong(order: Order) -> None:
    await charge_card("x")  # type: ignore[arg-type]
    await fa.compute("c", count, order, "3")  # type: ignore[arg-type,call-arg]
    async with fa.open_nursery() as nursery:
        nursery.start_soon(count, order)  # type: ignore[arg-type,call-arg]
"""


@pytest.mark.long  # as long as a type checker takes without what it remembers of the last time
def test_the_public_surface_is_typed(tmp_path: Path):
    """A strict type checker knows results and refuses wrong arguments in user code."""
    path = tmp_path / "typed.py"
    path.write_text(TYPED)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--no-warn-unused-ignores",
        "--follow-imports=silent",
    ]
    command.append(str(path))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
