"""The command line: one file a subcommand, all of them clients of a CRI socket like any other.

`app` finds the subcommand, `client` is the one way to the socket, `lookup` turns what people type into ids, `output`
is the one way to the terminal. Only `serve` and `config` know that the daemon is in the same package.
"""
