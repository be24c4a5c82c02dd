"""The command line: one subcommand a workflow; nothing heavy is imported before its use."""

from __future__ import annotations

from osteon.cli.app import main

__all__ = ["main"]
