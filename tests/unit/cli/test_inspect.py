"""Statuses in crictl's shape."""

import pytest

from podwright.cli.inspect import parsed_info, rfc3339, shown


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [(0, ""), (-5, ""), (1, "1970-01-01T00:00:00.000000001Z"), (10**18 + 7, "2001-09-09T01:46:40.000000007Z")],
)
def test_times(time_ns: int, text: str) -> None:
    assert rfc3339(time_ns) == text


def test_info_that_is_json_is_taken_apart() -> None:
    assert parsed_info({"info": '{"pid": 5}'}) == {"pid": 5}
    assert parsed_info({"b": "plain", "a": "[1]"}) == {"a": [1], "b": "plain"}
    assert parsed_info({}) == {}


def test_the_whole() -> None:
    status = {"id": "x", "createdAt": "1", "finishedAt": "0"}
    assert shown(status, {"info": "{}"}) == {
        "status": {"id": "x", "createdAt": "1970-01-01T00:00:00.000000001Z", "finishedAt": ""},
        "info": {},
    }
