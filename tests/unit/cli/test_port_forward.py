import pytest

from podwright.base.errors import InvalidArgument
from podwright.cli.port_forward import parse_ports


@pytest.mark.parametrize(
    ("text", "ports"), [("80", (80, 80)), ("8080:80", (8080, 80)), (":80", (0, 80)), ("0:80", (0, 80))]
)
def test_ports(text: str, ports: tuple[int, int]) -> None:
    assert parse_ports(text) == ports


@pytest.mark.parametrize("text", ["", ":", "0", "80:0", "x", "80:x", "-1", "65536", "1:2:3", "80:", "٣"])
def test_what_is_no_port(text: str) -> None:
    with pytest.raises(InvalidArgument, match="ports"):
        parse_ports(text)
