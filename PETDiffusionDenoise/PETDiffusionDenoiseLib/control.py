"""The line between the panel and its child: it carries `cancel`, and its end tells the child that the panel is gone.

A socket on this computer alone, because standard input does not get through PythonSlicer: that is a launcher, which
starts the real Python with an input of its own.
"""

from __future__ import annotations

import contextlib
import secrets
import socket

VARIABLE = "PETDIFFUSION_CONTROL"
HOST = "127.0.0.1"
CANCEL = b"cancel\n"
TOKEN_BYTES = 16


class Control:
    """The panel's end. The child proves with a token that it is the one that was started."""

    def __init__(self) -> None:
        self._token = secrets.token_hex(TOKEN_BYTES)
        self._listener = socket.create_server((HOST, 0), backlog=1)
        self._listener.setblocking(False)
        self._line: socket.socket | None = None
        self._cancel_asked = False

    def environment(self) -> dict[str, str]:
        """What the child needs to find the line."""
        return {VARIABLE: f"{self._listener.getsockname()[1]}:{self._token}"}

    def poll(self) -> None:
        """Take the child's call when it comes. Never blocks for longer than a moment."""
        if self._line is not None:
            return
        with contextlib.suppress(OSError):
            line, _ = self._listener.accept()
            line.settimeout(1.0)
            said = b""
            while len(said) < 2 * TOKEN_BYTES and (more := line.recv(2 * TOKEN_BYTES - len(said))):
                said += more
            if not secrets.compare_digest(said, self._token.encode()):
                line.close()
                return
            self._line = line
            if self._cancel_asked:
                self._send()

    def cancel(self) -> None:
        """Ask the child to stop; if it has not called yet, as soon as it does."""
        self._cancel_asked = True
        self.poll()
        if self._line is not None:
            self._send()

    def _send(self) -> None:
        with contextlib.suppress(OSError):
            self._line.sendall(CANCEL)

    def close(self) -> None:
        for end in (self._line, self._listener):
            if end is not None:
                end.close()
