"""The OCI specification of a container as pure functions, one concern a file; `build.py` puts them together."""
