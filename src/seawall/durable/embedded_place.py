"""Where the file of an embedded store may lie."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from seawall.durable.store import StoreError

NETWORK: Final = frozenset(
    (
        "9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "fuse.ceph", "fuse.gcsfuse", "fuse.glusterfs",
        "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "smb2", "smb3", "smbfs",
    )
)  # fmt: skip
"""File systems that lie on another computer: processes there and here do not see one another's locks and memory."""
MOUNTS: Final = Path("/proc/self/mountinfo")


def checked_path(path: str | Path) -> Path:
    """Returns the path of a store's file, absolute. Raises TypeError or ValueError for what names none."""
    wanted = "use the path of a file, such as 'shop.db'"
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path={path!r} is no path; {wanted}")
    text = os.fspath(path)
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise ValueError(f"path={path!r} names no file; {wanted}")
    if text == ":memory:":
        raise ValueError(f"path={path!r} keeps nothing; {wanted}, or, in tests, EmbeddedStore.in_memory()")
    if "://" in text or text.startswith("file:"):
        raise ValueError(f"path={path!r} is a URL; {wanted}, or open_store('sqlite:///shop.db')")
    return Path(text).absolute()


def check_place(path: Path, name: str) -> None:
    """Raises StoreError where a database file cannot be, or would be damaged."""
    folder = path.resolve().parent
    if not folder.is_dir():
        raise StoreError(f"{name}: there is no folder {str(folder)!r}; make it, or use another path")
    if path.is_dir():
        raise StoreError(f"{name}: this is a folder; use the path of a file")
    kind = file_system(folder)
    if kind in NETWORK:
        raise StoreError(
            f"{name}: {str(folder)!r} is on a network file system ({kind}), where SQLite's write-ahead log does not "
            "work and files are damaged; use a local disk, or PostgreSQL"
        )


def file_system(folder: Path) -> str | None:
    """Returns the kind of the file system that a folder is on, as Linux calls it; None where it cannot be told."""
    try:
        device = os.stat(folder).st_dev
        lines = MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in reversed(lines):  # what was mounted last hides the others
        fields, _, rest = line.partition(" - ")
        if fields.split()[2:3] == [wanted]:
            return rest.split()[0] if rest else None
    return None
