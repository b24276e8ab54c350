"""The stage `device`: which GPU this is, and which libraries are here."""

from __future__ import annotations

from importlib.util import find_spec

from gpu.notes import Notes

__all__ = ["measure"]

# What is lost without a package.
WANTED = {
    "cupy": "nothing of this can run",
    "nvmath": "products go through CuPy, and no step is captured",
    "ml_dtypes": "nothing is measured in bf16",
    "pytest": "the tests are not run",
    "xdist": "the tests run in one process, and may not end in time",
    "torch": "no step is compared with PyTorch's",
    "jax": "no step is compared with JAX's",
    "hypothesis": "the tests that need it fail",
    "cyclopts": "the tests of the command line fail",
}


def measure(notes: Notes) -> None:
    """What the runtime says, and what is missing."""
    for package, loss in WANTED.items():
        if find_spec(package) is None:
            notes.append("missing", f"{package}: {loss}")
            notes.say(f"{package} is not installed: {loss}")
    import cupy

    runtime = cupy.cuda.runtime
    found = runtime.getDeviceProperties(0)
    notes.put("name", found["name"].decode())
    notes.put("compute_capability", f"{found['major']}.{found['minor']}")
    notes.put("multiprocessors", found["multiProcessorCount"])
    notes.put("memory_bytes", found["totalGlobalMem"])
    notes.put("l2_bytes", found["l2CacheSize"])
    notes.put("driver", runtime.driverGetVersion())
    notes.put("runtime", runtime.runtimeGetVersion())
    with notes.failures("nvrtc"):
        notes.put("nvrtc", list(cupy.cuda.nvrtc.getVersion()))
    if find_spec("nvmath") is not None:
        with notes.failures("cuBLASLt"):
            from nvmath.bindings import cublasLt

            notes.put("cublaslt", cublasLt.get_version())
    with notes.failures("gpu_mlp"):
        from gpu_mlp.backends.cuda_backend import cuda_ops

        ops = cuda_ops(0)
        notes.put("captures", ops.graphs is not None)
    notes.say(f"{notes.results['name']}, steps can be captured: {notes.results.get('captures')}")
