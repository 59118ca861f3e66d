"""Ctrl-C while chains draw."""

from bayesnn.sampling.chains import Recorder


def interrupt_draws(patch, count):
    """Press Ctrl-C, wherever chains have so many draws, for as long as the monkeypatch lasts."""
    add = Recorder.add

    def interrupted(self, *arguments):
        if self.count == count:
            raise KeyboardInterrupt
        add(self, *arguments)

    patch.setattr(Recorder, "add", interrupted)
