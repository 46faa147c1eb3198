"""Who a container's process is: every combination of request, image and files, and hostile ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.base.errors import InvalidArgument, NotFound, PodwrightError
from podwright.container.spec.user import MAX_ID, ResolvedUser, resolve_user
from podwright.criapi import api_pb2 as pb

PASSWD = b"""root:x:0:0:root:/root:/bin/sh
# a comment
web:x:1000:1001:Web:/home/web:/bin/sh
1234:x:77:78::/number:/bin/sh
short:x:5:6
bad:x:notanumber:0::/:
huge:x:4294967296:0::/:
"""
GROUP = b"""root:x:0:
web:x:1001:
extra:x:50000:root,web
other:x:60000:somebody
4321:x:99:
"""


def security(**fields: object) -> pb.LinuxContainerSecurityContext:
    message = pb.LinuxContainerSecurityContext()
    for name, value in fields.items():
        if name in ("run_as_user", "run_as_group"):
            getattr(message, name).value = value
        elif name == "supplemental_groups":
            message.supplemental_groups.extend(value)  # type: ignore[arg-type]
        else:
            setattr(message, name, value)
    return message


def resolve(image: str = "", **fields: object) -> ResolvedUser:
    return resolve_user(security(**fields), image, passwd=PASSWD, group=GROUP)


@pytest.mark.parametrize(
    ("image", "uid", "gid", "home"),
    [
        ("", 0, 0, "/root"),
        ("0", 0, 0, "/root"),
        ("web", 1000, 1001, "/home/web"),
        ("1000", 1000, 1001, "/home/web"),
        ("web:root", 1000, 0, "/home/web"),
        ("web:60000", 1000, 60000, "/home/web"),
        ("1000:1000", 1000, 1000, "/home/web"),
        ("4242", 4242, 0, ""),
        ("4242:extra", 4242, 50000, ""),
        (":web", 0, 1001, "/root"),
        (" web ", 1000, 1001, "/home/web"),
        ("1234", 1234, 0, ""),  # a number is an id, even where a user has it for a name
        ("0:4321", 0, 4321, "/root"),
    ],
)
def test_image_user(image: str, uid: int, gid: int, home: str) -> None:
    user = resolve(image)
    assert (user.uid, user.gid, user.home) == (uid, gid, home)


def test_request_wins_over_the_image() -> None:
    assert resolve("web", run_as_user=0).uid == 0
    assert resolve("root", run_as_username="web").uid == 1000


def test_the_images_group_is_only_for_the_images_user() -> None:
    assert resolve("web:root", run_as_user=1000).gid == 1001
    assert resolve("web:root", run_as_user=4242).gid == 0


def test_group_of_the_request() -> None:
    assert resolve("", run_as_user=1000, run_as_group=7).gid == 7
    assert resolve("", run_as_username="web", run_as_group=0).gid == 0
    with pytest.raises(InvalidArgument, match="run_as_group"):
        resolve("web", run_as_group=7)


def test_a_username_is_a_name_also_when_it_looks_like_a_number() -> None:
    with pytest.raises(NotFound, match="1000"):
        resolve("", run_as_username="1000")
    assert resolve("1000").uid == 1000


def test_both_id_and_name_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="only one"):
        resolve("", run_as_user=1, run_as_username="web")


def test_merge_adds_the_images_memberships() -> None:
    assert resolve("", run_as_user=1000, supplemental_groups=[1234]).supplemental_groups == (1001, 1234, 50000)
    assert resolve("web").supplemental_groups == (1001, 50000)
    assert resolve("", run_as_user=4242, supplemental_groups=[5]).supplemental_groups == (0, 5)


def test_strict_has_only_what_is_given() -> None:
    user = resolve("", run_as_user=1000, supplemental_groups=[1234], supplemental_groups_policy=pb.Strict)
    assert user.supplemental_groups == (1001, 1234)


def test_groups_are_named_once() -> None:
    assert resolve("", run_as_user=1000, supplemental_groups=[50000, 1001, 50000]).supplemental_groups == (1001, 50000)


@pytest.mark.parametrize("image", ["nobody-here", "0x0", "1e3", "web:nogroup", "-1x", "\u0661\u0662", "1_000"])
def test_unknown_names(image: str) -> None:
    with pytest.raises(NotFound):
        resolve(image)
    with pytest.raises(NotFound):
        resolve("", run_as_username=image.partition(":")[0] + "-x")


@pytest.mark.parametrize(
    "image", ["4294967296", "-1", "2147483648", "0:99999999999", "1000:-5", "99999999999999999999"]
)
def test_ids_out_of_range_are_refused_not_wrapped(image: str) -> None:
    with pytest.raises(InvalidArgument, match="not an id"):
        resolve(image)


@pytest.mark.parametrize(
    "fields",
    [{"run_as_user": -1}, {"run_as_user": MAX_ID + 1}, {"run_as_user": 1, "run_as_group": 2**32},
     {"run_as_user": 1, "supplemental_groups": [2**31]}],
)  # fmt: skip
def test_requested_ids_out_of_range(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument, match="not an id"):
        resolve("", **fields)


def test_files_may_be_absent() -> None:
    user = resolve_user(security(run_as_user=5), "", passwd=None, group=None)
    assert user == ResolvedUser(5, 0, (0,))
    with pytest.raises(NotFound):
        resolve_user(security(), "web", passwd=None, group=None)


def test_a_home_with_control_characters_is_dropped() -> None:
    passwd = b"evil:x:5:5::/home\x0broot:x:/bin/sh\n"
    assert resolve_user(security(), "evil", passwd=passwd, group=None).home == ""


def test_a_line_end_in_a_field_makes_no_second_user() -> None:
    with pytest.raises(NotFound):
        resolve_user(security(), "evil", passwd=b"a:x:5:5::/home\\nevil:x:0:0::/:\n", group=None)


@given(st.binary(max_size=300), st.binary(max_size=300), st.text(max_size=20))
def test_hostile_files_give_an_identity_or_a_clean_error(passwd: bytes, group: bytes, image: str) -> None:
    try:
        user = resolve_user(security(), image, passwd=passwd, group=group)
    except PodwrightError:
        return
    assert 0 <= user.uid <= MAX_ID
    assert all(0 <= gid <= MAX_ID for gid in user.supplemental_groups)
    assert user.supplemental_groups[0] == user.gid
    assert not any(ord(character) < 32 for character in user.home)
