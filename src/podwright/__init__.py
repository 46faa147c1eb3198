"""Podwright: a Kubernetes container runtime. The map of its rooms is docs/architecture.md."""

__version__ = "0.1.0"
