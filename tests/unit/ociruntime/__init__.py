"""Programs that are OCI runtimes."""
