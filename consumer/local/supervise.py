"""Runs one command and ends it when the parent is gone, even if the parent was killed with SIGKILL.

    python -I -S supervise.py DIRECTORY_OR_EMPTY COMMAND...

Standard input is the life line: the parent holds its other end, and the kernel closes that with the parent. Works on
every POSIX system, where Linux's PR_SET_PDEATHSIG would not. Prints the command's process id; the command's output goes
to standard error. If the parent is gone, DIRECTORY (its temporary data) is removed once the command has ended.
Standard library only, so that it starts in a few milliseconds.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import threading

#: Time that a command with data worth keeping gets to end by itself, seconds.
GRACE_SECONDS = 10.0


def main() -> int:
    """Run the command given on the command line; returns its exit status."""
    temporary, *command = sys.argv[1:]
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    orphaned = threading.Event()

    def end_with_parent() -> None:
        os.read(0, 1)  # not sys.stdin: a thread that waits inside it makes the interpreter's exit fail
        orphaned.set()
        if not temporary:
            child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(GRACE_SECONDS)
        child.kill()

    threading.Thread(target=end_with_parent, daemon=True).start()
    with contextlib.suppress(OSError):  # a parent that is gone already does not ask
        os.write(1, f"{child.pid}\n".encode())
    status = child.wait()
    if orphaned.is_set() and temporary:
        shutil.rmtree(temporary, ignore_errors=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
