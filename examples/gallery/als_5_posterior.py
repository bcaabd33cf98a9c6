r"""
A posterior
===========

ALS returns the factors that minimize the objective. `BayesianALS` samples factors from their posterior
distribution instead, with the same half-step: if :math:`A_u = L L^\top`, then

.. math::

    x_u = A_u^{-1} b_u + L^{-\top} z, \qquad z \sim N(0, I)

is a sample for the row. Predictions are means over samples, and have intervals.
"""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np

import halfstep as hs

# %%
# Generated ratings
# -----------------
#
# Everything is known about these ratings, including the noise.

rng = np.random.default_rng(0)
n_users, n_items, true_rank, true_noise = 400, 100, 3, 0.6
counts = np.minimum(np.exp(rng.normal(2.6, 0.9, n_users)).astype(int) + 2, 90)
users = np.repeat(np.arange(n_users), counts)
items = np.concatenate([rng.choice(n_items, count, replace=False) for count in counts])
P, Q = rng.normal(size=(n_users, true_rank)), rng.normal(size=(n_items, true_rank))
values = 3.5 + np.sum(P[users] * Q[items], axis=1) / np.sqrt(true_rank) + true_noise * rng.normal(size=len(users))
train, test = hs.split_random(hs.Interactions.from_arrays(users, items, values), test_fraction=0.2, random_state=0)
test = hs.keep_known(test, train, min_train_ratings=1, drop_unseen_items=True)

model = hs.BayesianALS(rank=3, random_state=0).fit(train)

# %%
# The chain
# ---------
#
# No parameter was tuned: the sampler also samples the noise and the scale of the factors. The noise falls from that
# of the first guesses to nearly its true value, and fluctuates there. With a higher rank than that of the
# ratings, a little of it is explained by factors.

noise = np.array([each.noise**-0.5 for each in model.history_])  # from precisions to standard deviations
figure, axes = plt.subplots()
axes.plot(np.arange(1, len(noise) + 1), noise, color="#1b7a86", linewidth=1.5)
axes.axhline(true_noise, color="#b5652a", linestyle=":")
axes.axvspan(1, model.burn_in, color="#dde3e8", alpha=0.6)
axes.text(model.burn_in + 2, noise.max() * 0.97, "← burn-in", color="#64727f", va="top")
axes.set(xlabel="sweep", ylabel="standard deviation of the noise", xlim=(1, len(noise)))
plt.show()

# %%
# Intervals
# ---------
#
# A prediction is more uncertain if the factors are: intervals of users with few ratings are wider. The coverage
# of the intervals on the test ratings is close to the nominal 90%.

mean, lower, upper = model.predict(test, interval=0.9)
inside = (lower <= test.values) & (test.values <= upper)
n_ratings = train.user_counts[train.users.positions(test.user_ids)]
width = upper - lower

figure, axes = plt.subplots()
axes.scatter(n_ratings, width, s=7, color="#8fb8be")
edges = np.geomspace(1, 80, 9)
middles = [np.median(width[(a <= n_ratings) & (n_ratings < b)]) for a, b in pairwise(edges)]
axes.plot(np.sqrt(edges[1:] * edges[:-1]), middles, color="#1b7a86", marker="o", label="median")
axes.axhline(2 * 1.645 * true_noise, color="#b5652a", linestyle=":", label="noise alone")
axes.set(xscale="log", xlabel="ratings of the user", ylabel="width of the 90% interval", ylim=(0, None))
axes.legend(frameon=False)
plt.show()

print(f"test ratings inside their 90% intervals: {inside.mean():.1%}")

# %%
# Accuracy
# --------
#
# The mean over samples is also a better prediction than that of a single set of factors.

als = hs.ALS(hs.Explicit(), rank=3, random_state=0).fit(train)
print(f"RMSE {hs.metrics.rmse(test.values, mean):.3f}")
print(f"RMSE {hs.metrics.rmse(test.values, als.predict(test)):.3f} of ALS with defaults")
