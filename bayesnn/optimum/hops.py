"""Hops: from where a search ended, with a few hidden units drawn anew, climb again."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from bayesnn.arrays import FloatArray, IntArray
from bayesnn.errors import ArgumentError
from bayesnn.models import MLP, StandardWeights
from bayesnn.optimum.descent import Descent
from bayesnn.optimum.levenberg_marquardt import climb_together
from bayesnn.posterior import Posterior

# One unit is drawn anew, or in such a share of the hops two; a round makes so many hops at least, and so many a point.
TWO_UNITS = 0.3
HOPS_TOGETHER, HOPS_EACH = 32, 4
# A first start's weights are multiplied by a factor that is log-uniform between these: trained units are often steeper.
SMALLEST, LARGEST = 0.5, 2.0
# Steps of a climb that only tells whether a hop leads higher, and nats by which it must.
MOST_STEPS, LEAST_GAIN = 60, 0.1


def has_units(posterior: Posterior) -> bool:
    """Whether there are hidden units to draw anew."""
    return isinstance(posterior.network, MLP) and bool(posterior.network.hidden)


def hop(
    posterior: Posterior, ends: Sequence[Descent], n_hops: int, rng: np.random.Generator
) -> Iterator[tuple[int, Descent]]:
    """Search around each of several points on its own, and keep to what is higher.

    An optimum of a network is often a good one but for a unit or two that idle, or share what one could do alone:
    random starts place all units at once, hops one at a time and keep the rest (iterated local search, or basin
    hopping: Wales & Doye 1997, J. Phys. Chem. A 101; Lourenço, Martin & Stützle 2003).

    Parameters
    ----------
    posterior : Posterior
        Of a network with hidden units.
    ends : sequence of Descent
        Where to begin.
    n_hops : int
        Climbs, shared out over the points in rounds.
    rng : numpy.random.Generator
        Draws the units.

    Yields
    ------
    int, Descent
        After every climb, which point it was from, and the highest that was reached from that one so far. What is not
        the point itself may have to climb on.

    Raises
    ------
    ArgumentError
        If there are no hidden units.
    """
    network = posterior.network
    if not isinstance(network, MLP) or not network.hidden:
        raise ArgumentError("posterior", f"one of {network!r}", "one of an MLP with hidden units")
    places, current, made = unit_places(network), list(ends), 0
    while made < n_hops:
        each = max(HOPS_EACH, HOPS_TOGETHER // len(current))
        parents = [i for i in range(len(current)) for _ in range(each)][: n_hops - made]
        starts = [_kicked(posterior, current[i].weights, places, rng) for i in parents]
        for of, end in climb_together(posterior, starts, MOST_STEPS):
            i = parents[of]
            if end.log_density > current[i].log_density + LEAST_GAIN:  # NaN is not
                current[i] = replace(end, n_steps=current[i].n_steps + end.n_steps)
            yield i, current[i]
        made += len(parents)


def unit_places(network: MLP) -> list[IntArray]:
    """Return where all weights of each hidden unit, incoming, bias and outgoing, are among the network's."""
    begin, weights, biases = 0, list[IntArray](), list[IntArray]()
    for block in network.weight_blocks:
        places = np.arange(begin, begin + block.size).reshape(block.shape)
        (weights if len(block.shape) == 2 else biases).append(places)
        begin += block.size
    found: list[IntArray] = []
    for layer, (incoming, outgoing) in enumerate(pairwise(weights)):
        for unit in range(incoming.shape[1]):
            own = [incoming[:, unit], outgoing[unit]]
            if biases:
                own.append(biases[layer][unit : unit + 1])
            found.append(np.concatenate(own))
    return found


def _kicked(
    posterior: Posterior, weights: FloatArray, places: Sequence[IntArray], rng: np.random.Generator
) -> FloatArray:
    """Draw the weights of a unit or two anew, as for a first start."""
    n_units = min(len(places), 1 + int(rng.random() < TWO_UNITS))
    # What else there is, noise that is inferred above all, fitted what was there: a climb from so far off overshoots.
    fresh = posterior.model.initial_weights(rng)
    # The network's own weights, whatever the coordinates measure them by.
    kicked, drawn = (np.array(posterior.network_weights(each)) for each in (weights, fresh))
    for unit in rng.choice(len(places), n_units, replace=False):
        scale = np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST)))
        kicked[places[int(unit)]] = scale * drawn[places[int(unit)]]
    scaled = posterior.scaled_network
    if isinstance(scaled, StandardWeights):
        kicked = scaled.coordinates_of(kicked, fresh[: scaled.n_weights])
    return np.concatenate([kicked, fresh[len(kicked) :]])
