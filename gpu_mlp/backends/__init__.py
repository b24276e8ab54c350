"""The array-module interface and its backends."""
