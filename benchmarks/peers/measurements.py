"""What is measured, as plain data; ``pages.py`` makes documents of it."""

from __future__ import annotations

from dataclasses import dataclass, field

OURS = "halfstep"


@dataclass(frozen=True)
class Machine:
    """Where the run took place."""

    processor: str
    cores: int
    system: str
    blas: tuple[str, ...]
    versions: dict[str, str | None]
    began: str


@dataclass(frozen=True)
class Fit:
    """One library's fits of one problem: medians over `runs`.

    Attributes
    ----------
    iteration : float
        Seconds of an iteration, but the first.
    reached : float or None
        Seconds until the target; None if it was not reached in `iterations`.
    exact : bool
        Whether each row's system is solved exactly.
    gemm_share : float or None
        Of an exact iteration: its arithmetic, as a share of the machine's rate.
    """

    name: str
    package: str
    exact: bool
    runs: int
    iterations: int
    iteration: float
    reached: float | None
    gemm_share: float | None = None


@dataclass(frozen=True)
class Race:
    """Fits of one problem, which took turns, to one target."""

    data: str
    about: str
    rank: int
    score: str
    target: float
    of_target: str
    gemm: float
    fits: list[Fit]


@dataclass(frozen=True)
class Pair:
    """One task of ours and of one peer's: seconds, and how good the outcome is, if that may differ."""

    what: str
    ours: float
    peer: str
    theirs: float
    our_quality: str = ""
    their_quality: str = ""


@dataclass(frozen=True)
class Memory:
    """MiB in a process of its own.

    Attributes
    ----------
    data : float
        That a fit begins with.
    on_top : float
        At the fit's peak.
    rows, factors : float
        One side's rows at 8 bytes a pair and where each begins, and all factors.
    """

    name: str
    package: str
    data: float
    on_top: float
    rows: float
    factors: float

    @property
    def ratio(self) -> float:
        """One side's rows and all that a fit takes, beside both sides' rows and the factors."""
        return (self.rows + self.on_top) / (2 * self.rows + self.factors)


@dataclass(frozen=True)
class TeamRun:
    """A fit with a number of threads."""

    solver: str
    threads: int
    seconds: float
    most_running: int
    digest: str


@dataclass(frozen=True)
class Teams:
    """Whether threads change results or multiply.

    Attributes
    ----------
    runs : list of TeamRun
    at_once, in_turn : float
        Seconds of two fits in two Python threads, and one after the other.
    same_bits : bool
        Whether these gave the same factors.
    """

    data: str
    runs: list[TeamRun]
    at_once: float
    in_turn: float
    same_bits: bool


@dataclass(frozen=True)
class Start:
    """Seconds that a new process takes to import a library, and to fit for the first time."""

    name: str
    importing: float
    first_fit: float
    again: float


@dataclass
class Measurements:
    """All of a run; what a partial run leaves out is empty."""

    machine: Machine
    races: list[Race] = field(default_factory=list)
    ratings: list[Pair] = field(default_factory=list)
    serving: list[Pair] = field(default_factory=list)
    building: dict[str, float] = field(default_factory=dict)
    memory: list[Memory] = field(default_factory=list)
    teams: Teams | None = None
    starts: list[Start] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
