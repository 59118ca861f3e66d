"""Travels of replicas in words."""

import numpy as np
import xarray as xr

from bayesnn.report.tempering import level_rows, travels_in_words


def tree(trips, jumps=(0, 0), is_jumping=0):
    levels = xr.Dataset(
        {
            "inverse_temperature": (("level",), [1.0, 0.5, 0.2]),
            "step_size": (("level",), [0.1, 0.2, 0.3]),
            "from_hot": (("level",), [0.2, 0.5, 1.0]),
            "rejection": (("pair",), [0.5, 0.75]),
            "round_trips": (("chain",), np.array(trips)),
            "num_jumps": (("chain",), np.array(jumps)),
        },
        attrs={"barrier": 1.25, "num_exchanges": 400, "num_modes": 3, "is_jumping": is_jumping},
    )
    return xr.DataTree.from_dict({"tempering": levels})


def test_too_few_round_trips_say_how_many_draws_they_want():
    words = travels_in_words(tree([4, 7]))
    assert words == (
        "11 round trips in all, 4 at least in a chain, barrier 1.2: too few to weigh the modes; 10 in each chain want "
        "at this rate some 1,000 draws"
    )
    assert travels_in_words(tree([0, 7])).endswith("10 in each chain want more than 4,000 draws")


def test_enough_round_trips_or_jumps_want_nothing():
    assert travels_in_words(tree([10, 12])).endswith("barrier 1.2")
    assert travels_in_words(tree([4, 7], (8, 6), 1)).endswith("14 jumps between 3 known modes")


def test_the_table_has_a_row_for_each_level():
    header, rows, note = level_rows(tree([10, 12]))
    assert len(header) == 4
    assert rows == [[1.0, 0.5, 0.2, 0.1], [0.5, 0.75, 0.5, 0.2], [0.2, "", 1.0, 0.3]]
    assert note.startswith("22 round trips in all")
