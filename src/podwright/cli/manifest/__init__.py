"""Kubernetes manifests, read and put into CRI messages, all pure: no file is touched and no call is made here.

`documents` → `read_*` → `model` (what a manifest says, checked) → `cri_*` (messages). `podwright play` is the caller;
`podwright.cli.playing` has the effects.
"""
