"""podwright-nspawn with real nspawn and conmon."""
