"""Keyword options: those of a method are the keys of a TypedDict, and any other is refused before anything is sent."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterable
from typing import Any, ParamSpec, TypeVar, cast

from ..exceptions import IncusInputError

P = ParamSpec("P")
T = TypeVar("T")


def known_options(options: type) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorate a method whose keyword options are the keys of ``options``; raises `IncusInputError` for others."""

    def decorate(method: Callable[P, T]) -> Callable[P, T]:
        code: Any = getattr(method, "__code__", None)
        known = {*code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount], *options.__annotations__}

        def check(given: Iterable[str]) -> None:
            for name in given:
                if name not in known:
                    raise IncusInputError(f"{method.__qualname__}() has no option {name!r}: {_remedy(name, known)}")

        if not inspect.iscoroutinefunction(method):

            @functools.wraps(method)
            def call(*args: P.args, **kwargs: P.kwargs) -> T:
                check(kwargs)
                return method(*args, **kwargs)

            return call

        @functools.wraps(method)
        async def call_async(*args: P.args, **kwargs: P.kwargs) -> Any:
            check(kwargs)
            return await method(*args, **kwargs)

        return cast("Callable[P, T]", call_async)

    return decorate


def _remedy(name: str, known: Collection[str]) -> str:
    hyphenated = name.replace("_", "-")
    if hyphenated in known:
        return f'write **{{"{hyphenated}": ...}}'
    if name in ("project", "target") and "to" in known:
        return f"write to=client.use_{name}(...)"
    import difflib

    close = difflib.get_close_matches(name, known, 1)
    return f"did you mean {close[0]!r}?" if close else f"it has {', '.join(sorted(known))}"
