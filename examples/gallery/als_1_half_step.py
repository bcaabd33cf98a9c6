r"""
The objective and one half-step
===============================

ALS approximates a matrix of users and items by the product of two thin ones. For implicit feedback, it
minimizes

.. math::

    \begin{aligned}
    J &= \sum_{(u,i) \in \Omega} w_{ui} (1 - p_u \cdot q_i)^2 + m \sum_{(u,i) \notin \Omega} (p_u \cdot q_i)^2 \\
        &\quad + \sum_u \lambda_u |p_u|^2 + \sum_i \lambda_i |q_i|^2
    \end{aligned}

over the factors :math:`p_u` of users and :math:`q_i` of items. The observed cells :math:`\Omega` have the
target 1, all others the target 0 with the weight :math:`m`.
"""

# %%
# The matrix
# ----------
#
# The plays of 150 listeners and 36 artists are a matrix in which most cells are missing. Artists are sorted by
# genre and listeners by the genre that they play most; neither is known to the model.

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap

import halfstep as hs

plays = hs.read_interactions(
    "../plays.csv", user="listener", item="artist", value="plays", timestamp="time", duplicates="sum"
)
genre_of = dict(line.split(",") for line in Path("../artists.csv").read_text().splitlines()[1:])

observed = plays.to_sparse().toarray() > 0  # listeners × artists
genres = np.array([genre_of[artist] for artist in plays.items.ids])
by_genre = np.argsort(genres, kind="stable")
most_played = [max(sorted(set(genres)), key=lambda genre: row[genres == genre].sum()) for row in observed]
by_taste = np.argsort(most_played, kind="stable")

colors = LinearSegmentedColormap.from_list("halfstep", ["#ffffff", "#8fb8be", "#1b7a86"])


def show_matrix(axes, matrix, title):
    """Plot a matrix of listeners and artists."""
    image = axes.imshow(matrix[by_taste][:, by_genre].T, cmap=colors, aspect="auto", vmin=0, vmax=matrix.max())
    axes.set(title=title, xlabel="listeners", yticks=np.arange(2.5, 36, 6), yticklabels=sorted(set(genres)))
    axes.grid(visible=False)
    return image


figure, axes = plt.subplots()
show_matrix(axes, observed, f"{observed.sum():,} observed cells of {observed.size:,}")
plt.show()

# %%
# A half-step by hand
# -------------------
#
# While the factors of the items are held fixed, J is a separate least-squares problem for each user: setting
# its gradient with respect to :math:`p_u` to 0 gives the system :math:`A_u p_u = b_u` with
#
# .. math::
#
#     A_u = m\,Q^\top Q + \sum_{i \in \Omega_u} (w_{ui} - m)\, q_i q_i^\top + \lambda_u I, \qquad
#     b_u = \sum_{i \in \Omega_u} w_{ui}\, q_i .
#
# The first term is the same for all users. It is computed once, so that the cost depends on the observed cells
# only.

model = hs.ALS(hs.Implicit(), rank=6, dtype="float64", random_state=0).fit(plays)
Q = model.item_factors_
m = model.objective_.missing_weight
used = model.regularization_

G = m * Q.T @ Q
P = np.zeros((plays.n_users, 6))
for u in range(plays.n_users):
    q = Q[observed[u]]  # of the artists that the listener has played
    lambda_u = used.users * len(q) ** used.exponent
    A = G + (1.0 - m) * q.T @ q + lambda_u * np.eye(6)  # all w are 1 by default
    b = q.sum(axis=0)
    P[u] = np.linalg.solve(A, b)

print(f"m = {m:g}, λ_u = {used.users:g} · count^{used.exponent:g}")
print("equal to the factors of the library:", np.allclose(P, model.user_factors_, rtol=1e-9))

# %%
# A half-step for the items is the same with both sides swapped, an iteration is one of each, and adding a new
# user is a half-step for one row:

history = plays.items.ids[observed[0]]
folded = model.fold_in({"the same listener": history.tolist()})
print("fold_in gives the trained factors:", np.allclose(folded.user_factors_, P[:1]))

# %%
# The result
# ----------
#
# The scores :math:`p_u \cdot q_i` are large in whole blocks of listeners and genres, observed or not. Missing
# cells with the largest scores are the recommendations.

figure, axes = plt.subplots()
image = show_matrix(axes, P @ Q.T, "scores at rank 6")
figure.colorbar(image, ax=axes, pad=0.01)
plt.show()
