"""podwright-nspawn: an OCI runtime whose containers systemd-nspawn makes. A program of its own, a peer of runc.

nspawn runs a small tree of ours, the stage, which holds the host's /usr and this package, read-only. The first program
in it (`first_step`) makes the container's root file system as the configuration says, moves into it, waits for `start`,
and becomes the container's command. docs/decisions/0024-nspawn.md says why.
"""
