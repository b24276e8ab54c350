"""From what was measured to a table that can be read at the end of a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gpu.ceilings import ceiling_of

__all__ = ["problems_of", "report"]

Results = Mapping[str, Any]


def report(document: Results) -> str:
    """The whole text."""
    stages = document.get("stages", {})

    def results(name: str) -> Results:
        found: Results = stages.get(name, {}).get("results", {})
        return found

    lines = [f"{document.get('gpu', 'unknown GPU')}, commit {document.get('commit', 'unknown')}", ""]
    for title, part in (
        ("stages", _stages(stages)),
        ("ceilings", _ceilings(results("ceilings"))),
        (
            "kernels at their largest size: bytes/s and share of the copy's",
            _kernels(results("kernels"), results("ceilings")),
        ),
        (
            "products: FLOP/s and share of the ceiling of their precision",
            _products(results("kernels"), results("ceilings")),
        ),
        ("profile of captured steps", _profile(results("profile"))),
        ("compute-sanitizer", _sanitizer(results("sanitizer"))),
        ("tests", _tests(results("tests"))),
        (
            "microseconds a step, and the fastest own form's share of the ceiling of its precision",
            _steps(results("steps"), results("ceilings")),
        ),
        ("goals", _goals(results("steps"), results("ceilings"))),
    ):
        rows = list(part)
        if rows:
            lines += [f"== {title}", *rows, ""]
    return "\n".join(lines)


def _stages(stages: Results) -> Iterator[str]:
    for name, record in stages.items():
        error = record.get("results", {}).get("error", {}).get("failed", record.get("why", ""))
        failures = len(record.get("results", {}).get("failures", ())) if name != "tests" else 0
        more = f"  {failures} failures inside" if failures else ""
        yield f"{name:<10} {record.get('status', '?'):<10} {record.get('seconds', 0.0):6.1f} s{more}  {error[:200]}"
        for each in record.get("results", {}).get("failures", ())[:5] if name != "tests" else ():
            yield f"           {each.get('what', '')}: {each.get('failed', '')[:150]}"


def _ceilings(found: Results) -> Iterator[str]:
    if "copy" in found:
        yield f"copy {found['copy']['bytes_per_s'] / 1e12:.3f} TB/s, read and written ({found['copy']['timed']})"
    for key, value in found.items():
        if key.startswith("product"):
            rate, size = value["flop_per_s"] / 1e12, value["size"]
            yield f"{key} {rate:.2f} TFLOP/s at {size} ({value['by']}, {value['timed']})"
        elif key.startswith("graph"):
            yield f"{key} {value * 1e6:.2f} us"


def _kernels(found: Results, ceilings: Results) -> Iterator[str]:
    copy = ceilings.get("copy", {}).get("bytes_per_s")
    largest: dict[tuple[str, str], Any] = {}
    for row in found.get("kernels", ()):
        of_one = largest.setdefault((row["name"], row["precision"]), row)
        if row["bytes"] > of_one["bytes"]:
            largest[row["name"], row["precision"]] = row
    for row in largest.values():
        share = f"{100 * row['bytes_per_s'] / copy:5.0f} %" if copy else "      "
        cached = " in cache" if row["in_cache"] else ""
        yield f"{_what(row)} {row['bytes_per_s'] / 1e9:8.1f} GB/s {share}{cached}{_how(row)}"


def _products(found: Results, ceilings: Results) -> Iterator[str]:
    for row in found.get("products", ()):
        ceiling = ceiling_of(ceilings, row["precision"])
        share = f"{100 * row['flop_per_s'] / ceiling:5.0f} %" if ceiling else "      "
        yield f"{_what(row)} {row['flop_per_s'] / 1e12:8.2f} TFLOP/s {share}{_how(row)}"


def _what(row: Results) -> str:
    size = "x".join(map(str, row["size"]))
    return f"{row['name']:<34} {size:<15} {row['precision']:<7} {row['seconds'] * 1e6:10.2f} us"


def _how(row: Results) -> str:
    return "" if row["timed"] == "graph" else f" {row['timed']}"


def _profile(found: Results) -> Iterator[str]:
    for name, form in found.items():
        if not isinstance(form, Mapping):
            continue
        for key, value in form.items():
            if isinstance(value, Mapping):
                shown = {what: each for what, each in value.items() if what != "kernel_us"}
                yield f"{name}: {key}: {shown}"
        for kernel, us in form.get("driver", {}).get("kernel_us", {}).items():
            yield f"    {us:10.1f} us {kernel}"
    for row in found.get("bits", ()):
        verdict = "the same bits" if row["same"] else "OTHER BITS"
        yield f"two trainings in {row['precision']}, dropout {row['dropout']}: {verdict}"
    yield from (f"skipped: {each}" for each in found.get("skipped", ()))


def _sanitizer(found: Results) -> Iterator[str]:
    if found.get("installed") is False:
        yield "not installed"
    for key, value in found.items():
        if key.startswith("planted"):
            verdict = "found" if value.get("found") else f"NOT FOUND (exit code {value.get('exit_code')})"
            yield f"{key}: {verdict}  {value.get('failed', '')}"
        elif key.startswith("kernels"):
            verdict = (
                "clean" if value.get("clean") else "timed out" if value.get("timed_out") else "NOT CLEAN"
            )
            shown = f"errors {value.get('errors')}, tests {value.get('tests')}, {value.get('named') or ''}"
            yield f"{key}: {verdict}, {shown}  {value.get('failed', '')}"


def _tests(found: Results) -> Iterator[str]:
    if "not_run" in found:
        yield found["not_run"]
    if "counts" in found:
        yield f"{found['counts']}{' and then the time was up' if found.get('timed_out') else ''}"
        yield f"on the device: {found.get('counts_on_the_device')}"
    for each in found.get("failures", ())[:40]:
        yield f"{each['outcome']:<7} {each['test']}  {each.get('why', '')[:100]!r}"


def _steps(found: Results, ceilings: Results) -> Iterator[str]:
    names: list[str] = []
    for row in found.get("problems", ()):
        names += [name for name in row.get("seconds", {}) if name not in names]
    if names:
        shown = " ".join(f"{name.replace('gpu_mlp', 'own')[:14]:>14}" for name in names)
        yield f"{'problem':<38} {shown}   share"
    for row in found.get("problems", ()):
        seconds = row.get("seconds", {})
        cells = [f"{seconds[name] * 1e6:14.1f}" if name in seconds else f"{'-':>14}" for name in names]
        share = gemm_share(row, ceilings)
        reached = f"{100 * share['share']:5.1f} %" if share else f"{'-':>7}"
        yield f"{row['problem']:<38} {' '.join(cells)} {reached}"
    yield from _remarks(found)
    for each in found.get("absent", ()):
        yield f"absent: {each['contestant']}: {each['why']}"
    yield from (f"skipped: {each}" for each in found.get("skipped", ()))


def _remarks(found: Results) -> Iterator[str]:
    """Who was not timed and who warned, with the problems for which the same was said."""
    remarks: dict[tuple[str, str], list[str]] = {}
    for row in found.get("problems", ()):
        for name, why in row.get("not_timed", {}).items():
            remarks.setdefault((f"not timed: {name}", why[:200]), []).append(row["problem"])
        for name, answer in row.get("prepared", {}).items():
            for warning in answer.get("warnings", ())[:1]:
                remarks.setdefault((f"warning: {name}", warning[:200]), []).append(row["problem"])
    for (who, what), problems in remarks.items():
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        yield f"{who}: {what} ({problems[0]}{more})"


def _goals(found: Results, ceilings: Results) -> Iterator[str]:
    rows = []
    for row in found.get("problems", ()):
        for goal in row.get("goals", ()):
            met = {True: "yes", False: "NO", None: "-"}[goal["met"]]
            if goal["met"] is None:
                rows.append(f"{row['problem']:<38} {goal['goal']:<10} {met:<4} {goal['why']}")
                continue
            ratio = f"{goal['ratio']:6.2f} ({goal['low']:.2f} to {goal['high']:.2f})"
            rows.append(
                f"{row['problem']:<38} {goal['goal']:<10} {met:<4} {ratio}  {goal['own']} against {goal['other']}"
            )
        share, wanted = gemm_share(row, ceilings), row.get("gemm_share_wanted")
        if share is not None and wanted is not None:
            met = "yes" if share["share"] >= wanted else "NO"
            goal = f"{100 * wanted:.0f} % GEMM"
            rows.append(
                f"{row['problem']:<38} {goal:<10} {met:<4} {100 * share['share']:5.1f} %  {share['own']}"
            )
    if rows:
        yield f"{'problem':<38} {'goal':<10} {'met':<4} ratio (95 % interval of the median)"
    yield from rows


def gemm_share(row: Results, ceilings: Results) -> dict[str, Any] | None:
    """What the fastest own form reaches of the measured rate of products in its precision."""
    ceiling = ceiling_of(ceilings, row["precision"])
    own = {
        name: s for name, s in row.get("seconds", {}).items() if name in ("gpu_mlp step", "gpu_mlp run_steps")
    }
    if not ceiling or not own:
        return None
    name = min(own, key=own.__getitem__)
    return {"own": name, "share": row["flops"] / own[name] / ceiling}


def problems_of(document: Results) -> list[str]:
    """Why the whole is not in order: stages that broke, tests that failed, bugs found or missed. Speed is no reason."""
    found = []
    for name, record in document.get("stages", {}).items():
        results = record.get("results", {})
        if record.get("status") != "done":
            found.append(f"{name}: {record.get('status')}")
        if name == "tests" and results.get("failures"):
            found.append(f"tests: {len(results['failures'])} failed")
        elif results.get("failures"):
            found.append(f"{name}: {len(results['failures'])} failures inside")
        for key, value in results.items() if name == "sanitizer" else ():
            if key.startswith("planted") and not value.get("found"):
                found.append(f"sanitizer: {key} was not found")
            elif key.startswith("kernels") and not value.get("clean"):
                found.append(f"sanitizer: {key} is not clean")
        found += [
            f"{name}: two trainings in {row['precision']} with dropout {row['dropout']} differ"
            for row in results.get("bits", ())
            if not row["same"]
        ]
    return found
