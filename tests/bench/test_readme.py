"""The README shows real output: what it quotes of a command is what the command prints."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
BLOCK = re.compile(r"<!-- output: (hanlab .+?) -->\n```console\n\$ .+\n(.*?)```", re.DOTALL)


def _lines(text: str) -> list[str]:
    """Without wall times, which differ each time."""
    return [re.sub(r"\d+\.\d+ s wall", "wall", line.rstrip()) for line in text.splitlines()]


def blocks() -> list[tuple[str, str]]:
    return BLOCK.findall(README.read_text())


@pytest.mark.parametrize(("command", "shown"), blocks(), ids=[c for c, _ in blocks()])
def test_quoted_output_is_what_the_command_prints(command: str, shown: str, tmp_path: Path) -> None:
    """A line of … stands for what was left out."""
    run = subprocess.run(
        [sys.executable, "-c", "from hanlab.cli import main; main()", *command.split()[1:]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={"PATH": "", "PYTHONIOENCODING": "utf-8"},
        check=True,
    )
    printed = "\n".join(_lines(run.stdout))
    for part in "\n".join(_lines(shown)).split("…"):
        assert part.strip("\n") in printed


def test_something_is_quoted() -> None:
    assert blocks()


@pytest.mark.skipif(not shutil.which("curl"), reason="no curl here")
def test_the_curl_line_works_as_pasted(tmp_path: Path) -> None:
    """But for the port, which is any that is free here."""
    (line,) = [text for text in README.read_text().splitlines() if "| curl " in text]
    command = [sys.executable, "-c", "from hanlab.cli import main; main()"]
    serving = subprocess.Popen(
        [*command, "serve", "--port", "0", "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert serving.stdout
        url = json.loads(serving.stdout.readline())["url"]
        here = line.replace("http://127.0.0.1:8079/api/v1", url)
        assert here != line
        (tmp_path / "hanlab").write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
        (tmp_path / "hanlab").chmod(0o755)
        pasted = subprocess.run(
            ["sh", "-c", here],
            cwd=tmp_path,
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert "<sr:ResponseCode>I99</sr:ResponseCode>" in pasted.stdout, pasted
    finally:
        serving.terminate()
        serving.communicate()
