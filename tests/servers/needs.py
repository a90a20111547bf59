"""What a test does where a server's program is missing, or was left out on purpose."""

import os

import pytest

from tests.provision import SERVERS


def program(name: str) -> str:
    """Returns the path of a server's program. Raises FileNotFoundError, which says how to get it."""
    found = SERVERS[name].program()
    if found is None:
        raise FileNotFoundError(
            f"{SERVERS[name].name} is missing: `make test` installs it, or run `python -m tests.provision`"
        )
    return found


def needs(name: str) -> None:
    """Skips the test where servers were left out on purpose; fails it where the server's program is missing."""
    if os.environ.get("SEAWALL_TEST_SERVERS") == "embedded":
        pytest.skip(f"needs {SERVERS[name].name}, and SERVERS=embedded leaves servers out")
    try:
        program(name)
    except FileNotFoundError as missing:
        pytest.fail(str(missing))
