"""Files of a cgroup as numbers."""

from __future__ import annotations

from podwright.guest.statistics import from_files

FILES = {
    "cpu.stat": "usage_usec 70\nuser_usec 50\nsystem_usec 20\nnr_periods 3\nnr_throttled 1\nthrottled_usec 9\n",
    "memory.current": "4096\n", "memory.max": "max\n", "pids.current": "2\n", "pids.max": "10\n",
    "memory.stat": "anon 1\nfile 2\nslab 5\ninactive_file 4\npgfault 7\npgmajfault 6\n",
    "memory.events": "low 0\nhigh 0\nmax 4\noom 1\noom_kill 1\n",
    "io.stat": "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n253:0 \n",
    "cpu.pressure": "some avg10=1.50 avg60=0.00 avg300=0.00 total=77\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
}  # fmt: skip


def test_all_files() -> None:
    found = from_files(lambda name: FILES.get(name, ""))
    assert found.pop("io") == [
        {"device": "8:0", "read_bytes": 1, "write_bytes": 2, "reads": 3, "writes": 4},
        {"device": "253:0", "read_bytes": 0, "write_bytes": 0, "reads": 0, "writes": 0},
    ]
    assert found.pop("pressure")["cpu"]["some"] == {"avg10": 1.5, "avg60": 0.0, "avg300": 0.0, "total_us": 77}
    assert found == {
        "cpu_usage_us": 70, "cpu_user_us": 50, "cpu_system_us": 20, "cpu_periods": 3, "cpu_throttled_periods": 1,
        "cpu_throttled_us": 9, "memory_bytes": 4096, "pids": 2, "pids_limit": 10, "memory_anon_bytes": 1,
        "memory_file_bytes": 2, "memory_slab_bytes": 5, "memory_inactive_file_bytes": 4, "memory_page_faults": 7,
        "memory_major_page_faults": 6, "oom_kills": 1,
    }  # fmt: skip


def test_a_cgroup_that_is_gone_has_no_numbers() -> None:
    assert from_files(lambda name: "") == {"io": []}
