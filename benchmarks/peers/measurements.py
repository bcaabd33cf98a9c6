"""Results of benchmarks; ``pages.py`` writes them."""

from __future__ import annotations

from dataclasses import dataclass, field

OURS = "halfstep"


@dataclass(frozen=True)
class Machine:
    """The machine of a run."""

    processor: str
    cores: int
    system: str
    blas: tuple[str, ...]
    versions: dict[str, str | None]
    began: str


@dataclass(frozen=True)
class Fit:
    """Fits of one problem by one library, as medians over `runs`.

    Attributes
    ----------
    iteration : float
        Seconds per iteration, without the first.
    reached : float or None
        Seconds until the target; None if it was not reached in `iterations`.
    exact : bool
        Whether rows are solved exactly.
    gemm_share : float or None
        The rate of an exact iteration as a fraction of that of a matrix product.
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
    """Alternating fits of one problem to one target."""

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
    """Seconds of a task by halfstep and by a peer, and the quality of results if it may differ."""

    what: str
    ours: float
    peer: str
    theirs: float
    our_quality: str = ""
    their_quality: str = ""


@dataclass(frozen=True)
class Memory:
    """MiB in a separate process.

    Attributes
    ----------
    data : float
        The data before the fit.
    on_top : float
        The peak of the fit in addition.
    rows, factors : float
        The rows of one side, at 8 bytes per pair and row; and all factors.
    """

    name: str
    package: str
    data: float
    on_top: float
    rows: float
    factors: float

    @property
    def ratio(self) -> float:
        """The rows of one side and the peak of the fit, relative to the rows of both sides and the factors."""
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
    """Fits with different numbers of threads.

    Attributes
    ----------
    runs : list of TeamRun
    at_once, in_turn : float
        Seconds of two fits in two Python threads, and sequentially.
    same_bits : bool
        Whether the factors of these are equal.
    """

    data: str
    runs: list[TeamRun]
    at_once: float
    in_turn: float
    same_bits: bool


@dataclass(frozen=True)
class Start:
    """Seconds of the import, the first and the second fit in a new process."""

    name: str
    importing: float
    first_fit: float
    again: float


@dataclass
class Measurements:
    """All results of a run; those that a partial run excludes are empty."""

    machine: Machine
    races: list[Race] = field(default_factory=list)
    ratings: list[Pair] = field(default_factory=list)
    serving: list[Pair] = field(default_factory=list)
    building: dict[str, float] = field(default_factory=dict)
    memory: list[Memory] = field(default_factory=list)
    teams: Teams | None = None
    starts: list[Start] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
