"""A load test of the gateway, as a command.

`python -m examples.llmgateway.load --rate 40 --seconds 10 --faults 0.1` starts a gateway as a process of its own and
puts it under load; with `--url` one that runs already. `--report FILE` makes three runs (nothing fails, a share of what
the providers are asked fails, one provider is silent throughout) and writes a page about them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shlex
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from examples.llmgateway.clients import client
from examples.llmgateway.customers import Load, run
from examples.llmgateway.load_report import Report, page
from examples.llmgateway.provider import BEFORE

PROVIDERS: Final = ("anthropic", "openai")
ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is the matter while the load is on: for each provider, the share of requests that fail, and how."""

    title: str
    faults: dict[str, dict[str, Any]] = field(default_factory=dict)


def some_fail(share: float) -> Trouble:
    """Returns the trouble of providers that each fail such a share: 500, 503, 429 or silence."""
    title = f"{share:.0%} of what the providers are asked fails: 500, 503, 429 or silence" if share else "Nothing fails"
    return Trouble(title, {name: {"rate": share, "kinds": BEFORE, "seed": seed} for seed, name in enumerate(PROVIDERS)})


def one_is_silent(name: str) -> Trouble:
    """Returns the trouble of a provider that never says a word."""
    return Trouble(f"{name} is silent throughout", {name: {"rate": 1.0, "kinds": ["stall"]}})


@asynccontextmanager
async def own_gateway() -> AsyncIterator[Mapping[str, str]]:
    """Runs the gateway as a process; gives where it listens, and where its providers do, by name."""
    command = [sys.executable, "-m", "examples.llmgateway", "--port", "0"]
    pipe, nowhere = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL  # its log has a line for every fault
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=pipe, stderr=nowhere)
    assert process.stdout is not None
    try:
        urls = {}
        async for line in process.stdout:
            name, _, url = line.decode().strip().rpartition(" ")
            urls[name.strip()] = url
            if name == "listening on":
                break
        if "listening on" not in urls:
            raise SystemExit("the gateway did not start; python -m examples.llmgateway says why")
        yield urls
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def under_trouble(load: Load, trouble: Trouble) -> Report:
    """Puts a gateway of its own under load while its providers are in trouble; returns the report."""
    async with own_gateway() as urls:
        for name, faults in trouble.faults.items():
            await _faults(urls[name], faults)
        report = await run(urls["listening on"], load, trouble.title)
        for name in PROVIDERS:
            said = await _faults(urls[name])
            report.struck[name] = {"asked": said["asked"], **said["struck"]}
    return report


async def _faults(url: str, faults: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Returns what a stand-in says of its faults, after giving it others, if there are any."""
    async with client(url) as stand_in:
        response = await (stand_in.get("/faults") if faults is None else stand_in.put("/faults", json=dict(faults)))
        response.raise_for_status()
        found: dict[str, Any] = response.json()
        return found


async def _runs(options: argparse.Namespace, load: Load) -> list[Report]:
    if options.url is not None:
        return [await run(options.url, load, f"A gateway at {options.url}")]
    troubles = [some_fail(options.faults)]
    if options.report is not None:
        troubles = [some_fail(0.0), *troubles, one_is_silent(PROVIDERS[0])]
    return [await under_trouble(load, trouble) for trouble in troubles]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a load test; returns 0 where all targets were met, else 1."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    load = Load(options.rate, options.seconds, options.streamed, options.seed)
    reports = asyncio.run(_runs(options, load))
    for report in reports:
        print(json.dumps(report.as_dict(), indent=2))
        for missed in report.missed():
            print(f"missed: {report.title}: {missed}", file=sys.stderr)
    if options.report is not None:
        shown = [word if word != str(options.report) else options.report.name for word in given]
        options.report.write_text(page(reports, shlex.join(["python", "-m", "examples.llmgateway.load", *shown])))
    return int(any(report.missed() for report in reports))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.llmgateway.load", description="Load on the LLM gateway.")
    add = parser.add_argument
    add("--url", help="of a gateway that runs; default: one that is started for this")
    add("--rate", type=float, default=40.0, help="requests that arrive in a second; default 40")
    add("--seconds", type=float, default=10.0, help="for how long; default 10")
    add("--streamed", type=float, default=0.25, help="share of streamed answers; default 0.25")
    add("--faults", type=float, default=0.1, help="share of requests that providers fail, without --url; default 0.1")
    add("--seed", type=int, default=1, help="says when requests arrive; default 1")
    add("--report", type=Path, metavar="FILE", help="make three runs, or one with --url, and write a page about them")
    return parser


if __name__ == "__main__":
    sys.exit(main())
