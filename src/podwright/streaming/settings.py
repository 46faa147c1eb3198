"""Settings of the streaming server."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """`[streaming]`"""

    address: str = field(
        default="127.0.0.1",
        metadata={
            "help": "The address to listen on for exec, attach and port-forward. The kubelet connects to it, so the\n"
            "loopback interface is enough; whoever can reach it needs a token as well."
        },
    )
    port: int = field(
        default=0, metadata={"help": "The port to listen on; 0: any that is free.", "min": 0, "max": 65535}
    )
    tls_certificate: Path | None = field(
        default=None, metadata={"help": "The server's certificate in PEM form; with tls_key, it serves HTTPS."}
    )
    tls_key: Path | None = field(default=None, metadata={"help": "The key of tls_certificate, in PEM form."})
    idle_timeout_s: float = field(
        default=4 * 3600.0,
        metadata={"help": "A connection on which nothing moves is ended after so many seconds.", "above": 0},
    )
    creation_timeout_s: float = field(
        default=30.0,
        metadata={"help": "How long a client has to send its request and to open its streams, in seconds.", "above": 0},
    )
    token_lifetime_s: float = field(
        default=60.0,
        metadata={"help": "For how long the URL that Exec, Attach and PortForward return is good.", "above": 0},
    )
    max_tokens: int = field(
        default=1000,
        metadata={"help": "How many such URLs may be outstanding; more are refused until some end.", "min": 1},
    )
    max_header_bytes: int = field(
        default=16 * 1024, metadata={"help": "The largest head of an HTTP request, in bytes.", "min": 1024}
    )
