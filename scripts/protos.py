"""Makes the Python modules of the gRPC interfaces out of `tq/proto/*.proto`, so that there is one source.

    python scripts/protos.py           write the files
    python scripts/protos.py --check   exit 1 if a file is not what would be written

The compiler is grpcio-tools, pinned in constraints.txt: another version may write other bytes. What it writes is
packed serialised descriptors, not code for people, and is left out of style, type and size checks.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("tq/proto/stackduck.proto", "tq/proto/taskqueue.proto")
ENDINGS = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py")
"""What is made of one .proto: messages, their types, and stubs for clients in Python."""


def main() -> int:
    """0 = written, or all as it should be; 1 = --check found files that are not; they are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="change nothing, exit 1 if something would change"
    )
    check = parser.parse_args().check
    stale = []
    for name, text in made().items():
        path = ROOT / name
        if path.exists() and path.read_text() == text:
            continue
        stale.append(name)
        if not check:
            path.write_text(text)
    if check and stale:
        sys.stdout.write(f"not what scripts/protos.py makes: {', '.join(stale)}; run it\n")
        return 1
    return 0


def made() -> dict[str, str]:
    """path below the root -> what must stand there."""
    included = Path(grpc_tools.__file__).parent / "_proto"
    with tempfile.TemporaryDirectory() as directory:
        outputs = [f"--{kind}_out={directory}" for kind in ("python", "pyi", "grpc_python")]
        code = protoc.main(["protoc", f"--proto_path={ROOT}", f"--proto_path={included}", *outputs, *SOURCES])
        if code:
            raise SystemExit(f"protoc ended with {code}; its complaints stand above")
        names = [source.removesuffix(".proto") + ending for source in SOURCES for ending in ENDINGS]
        return {name: Path(directory, name).read_text() for name in names}


if __name__ == "__main__":
    raise SystemExit(main())
