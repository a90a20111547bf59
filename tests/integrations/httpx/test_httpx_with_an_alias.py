"""httpx2 under the name of httpx: for a whole process, so the whole suite runs once more in one of its own."""

import subprocess
from pathlib import Path

import pytest

from tests.integrations.httpx.driver import ALIASED


@pytest.mark.skipif(ALIASED, reason="this is that process")
def test_the_suite_passes_where_httpx2_is_aliased(aliased: tuple[subprocess.Popen[bytes], Path]) -> None:
    """Every test of this folder but the long ones; the run was begun with the first of them here."""
    process, output = aliased
    code = process.wait(timeout=300)
    said = output.read_text(encoding="utf-8")
    assert 0 == code, said[-8000:]
    assert " passed" in said


@pytest.mark.skipif(not ALIASED, reason="for the process in which it is")
def test_both_names_are_one_library() -> None:
    """What is asked for by either name is the same module, known once."""
    import httpx
    import httpx2

    from seawall.integrations.httpx.library import classes, loaded

    assert httpx is httpx2
    assert [httpx2] == list(loaded())
    assert (httpx2.ReadError,) == classes(("ReadError",))()
