"""Makes layer.json beside it: a small layer pruned by data, computed with numpy alone, to hold the crate against.

    python make.py        the same file again, up to the last digits of the linear algebra

A layer of 12 outputs reads 24 inputs at 240 places, once in the dense network and once in one whose earlier layers were pruned. The
file has both as whole numbers (divide by `unit`), and what follows from them: the damped covariance H, G = W·C + damp·W, and for
several ratios the support by ADMM (Meng et al. 2024, arXiv:2406.07831), the least squares weights on it and the change of the bias.
"""

import json
import pathlib

import numpy as np

OUTPUTS, INPUTS, PLACES, UNIT, DAMP = 12, 24, 240, 1024, 0.01
RATIOS = [0.5, 0.75, 0.9]


def whole(values):
    return np.rint(values * UNIT).astype(int)


def layer(seed=20):
    """Weights and what they meet: rectified mixtures of few sources, of different sizes; the second reading is off and partly silent."""
    draw = np.random.default_rng(seed)
    sources = draw.normal(size=(10, PLACES))
    size = np.geomspace(0.2, 3.0, INPUTS)[:, None]
    dense = np.maximum(draw.normal(size=(INPUTS, 10)) @ sources * 0.5 + draw.normal(size=(INPUTS, PLACES)) * 0.3 + 0.4, 0) * size
    pruned = np.maximum(0.85 * dense + draw.normal(size=dense.shape) * 0.15 * size - 0.05 * size, 0)
    weight = draw.laplace(size=(OUTPUTS, INPUTS)) * 0.4
    return whole(weight), whole(dense), whole(pruned)


def largest(values, count):
    """Where the `count` greatest magnitudes are."""
    kept = np.zeros(values.size, bool)
    kept[np.argsort(-np.abs(values).ravel(), kind="stable")[:count]] = True
    return kept.reshape(values.shape)


def admm(h, optimum, count):
    """The places of `count` weights. Inputs are brought to unit variance; each turn solves without zeros, cuts, and adds the difference."""
    deviation = np.sqrt(np.diag(h))
    correlation = h / np.outer(deviation, deviation)
    goal = optimum * deviation
    eigenvalues, eigenvectors = np.linalg.eigh(correlation)
    linear = goal @ correlation
    kept = seen = largest(goal, count)
    cut, dual, penalty = goal * kept, np.zeros_like(goal), 0.1
    for turn in range(1, 121):
        free = (linear - dual + penalty * cut) @ eigenvectors
        free = free / (eigenvalues + penalty) @ eigenvectors.T
        moved = free + dual / penalty
        kept = largest(moved, count)
        cut = moved * kept
        dual = dual + penalty * (free - cut)
        if turn % 3:
            continue
        share = np.count_nonzero(kept != seen) / 2 / count
        if share == 0:
            break
        seen = kept
        penalty *= 1.3 if share > 0.1 else 1.2 if share > 0.005 else 1.1
    return kept


def main():
    weight, dense, pruned = layer()
    w, x, y = weight / UNIT, dense / UNIT, pruned / UNIT
    x_mean, y_mean = x.mean(1), y.mean(1)
    h = (y - y_mean[:, None]) @ (y - y_mean[:, None]).T / PLACES
    c = (x - x_mean[:, None]) @ (y - y_mean[:, None]).T / PLACES
    damp = DAMP * np.trace(h) / INPUTS
    h += damp * np.eye(INPUTS)
    g = w @ c + damp * w
    optimum = np.linalg.solve(h, g.T).T
    cases = []
    for ratio in RATIOS:
        kept = admm(h, optimum, round((1 - ratio) * w.size))
        solved = np.zeros_like(w)
        for row, places in enumerate(kept):
            solved[row, places] = np.linalg.solve(h[np.ix_(places, places)], g[row, places])
        off = solved - optimum
        cases.append({
            "ratio": ratio,
            "support": [int(at) for at in np.flatnonzero(kept)],
            "weights": [float(value) for value in solved[kept]],
            "bias": [float(value) for value in w @ x_mean - solved @ y_mean],
            "relative_error": float(np.sum(off @ h * off) / np.sum(optimum @ h * optimum)),
        })
    flat = lambda values: [float(value) for value in values.ravel()]
    result = {
        "outputs": OUTPUTS, "inputs": INPUTS, "unit": UNIT, "damp": DAMP,
        "weight": weight.ravel().tolist(), "dense": dense.ravel().tolist(), "pruned": pruned.ravel().tolist(),
        "h": flat(h), "g": flat(g), "cases": cases,
    }
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}" for key, value in result.items())
    pathlib.Path(__file__).with_name("layer.json").write_text("{\n" + lines + "\n}\n")


main()
