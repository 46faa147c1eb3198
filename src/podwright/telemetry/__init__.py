"""What the daemon tells about itself: log settings, Prometheus metrics."""
