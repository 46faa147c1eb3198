"""Generate the code of the .proto files beside this program into src/podwright (`make proto`).

The result is committed, so that nobody needs a compiler to install Podwright. Run it with the development
environment's Python: the `dev` extra pins grpcio-tools, hence protoc and with it the oldest protobuf and grpcio
that the generated code accepts (the lower bounds in pyproject.toml). `--check` writes nothing and fails when the
committed files are not what the .proto files say.
"""

import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

PROTO = Path(__file__).resolve().parent
GRPC = ["podwright/criapi/api.proto", "podwright/criapi/podwright.proto"]
MESSAGES = ["podwright/wire/ttrpc.proto", "podwright/nri/nri.proto", "podwright/shim/shim.proto"]
"""Those whose services, where they have any, are not served by gRPC: they need no stubs."""


def generate(out: Path) -> None:
    # mypy-protobuf's program lies beside the interpreter, which need not be on PATH.
    plugins = Path(sys.executable).parent
    argv = [
        "protoc",
        f"--proto_path={PROTO}",
        f"--plugin=protoc-gen-mypy={plugins / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={plugins / 'protoc-gen-mypy_grpc'}",
        f"--proto_path={files('grpc_tools') / '_proto'}",
        f"--python_out={out}",
        f"--mypy_out=quiet:{out}",
    ]
    stubs = [f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet:{out}"]
    if protoc.main([*argv, *stubs, *GRPC]) != 0 or protoc.main([*argv, *MESSAGES]) != 0:
        sys.exit("protoc failed; the reason is above")


def main() -> int:
    target = PROTO.parent / "src"
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        written = [path for path in Path(scratch).rglob("*") if path.is_file()]
        fresh = {str(path.relative_to(scratch)): path.read_bytes() for path in written}
    stale = [name for name, text in fresh.items() if not same(target / name, text)]
    if "--check" in sys.argv[1:]:
        if stale:
            sys.exit(f"not what proto/ says: {', '.join(sorted(stale))}; run `make proto`")
        return 0
    for name in stale:
        (target / name).write_bytes(fresh[name])
    return 0


def same(path: Path, text: bytes) -> bool:
    return path.exists() and path.read_bytes() == text


if __name__ == "__main__":
    sys.exit(main())
