"""What `runsc ps` says; the rest of gVisor is in tests/system/test_gvisor.py, with the real runsc."""

from __future__ import annotations

from podwright.runtime.gvisor import descendants

TABLE = """UID       PID       PPID      C         TTY       STIME     TIME      CMD
0         2         0         0         ?         22:04     0s        sleep
0         3         0         0         ?         22:04     0s        sh
0         5         4         0         ?         22:04     0s        a name with spaces
0         4         3         0         ?         22:04     0s        sleep
"""


def test_descendants() -> None:
    assert descendants(3, TABLE) == [3, 4, 5]
    assert descendants(2, TABLE) == [2]
    assert descendants(9, "") == [9]
