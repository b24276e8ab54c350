"""`refused`: a call raises the expected error, whose message is one line and says what it must say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gpu_mlp.errors import DataError


@contextmanager
def refused(*parts: str, error: type[Exception] = DataError) -> Iterator[None]:
    with pytest.raises(error) as caught:
        yield
    message = str(caught.value)
    assert message.isprintable(), repr(message)
    assert len(message) < 400, message
    absent = [part for part in parts if part not in message]
    assert not absent, f"{absent} not in {message!r}"
