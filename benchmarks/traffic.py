"""Bytes that a fit on a cluster exchanges in an iteration, from the sizes of its arrays.

    python -m benchmarks.traffic --users 100_000_000 --items 1_000_000 --rank 64

Machines read and write files of the working folder; the processes of a machine share what it reads. There is one
block of each side for each machine.
"""

from __future__ import annotations

import argparse

STEPS = 3  # of conjugate gradients
FLOAT = 4  # bytes


def of_all(users: int, items: int, rank: int, machines: int) -> float:
    """Return the bytes if the factors of both sides are sent to all machines."""
    factors = FLOAT * rank * (users + items)
    return factors + machines * factors


def of_items(users: int, items: int, rank: int, machines: int) -> float:
    """Return the bytes if only the factors of items are sent, and sums of their size come back."""
    of_users, of_items = FLOAT * rank * users, FLOAT * rank * items
    # for the half-step of users, for the loss, and a direction for each pass over the cells
    sent = of_items * (2 + 1 + STEPS)
    # a sum for each pass, and the right-hand sides with the first one; written by blocks, and read to be added
    sums = 2 * of_items * (2 + STEPS)
    return 2 * of_users + machines * (sent + sums)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=100_000_000)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--rank", type=int, default=64)
    given = parser.parse_args()
    sizes = given.users, given.items, given.rank
    print('| machines | `exchange="all"` | `exchange="items"` |\n|---:|---:|---:|')
    for machines in (10, 20, 100, 400):
        numbers = (of_all(*sizes, machines), of_items(*sizes, machines))
        print(f"| {machines} |", " | ".join(f"{each / 1e9:,.0f} GB" for each in numbers), "|")


if __name__ == "__main__":
    main()
