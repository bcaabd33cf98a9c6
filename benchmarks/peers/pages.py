"""Documents made of measurements: the whole report, and a table for the README."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.marks import table
from benchmarks.peers.machine import PATIENCE
from benchmarks.peers.measurements import OURS, Fit, Machine, Measurements, Pair, Race

ABOUT = f"""Written by `python -m benchmarks.peers`: every figure is of one run, in which libraries took turns with as
many threads as there are cores. Seconds are medians over the turns; who takes longer than {PATIENCE:g} seconds has
one turn, whoever it is. Factors are scored in a fit of its own, which is not timed."""

ABOUT_RACES = """All minimise Σ_Ω 10 (1 − x)² + Σ_missing x² + 5 (Σ ‖p_u‖² + Σ ‖q_i‖²), told in their own words, and
start from the same factors (irspack draws its own, from the same distribution). Factors are scored by one function.
Each is given what its fit begins with: peers a CSR matrix, halfstep interactions with
users' rows at hand; what else a fit builds counts, as all transpose within it. What has no chance is run at low ranks
only. *Of a product* is the arithmetic of the exact half-steps, n K (K + 1) + K³ / 3 operations a row, at the rate of
a large matrix product that was timed beside it."""

ABOUT_MEMORY = """Of processes of their own: what the data take that a fit begins with (pairs as they came and
users' rows, or a CSR or COO matrix); what the fit takes at its peak on top; and that, with users' rows, beside what
there has to be: rows of both sides, at 8 bytes a pair and a row, and the factors."""

ABOUT_TEAMS = """The same fit with 1, 2 and 4 threads: the hash is of all factors, and *running at once* is the most
threads of the process, BLAS's included, that ran or waited for a core in two looks in a row, 2 ms apart."""


def speedup(race: Race, exact: bool) -> float | None:
    """How many times the fastest peer's seconds are ours: to the target, or of an exact iteration."""

    def seconds(fit: Fit) -> float | None:
        return fit.iteration if exact else fit.reached

    ours = [seconds(each) for each in race.fits if each.package == OURS and each.exact == exact]
    theirs = [seconds(each) for each in race.fits if each.package != OURS and each.exact == exact]
    reached = [each for each in theirs if each is not None]
    if not reached or not ours or ours[0] is None:
        return None
    return min(reached) / ours[0]  # ours by default comes first


def times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.1f}"


def seconds(number: float | None) -> str:
    if number is None:
        return ""
    return f"{number:.3f}" if number < 1 else f"{number:.2f}" if number < 10 else f"{number:.1f}"


def of_race(race: Race) -> str:
    target = f"{race.target:,.0f}" if race.score == "objective" else f"{race.target:.4f}"
    rows = [
        [
            each.name,
            seconds(each.iteration),
            seconds(each.reached),
            f"{each.runs} × {each.iterations}",
            "" if each.gemm_share is None else f"{100 * each.gemm_share:.0f} %",
        ]
        for each in race.fits
    ]
    head = ["", " seconds an iteration", f" seconds to {race.score} {target}", " turns × iterations", " of a product"]
    lines = [
        f"### {race.data}, rank {race.rank}, to an equal {race.score}",
        f"{race.about}. The {race.score} to be reached is {race.of_target}. A product: {race.gemm:.0f} GFLOP/s.",
        table(head, rows),
    ]
    found = [(speedup(race, False), f"To that {race.score}"), (speedup(race, True), "an exact iteration")]
    told = [f"{what}: {ratio:.2f} times as fast as the fastest peer" for ratio, what in found if ratio is not None]
    return "\n\n".join(lines + ["; ".join(told) + "."] * bool(told))


def of_pairs(pairs: list[Pair]) -> str:
    rows = [
        [
            each.what,
            seconds(each.ours),
            each.our_quality,
            each.peer,
            seconds(each.theirs),
            each.their_quality,
            times(each.theirs / each.ours),
        ]
        for each in pairs
    ]
    return table(["", " halfstep, s", "", "peer", " its seconds", "", " times as fast"], rows)


def machine_line(machine: Machine) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items() if version)
    return (
        f"{machine.processor}, {machine.cores} cores, {machine.system}; BLAS: {', '.join(machine.blas)}; {versions}. "
        f"{machine.began}."
    )


def report(found: Measurements) -> str:
    return "\n\n".join(["# Beside other libraries", ABOUT, machine_line(found.machine), *sections(found)]) + "\n"


def sections(found: Measurements) -> Iterator[str]:
    if found.races:
        yield f"## Implicit feedback\n\n{ABOUT_RACES}"
        yield from map(of_race, found.races)
    if found.ratings:
        yield f"## Ratings\n\nQualities are on a tenth of the ratings, held out.\n\n{of_pairs(found.ratings)}"
    if found.serving:
        yield f"## Recommending\n\n{of_pairs(found.serving)}"
    if found.building:
        rows = [[name, seconds(taken)] for name, taken in found.building.items()]
        yield "## Ten million pairs, from ids to rows of both sides\n\n" + table(["ids", " seconds"], rows)
    if found.memory:
        rows = [[each.name, f"{each.data:,.0f}", f"{each.on_top:,.0f}", f"{each.ratio:.2f}"] for each in found.memory]
        yield f"## Memory of a fit\n\n{ABOUT_MEMORY}\n\n" + table(
            ["", " data, MiB", " on top, MiB", " beside what has to be"], rows
        )
    if found.teams is not None:
        rows = [
            [each.solver, f"{each.threads}", seconds(each.seconds), f"{each.most_running}", f"`{each.digest}`"]
            for each in found.teams.runs
        ]
        same = "gave the same bits" if found.teams.same_bits else "gave OTHER bits"
        yield (
            f"## Threads\n\n{ABOUT_TEAMS} {found.teams.data}.\n\n"
            + table(["solver", " threads", " seconds", " running at once", "hash of the factors"], rows)
            + f"\n\nTwo fits in two Python threads at once {same} as one after the other, in "
            f"{seconds(found.teams.at_once)} s against {seconds(found.teams.in_turn)} s."
        )
    if found.starts:
        rows = [[each.name, *map(seconds, (each.importing, each.first_fit, each.again))] for each in found.starts]
        yield "## Starting\n\nA new process, 20,000 pairs, rank 64.\n\n" + table(
            ["", " import, s", " first fit, s", " the same again, s"], rows
        )
    yield from found.notes


def summary(found: Measurements) -> str:
    """The README's table: how many times as fast as the fastest peer."""
    rows = []
    for race in found.races:
        ratios = [times(speedup(race, False)), times(speedup(race, True))]
        rows.append([f"{race.data}, rank {race.rank}, to an equal {race.score}", *ratios])
    rows += [
        [f"{each.what} ({each.peer})", times(each.theirs / each.ours), ""] for each in found.ratings + found.serving
    ]
    head = ["how many times as fast as the fastest peer", " fit, or task", " an exact iteration"]
    cores = f"{found.machine.processor}, {found.machine.cores} cores, {found.machine.began}"
    return f"{table(head, rows)}\n\n{cores}. All figures: [docs/benchmarks.md](docs/benchmarks.md)."
