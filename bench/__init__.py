"""Measures container runtimes through their CRI socket, all on the same work: `python -m bench --help`.

It starts what it compares on directories of its own, feeds them from a registry on loopback, takes turns so that
the machine's noise is shared, and takes everything down again. docs/performance.md says how to read the numbers.
"""
