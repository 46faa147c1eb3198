"""Whether an OCI runtime does what Podwright, and the runtime specification, expect of it."""
