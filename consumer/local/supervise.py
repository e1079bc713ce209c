"""Runs one command and ends it when the parent ends, even if the parent was killed with SIGKILL.

    python -I -S supervise.py DIRECTORY_OR_EMPTY COMMAND...

The parent holds the other end of standard input, and the kernel closes it when the parent ends. This works on every
POSIX system; Linux's PR_SET_PDEATHSIG would not. Prints the command's process id; the command's output goes to standard
error. If the parent has ended, DIRECTORY (its temporary data) is removed after the command. Uses only the standard
library, so it starts in a few milliseconds.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import threading

#: How long a command with kept data may take to end by itself, seconds.
GRACE_SECONDS = 10.0


def main() -> int:
    """Run the command given on the command line; returns its exit status."""
    temporary, *command = sys.argv[1:]
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    orphaned = threading.Event()

    def end_with_parent() -> None:
        os.read(0, 1)  # not sys.stdin: a thread that waits in it makes the interpreter fail at exit
        orphaned.set()
        if not temporary:
            child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(GRACE_SECONDS)
        child.kill()

    threading.Thread(target=end_with_parent, daemon=True).start()
    with contextlib.suppress(OSError):  # the parent may have ended already
        os.write(1, f"{child.pid}\n".encode())
    status = child.wait()
    if orphaned.is_set() and temporary:
        shutil.rmtree(temporary, ignore_errors=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
