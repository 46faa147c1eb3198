"""Containerd shims (runtime v2): runtime and monitor in one program, which is the parent of a pod's containers."""
