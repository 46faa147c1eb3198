"""The kinds of error Podwright knows.

A kind says what a caller may do about an error; `cri/errors.py` maps each kind to exactly one gRPC code.
Drivers raise subclasses that carry facts. A message names the thing that is wrong and, where there is one,
the way to mend it. An error that travels to the kubelet by a literal message prefix is a `PrefixedError`.

    PodwrightError
    ├── InvalidArgument      the request itself is wrong; asking again cannot help
    ├── NotFound             no such object
    ├── AlreadyExists        a name or id is taken by something that is not this request
    ├── FailedPrecondition   the object is in a state that forbids the verb
    ├── ResourceExhausted    disk, memory, a limit or a quota is full
    ├── Unauthenticated      credentials are missing or wrong
    ├── PermissionDenied     the caller may not do this
    ├── Unavailable          something this depends on does not answer; asking again may help
    ├── DeadlineExceeded     the time given ran out
    ├── Cancelled            the caller went away
    ├── DataLoss             bytes are not what their digest says
    ├── Unimplemented        not offered here, or not by this handler or kernel
    ├── PrefixedError        code Unknown, message begins with a word the kubelet looks for
    └── Internal             something that should not happen did
"""

from __future__ import annotations


class PodwrightError(Exception):
    """The root of all errors that Podwright raises on purpose. `str()` is meant for people."""


class InvalidArgument(PodwrightError):
    """The request is wrong. `field` is its path in the request, where it is known."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field


class NotFound(PodwrightError):
    """No such object."""


class AlreadyExists(PodwrightError):
    """The name or id is taken."""


class FailedPrecondition(PodwrightError):
    """The object's state forbids the verb."""


class ResourceExhausted(PodwrightError):
    """A disk, a limit or a quota is full."""


class Unauthenticated(PodwrightError):
    """Credentials are missing or wrong."""


class PermissionDenied(PodwrightError):
    """The caller may not do this."""


class Unavailable(PodwrightError):
    """A thing this depends on does not answer now."""


class DeadlineExceeded(PodwrightError):
    """The time given ran out. `stage` says how far the work had come."""

    def __init__(self, message: str, *, stage: str = "") -> None:
        super().__init__(f"{message} (stage reached: {stage})" if stage else message)
        self.stage = stage


class Cancelled(PodwrightError):
    """The caller went away before the work was done."""


class DataLoss(PodwrightError):
    """Bytes are not what their digest says: somebody sent others, or a disk lost them."""


class Unimplemented(PodwrightError):
    """Not offered here."""


class Internal(PodwrightError):
    """Something that should not happen did."""


class PrefixedError(PodwrightError):
    """An error the kubelet recognises by the first word of its message, e.g. `RegistryUnavailable`."""

    def __init__(self, prefix: str, message: str) -> None:
        super().__init__(f"{prefix}: {message}")
        self.prefix = prefix
