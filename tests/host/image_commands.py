"""Runs `hanlab image …` in this process."""

from __future__ import annotations

from typer.testing import CliRunner, Result

from hanlab.cli.image import app


def run(*arguments: str) -> Result:
    """Run a command; errors of hanlab's family are left to the caller, as the top level does."""
    result = CliRunner().invoke(app, list(arguments))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result
