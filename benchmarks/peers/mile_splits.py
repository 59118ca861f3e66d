"""The splits of the MILE experiments (Sommer et al. 2025, github.com/EmanuelSommer/MILE, src/dataset/tabular.py).

Their loader orders the rows by ``jax.random.permutation(split(PRNGKey(rng))[1], arange(n))`` and cuts at ``int(0.7 n)``
and ``int(n (0.7 + 0.1))`` into training, validation and test. jax 0.4.28, which they lock, has
``jax_threefry_partitionable`` off, and so has this script; whatever the version, the numbers are then the same.

Run it in an environment of its own, with ``mile_requirements.txt``. It overwrites ``benchmarks/data/mile_splits.json``.
"""

import json
from pathlib import Path

import jax

SPLITS = Path(__file__).parent.parent / "data" / "mile_splits.json"
N_ROWS = {"yacht": 308, "energy": 768, "concrete": 1030, "airfoil": 1503}
RNGS = (1, 2, 3)
SHARES = (0.7, 0.1)

NOTE = (
    "Row indices of the MILE experiments' splits, made by benchmarks/peers/mile_splits.py. orders[data set][i] is "
    "jax.random.permutation(jax.random.split(jax.random.PRNGKey(rngs[i]))[1], jax.numpy.arange(n)) under "
    "jax_threefry_partitionable=False; its first n_train rows are training, the next n_valid validation, the rest test."
)


def order(n_rows: int, rng: int) -> list[int]:
    """Return the rows in the order in which their loader has them."""
    _, key = jax.random.split(jax.random.PRNGKey(rng))
    return [int(i) for i in jax.random.permutation(key, jax.numpy.arange(n_rows))]


def main() -> None:
    """Write the splits."""
    jax.config.update("jax_threefry_partitionable", False)
    train, valid = SHARES
    record = {
        "note": NOTE,
        "jax": jax.__version__,
        "rngs": RNGS,
        "n_train": {name: int(n * train) for name, n in N_ROWS.items()},
        "n_valid": {name: int(n * (train + valid)) - int(n * train) for name, n in N_ROWS.items()},
        "orders": {name: [order(n, rng) for rng in RNGS] for name, n in N_ROWS.items()},
    }
    SPLITS.parent.mkdir(exist_ok=True)
    SPLITS.write_text(json.dumps(record, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
