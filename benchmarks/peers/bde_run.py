"""bde (MILE) on one regression problem, in a process of its own; run by ``airfoil_bde.py``.

Its members are shared out over devices, of which XLA makes one a core where told to before JAX is imported. What is
written is the mean and standard deviation of every draw at the new inputs, as bde itself predicts. The clock began when
the caller started this process.
"""

import json
import os
import sys
import time

import numpy as np

BEGAN = float(os.environ["BENCHMARK_BEGAN"])


def main() -> None:
    """Fit and predict; write means and standard deviations (members, draws, m), and times."""
    request = json.load(sys.stdin)
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={request['cores']}"
    with np.load(request["problem"], allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    import jax
    from bde import BdeRegressor
    from bde.loss.loss import GaussianNLL

    regressor = BdeRegressor(loss=GaussianNLL(), seed=request["seed"], **request["settings"])
    begin = time.time()
    regressor.fit(arrays["x"], arrays["y"])
    fitted = time.time()
    raw = np.asarray(regressor.predict(arrays["new_x"], raw=True), dtype=np.float64)
    # bde's own noise: softplus of the second output, and 1e-6.
    np.savez(request["found"], mean=raw[..., 0], sd=np.logaddexp(0.0, raw[..., 1]) + 1e-6)
    end = time.time()
    versions = {"jax": jax.__version__, "devices": jax.local_device_count()}
    print(json.dumps({"ready": begin - BEGAN, "fit": fitted - begin, "seconds": end - BEGAN, **versions}))


if __name__ == "__main__":
    main()
