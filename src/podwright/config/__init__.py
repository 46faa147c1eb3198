"""Configuration: TOML files, drop-ins, environment and flags, assembled into the rooms' own settings."""
