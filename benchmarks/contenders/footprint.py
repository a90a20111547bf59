"""What protection costs before the first call: memory for each decorated function, and the import."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.contenders.five import nopanic_stack, pipeline, pyresilience_stack
from benchmarks.measure import Figure, Result, Settings, figure, own_copy
from benchmarks.rows import Protect, Row, awork

FUNCTIONS = 1_000


@dataclass(frozen=True)
class Memory(Row):
    """Bytes for each function that is decorated with the five and called once, beyond what all of them share."""

    def measured(self, settings: Settings) -> Result:
        stacks: dict[str, Callable[[], Protect]] = {
            "seawall": lambda: pipeline("memory"),
            "pyresilience": pyresilience_stack,
            "nopanic": nopanic_stack,
        }
        result = Result()
        for name, make in stacks.items():
            try:
                protect = make()
            except ImportError as error:
                result.missing[name] = f"not installed ({error.name or error})"
            else:
                size = asyncio.run(bytes_each(protect))
                result.figures[name] = Figure(size, size, "B")
        return result


async def bytes_each(protect: Protect) -> float:
    """Returns how many bytes a thousand decorated functions hold, each."""
    functions = [own_copy(awork) for _ in range(FUNCTIONS)]
    protected: list[Any] = [None] * FUNCTIONS
    await protect(own_copy(awork))(1)  # what is made once
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number, fn in enumerate(functions):
            protected[number] = protect(fn)
            await protected[number](1)
        await asyncio.sleep(0)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return (after - before) / FUNCTIONS


@dataclass(frozen=True)
class Import(Row):
    """Milliseconds for an import in a fresh interpreter that has imported asyncio already; contenders take turns."""

    def measured(self, settings: Settings) -> Result:
        modules = ["asyncio", "seawall", "nopanic", "pyresilience", "tenacity"]
        result = Result()
        times: dict[str, list[float]] = {module: [] for module in modules}
        for _ in range(settings.interpreters + 1):
            for module in [module for module in modules if module not in result.missing]:
                took = milliseconds(module)
                if took is None:
                    result.missing[module] = f"not installed ({module})"
                else:
                    times[module].append(took)
        for module in modules:
            if module not in result.missing:
                result.figures[module] = figure(times[module][1:], "ms")  # the first one wrote the byte code
        return result


def milliseconds(module: str) -> float | None:
    """Returns how long an import takes in a fresh interpreter; None where there is no such module."""
    first = "" if module == "asyncio" else "import asyncio\n"
    code = (
        f"from time import perf_counter_ns\n{first}start = perf_counter_ns()\n"
        f"try:\n    import {module}\nexcept ModuleNotFoundError:\n    print()\n"
        f"else:\n    print((perf_counter_ns() - start) / 1e6)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return float(run.stdout) if run.stdout.strip() else None


ROWS: list[Row] = [
    Memory("memory", "memory per decorated function, pipeline of five"),
    Import("import", "import seawall, beyond import asyncio"),
]
