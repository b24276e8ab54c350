"""`python -m tests.cuda.resources`: registers, shared memory, stack and spills of every kernel, by architecture."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby, product

from gpu_mlp.backends.fused import INSTANTIATIONS
from tests.cuda.builds import ARCHITECTURES, Build, Resources, build
from tests.cuda.compiler import CompileError


def main() -> int:
    """Print the table; 1 where something does not compile."""
    jobs = list(product(INSTANTIATIONS, ARCHITECTURES))
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        try:
            builds = dict(zip(jobs, pool.map(lambda job: build(*job), jobs), strict=True))
        except CompileError as error:
            pool.shutdown(cancel_futures=True)
            print(f"error: {error}", file=sys.stderr)
            return 1
    print("\n".join(table(builds)))
    return 0


def table(builds: dict[tuple[str, int], Build]) -> Iterator[str]:
    """A line for every kernel and compute type; over its activations, losses and row widths, the range or the most."""
    version = next(iter(builds.values())).version
    needs = [each for one in builds.values() for each in one.kernels.values()]
    count = sum(map(len, INSTANTIATIONS.values()))
    yield f"{count} kernels by NVRTC {version}, registers by architecture and the most bytes on any:"
    yield row("kernel", [f"sm_{arch}" for arch in ARCHITECTURES], ["shared", "stack", "spilled"])
    for file, names in INSTANTIATIONS.items():
        for (kernel, float_type), group in groupby(sorted(names, key=family), family):
            members = list(group)
            of_arch = [[builds[file, arch].kernels[name] for name in members] for arch in ARCHITECTURES]
            times = f" x {len(members)}" if len(members) > 1 else ""
            title = f"{kernel}<{float_type}>{times}" if float_type else kernel
            yield row(
                title, [registers(each) for each in of_arch], most([n for each in of_arch for n in each])
            )
    yield row("all", [""] * len(ARCHITECTURES), most(needs))


def family(name: str) -> tuple[str, str]:
    """("adam", "float") of "adam<float>"."""
    kernel, _, arguments = name.partition("<")
    return kernel, arguments.rstrip(">").partition(",")[0]


def registers(needs: Sequence[Resources]) -> str:
    """The least and the most."""
    least, largest = (limit(each.registers for each in needs) for limit in (min, max))
    return f"{least}-{largest}" if least < largest else str(least)


def most(needs: Sequence[Resources]) -> list[str]:
    """The most bytes of shared memory, stack and spills."""
    return [str(max(getattr(each, what) for each in needs)) for what in ("shared", "stack", "spilled")]


def row(title: str, by_arch: Sequence[str], sizes: Sequence[str]) -> str:
    """One line of the table."""
    return f"{title:40}" + "".join(f"{each:>8}" for each in (*by_arch, *sizes))


if __name__ == "__main__":
    sys.exit(main())
