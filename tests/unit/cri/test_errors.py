from __future__ import annotations

import grpc
import pytest

from podwright.base import errors
from podwright.cri.errors import status_of

C = grpc.StatusCode


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidArgument("x", field="f"), C.INVALID_ARGUMENT),
        (errors.NotFound("x"), C.NOT_FOUND),
        (errors.AlreadyExists("x"), C.ALREADY_EXISTS),
        (errors.FailedPrecondition("x"), C.FAILED_PRECONDITION),
        (errors.ResourceExhausted("x"), C.RESOURCE_EXHAUSTED),
        (errors.Unauthenticated("x"), C.UNAUTHENTICATED),
        (errors.PermissionDenied("x"), C.PERMISSION_DENIED),
        (errors.Unavailable("x"), C.UNAVAILABLE),
        (errors.DeadlineExceeded("x", stage="network"), C.DEADLINE_EXCEEDED),
        (errors.DataLoss("x"), C.DATA_LOSS),
        (errors.Unimplemented("x"), C.UNIMPLEMENTED),
        (errors.Internal("x"), C.INTERNAL),
        (OSError(28, "No space left on device"), C.RESOURCE_EXHAUSTED),
        (TimeoutError(), C.DEADLINE_EXCEEDED),
        (ValueError("bug"), C.INTERNAL),
    ],
)
def test_each_kind_has_one_code(error: Exception, code: grpc.StatusCode) -> None:
    assert status_of(error)[0] == code


def test_a_prefix_the_kubelet_looks_for_comes_first() -> None:
    code, message = status_of(errors.PrefixedError("RegistryUnavailable", "no answer"))
    assert (code, message) == (C.UNKNOWN, "RegistryUnavailable: no answer")


def test_messages_fit_into_trailers() -> None:
    assert len(status_of(errors.Internal("x" * 100_000))[1]) <= 4096


def test_every_kind_is_in_the_table() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and kind.__module__ == errors.__name__]
    for kind in kinds:
        if kind is errors.PrefixedError:
            continue
        expected = C.INTERNAL if kind in (errors.PodwrightError, errors.Internal) else None
        assert status_of(kind("x"))[0] == expected or expected is None
        assert expected is not None or status_of(kind("x"))[0] != C.INTERNAL
