// Functions that several kernels share; this file precedes each of them.
