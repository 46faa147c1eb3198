"""The kernel, as thin as it gets: syscalls, mounts, namespaces, processes. No policy lives here."""
