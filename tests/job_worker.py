"""The command line, ended by a signal at some moment: ``python -m tests.job_worker SIGNAL MOMENT ARGUMENT...``."""

import signal
import sys

import bayesnn.job as job_module
import bayesnn.sampling.run as run_module
from bayesnn.cli import main
from bayesnn.sampling.schedule import Schedule


def at_the_search(number):
    search = job_module.find_optimum

    def ended(*arguments, **options):
        signal.raise_signal(number)
        return search(*arguments, **options)

    job_module.find_optimum = ended


def in_warm_up(number):
    after = Schedule.after

    def ended(self, step, weights):
        after(self, step, weights)
        if step == 30:
            signal.raise_signal(number)

    Schedule.after = ended


if __name__ == "__main__":
    run_module.COMMIT_EVERY = 0.0
    {"search": at_the_search, "warm-up": in_warm_up}[sys.argv[2]](getattr(signal, sys.argv[1]))
    del sys.argv[1:3]
    main()
