"""A Ctrl-C that falls where Python ignores errors stops the command all the same."""

from __future__ import annotations

import signal
import sys
import time
import weakref

import pytest

from neurovis.interrupt import heard


class Thing:
    """Something that can be referred to weakly."""


def test_a_ctrl_c_in_the_callback_of_a_weak_reference_is_not_lost(capsys):
    things = [Thing()]
    reference = weakref.ref(things[0], lambda _: signal.raise_signal(signal.SIGINT))

    def work():
        things.clear()
        for _ in range(20_000):
            time.sleep(0.001)

    with heard(), pytest.raises(KeyboardInterrupt):
        work()
    assert reference() is None
    assert capsys.readouterr().err == ""


def test_other_ignored_errors_are_shown_as_ever(monkeypatch):
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: seen.append(what.exc_type))
    mine = sys.unraisablehook
    thing = Thing()
    reference = weakref.ref(thing, lambda _: 1 / 0)
    with heard():
        del thing
    assert reference() is None
    assert seen == [ZeroDivisionError]
    assert sys.unraisablehook is mine
