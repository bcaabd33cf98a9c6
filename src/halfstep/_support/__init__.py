"""General helpers: checks of parameters, files, compilation, notebooks."""
