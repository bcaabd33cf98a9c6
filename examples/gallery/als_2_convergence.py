"""
Convergence
===========

Each half-step minimizes the objective over one side, so that the objective never increases, apart from rounding
errors. This requires no learning rate. `history_` has the terms of the objective after
each iteration.
"""

import matplotlib.pyplot as plt
import numpy as np

import halfstep as hs

plays = hs.read_interactions(
    "../plays.csv", user="listener", item="artist", value="plays", timestamp="time", duplicates="sum"
)

# %%
# The terms of the objective
# --------------------------
#
# The first iterations explain the observed cells at the cost of larger factors. Later ones change little.

model = hs.ALS(hs.Implicit(), rank=8, random_state=0, dtype="float64").fit(plays)
iterations = [each.iteration for each in model.history_]
figure, axes = plt.subplots()
for name, color in {"observed": "#1b7a86", "missing": "#8fb8be", "regularization": "#b5652a"}.items():
    axes.plot(iterations, [getattr(each, name) for each in model.history_], label=f"{name} term", color=color)
axes.set(
    xlabel="iteration", ylabel="contribution to the objective", xlim=(1, 20), ylim=(0, None), xticks=range(2, 21, 2)
)
axes.legend(frameon=False)
plt.show()

# %%
# Different starts
# ----------------
#
# The objective is not convex in both sides together, but different random starts end at nearly the same value
# here. The plot shows by how much each iteration is above the best value found.

histories = []
for seed in range(8):
    fitted = hs.ALS(hs.Implicit(), rank=8, random_state=seed, dtype="float64", iterations=30).fit(plays)
    histories.append([each.objective for each in fitted.history_])
histories = np.array(histories)
best = histories.min()

figure, axes = plt.subplots()
axes.plot(np.arange(1, 31), (histories / best - 1).T, color="#1b7a86", alpha=0.6, linewidth=1.5)
axes.set(xlabel="iteration", ylabel="excess over the best value", yscale="log", xlim=(1, 30), ylim=(1e-10, None))
axes.axvline(20, color="#b5652a", linestyle=":")
axes.text(20.5, axes.get_ylim()[1] / 3, "default", color="#b5652a")
plt.show()

after_20 = histories[:, 19] / best - 1
print(f"after 20 iterations, the worst start is {after_20.max():.1e} above the best value")

# %%
# More iterations do not improve recommendations once the differences are this small. `tol` stops early:

model = hs.ALS(hs.Implicit(), rank=8, random_state=0, iterations=100, tol=1e-3).fit(plays)
print(f"stopped after {len(model.history_)} iterations")
