"""Devices that vendors describe: the Container Device Interface."""
