"""Control groups: naming, parents, killing, counters, on cgroup v1, v2 and the two side by side."""
