"""The equations as loops that Numba compiles for the processor at hand; imported only where Numba is installed.

What NumPy does in one pass over memory for each operation, and with a call from Python for each, is one pass or none
here. Products remain BLAS's.
"""
