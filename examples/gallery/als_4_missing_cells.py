"""
Weights of missing cells
========================

A missing cell of implicit feedback is weak evidence: most artists that a listener has not played are not
disliked, but unknown. `Implicit` gives missing cells the target 0 with a weight, ``missing_weight``. Only its
ratio to the weight of observed cells matters: 1/40 here is a weight of 40 for observed cells elsewhere.
"""

import matplotlib.pyplot as plt
import numpy as np

import halfstep as hs

plays = hs.read_interactions(
    "../plays.csv", user="listener", item="artist", value="plays", timestamp="time", duplicates="sum"
)
train, test = hs.split_by_time(plays, test_fraction=0.2)
train, validation = hs.split_by_time(train, test_fraction=0.2)

# %%
# With a weight near 0, the model has hardly any reason to give a low score to anything: scores of missing cells
# are high, and the recommended items are popular ones. The larger the weight, the lower these scores, and the less
# popular the recommended items. The weight with the best accuracy on later plays lies in between.

weights = np.geomspace(0.01, 30, 15)
ndcg, novelty, scores = [], [], []
for weight in weights:
    model = hs.ALS(hs.Implicit(missing_weight=weight), rank=8, random_state=0).fit(train)
    report = hs.evaluate(model, validation, ["ndcg", "novelty"], n=10, baseline=None)
    ndcg.append(report["ALS", "ndcg"])
    novelty.append(report["ALS", "novelty"])
    missing = ~(train.to_sparse().toarray() > 0)
    scores.append((model.user_factors_ @ model.item_factors_.T)[missing].mean())

chosen = hs.ALS(hs.Implicit(), rank=8, random_state=0).fit(train).objective_.missing_weight
popularity = hs.evaluate(hs.Popularity().fit(train), validation, ["ndcg", "novelty"], n=10, baseline=None)

figure, panels = plt.subplots(1, 3, figsize=(7.2, 3.2))
curves = {"NDCG@10, validation": ndcg, "novelty of the top 10": novelty, "mean score of missing cells": scores}
for axes, (name, curve) in zip(panels, curves.items(), strict=True):
    axes.plot(weights, curve, color="#1b7a86")
    axes.axvline(chosen, color="#b5652a", linestyle=":")
    axes.set(title=name, xscale="log", xlabel="missing_weight")
    axes.title.set_fontsize(10)
for axes, metric in zip(panels, ["ndcg", "novelty"], strict=False):
    axes.axhline(popularity["Popularity", metric], color="#64727f", linestyle="--", linewidth=1.2)
panels[0].text(1.5, popularity["Popularity", "ndcg"] + 0.004, "popularity", color="#64727f", fontsize=9)
panels[2].text(chosen * 1.15, max(scores) * 0.9, "default", color="#b5652a", fontsize=9)
plt.show()

print(f"default for these data: {chosen:.3g}")

# %%
# The default depends on the data: missing cells get a multiple of the total weight of the observed ones, unless
# each would then count more than an observed cell. Then test once, with a baseline and intervals:

model = hs.ALS(hs.Implicit(), rank=8, random_state=0).fit(train)
print(hs.evaluate(model, test, ["ndcg", "recall"], n=10))
