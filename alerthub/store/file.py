"""SQLite's file: on a local disk, held by one hub, and still at its path. What is in it is not known here."""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path
from typing import IO

from alerthub.errors import AlerthubError, Busy

MOUNTS = Path("/proc/self/mounts")
NETWORK_FILE_SYSTEMS = frozenset({
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "lustre", "afs",
    "fuse.sshfs", "fuse.glusterfs", "fuse.ceph-fuse", "fuse.s3fs", "fuse.rclone",
})


class DatabaseInUse(AlerthubError):
    """Another process holds this SQLite file."""


class Gone(Busy):
    """The SQLite file was deleted or replaced under the running hub: what is written now would be lost with it."""


class Presence:
    """Whether the file that was opened is still the one at its path. Asked once per transaction: a `stat` takes about a
    microsecond, an fsync hundreds."""

    def __init__(self, path: str) -> None:
        self.path = str(Path(path).resolve()) if path else ""
        self.opened: tuple[int, int] | None = None

    def found(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self.path)
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def remember(self) -> None:
        if self.path and self.opened is None:
            self.opened = self.found()

    def check(self) -> None:
        if self.opened is not None and self.found() != self.opened:
            raise Gone("the database file is gone; stop the hub, restore it")


def lock_file(path: str) -> IO[str] | None:
    """Hold the file against a second hub, for as long as this process lives. None for a database in memory."""
    if not path:
        return None
    target = Path(path).resolve()       # one file, one lock, by whatever name it is called
    refuse_network_file_system(target)
    try:
        handle = open(f"{target}.lock", "a", encoding="ascii")  # noqa: SIM115  (held open on purpose)
    except OSError as error:
        raise AlerthubError(f"cannot open {target}: {error.strerror}; name a file in a folder that this user may write to, "
                            "in database.url") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.close()
        raise DatabaseInUse(
            f"{path} is in use by another alerthub; stop that one, or give this one another database.url "
            "(several replicas need PostgreSQL)",
        ) from None
    return handle


def refuse_network_file_system(path: Path, mounts: Path = MOUNTS) -> None:
    """WAL needs shared memory on the same host; on a network file system it loses data."""
    kind = file_system_of(path, mounts)
    if kind in NETWORK_FILE_SYSTEMS:
        raise DatabaseInUse(f"{path} lies on a network file system ({kind}), where SQLite loses data; "
                            "use a local disk, or PostgreSQL")


def file_system_of(path: Path, mounts: Path) -> str:
    """The kind of file system as in /proc/self/mounts; empty when that cannot be known."""
    try:
        rows = [line.split() for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:
        return ""
    real = os.path.realpath(path)
    places = [(unescaped(row[1]), row[2]) for row in rows if len(row) > 2]
    # Of two on the same place, the later one hides the earlier: autofs, then what it mounted.
    below = [(len(place), index, kind) for index, (place, kind) in enumerate(places) if is_below(real, place)]
    return max(below, default=(0, 0, ""))[2]


def unescaped(place: str) -> str:
    """Blanks and backslashes in a mount point are written as three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), place)


def is_below(path: str, mount: str) -> bool:
    return path == mount or path.startswith(mount.rstrip("/") + "/")
