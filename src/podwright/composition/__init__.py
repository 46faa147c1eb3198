"""How a daemon is put together: one file a backend, and one for the surfaces that all of them are served by."""
