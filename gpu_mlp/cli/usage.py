"""Mistakes on the command line, each as one sentence with what to do."""

from __future__ import annotations

from collections.abc import Sequence
from types import NoneType
from typing import Any, get_args

from cyclopts import (
    App,
    Argument,
    ArgumentCollection,
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    RepeatArgumentError,
    Token,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from gpu_mlp.data.messages import listed, quoted
from gpu_mlp.errors import ConfigError, did_you_mean

__all__ = ["check_whole_numbers", "flag_names", "usage_sentence"]

KINDS = {int: "a whole number", float: "a number", bool: "true or false"}


def usage_sentence(error: CycloptsError, argv: Sequence[str]) -> str:
    """What was given, what was expected and what to do."""
    command = " ".join(error.command_chain or ()) or "gpu-mlp"
    see = f"see {' '.join(('gpu-mlp', *(error.command_chain or ())))} --help"
    match error:
        case UnknownOptionError():
            name = (error.token.keyword or error.token.value).partition("=")[0]
            known = flag_names(error.argument_collection)
            hint = did_you_mean(name, known)
            hint = hint if hint.startswith("; did") else f"; {see}"
            return f"{command} has no flag {shown_flag(name)}{hint}"
        case UnknownCommandError():
            given = (error.unused_tokens or list(argv))[0]
            if given.startswith("-"):
                return f"{command} has no flag {shown_flag(given.partition('=')[0])}; {see}"
            commands = [name for name in (error.app or ()) if not name.startswith("-")]
            return f"there is no command {quoted(given)}{did_you_mean(given, commands)}"
        case CoercionError() if error.token is not None:
            return _coercion_sentence(error)
        case MissingArgumentError() if error.argument is not None:
            flag = error.keyword or next((token.keyword for token in error.argument.tokens), None)
            if flag is not None:
                return f"{flag} needs a value; give one after it, or {see}"
            return f"{command} needs {error.argument.name.lstrip('-').upper()}; {see}"
        case RepeatArgumentError():
            return f"{error.token.keyword} was given more than once; give it once"
        case UnusedCliTokensError():
            unused = listed(error.unused_tokens or ())
            return f"{command} was given {unused} beyond what it takes; quote names with spaces, or {see}"
    return f"{' '.join(str(error).split())} {see[0].upper()}{see[1:]}"


def shown_flag(name: str) -> str:
    """A flag as it was given, quoted only where it would not be seen."""
    return name if name.isprintable() and len(name) < 60 else quoted(name)


def flag_names(arguments: ArgumentCollection) -> list[str]:
    """The long flags of a command."""
    return [
        name for argument in arguments for name in argument.names if name.startswith("--") and argument.parse
    ]


def check_whole_numbers(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Refuse 1.5 where a whole number is wanted, which cyclopts would round; a `config` of cyclopts."""
    for argument in arguments:
        for token in argument.tokens if _scalar(argument.hint) is int else ():
            if "." in token.value and _is_fraction(token.value):
                raise ConfigError(_kind_sentence(token, argument, int))


def _is_fraction(text: str) -> bool:
    try:
        return not float(text).is_integer()
    except ValueError:  # no number at all, refused by cyclopts
        return False


def _coercion_sentence(error: CoercionError) -> str:
    token, argument = error.token, error.argument
    assert token is not None
    return _kind_sentence(token, argument, error.target_type if argument is None else argument.hint)


def _kind_sentence(token: Token, argument: Argument | None, hint: Any) -> str:
    """Where a value of the wrong kind stands, and what it must be."""
    wanted = KINDS.get(_scalar(hint), "something else")
    name = token.keyword or (argument.name if argument is not None else "the argument")
    where = ""
    if token.source not in ("", "cli"):
        where, name = f"{token.source}: ", name.lstrip("-")
    return f"{where}{name} is {quoted(token.value)}, but must be {wanted}"


def _scalar(hint: Any) -> Any:
    """int of `int | None`."""
    kinds = [kind for kind in get_args(hint) if kind is not NoneType]
    return kinds[0] if len(kinds) == 1 else hint
