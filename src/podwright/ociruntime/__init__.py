"""Programs that are OCI runtimes: runc's command line, state, errors. `base.Program` is what one has to bring."""
