"""Times the clustered bootstrap beside `scipy.stats.bootstrap`, as a ratio.

Run: OMP_NUM_THREADS=1 .venv/bin/python benchmarks/bootstrap_speed.py

Both resample 2,000 times and take percentiles. SciPy knows no clusters: it gets singleton clusters
(the same work), and for clustered data the cluster sums and counts as a paired statistic.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np
from figures import add_option, figure, tell
from scipy import stats

from alignscope.evaluation.intervals import clustered_bootstrap


def seconds(run: Callable[[], object], *, repeats: int) -> list[float]:
    """Of each of several runs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    add_option(parser)
    options = parser.parse_args()
    found = []
    generator = np.random.default_rng(0)
    sys.stdout.write("clusters  values  ours ms  scipy ms  scipy/ours\n")
    for clusters, per_cluster in ((500, 1), (5000, 1), (5000, 5), (25000, 1)):
        values = generator.normal(size=clusters * per_cluster)
        names = [str(number // per_cluster) for number in range(len(values))]
        sums = values.reshape(clusters, per_cluster).sum(axis=1)
        counts = np.full(clusters, float(per_cluster))

        def ours(values: np.ndarray = values, names: list[str] = names) -> object:
            return clustered_bootstrap(values, names, draws=2000)

        def theirs(
            sums: np.ndarray = sums, counts: np.ndarray = counts, single: bool = per_cluster == 1
        ) -> object:
            how = {"n_resamples": 2000, "method": "percentile", "batch": 100, "rng": 0}
            if single:
                return stats.bootstrap((sums,), np.mean, **how)
            return stats.bootstrap((sums, counts), ratio, paired=True, **how)

        runs = [seconds(run, repeats=options.repeats) for run in (ours, theirs)]
        mine, other = map(min, runs)
        ratios = [slow / fast for fast, slow in zip(*runs, strict=True)]
        name = f"scipy / ours, {len(values):,} values in {clusters:,} clusters"
        found.append(figure(name, ratios))
        sys.stdout.write(
            f"{clusters:8d}{len(values):8d}{1e3 * mine:9.1f}{1e3 * other:10.1f}{other / mine:12.2f}\n"
        )
    tell(found, options.json)


def ratio(sums: np.ndarray, counts: np.ndarray, axis: int = -1) -> np.ndarray:
    return sums.sum(axis=axis) / counts.sum(axis=axis)


if __name__ == "__main__":
    main()
