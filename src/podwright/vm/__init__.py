"""podwright-vm: an OCI runtime that makes a pod a virtual machine. A program of its own: docs/vm.md."""
