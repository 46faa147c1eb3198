"""`make machine`: a small QEMU machine with systemd and cgroup v2 alone, in which tests of both run.

A host with cgroup v1, or a container without systemd, can't show what a node does. The machine takes the host's own
root file system, read-only and with a layer of memory over it, so that programs, Python and .venv are the host's; the
kernel is Debian's. Nothing is emulated in it but the processor, and nothing outlives it.
"""
