"""Models in other frameworks: scikit-learn, MLflow, LensKit and RecTools.

Each module imports its framework, which must be installed: `halfstep.integrations.sklearn`,
`halfstep.integrations.mlflow`, `halfstep.integrations.lenskit` and `halfstep.integrations.rectools`.
"""
