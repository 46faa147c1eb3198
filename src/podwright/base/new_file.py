"""A file that is either whole or not there, also after a crash: it has no name until everything is written.

open(2), O_TMPFILE. File systems that don't know it (NFS, some FUSE ones) get a hidden name beside the final one.
"""

from __future__ import annotations

import errno
import os
from types import TracebackType

from podwright.base.ids import random_suffix

_UNKNOWN = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)


def spare_name(name: str) -> str:
    return f".{name}.{random_suffix()}.tmp"


class NewFile:
    """`with NewFile(directory_fd, "name") as new: write to new.fd; new.sync(); new.publish()`.

    Without `publish` nothing is left. `directory_fd` stays the caller's, and open until then. `spare` is the name that
    the file may have on its way, where its own is taken or where the file system knows no file without one: what a
    crash at that moment leaves. Default: one that nobody else has.
    """

    def __init__(self, directory_fd: int, name: str, *, mode: int = 0o600, spare: str = "") -> None:
        self._directory_fd, self._name = directory_fd, name
        self._spare = spare or spare_name(name)
        self._hidden = ""
        try:
            self.fd = os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, mode, dir_fd=directory_fd)
        except OSError as error:
            if error.errno not in _UNKNOWN:
                raise
            self._hidden = self._spare
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self.fd = os.open(self._hidden, flags, mode, dir_fd=directory_fd)
        os.fchmod(self.fd, mode)

    def sync(self) -> None:
        """Make the content durable; in a thread, and before it gets its name."""
        os.fsync(self.fd)

    def publish(self) -> None:
        """Give it its name, in place of whatever file or symlink has that. Raises OSError."""
        if not self._hidden and not self._link(self._name):
            self._link(self._spare)
            self._hidden = self._spare
        if self._hidden:
            os.rename(self._hidden, self._name, src_dir_fd=self._directory_fd, dst_dir_fd=self._directory_fd)
            self._hidden = ""
        os.fsync(self._directory_fd)

    def _link(self, name: str) -> bool:
        """Whether the name was free. linkat(2) with AT_SYMLINK_FOLLOW, by way of /proc: without privilege over
        descriptors."""
        try:
            os.link(f"/proc/self/fd/{self.fd}", name, dst_dir_fd=self._directory_fd, follow_symlinks=True)
        except FileExistsError:
            if name == self._spare:
                raise
            return False
        return True

    def __enter__(self) -> NewFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.fd)
        if self._hidden:
            try:
                os.unlink(self._hidden, dir_fd=self._directory_fd)
            except FileNotFoundError:
                return
