"""Images: pulled, unpacked, listed, removed, loaded and saved; an image exists exactly when all it needs exists."""
