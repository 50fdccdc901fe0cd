"""Why a file could not be written, in plain words, and what to do."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

_FREE, _OTHER = "Free some space, or write elsewhere.", "Choose another folder."
_REASONS = {
    errno.ENOSPC: ("the disk is full", _FREE),
    errno.EDQUOT: ("your quota is used up", _FREE),
    errno.EFBIG: ("the file is too large for this file system", "Write to another disk."),
    errno.EACCES: ("there is no permission to write", _OTHER),
    errno.EPERM: ("there is no permission to write", _OTHER),
    errno.EROFS: ("the file system is read-only", _OTHER),
    errno.ENAMETOOLONG: ("the name is too long", "Choose a shorter name or folder."),
    errno.EINVAL: ("the name has characters this file system does not allow", "Choose another name."),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", _OTHER),
}
IN_USE = (5, 32, 33, 1224)
"""Windows' numbers for what is open elsewhere, locked or mapped; the first is also said where there is no right."""
OPEN = ("another program has it open, or there is no permission to write",
        "Close it there, such as in a spreadsheet, or choose another folder.")
LONG_ON_WINDOWS = 200
"""Letters of a path; the folder that holds a result until it is whole has some more, and 260 are too many."""


def in_use(error: BaseException | None) -> bool:
    return getattr(error, "winerror", None) in IN_USE


def why(error: Exception, path: Path | str) -> tuple[str, str]:
    """Reason and remedy."""
    code = error.errno if isinstance(error, OSError) else None
    if in_use(error):
        return OPEN
    if sys.platform == "win32" and code == errno.ENOENT and len(str(path)) > LONG_ON_WINDOWS:
        return "the path is too long for Windows", "Choose a folder with a shorter path."
    words = str(error).strip().splitlines()
    return _REASONS.get(code) or (words[-1] if words else type(error).__name__, "Choose another folder, or try again.")
