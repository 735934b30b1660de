"""Interrupts that wait."""

from __future__ import annotations

import signal
import threading

import pytest

from s2p.batch.interrupts import interrupts_held

pytestmark = pytest.mark.usefixtures("interruptible")


def test_an_interrupt_waits_for_the_end_and_is_passed_on():
    done = []
    with pytest.raises(KeyboardInterrupt):
        with interrupts_held() as interrupted:
            assert not interrupted()
            signal.raise_signal(signal.SIGINT)
            assert interrupted()
            done.append("the rest")
        done.append("never")
    assert done == ["the rest"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_one_nothing_happens_and_errors_pass():
    with interrupts_held():
        pass
    with pytest.raises(ValueError, match="own"), interrupts_held():
        raise ValueError("own")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_that_is_there_is_called():
    called = []
    before = signal.signal(signal.SIGINT, lambda number, frame: called.append(number))
    try:
        with interrupts_held():
            signal.raise_signal(signal.SIGINT)
            assert not called
        assert called == [signal.SIGINT]
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with interrupts_held() as interrupted:
            signal.raise_signal(signal.SIGINT)
            assert not interrupted()
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_nothing_is_changed():
    seen = []

    def work():
        with interrupts_held() as interrupted:
            seen.append((interrupted(), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, signal.default_int_handler)]
