"""Reading of files: interactions, ids and adjacency lists, through DuckDB."""
