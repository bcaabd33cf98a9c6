"""The report of all measurements, and the table of the README."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.marks import table
from benchmarks.peers.machine import SLOW
from benchmarks.peers.measurements import OURS, Fit, Machine, Measurements, Pair, Race

ABOUT = f"""Written by `python -m benchmarks.peers`. All figures are from one run, in which fits of the
libraries alternate, with one thread per core. Seconds are medians over fits; a fit that takes longer than
{SLOW:g} seconds is not repeated. Factors are scored in separate fits, which are not timed."""

ABOUT_RACES = """All libraries minimize Σ_Ω 10 (1 − x)² + Σ_missing x² + 5 (Σ ‖p_u‖² + Σ ‖q_i‖²) from the same
initial factors (irspack samples its own, from the same distribution), and one function scores their factors.
Peers start with a CSR matrix, halfstep with interactions and their rows by user; the time to transpose them is
included for all. Slow solvers run at low ranks only. *Fraction of GEMM* is the arithmetic of exact half-steps,
n K (K + 1) + K³ / 3 operations per row, relative to the rate of a large matrix product on the same machine."""

ABOUT_MEMORY = """In separate processes: the memory of the data before the fit (pairs and rows by user, or a CSR
or COO matrix); the peak of the fit in addition; and this peak with the rows by user, relative to the minimum:
rows by user and by item, at 8 bytes per pair and row, and the factors."""

ABOUT_TEAMS = """The same fit with 1, 2 and 4 threads. The hash is of all factors; *running threads* is the
maximum number of threads of the process, including those of BLAS, that run or wait for a core in two
consecutive samples, 2 ms apart."""


def speedup(race: Race, exact: bool) -> float | None:
    """Return the seconds of the fastest peer over those of halfstep, to the target or per exact iteration."""

    def seconds(fit: Fit) -> float | None:
        return fit.iteration if exact else fit.reached

    ours = [seconds(each) for each in race.fits if each.package == OURS and each.exact == exact]
    theirs = [seconds(each) for each in race.fits if each.package != OURS and each.exact == exact]
    reached = [each for each in theirs if each is not None]
    if not reached or not ours or ours[0] is None:
        return None
    return min(reached) / ours[0]  # the default solver is first


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
            "" if each.gemm_share is None else f"{100 * each.gemm_share:.0f}%",
        ]
        for each in race.fits
    ]
    head = ["", " s per iteration", f" s to {race.score} {target}", " fits × iterations", " fraction of GEMM"]
    lines = [
        f"### {race.data}, rank {race.rank}, to an equal {race.score}",
        f"{race.about}. The target {race.score} is {race.of_target}. GEMM: {race.gemm:.0f} GFLOP/s.",
        table(head, rows),
    ]
    found = [(speedup(race, False), f"To the target {race.score}"), (speedup(race, True), "an exact iteration")]
    shown = [f"{what}: {ratio:.2f} times as fast as the fastest peer" for ratio, what in found if ratio is not None]
    return "\n\n".join(lines + ["; ".join(shown) + "."] * bool(shown))


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
    return table(["", " halfstep, s", "", "peer", " peer, s", "", " times as fast"], rows)


def machine_line(machine: Machine) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items() if version)
    return (
        f"{machine.processor}, {machine.cores} cores, {machine.system}; BLAS: {', '.join(machine.blas)}; {versions}. "
        f"{machine.began}."
    )


def report(found: Measurements) -> str:
    return (
        "\n\n".join(["# Comparison with other libraries", ABOUT, machine_line(found.machine), *sections(found)])
        + "\n"
    )


def sections(found: Measurements) -> Iterator[str]:
    if found.races:
        yield f"## Implicit feedback\n\n{ABOUT_RACES}"
        yield from map(of_race, found.races)
    if found.ratings:
        yield f"## Ratings\n\nRMSE is on a held-out tenth of the ratings.\n\n{of_pairs(found.ratings)}"
    if found.serving:
        yield f"## Recommendations\n\n{of_pairs(found.serving)}"
    if found.building:
        rows = [[name, seconds(taken)] for name, taken in found.building.items()]
        yield "## Ten million interactions from ids, with rows by user and by item\n\n" + table(
            ["ids", " seconds"], rows
        )
    if found.memory:
        rows = [[each.name, f"{each.data:,.0f}", f"{each.on_top:,.0f}", f"{each.ratio:.2f}"] for each in found.memory]
        yield f"## Memory of a fit\n\n{ABOUT_MEMORY}\n\n" + table(
            ["", " data, MiB", " fit, MiB", " relative to the minimum"], rows
        )
    if found.teams is not None:
        rows = [
            [each.solver, f"{each.threads}", seconds(each.seconds), f"{each.most_running}", f"`{each.digest}`"]
            for each in found.teams.runs
        ]
        same = "have the same results" if found.teams.same_bits else "have DIFFERENT results"
        yield (
            f"## Threads\n\n{ABOUT_TEAMS} {found.teams.data}.\n\n"
            + table(["solver", " threads", " seconds", " running threads", "hash of the factors"], rows)
            + f"\n\nTwo fits in two Python threads {same} as one after the other, in "
            f"{seconds(found.teams.at_once)} s instead of {seconds(found.teams.in_turn)} s."
        )
    if found.starts:
        rows = [[each.name, *map(seconds, (each.importing, each.first_fit, each.again))] for each in found.starts]
        yield "## Start-up time\n\nA new process, 20,000 pairs, rank 64.\n\n" + table(
            ["", " import, s", " first fit, s", " second fit, s"], rows
        )
    yield from found.notes


def summary(found: Measurements) -> str:
    """Return the table of the README."""
    rows = []
    for race in found.races:
        ratios = [times(speedup(race, False)), times(speedup(race, True))]
        rows.append([f"{race.data}, rank {race.rank}, to an equal {race.score}", *ratios])
    rows += [
        [f"{each.what} ({each.peer})", times(each.theirs / each.ours), ""] for each in found.ratings + found.serving
    ]
    head = ["times as fast as the fastest peer", " fit or task", " exact iteration"]
    cores = f"{found.machine.processor}, {found.machine.cores} cores, {found.machine.began}"
    return f"{table(head, rows)}\n\n{cores}. All figures: [docs/benchmarks.md](docs/benchmarks.md)."
