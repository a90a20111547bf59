"""The group of all commands. Each is one file, which is imported when it is called and not before."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import Final

import click

from seawall._core import schemes
from seawall.cli import INTERRUPTED

COMMANDS: Final = {
    "check": ("seawall.cli.check:check", "Check a file of policies."),
    "db": ("seawall.cli.db:db", "Make the tables of a store, and see what waits in them."),
    "drain": ("seawall.cli.drain:drain", "Take no new requests, and wait for those in flight."),
    "health": ("seawall.cli.health:health", "Tell how a service is; for a container's HEALTHCHECK."),
    "idempotency": ("seawall.cli.idempotency:idempotency", "See operations, and settle those of unknown outcome."),
    "metrics": ("seawall.cli.metrics:metrics", "Print the metrics of all workers."),
    "outbox": ("seawall.cli.outbox:outbox", "See messages to be sent, and decide about those that are stuck."),
    "policies": ("seawall.cli.policies:policies", "Show the policies in force, or reload them."),
    "saga": ("seawall.cli.saga:saga", "See sagas, and decide about those that are stuck."),
    "storm": ("seawall.cli.storm:storm", "Run a system through a storm of faults, bare and protected."),
    "switch": ("seawall.cli.switch:switch", "Turn patterns and policies off and on."),
    "workers": ("seawall.cli.workers:workers", "List the worker processes."),
}
"""Where each command is, and what it does in a line: the help of the group shows it without importing them."""

EPILOG: Final = """\b
`seawall COMMAND --help` says more about a command.

\b
Completion in the shell, of commands, options and the names of switches:
  bash, in ~/.bashrc (the first line is for names such as retry@payments):
    COMP_WORDBREAKS=${COMP_WORDBREAKS//@}
    eval "$(_SEAWALL_COMPLETE=bash_source seawall)"
  zsh, in ~/.zshrc:  eval "$(_SEAWALL_COMPLETE=zsh_source seawall)"
  fish:              _SEAWALL_COMPLETE=fish_source seawall | source"""


class Commands(click.Group):
    """A group whose commands are loaded when they are called."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Returns a command, loaded now."""
        if cmd_name not in COMMANDS:
            return None
        reference, _ = COMMANDS[cmd_name]
        command: click.Command = schemes.load(reference)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the commands, without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, says) for name, (_, says) in sorted(COMMANDS.items())])


# The commands without their insides are what "did you mean" chooses from.
@click.group(
    cls=Commands,
    commands={name: click.Command(name) for name in COMMANDS},
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EPILOG,
)
@click.version_option(package_name="seawall", message="seawall %(version)s")
def seawall() -> None:
    """Keeps a Python service up when what it depends on goes down."""


def execute(arguments: Sequence[str] | None = None) -> int:
    """Runs a command, and returns its exit code: 2 for wrong usage, 1 where it failed, 130 after Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a character still shows the rest
    try:
        code = seawall.main(arguments, prog_name="seawall", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return INTERRUPTED
    return code if isinstance(code, int) else 0
