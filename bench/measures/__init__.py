"""What is measured, one subject a file. Names of metrics are `subject.detail`, the same for every peer."""
