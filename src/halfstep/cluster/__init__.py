"""Half-steps on the machines of a cluster.

The rows of each side are divided into blocks, each of which is a file in a working folder. A half-step is a call of
one function for each block, with the factors of the other side; what is summed over blocks, such as Gramians and
losses, is small. Engines, such as Spark and Ray, differ in how they call functions and transport factors.
"""
