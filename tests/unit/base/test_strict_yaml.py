from __future__ import annotations

import pytest
import yaml

from podwright.base.errors import InvalidArgument
from podwright.base.strict_yaml import StrictLoader


def test_a_key_is_given_once() -> None:
    assert yaml.load("a: 1\nb: {a: 2}", StrictLoader) == {"a": 1, "b": {"a": 2}}
    with pytest.raises(InvalidArgument, match="line 3: 'a' is given twice"):
        yaml.load("a: 1\nb: 2\na: 3", StrictLoader)


def test_merged_keys_are_no_second_time() -> None:
    assert yaml.load("x: &x {a: 1}\ny: {<<: *x, a: 2}", StrictLoader)["y"] == {"a": 2}


def test_no_python_objects() -> None:
    with pytest.raises(yaml.YAMLError):
        yaml.load("!!python/object/apply:os.system [true]", StrictLoader)
