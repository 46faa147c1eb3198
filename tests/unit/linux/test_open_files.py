"""Descriptors, sockets, threads and limits of real processes."""

from __future__ import annotations

import os
import resource
import socket
import threading

from podwright.linux.open_files import OpenFiles, open_files, open_files_limit, threads

GONE = 2**22 + 1  # above the largest pid there can be


def test_descriptors_and_sockets() -> None:
    me = [os.getpid()]
    before = open_files(me)
    pair = socket.socketpair()
    null = os.open(os.devnull, os.O_RDONLY)
    after = open_files([*me, GONE])
    os.close(null)
    for each in pair:
        each.close()
    assert after == OpenFiles(before.descriptors + 3, before.sockets + 2)
    assert open_files([GONE]) == OpenFiles()


def test_the_limit() -> None:
    assert open_files_limit(os.getpid()) == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert open_files_limit(GONE) is None


def test_threads() -> None:
    before = threads([os.getpid()])
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    after = threads([os.getpid(), GONE])
    stop.set()
    thread.join()
    assert after == before + 1
