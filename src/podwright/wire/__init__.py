"""Wire formats, sans-IO: bytes in, events out. Nothing here opens, reads or waits for anything."""
