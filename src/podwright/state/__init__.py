"""What must survive the daemon: records in one SQLite database, the boot id, and every path on disk, named once."""
