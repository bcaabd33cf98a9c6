"""The interface between sessions and the device that runs their kernels."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray


class Kernel(Protocol):
    """A compiled kernel."""

    def __call__(self, blocks: int, threads: int, *arguments: Any) -> None:
        """Launch the kernel, without waiting for it.

        Parameters
        ----------
        blocks, threads : int
            The number of blocks, and of threads of each block.
        *arguments
            Arrays of the device, and NumPy scalars of the types of the kernel's parameters.
        """
        ...


class Device(Protocol):
    """A GPU, or its emulation.

    Attributes
    ----------
    xp : module
        Functions of arrays on the device, named as in NumPy.
    """

    xp: Any

    def kernel(self, source: str, name: str, **constants: int | str) -> Kernel:
        """Return a kernel of ``kernels/{source}.cu``, compiled once for each set of constants.

        Parameters
        ----------
        source : str
            The name of the file, without extension.
        name : str
            The name of the kernel.
        **constants : int or str
            Macros that are defined before the source is compiled.
        """
        ...

    def asarray(self, array: NDArray[Any]) -> Any:
        """Copy an array to the device."""
        ...

    def asnumpy(self, array: Any) -> NDArray[Any]:
        """Copy an array from the device, after all kernels that were launched before."""
        ...

    @property
    def processors(self) -> int:
        """The number of streaming multiprocessors."""
        ...

    def free_memory(self) -> int:
        """Return the free memory of the device in bytes."""
        ...
