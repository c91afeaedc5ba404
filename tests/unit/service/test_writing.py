"""The one thread that writes: tasks in order, errors kept, and no thread at rest."""

import threading

import pytest

from learner.service.writing import Writer, Writing
from tests.conftest import wait_until


def writer_threads() -> int:
    return sum(thread.name == "commit" for thread in threading.enumerate())


def test_tasks_of_many_run_in_order_in_one_thread_which_ends():
    writer, go, done, n_before = Writer(), threading.Event(), [], writer_threads()
    threads = set()

    def task(number: int) -> None:
        go.wait(10)
        threads.add(threading.current_thread())
        done.append(number)

    futures = [writer.submit(lambda number=number: task(number)) for number in range(20)]
    assert writer_threads() == n_before + 1
    assert not futures[0].done()
    go.set()
    assert futures[-1].result(10) is None
    assert done == list(range(20))
    assert len(threads) == 1
    wait_until(lambda: writer_threads() == n_before)


def test_each_task_is_run_once_however_submits_meet_the_end_of_the_thread():
    writer, done = Writer(), []
    for i in range(2000):
        writer.submit(lambda i=i: done.append(i)).result(10)
    assert done == list(range(2000))


def test_an_error_is_one_task_s_own():
    writer = Writer()
    failed, fine = writer.submit(lambda: 1 / 0), writer.submit(lambda: None)
    assert fine.result(10) is None
    with pytest.raises(ZeroDivisionError):
        failed.result(10)


def test_what_failed_is_tried_again_by_whoever_finishes_it():
    threads = []

    def task() -> None:
        threads.append(threading.current_thread().name)
        if len(threads) < 3:
            raise ConnectionError(f"try {len(threads)}")

    writing = Writing(task, Writer())
    wait_until(lambda: not writing.is_running)
    assert str(writing.error) == "try 1"
    for number in (1, 2):
        with pytest.raises(ConnectionError, match=f"try {number}"):
            writing.finish()
    writing.finish()
    assert threads == ["commit", "MainThread", "MainThread"]


def test_whoever_finishes_waits_for_a_task_that_runs():
    go, done = threading.Event(), []
    writing = Writing(lambda: done.append(go.wait(10)), Writer())
    assert writing.is_running
    assert writing.error is None
    threading.Timer(0.05, go.set).start()
    writing.finish()
    assert done == [True]
