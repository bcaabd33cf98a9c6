"""Half-steps on a GPU: sessions, and the CUDA kernels that they launch.

The host code is written against the protocol `Device`, so that the same kernels also run without a GPU: tests compile
them for the CPU.
"""
