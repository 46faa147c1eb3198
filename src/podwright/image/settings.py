"""Settings of images."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Settings:
    """`[image]`"""

    pinned: tuple[str, ...] = field(
        default=(),
        metadata={"help": "Images the kubelet must not collect: references, or patterns with * and ?."},
    )
    discard_unpacked_layers: bool = field(
        default=False,
        metadata={
            "help": "Delete a layer's compressed blob once it is unpacked. Saves about a third of the disk;\n"
            "`podwright image save` then can't write the image."
        },
    )
    max_concurrent_unpacks: int = field(
        default=4, metadata={"help": "How many layers are unpacked at the same time, over all pulls.", "min": 1}
    )
    max_layer_bytes: int = field(
        default=128 * 1024**3, metadata={"help": "The most bytes a layer may have when it is decompressed.", "min": 1}
    )
    max_layer_entries: int = field(
        default=4_000_000, metadata={"help": "The most files and directories a layer may have.", "min": 1}
    )
    progress_log_interval_s: float = field(
        default=10.0, metadata={"help": "How often the log tells how far a pull has come, in seconds.", "above": 0}
    )
    sweep_interval_s: float = field(
        default=300.0,
        metadata={"help": "How often blobs and layers that nothing refers to are looked for, in seconds.", "above": 0},
    )
