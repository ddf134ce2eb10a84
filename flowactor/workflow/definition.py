"""What users decorate: workflow classes, their signal handlers and queries."""

import enum
import inspect
import types
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeVar, overload

from attrs import field, frozen

from flowactor.errors import ConfigurationError, InvalidInput, NotFound
from flowactor.workflow.names import checked_name
from flowactor.workflow.signatures import Signature, looks_async

__all__ = [
    "Handler",
    "HandlerKind",
    "WorkflowDefinition",
    "definition_of",
    "handler_of",
    "query",
    "signal",
    "workflow",
]

C = TypeVar("C", bound=type)
F = TypeVar("F", bound=Callable[..., Any])
Standby = Literal["hot", "cold"]

_DEFINITION: Final = "__flowactor_definition__"
_HANDLER: Final = "__flowactor_handler__"


class HandlerKind(enum.Enum):
    SIGNAL = "signal"
    QUERY = "query"


@frozen(eq=False)
class Handler:
    """A method that answers from outside. Signals may be sync or async, queries are sync."""

    kind: HandlerKind
    name: str
    function: Callable[..., Any]
    signature: Signature
    is_async: bool


@frozen(eq=False)
class WorkflowDefinition:
    """A workflow class as the engine sees it; made by ``@workflow``.

    Attributes:
        name: the workflow type.
        version: runs stay with the version they were started with.
        standby: ``"hot"``: every voter interprets the run; ``"cold"``: only its owner does.
        run: the signature of the main method, without ``self``.
    """

    name: str
    version: int
    cls: type
    standby: Standby
    run: Signature
    signals: Mapping[str, Handler] = field(repr=False)
    queries: Mapping[str, Handler] = field(repr=False)

    def signal_named(self, name: str) -> Handler:
        """Raises:
        NotFound: lists those there are.
        """
        return self._named(self.signals, "signal", name)

    def query_named(self, name: str) -> Handler:
        """Raises:
        NotFound: lists those there are.
        """
        return self._named(self.queries, "query", name)

    def resolve(self) -> None:
        """Look up all types that annotations name.

        Raises:
            ConfigurationError: one of them does not exist.
        """
        for signature in (
            self.run,
            *(h.signature for h in (*self.signals.values(), *self.queries.values())),
        ):
            signature.resolve()

    def check_arguments(self, arguments: bytes) -> None:
        """Raises:
        InvalidInput: ``run`` does not take them; names the path of the field.
        """
        self.run.decode(arguments)

    def _named(self, handlers: Mapping[str, Handler], kind: str, name: str) -> Handler:
        handler = handlers.get(name)
        if handler is None:
            known = ", ".join(sorted(handlers)) or "none"
            raise NotFound(f"{self.name} has no {kind} {name!r}; it has: {known}")
        return handler


# -- decorators ---------------------------------------------------------------------------------


@overload
def workflow(cls: C, /) -> C: ...
@overload
def workflow(
    *, version: int = 1, name: str | None = None, standby: Standby = "hot"
) -> Callable[[C], C]: ...
def workflow(
    cls: Any = None, /, *, version: int = 1, name: str | None = None, standby: Standby = "hot"
) -> Any:
    """Make a class a workflow type. Its ``async def run(self, ...)`` is the code; ``__init__``
    takes nothing and sets up the state that signal handlers and queries share with it.

    Args:
        cls: when used without parentheses.
        version: from 1 up. Versions live side by side; a run keeps its own.
        name: the workflow type; the class's name, if not given.
        standby: ``"cold"`` for code that is heavy to interpret: only the owner runs it then, and
            another node has to replay it before it can go on.

    Raises:
        ConfigurationError: the class cannot be one; says what to change.
    """

    def decorate(cls: C) -> C:
        setattr(cls, _DEFINITION, _define(cls, name or cls.__name__, version, standby))
        return cls

    return decorate if cls is None else decorate(cls)


@overload
def signal(function: F, /) -> F: ...
@overload
def signal(*, name: str | None = None) -> Callable[[F], F]: ...
def signal(function: Any = None, /, *, name: str | None = None) -> Any:
    """Make a method a signal handler: it is called, in order, for each signal sent to the run.

    A plain method runs at once; an async one runs as a branch, and the run ends only when it has
    ended. An exception that leaves it fails the run.
    """
    return _handler_decorator(HandlerKind.SIGNAL, function, name)


@overload
def query(function: F, /) -> F: ...
@overload
def query(*, name: str | None = None) -> Callable[[F], F]: ...
def query(function: Any = None, /, *, name: str | None = None) -> Any:
    """Make a plain method a query: it looks at the run's state and answers, also after the end."""
    return _handler_decorator(HandlerKind.QUERY, function, name)


def _handler_decorator(kind: HandlerKind, function: Any, name: str | None) -> Any:
    def decorate(function: F) -> F:
        called = checked_name(name or function.__name__, kind.value, ConfigurationError)
        is_async = looks_async(function)
        if kind is HandlerKind.QUERY and is_async:
            raise ConfigurationError(
                f"query {called} must be a plain method: it may look, not wait"
            )
        _check_method(function, f"{kind.value} {called}")
        signature = Signature(function, f"arguments of {kind.value} {called}", skip_self=True)
        setattr(function, _HANDLER, Handler(kind, called, function, signature, is_async))
        return function

    return decorate if function is None else decorate(function)


def definition_of(reference: object) -> WorkflowDefinition:
    """The definition behind a workflow class, or behind its ``run`` (``ProcessOrder.run``).

    Raises:
        InvalidInput: it is neither.
    """
    found = getattr(reference, _DEFINITION, None)
    if not isinstance(found, WorkflowDefinition) or (
        isinstance(reference, type) and _DEFINITION not in vars(reference)
    ):
        raise InvalidInput(_no_workflow(reference))
    return found


def handler_of(reference: object, kind: HandlerKind) -> Handler:
    """The handler behind a method (``ProcessOrder.add_note``).

    Raises:
        InvalidInput: it is no handler of that kind.
    """
    found = getattr(reference, _HANDLER, None)
    if not isinstance(found, Handler) or found.kind is not kind:
        shown = getattr(reference, "__qualname__", None) or repr(reference)
        raise InvalidInput(
            f"{shown} is no {kind.value} of a workflow: decorate it with @fa.{kind.value}"
        )
    return found


def _no_workflow(reference: object) -> str:
    name: str = getattr(reference, "__qualname__", "")
    owner, _, method = name.rpartition(".")
    if isinstance(reference, type):
        return f"{name} is no workflow: decorate it with @fa.workflow(version=1)"
    if method == "run" and not owner.endswith("<locals>"):
        return f"{name}: decorate {owner} with @fa.workflow(version=1)"
    return f"{name or repr(reference)} is no workflow: give its class, or the run of its class"


# -- eager checks -------------------------------------------------------------------------------


def _define(cls: type, name: str, version: int, standby: Standby) -> WorkflowDefinition:
    if not isinstance(cls, type):
        raise ConfigurationError(f"@workflow decorates a class, not {cls!r}")
    checked_name(name, "workflow type", ConfigurationError)
    if type(version) is not int or version < 1:
        raise ConfigurationError(
            f"{name}: version is {version!r}, it must be a whole number from 1 up"
        )
    if standby not in ("hot", "cold"):
        raise ConfigurationError(f"{name}: standby is {standby!r}, it must be 'hot' or 'cold'")
    run = getattr(cls, "run", None)
    if not inspect.isfunction(run) or not looks_async(run):
        raise ConfigurationError(f"{name} needs its code as 'async def run(self, ...)'")
    _check_method(run, f"{name}.run")
    _check_init(cls, name)
    if _DEFINITION in vars(run):
        # Inherited: a reference to run must mean this class, so this class gets its own.
        run = _copy_of(run)
        cls.run = run  # type: ignore[attr-defined]
    signature = Signature(run, f"arguments of {name}", skip_self=True)
    signals, queries = _handlers(cls, name)
    definition = WorkflowDefinition(name, version, cls, standby, signature, signals, queries)
    setattr(run, _DEFINITION, definition)
    return definition


def _copy_of(function: types.FunctionType) -> types.FunctionType:
    copy = types.FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__annotations__ = function.__annotations__
    copy.__qualname__, copy.__doc__ = function.__qualname__, function.__doc__
    copy.__module__ = function.__module__
    return copy


def _check_method(function: Any, what: str) -> None:
    if not inspect.isfunction(function) or not inspect.signature(function).parameters:
        raise ConfigurationError(f"{what} must be a method: its first parameter is self")


def _check_init(cls: type, name: str) -> None:
    for parameter in inspect.signature(cls).parameters.values():
        if parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            raise ConfigurationError(
                f"{name}.__init__ takes {parameter.name!r}; it is called with nothing, "
                "input belongs to the parameters of run"
            )


def _handlers(cls: type, name: str) -> tuple[dict[str, Handler], dict[str, Handler]]:
    found: dict[HandlerKind, dict[str, Handler]] = {kind: {} for kind in HandlerKind}
    attributes = dict.fromkeys(
        attribute for base in reversed(cls.__mro__) for attribute in vars(base)
    )
    for attribute in attributes:
        marked = any(
            _HANDLER in getattr(vars(base).get(attribute), "__dict__", ()) for base in cls.__mro__
        )
        if not marked:
            continue
        handler = getattr(getattr(cls, attribute), _HANDLER, None)
        if handler is None:
            raise ConfigurationError(
                f"{name}.{attribute} overrides a handler: decorate it like the original"
            )
        if any(handler.name in handlers for handlers in found.values()):
            raise ConfigurationError(f"{name} has two handlers named {handler.name!r}")
        found[handler.kind][handler.name] = handler
    return found[HandlerKind.SIGNAL], found[HandlerKind.QUERY]
