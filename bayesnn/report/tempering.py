"""How replicas travelled between the temperatures: in words, and as rows of a table."""

from typing import Any

import numpy as np
import xarray as xr

from bayesnn.tree import group_of

# A chain has about as many independent choices of a mode as round trips and jumps: fewer weigh no modes.
FEW_TRIPS = 10
NOTE = (
    "A replica that comes down from the hottest level has forgotten its mode: a chain has about as many independent "
    "choices of a mode as round trips. Neighbours that nearly always refuse to change places want more levels; where "
    "the share of replicas from the hot end falls steeply from one level to the next, chains are slow: more leapfrog "
    "or unit steps help."
)


def travels_in_words(tree: xr.DataTree) -> str:
    """Say in one line how often replicas came down from the hottest level, and what it means."""
    group = group_of(tree, "tempering")
    trips = group["round_trips"].values
    barrier = float(group.attrs["barrier"])
    words = f"{trips.sum():.0f} round trips in all, {trips.min():.0f} at least in a chain, barrier {barrier:.1f}"
    jumps = group["num_jumps"].values
    if group.attrs["is_jumping"]:
        words += f"; {jumps.sum():.0f} jumps between {int(group.attrs['num_modes'])} known modes"
    made = int((trips + jumps).min())
    if made < FEW_TRIPS:
        # With none, fewer than one of so many draws has made one.
        draws = int(np.ceil(float(group.attrs["num_exchanges"]) * FEW_TRIPS / max(made, 1)))
        least = "at this rate some" if made else "more than"
        words += f": too few to weigh the modes; {FEW_TRIPS} in each chain want {least} {draws:,} draws"
    return words


def level_rows(tree: xr.DataTree) -> tuple[list[str], list[list[Any]], str]:
    """Return header, rows and note of the report's table of levels."""
    group = group_of(tree, "tempering")
    rejection = [*group["rejection"].values, ""]
    columns = (group["inverse_temperature"].values, rejection, group["from_hot"].values, group["step_size"].values)
    header = ["inverse temperature", "refused by the next level", "share from the hot end", "step size"]
    return header, [list(row) for row in zip(*columns, strict=True)], f"{travels_in_words(tree)}. {NOTE}"
