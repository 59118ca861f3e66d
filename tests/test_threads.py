"""BLAS has one thread as long as anybody wants that, and its own number afterwards."""

from threading import Event, Thread

import pytest
from threadpoolctl import threadpool_info

from bayesnn import threads
from bayesnn.threads import on_one_blas_thread


def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


class Worker(Thread):
    """Enters, leaves when told, and stays alive until it is told to end, as threads of a pool do."""

    def __init__(self):
        super().__init__(daemon=True)
        self.inside, self.may_leave, self.outside, self.may_end = (Event() for _ in range(4))
        self.start()
        assert self.inside.wait(30)

    def run(self):
        self.stay()
        self.outside.set()
        self.may_end.wait(30)

    @on_one_blas_thread
    def stay(self):
        self.inside.set()
        self.may_leave.wait(30)

    def leave(self):
        self.may_leave.set()
        assert self.outside.wait(30)


@pytest.mark.parametrize("first_out", [0, 1])
def test_threads_that_overlap_keep_the_limit_and_give_it_back(first_out):
    before = blas_threads()
    if max(before, default=1) == 1 or not threads._is_of_process():
        pytest.skip("one thread at most here, or a limit of each thread's own")
    workers = [Worker(), Worker()]
    workers[first_out].leave()
    assert set(blas_threads()) == {1}  # the other is still at work
    workers[1 - first_out].leave()
    assert blas_threads() == before
    for worker in workers:
        worker.may_end.set()
