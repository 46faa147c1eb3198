"""What runs inside a virtual machine of podwright-vm: PID 1, which makes containers and lends them streams.

The machine holds this package, what it imports, and the interpreter's own modules: the standard library is all there
is. `docs/vm.md` has the protocol, `docs/decisions/0021-guest-agent.md` why it is Python.
"""
