"""What a function takes and returns, as the codec needs it: names, types, and how many must be
given.
"""

import inspect
import typing
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary

from flowactor.codec import payloads
from flowactor.errors import ConfigurationError, InvalidInput

__all__ = ["Signature", "looks_async"]

_NO_ARGUMENTS: Final = payloads.encode_arguments((), {}, "")
_NO_PARAMETERS: Final = "it takes no arguments"
_AWAITABLES: Final = frozenset({Awaitable, Coroutine})


def looks_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(inspect.unwrap(function))


class Signature:
    """The durable signature of a user's function. Arguments travel by position, without those at
    the end that were left to their defaults.

    Args:
        function: the function itself, not a wrapper.
        where: what its arguments are called in errors, ``"arguments of step charge_card"``.
        skip_self: the first parameter is no argument.

    Raises:
        ConfigurationError: it takes ``*args`` or ``**kwargs``, for which there is no stable order.
    """

    def __init__(
        self, function: Callable[..., Any], where: str, *, skip_self: bool = False
    ) -> None:
        self.function = function
        self.where = where
        listed = list(inspect.signature(function).parameters.values())[1 if skip_self else 0 :]
        for parameter in listed:
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise ConfigurationError(
                    f"{where}: {parameter} cannot be recorded; "
                    "name each parameter, or take a list or dict"
                )
        self.names = tuple(parameter.name for parameter in listed)
        self.defaults = {p.name: p.default for p in listed if p.default is not p.empty}
        self.keyword_only = frozenset(p.name for p in listed if p.kind is p.KEYWORD_ONLY)
        positions = [i for i, p in enumerate(listed) if p.default is p.empty]
        self.required = positions[-1] + 1 if positions else 0
        self._hints: Mapping[str, Any] | None = None
        self._returns: Any = Any

    def resolve(self) -> None:
        """Look up the types that the annotations name.

        Raises:
            ConfigurationError: one of them does not exist.
        """
        try:
            hints = typing.get_type_hints(self.function, include_extras=True)
        except NameError as error:
            raise ConfigurationError(
                f"{self.where}: {error}; a type hint must name something at the top of its module"
            ) from error
        self._returns = _plain_return(hints.get("return", Any))
        self._hints = {name: hints.get(name, Any) for name in self.names}

    @property
    def hints(self) -> Mapping[str, Any]:
        """Types by parameter name, in order."""
        if self._hints is None:
            self.resolve()
        assert self._hints is not None
        return self._hints

    @property
    def returns(self) -> Any:
        if self._hints is None:
            self.resolve()
        return self._returns

    def encode(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        """The payload of a call.

        Raises:
            InvalidInput: the function does not take these arguments, or one does not fit its type.
        """
        if kwargs or self.keyword_only or not self.required <= len(args) <= len(self.names):
            args = self._bound(args, kwargs)
        if not args:
            return _NO_ARGUMENTS
        return payloads.encode_arguments(args, self.hints, self.where)

    def decode(self, data: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments in a payload, to be passed on as ``function(*args, **kwargs)``.

        Raises:
            InvalidInput: they do not fit; names the path of the field.
        """
        if data == _NO_ARGUMENTS and not self.required:
            return (), {}
        values = payloads.decode_arguments(data, self.hints, self.required, self.where)
        if not self.keyword_only:
            return values, {}
        pairs = list(zip(self.names, values, strict=False))
        args = tuple(value for name, value in pairs if name not in self.keyword_only)
        return args, {name: value for name, value in pairs if name in self.keyword_only}

    def encode_json(self, source: Any) -> bytes:
        """The payload of a call whose arguments a person wrote as JSON: an array of them, or the
        only one.

        Raises:
            InvalidInput: they do not fit; names the path of the field.
        """
        return payloads.payload_from_json(source, self.hints, self.where, required=self.required)

    def _bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
        positional = [name for name in self.names if name not in self.keyword_only]
        given = dict(zip(positional, args, strict=False))
        unknown = [name for name in kwargs if name not in self.names or name in given]
        missing = [
            n for n in self.names if n not in given and n not in kwargs and n not in self.defaults
        ]
        if len(args) > len(positional) or unknown or missing:
            listed = (
                f"the parameters are ({', '.join(self.names)})" if self.names else _NO_PARAMETERS
            )
            raise InvalidInput(f"{self.where}: {listed}, given were {_shown(args, kwargs)}")
        given.update(kwargs)
        last = max((i for i, name in enumerate(self.names) if name in given), default=-1)
        return tuple(given.get(name, self.defaults.get(name)) for name in self.names[: last + 1])


def _shown(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    count = len(args)
    named = "".join(f", {name}=" for name in kwargs)
    return f"{count} by position{named}"


def _plain_return(hint: Any) -> Any:
    """``T`` for a function annotated ``-> Awaitable[T]`` as well as for ``async def ... -> T``."""
    if typing.get_origin(hint) in _AWAITABLES:
        return typing.get_args(hint)[-1]
    return hint


_OF_FUNCTION: Final[WeakKeyDictionary[Any, Signature]] = WeakKeyDictionary()
"""A cache: what it holds can be computed again from the function alone."""


def signature_of(function: Callable[..., Any], where: str, count: int) -> Signature | None:
    """The signature of any callable that is passed ``count`` arguments by position, or None if it
    has none that could be used (builtins, ``*args``): its arguments then travel without types.
    """
    target = getattr(function, "__func__", function)
    try:
        known = _OF_FUNCTION.get(target)
    except TypeError:
        return None
    if known is None:
        try:
            known = Signature(target, where, skip_self=target is not function)
            known.resolve()
        except (ConfigurationError, TypeError, ValueError):
            return None
        _OF_FUNCTION[target] = known
    return known if known.required <= count <= len(known.names) else None
