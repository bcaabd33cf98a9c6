r"""
The scaling of λ
================

Regularization shrinks factors towards 0. How much should it shrink those of a user with three observed cells,
and those of a user with three hundred? `Regularization` answers with an exponent ν,

.. math::

    \lambda_u = \lambda\, c_u^\nu,

where :math:`c_u` is the number of observed cells of the user. ν = 0 is the same λ for all rows, and ν = 1 is
that of ALS-WR, Spark and iALS. The exponent matters as much as λ itself, and libraries differ in it.
"""

import matplotlib.pyplot as plt
import numpy as np

import halfstep as hs

# %%
# Ratings whose factors are known
# -------------------------------
#
# The true factors of all users have the same distribution, regardless of how many items a user has rated.

rng = np.random.default_rng(0)
n_users, n_items, true_rank, noise = 600, 120, 4, 0.7
true_P, true_Q = rng.normal(size=(n_users, true_rank)), rng.normal(size=(n_items, true_rank))
counts = np.minimum(np.exp(rng.normal(2.5, 0.9, n_users)).astype(int) + 2, 100)
users = np.repeat(np.arange(n_users), counts)
items = np.concatenate([rng.choice(n_items, count, replace=False) for count in counts])
truth = np.sum(true_P[users] * true_Q[items], axis=1) / np.sqrt(true_rank)
ratings = hs.Interactions.from_arrays(users, items, truth + noise * rng.normal(size=len(users)))
train, test = hs.split_random(ratings, test_fraction=0.25, random_state=0)
train, validation = hs.split_random(train, test_fraction=0.2, random_state=1)
print(train)

# %%
# Shrinkage by count
# ------------------
#
# With ν = 1, λ_u grows in proportion to the number of ratings, so the factors of users with many ratings are
# shrunk as much as those of users with few, and are too small. With ν = 0, the ratings outweigh the regularization
# more and more as their number grows. Each point is a user; for each ν, λ is the best of those tried below.


def fit(exponent, multiple):
    """Fit with this λ_u of a user, and λ_i of an item, with the mean number of ratings."""
    of_users, of_items = (multiple / counts.mean() ** exponent for counts in (train.user_counts, train.item_counts))
    scaled = hs.Regularization(of_users, of_items, exponent=exponent)
    model = hs.ALS(hs.Explicit(biases=False), rank=4, regularization=scaled, random_state=0, dtype="float64")
    return model.fit(train)


exponents = {0.0: "#1b7a86", 0.5: "#8fb8be", 1.0: "#b5652a"}
multiples = np.geomspace(0.1, 4, 13)


def error(model, held_out):
    """Return the RMSE on known users and items."""
    known = hs.keep_known(held_out, train, min_train_ratings=1, drop_unseen_items=True)
    return hs.metrics.rmse(known.values, model.predict(known))


models = {exponent: [fit(exponent, multiple) for multiple in multiples] for exponent in exponents}
errors = {exponent: [error(model, validation) for model in models[exponent]] for exponent in exponents}
best = {exponent: models[exponent][int(np.argmin(errors[exponent]))] for exponent in exponents}

figure, panels = plt.subplots(1, 3, sharey=True)
for axes, (exponent, color) in zip(panels, exponents.items(), strict=True):
    model = best[exponent]
    norms = np.linalg.norm(model.user_factors_ @ model.item_factors_.T, axis=1) / np.sqrt(n_items)
    true_norms = np.linalg.norm(true_P[model.users_.ids] @ true_Q.T, axis=1) / np.sqrt(n_items * true_rank)
    axes.scatter(train.user_counts, norms / true_norms, s=6, color=color)
    axes.axhline(1, color="#64727f", linestyle=":", linewidth=1)
    axes.set(title=f"ν = {exponent:g}", xscale="log", xlabel="ratings of the user", ylim=(0, 2.5))
panels[0].set_ylabel("predicted scale / true scale")
plt.show()

# %%
# λ and ν together
# ----------------
#
# λ is compared for rows with the mean number of ratings. It is chosen on validation ratings, and the test
# ratings are used once.

figure, axes = plt.subplots()
for exponent, color in exponents.items():
    axes.plot(multiples, errors[exponent], color=color, label=f"ν = {exponent:g}")
axes.set(xscale="log", xlabel="λ of a row with the mean number of ratings", ylabel="RMSE, validation")
axes.legend(frameon=False)
plt.show()

for exponent, model in best.items():
    print(f"ν = {exponent:g}: RMSE {error(model, test):.3f} on the test ratings")
print(f"noise of the ratings: {noise}")

# %%
# All users have the same noise here, so that a λ that grows with their data shrinks them too much. Real users
# differ in more than their number of ratings, and the best exponent depends on the data. The defaults are
# between 0 and 1; `tune` chooses ν together with λ if ``regularization.exponent`` is in the space.
