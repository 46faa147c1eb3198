"""What the engine tells of a pull: bytes to messages to progress, and its words to errors."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.base.errors import (
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PodwrightError,
    ResourceExhausted,
    Unauthenticated,
)
from podwright.docker.errors import EngineFailed
from podwright.docker.image.messages import Message, MessageReader, PullStory
from podwright.docker.image.words import pull_failure
from podwright.image.progress import Phase, PullTracker
from podwright.oci.reference import parse_reference
from podwright.registry.base import RateLimited, RegistryUnavailable

DIGEST = "sha256:" + "d" * 64


def story(*told: dict[str, object]) -> tuple[PullStory, PullTracker]:
    tracker = PullTracker("app")
    result = PullStory(tracker)
    for message in MessageReader().feed(b"".join(json.dumps(each).encode() + b"\r\n" for each in told)):
        result.take(message)
    return result, tracker


@given(st.lists(st.integers(0, 200), max_size=6))
def test_any_cut_gives_the_same(cuts: list[int]) -> None:
    data = b'{"status":"one"}\r\n{"id":"abc","status":"Downloading","progressDetail":{"current":1,"total":2}}\r\n\n'
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    reader = MessageReader()
    found = [message for at in range(len(places) - 1) for message in reader.feed(data[places[at] : places[at + 1]])]
    assert [message.status for message in found] == ["one", "Downloading"]
    assert found[1].detail is not None
    assert (found[1].detail.current, found[1].detail.total) == (1, 2)


def test_what_is_no_message() -> None:
    with pytest.raises(EngineFailed, match="don't understand"):
        list(MessageReader().feed(b"<html>\n"))
    with pytest.raises(EngineFailed, match="more than"):
        list(MessageReader().feed(b"x" * 2_000_000))


def test_the_layers_of_a_pull() -> None:
    told, tracker = story(
        {"status": "Pulling from library/app", "id": "latest"},
        {"id": "aaa", "status": "Already exists", "progressDetail": {}},
        {"id": "bbb", "status": "Pulling fs layer"},
        {"id": "ccc", "status": "Waiting"},
        {"id": "bbb", "status": "Downloading", "progressDetail": {"current": 30, "total": 100}},
    )
    assert {layer.digest: layer.phase for layer in tracker.state.layers} == {
        "sha256:aaa": Phase.EXISTS, "sha256:bbb": Phase.FETCHING, "sha256:ccc": Phase.WAITING,
    }  # fmt: skip
    assert (tracker.state.bytes_done, tracker.state.bytes_total) == (30, 100)
    assert told.waiting_for == "bbb, ccc"
    assert not told.unpacking
    told.take(Message(id="bbb", status="Verifying Checksum"))
    told.take(Message(id="bbb", status="Download complete"))
    assert tracker.state.bytes_done == 100
    told.take(Message(id="bbb", status="Extracting"))
    assert told.unpacking
    told.take(Message(id="bbb", status="Pull complete"))
    told.take(Message(status=f"Digest: {DIGEST}"))
    assert told.digest == DIGEST
    assert tracker.state.count(Phase.DONE) == 1


def test_a_layer_that_is_tried_again_begins_at_nothing() -> None:
    _, tracker = story(
        {"id": "bbb", "status": "Downloading", "progressDetail": {"current": 30, "total": 100}},
        {"id": "bbb", "status": "Retrying in 5 seconds"},
    )
    assert (tracker.state.layers[0].phase, tracker.state.bytes_done) == (Phase.FETCHING, 0)


def test_the_first_error_counts_and_no_digest_is_made_up() -> None:
    told, _ = story({"error": "first"}, {"error": "second"}, {"status": "Digest: nonsense"})
    assert (told.error, told.digest) == ("first", None)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("pull access denied for app, repository does not exist or may require 'docker login'", Unauthenticated),
        ('Head "https://r/v2/a/manifests/1": no basic auth credentials', Unauthenticated),
        ("unauthorized: incorrect username or password", Unauthenticated),
        ("denied: requested access to the resource is denied", Unauthenticated),
        ("manifest for r/app:1 not found: manifest unknown: manifest unknown", NotFound),
        ("no matching manifest for linux/amd64 in the manifest list entries", NotFound),
        ("name unknown: repository name not known to registry", NotFound),
        ("toomanyrequests: You have reached your pull rate limit", RateLimited),
        ("write /var/lib/docker/tmp/x: no space left on device", ResourceExhausted),
        ("filesystem layer verification failed for digest sha256:1", DataLoss),
        ("failed to register layer: Error processing tar file(exit status 1): invalid tar header", FailedPrecondition),
        ("invalid reference format", InvalidArgument),
        ("dial tcp: lookup r.example.com on 1.1.1.1:53: no such host", RegistryUnavailable),
        ("net/http: request canceled while waiting for connection (Client.Timeout exceeded)", RegistryUnavailable),
        ("received unexpected HTTP status: 503 Service Unavailable", RegistryUnavailable),
        ("something that nobody has seen yet", RegistryUnavailable),
        ("", RegistryUnavailable),
    ],
)
def test_what_words_mean(words: str, kind: type[PodwrightError]) -> None:
    error = pull_failure(parse_reference("r.example.com/app:1"), words)
    assert isinstance(error, kind)
    assert "r.example.com/app:1" in str(error)
