"""ttrpc on asyncio: calls over one connection, of plugins here and, with the same parts, of containerd's shims."""
