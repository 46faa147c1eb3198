"""Listeners hear of what happens after they came, and can't hurt whoever tells."""

from __future__ import annotations

from podwright.base.lifecycle import Changes, Step


def test_listeners_come_and_go() -> None:
    changes: Changes[str] = Changes()
    heard: list[tuple[Step, str]] = []
    changes.publish(Step.CREATED, "early")
    end = changes.subscribe(lambda step, subject: heard.append((step, subject)))
    changes.publish(Step.STARTED, "a")
    end()
    changes.publish(Step.STOPPED, "a")
    assert heard == [(Step.STARTED, "a")]


def test_a_listener_that_fails_keeps_nobody_from_hearing() -> None:
    changes: Changes[str] = Changes()
    heard: list[str] = []

    def fail(_step: Step, _subject: str) -> None:
        raise RuntimeError("broken listener")

    changes.subscribe(fail)
    changes.subscribe(lambda _step, subject: heard.append(subject))
    changes.publish(Step.CREATED, "a")
    assert heard == ["a"]


def test_a_listener_may_leave_while_it_is_told() -> None:
    changes: Changes[str] = Changes()
    heard: list[str] = []

    def hear_once(_step: Step, subject: str) -> None:
        heard.append(subject)
        end()

    end = changes.subscribe(hear_once)
    changes.subscribe(lambda _step, subject: heard.append(subject + "2"))
    changes.publish(Step.CREATED, "a")
    changes.publish(Step.CREATED, "b")
    assert heard == ["a", "a2", "b2"]
