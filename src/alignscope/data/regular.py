"""Files that end: what is asked for by name may be a pipe or a device, at which a reader waits for ever."""

from __future__ import annotations

import errno
from pathlib import Path


def regular(path: Path) -> Path:
    """The same path, of a file, a folder or nothing; a pipe or a device is an OSError, as what cannot be opened is.

    >>> regular(Path("/dev/null"))
    Traceback (most recent call last):
    ...
    OSError: [Errno 22] a pipe or a device, which is no file: '/dev/null'
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "a pipe or a device, which is no file", str(path))
    return path
