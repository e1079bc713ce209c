"""What a command prints on a terminal, which differs from what it prints in a pipe."""

import os
import pty
import subprocess
import sys


def on_a_terminal(*words: str, columns: int) -> str:
    """The output of `python -m consumer WORDS` on a terminal of that width; it has to succeed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "consumer", *words],
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "COLUMNS": str(columns)},
    )
    os.close(theirs)
    output = b""
    while True:
        try:
            output += os.read(ours, 65536)
        except OSError:  # the other side is closed
            break
    os.close(ours)
    assert process.wait(60) == 0, output
    return output.decode()
