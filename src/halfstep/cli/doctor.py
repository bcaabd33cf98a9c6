"""``halfstep doctor``: a report on installed packages, compiled kernels and the speed of the machine."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

import halfstep as hs
from halfstep.cli import options
from halfstep.cli.console import note, print_json, print_table


def doctor(
    warm: Annotated[bool, typer.Option("--warm", help="Compile all kernels in advance, and exit.")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="Delete all compiled kernels, and exit.")] = False,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export",
            metavar="FILE",
            help="Write the compiled kernels to a file for machines with the same versions and kind of processor, "
            "and exit.",
        ),
    ] = None,
    imported: Annotated[
        Path | None,
        typer.Option(
            "--import",
            metavar="FILE",
            help="Add the kernels of a file of --export to this machine, and exit. Only import files that you trust.",
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Report what is installed and compiled, how fast this machine is, and any problems."""
    if clear:
        hs.doctor.clear()
        note("deleted all compiled kernels")
    if imported is not None:
        note(f"kernels added: {hs.doctor.import_kernels(imported)}")
    if warm:
        compiled, seconds = hs.doctor.warm()
        note(f"kernels compiled: {compiled}, in {seconds:.1f} s")
    if export is not None:
        note(f"kernels written to {export}: {hs.doctor.export_kernels(export)}")
    if clear or warm or export or imported:
        return
    report = hs.doctor.examine()
    if as_json:
        kernels = [each._asdict() for each in report.kernels]
        speed = None if report.speed is None else report.speed._asdict()
        blas = [each._asdict() for each in report.blas]
        print_json(dataclasses.asdict(report) | {"blas": blas, "kernels": kernels, "speed": speed})
        return
    _print(report)


def _print(report: hs.doctor.EnvironmentReport) -> None:
    print_table(
        "Installed",
        ["package", "version"],
        [[name, what or "not installed"] for name, what in report.versions.items()],
    )
    machine = [
        ["processor", report.processor],
        ["cores", f"{report.cores} of {report.machine_cores} for this process"],
        ["SIMD width", f"{report.vector_bits} bits"],
        *(
            ["BLAS", f"{each.name} {each.version}, for {each.architecture}, {each.threads} threads"]
            for each in report.blas
        ),
    ]
    print_table("This machine", ["component", "description"], machine)
    print_table(
        "Compiled kernels",
        ["folder", "writable", " current", " stale", " MB"],
        [
            [str(each.folder), "yes" if each.is_writable else "no", *map(str, each[2:4]), f"{each.size / 1e6:.1f}"]
            for each in report.kernels
        ],
    )
    if report.speed is not None:
        speed = report.speed
        print_table(
            "Speed",
            ["benchmark", " result", "unit"],
            [
                ["matrix product in float32, one core", f"{speed.gemm_one_core:.0f}", "GFLOP/s"],
                ["the same, all cores", f"{speed.gemm_all_cores:.0f}", "GFLOP/s"],
                ["copy, read and written", f"{speed.copy:.1f}", "GB/s"],
                *(
                    [f'half-step at rank {hs.doctor.RANK}, solver="{solver}"', f"{each:.0f}", "ns per observation"]
                    for solver, each in speed.half_steps.items()
                ),
                ["first half-step", f"{speed.first_call:.2f}", f"s, kernels to compile: {speed.compiled}"],
            ],
        )
    for line in report.advice:
        note(line)
