"""Behaves as PythonSlicer: a launcher that starts the real Python and passes on its output and its exit code alone.

Read from CTK's AppLauncher: the real program gets an input of its own, not the launcher's, and if it ends by a signal
the launcher says so and ends with 1.
"""

from __future__ import annotations

import subprocess
import sys


def main() -> int:
    real = subprocess.Popen([sys.executable, *sys.argv[1:]], stdin=subprocess.PIPE)
    code = real.wait()
    if code < 0:
        print(f"error: [{sys.executable}] exit abnormally - Report the problem.", file=sys.stderr)
        return 1
    return code


if __name__ == "__main__":
    sys.exit(main())
