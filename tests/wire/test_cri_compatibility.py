"""Our CRI vocabulary against an independent copy: every number, type and label of a published package agrees.

The package `container-runtime-interface-api` registers the same full names as we do, and one descriptor pool cannot
hold both. So its modules are never imported: the serialized descriptors are read out of their source and put into a
pool of their own.
"""

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, FileDescriptor

from podwright.criapi import api_pb2

OURS: FileDescriptor = api_pb2.DESCRIPTOR


def serialized_file(module: Path) -> bytes:
    for node in ast.walk(ast.parse(module.read_text())):
        match node:
            case ast.Call(func=ast.Attribute(attr="AddSerializedFile"), args=[ast.Constant(value=bytes(literal))]):
                return literal
    raise AssertionError(f"no descriptor in {module}")


def load_theirs() -> FileDescriptor:
    spec = importlib.util.find_spec("cri_api")
    assert spec is not None
    assert spec.submodule_search_locations
    root = Path(next(iter(spec.submodule_search_locations)))
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(descriptor_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(serialized_file(root / "github/com/gogo/protobuf/gogoproto/gogo_pb2.py"))
    file: FileDescriptor = pool.AddSerializedFile(serialized_file(root / "v1/api_pb2.py"))
    return file


THEIRS = load_theirs()

# What the interface itself has changed since that copy was made; both leave the bytes as they are.
# The value of an environment variable became bytes, since it need not be UTF-8: same wire type.
BECAME_BYTES = {"runtime.v1.KeyValue.value"}
# Stop signals got a prefix, so that their names don't clash with the constants of C: same numbers.
GOT_PREFIX = {"runtime.v1.Signal": "SIGNAL_"}


def messages(file: FileDescriptor) -> Iterator[Descriptor]:
    for top in file.message_types_by_name.values():
        yield top
        yield from top.nested_types


def enums(file: FileDescriptor) -> Iterator[EnumDescriptor]:
    yield from file.enum_types_by_name.values()
    for top in file.message_types_by_name.values():
        yield from top.enum_types


def shape(field: FieldDescriptor) -> tuple[object, ...]:
    of = field.message_type or field.enum_type
    options = field.GetOptions()
    return (
        field.name,
        field.json_name,
        field.number,
        FieldDescriptor.TYPE_BYTES if field.full_name in BECAME_BYTES else field.type,
        field.is_repeated,
        field.is_packed,
        of.full_name if of else None,
        options.deprecated,
    )


def test_the_copy_is_worth_comparing_with() -> None:
    assert len(list(messages(THEIRS))) > 150
    assert len(THEIRS.services_by_name["RuntimeService"].methods) >= 28


@pytest.mark.parametrize("theirs", list(messages(THEIRS)), ids=lambda m: m.full_name)
def test_message_agrees(theirs: Descriptor) -> None:
    ours = OURS.pool.FindMessageTypeByName(theirs.full_name)
    assert ours.GetOptions().map_entry == theirs.GetOptions().map_entry
    for field in theirs.fields:
        assert shape(ours.fields_by_number[field.number]) == shape(field)


@pytest.mark.parametrize("theirs", list(enums(THEIRS)), ids=lambda e: e.full_name)
def test_enum_agrees(theirs: EnumDescriptor) -> None:
    ours = OURS.pool.FindEnumTypeByName(theirs.full_name)
    prefix = GOT_PREFIX.get(theirs.full_name, "")
    values = {value.name: value.number for value in ours.values}
    expected = {prefix + value.name: value.number for value in theirs.values}
    assert values | expected == values


@pytest.mark.parametrize("name", list(THEIRS.services_by_name))
def test_service_agrees(name: str) -> None:
    ours = OURS.services_by_name[name]
    for method in THEIRS.services_by_name[name].methods:
        mine = ours.methods_by_name[method.name]
        assert mine.full_name == method.full_name
        assert mine.input_type.full_name == method.input_type.full_name
        assert mine.output_type.full_name == method.output_type.full_name
        assert (mine.client_streaming, mine.server_streaming) == (method.client_streaming, method.server_streaming)


def test_the_newest_interface_is_complete() -> None:
    assert OURS.package == "runtime.v1"
    assert len(OURS.services_by_name["RuntimeService"].methods) == 37
    assert len(OURS.services_by_name["ImageService"].methods) == 6


def filled(descriptor: Descriptor, depth: int = 4) -> message.Message:
    """A message with every field set that `descriptor` knows, so that its bytes say all of the numbers."""
    made = message_factory.GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if field.message_type and field.message_type.GetOptions().map_entry:
            getattr(made, field.name)["key"] = "value"
        elif field.message_type:
            if depth:
                child = filled(field.message_type, depth - 1)
                target = getattr(made, field.name)
                (target.add() if field.is_repeated else target).CopyFrom(child)
        elif field.is_repeated:
            getattr(made, field.name).append(scalar(field))
        else:
            setattr(made, field.name, scalar(field))
    return made


def scalar(field: FieldDescriptor) -> object:
    if field.enum_type:
        return field.enum_type.values[-1].number
    if field.type == FieldDescriptor.TYPE_BYTES:
        return b"\xff\x00\xfe"
    if field.type == FieldDescriptor.TYPE_STRING:
        return f"{field.name} ünï"
    if field.type == FieldDescriptor.TYPE_BOOL:
        return True
    return field.number * 1.5 if field.type == FieldDescriptor.TYPE_DOUBLE else 2**31 - field.number


@pytest.mark.parametrize("theirs", list(messages(THEIRS)), ids=lambda m: m.full_name)
def test_bytes_survive_the_crossing(theirs: Descriptor) -> None:
    sent = filled(theirs).SerializeToString(deterministic=True)
    ours = message_factory.GetMessageClass(OURS.pool.FindMessageTypeByName(theirs.full_name))
    received = ours.FromString(sent)
    again = received.SerializeToString(deterministic=True)
    assert message_factory.GetMessageClass(theirs).FromString(again) == filled(theirs)
    received.DiscardUnknownFields()  # type: ignore[attr-defined, unused-ignore]
    assert received.SerializeToString(deterministic=True) == again


def test_known_bytes() -> None:
    request = api_pb2.StopContainerRequest(container_id="abc", timeout=10)
    assert request.SerializeToString() == b"\x0a\x03abc\x10\x0a"
    spec = api_pb2.ImageSpec(image="a", user_specified_image="b")
    assert spec.SerializeToString() == b"\x0a\x01a\x92\x01\x01b"
    auth = api_pb2.AuthConfig(username="u", registry_token="t")
    assert auth.SerializeToString() == b"\x0a\x01u\x32\x01t"
    resources = api_pb2.LinuxContainerResources(cpu_quota=-1, unified={"memory.oom.group": "1"})
    unified = b"\x4a\x15\x0a\x10memory.oom.group\x12\x011"
    assert resources.SerializeToString() == b"\x10" + b"\xff" * 9 + b"\x01" + unified


def test_credentials_are_kept_out_of_debug_output() -> None:
    redacted = {field.name for field in api_pb2.AuthConfig.DESCRIPTOR.fields if field.GetOptions().debug_redact}
    assert redacted == {"password", "auth", "identity_token", "registry_token"}
