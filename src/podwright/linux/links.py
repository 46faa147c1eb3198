"""Network links of the calling thread's network namespace, by ioctl: up, down, away. netdevice(7).

Three ioctls need neither a netlink library nor the `ip` program. Anything richer belongs to CNI plugins.
"""

from __future__ import annotations

import errno
import fcntl
import socket
import struct

_FLAGS_FORMAT = "16sh22x"  # struct ifreq with ifr_flags
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCBRDELBR = 0x8913, 0x8914, 0x89A1
_IFF_UP = 1


def set_up(name: str) -> None:
    """`ip link set NAME up`"""
    with _control() as control:
        _change_flags(control, name, add=_IFF_UP)


def delete_bridge(name: str) -> None:
    """Take a bridge down and delete it; one that isn't there is success."""
    with _control() as control:
        try:
            _change_flags(control, name, drop=_IFF_UP)
            fcntl.ioctl(control, _SIOCBRDELBR, struct.pack("16s", name.encode()))
        except OSError as error:
            if error.errno not in (errno.ENODEV, errno.ENXIO):
                raise


def _control() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)


def _change_flags(control: socket.socket, name: str, *, add: int = 0, drop: int = 0) -> None:
    answer = fcntl.ioctl(control, _SIOCGIFFLAGS, struct.pack(_FLAGS_FORMAT, name.encode(), 0))
    _, flags = struct.unpack(_FLAGS_FORMAT, answer)
    fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack(_FLAGS_FORMAT, name.encode(), flags & ~drop | add))
