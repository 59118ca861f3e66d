"""Errors a user can act on."""


class BayesnnError(Exception):
    """Base of every error this package raises on purpose."""


class ArgumentError(BayesnnError, ValueError):
    """An argument that cannot be used, said in one line.

    Parameters
    ----------
    argument : str
        Name of the argument, as the caller wrote it.
    got : str
        What was passed.
    wants : str
        What would have been accepted.

    Examples
    --------
    >>> raise ArgumentError("sigma_noise", "-1.0", "a number above 0")
    Traceback (most recent call last):
        ...
    bayesnn.errors.ArgumentError: sigma_noise: got -1.0, wants a number above 0
    """

    def __init__(self, argument: str, got: str, wants: str) -> None:
        super().__init__(f"{argument}: got {got}, wants {wants}")
        self.argument = argument
        self.got = got
        self.wants = wants

    def __reduce__(self) -> tuple[type["ArgumentError"], tuple[str, str, str]]:
        # The default would call the class with the one joined message when a worker process sends it back.
        return type(self), (self.argument, self.got, self.wants)
