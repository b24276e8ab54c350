"""A result as one HTML file: charts, the table, and the machine, with nothing from elsewhere."""

from __future__ import annotations

from html import escape
from itertools import groupby
from typing import Any

from gpu_mlp.benchmark.cases import PROBLEMS, Case
from gpu_mlp.benchmark.charts import Line, Point, bars, lines
from gpu_mlp.benchmark.limits import bytes_moved
from gpu_mlp.benchmark.results import Result
from gpu_mlp.benchmark.wording import busy, compared, energy, share_of_limit, sizes_of, time_of

__all__ = ["page_of"]

MICRO = "\N{MICRO SIGN}s"

STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --paper: #ffffff; --line: #d9dee5;
  --c0: #1f6feb; --c1: #d9730d; --c2: #2a9d5c; --c3: #a142c9; --c4: #c0392b; --c5: #7a6a00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --soft: #9aa5b4; --paper: #12161c; --line: #2c3440;
  --c0: #6ea8ff; --c1: #f0a35a; --c2: #5fcf92; --c3: #cf8cf0; --c4: #f08579; --c5: #d8c650; } }
body { margin: 0 auto; max-width: 60rem; padding: 1.5rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; }
p { color: var(--soft); margin: .25rem 0 1rem; max-width: 46rem; }
svg { width: 100%; min-width: 34rem; height: auto; font: 13px system-ui, sans-serif; } svg text { fill: var(--ink); }
svg .heading { font-weight: 600; } svg .grid { stroke: var(--line); }
svg .line { fill: none; stroke-width: 2; }
.series-0 { fill: var(--c0); stroke: var(--c0); } .series-1 { fill: var(--c1); stroke: var(--c1); }
.series-2 { fill: var(--c2); stroke: var(--c2); } .series-3 { fill: var(--c3); stroke: var(--c3); }
.series-4 { fill: var(--c4); stroke: var(--c4); } .series-5 { fill: var(--c5); stroke: var(--c5); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .875rem; white-space: nowrap; }
th, td { padding: .3rem .75rem .3rem 0; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child, td[colspan] { text-align: left; }
dl { display: grid; grid-template-columns: 9rem 1fr; gap: .25rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
"""


def page_of(result: Result) -> str:
    """The whole page. Names and reasons come from a file, so all are escaped."""
    sections = [_times(result), _over_batches(result), _roofline(result), _table(result), _machine(result)]
    interrupted = (
        "" if result.finished else "<p>The run was interrupted: this is what was measured before.</p>"
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>gpu-mlp bench, {escape(result.suite)}</title><style>{STYLE}</style></head><body><main>"
        f"<h1>gpu-mlp bench, suite {escape(result.suite)}</h1><p>{escape(result.created)}</p>{interrupted}"
        f"{''.join(sections)}</main></body></html>\n"
    )


def _section(title: str, text: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2><p>{escape(text)}</p>{content}</section>"


def _chart(drawing: str) -> str:
    """On a narrow screen it is scrolled, and not made too small to read."""
    return f'<div class="scroll">{drawing}</div>'


def _name(row: dict[str, Any]) -> str:
    return f"{sizes_of(row)}, batch {row['batch']}, {row['precision']}, {row['task']}"


def _times(result: Result) -> str:
    groups = [
        (_name(row), [(who, each["median"], _beside(row, who)) for who, each in row["contestants"].items()])
        for row in result.rows
        if row["contestants"]
    ]
    text = (
        "The median time of one step of training, or one inference; shorter is better. Within a network the bars have "
        "a common scale. The ratio is their time over gpu_mlp's."
    )
    chart = _chart(bars("time of a step or an inference", groups))
    return _section("Who is how fast", text, chart) if groups else ""


def _beside(row: dict[str, Any], who: str) -> str:
    found = time_of(row["contestants"][who]["median"], MICRO)
    ratio = row["ratios"].get(who)
    return found if ratio is None else f"{found}, {ratio['ratio']:.2f} x"


def _over_batches(result: Result) -> str:
    """A chart for every network, precision and task with more than one batch."""
    charts = []

    def kind(row: dict[str, Any]) -> tuple[str, str, str]:
        return sizes_of(row), row["precision"], row["task"]

    for (sizes, precision, task), rows in groupby(sorted(result.rows, key=kind), kind):
        ordered = sorted(rows, key=lambda row: row["batch"])
        names = list(dict.fromkeys(who for row in ordered for who in row["contestants"]))
        series = [Line(who, _rates(ordered, who)) for who in names]
        if max((len(line.points) for line in series), default=0) > 1:
            title = f"{sizes}, {precision}, {task}"
            chart = _chart(lines(title, "rows in a batch", "rows per second", series))
            charts.append(
                f"<h3>{escape(title)}</h3>{chart}{_speed_ups(title, ordered, names)}{_crossover(ordered)}"
            )
    text = "Rows per second by the size of the batch, and how many times faster gpu_mlp is: their time over gpu_mlp's."
    return _section("Over batches", text, "".join(charts)) if charts else ""


def _speed_ups(title: str, rows: list[dict[str, Any]], names: list[str]) -> str:
    series = [
        Line(
            who,
            [
                Point(row["batch"], row["ratios"][who]["ratio"], f"{who}, batch {row['batch']}")
                for row in rows
                if who in row["ratios"]
            ],
        )
        for who in names
    ]
    series = [line for line in series if line.points]
    drawing = lines(f"{title}, speed-up", "rows in a batch", "times faster", series) if series else ""
    return _chart(drawing) if drawing else ""


def _rates(rows: list[dict[str, Any]], who: str) -> list[Point]:
    return [
        Point(row["batch"], row["contestants"][who]["rows_per_second"], f"{who}, batch {row['batch']}")
        for row in rows
        if who in row["contestants"]
    ]


def _crossover(rows: list[dict[str, Any]]) -> str:
    """From which batch on the GPU is faster than the CPU, where both were measured."""
    devices = [who for who in rows[0]["contestants"] if who.startswith("gpu_mlp cuda")]
    if not devices:
        return ""
    faster = [row["batch"] for row in rows if row["ratios"].get(devices[0], {}).get("verdict") == "slower"]
    where = f"from batch {faster[0]} on" if faster else "at none of these batches"
    return f"<p>The GPU is worth it {where}.</p>"


def _case(row: dict[str, Any]) -> Case | None:
    problem = PROBLEMS.get(row["problem"])
    return None if problem is None else Case(problem, row["batch"], row["precision"], row["task"])


def _roofline(result: Result) -> str:
    """Operations per second over operations per byte: measured points under the limits of each device."""
    gpu = next((who for row in result.rows for who in row["contestants"] if "cuda" in who), None)
    devices = [("processor", "gpu_mlp", result.ceilings)]
    if gpu is not None and result.gpu_ceilings:
        devices.append(("GPU", gpu, result.gpu_ceilings))
    charts = [_chart_of_limit(result, *device) for device in devices]
    text = (
        "What gpu_mlp reaches in float32 (points) under what the device reaches in products of matrices and in copies "
        "of its memory (line). Small networks stay in its caches and may lie above the sloping part."
    )
    return _section("Against the limit", text, "".join(charts)) if any(charts) else ""


def _chart_of_limit(result: Result, device: str, who: str, ceilings: dict[str, Any]) -> str:
    rates, copies = ceilings.get("products", {}).get("float32", {}), ceilings.get("copies", {})
    points = [point for row in result.rows for point in _achieved(row, who)]
    if not points or not rates or not copies:
        return ""
    peak, bandwidth = max(rates.values()), copies[max(copies, key=int)]
    low, high = min(point.x for point in points) / 3, max(point.x for point in points) * 3
    ridge = peak / bandwidth
    limit = [
        Point(x, min(peak, bandwidth * x), "limit") for x in sorted({low, min(max(ridge, low), high), high})
    ]
    series = [
        Line("gpu_mlp, a point for each row", points, joined=False),
        Line(f"{peak / 1e9:.0f} GFLOP/s, {bandwidth / 1e9:.0f} GB/s", limit, marked=False),
    ]
    drawing = lines(f"roofline of the {device}", "FLOP per byte", "FLOP per second", series)
    return f"<h3>{escape(device)}</h3>{_chart(drawing)}"


def _achieved(row: dict[str, Any], who: str) -> list[Point]:
    case = _case(row)
    if case is None or case.precision != "float32" or who not in row["contestants"]:
        return []
    operations, seconds = 2.0 * case.multiplications, row["contestants"][who]["median"]
    return [Point(operations / case.repeats / bytes_moved(case), operations / seconds, _name(row))]


def _table(result: Result) -> str:
    header = [
        "case",
        "who",
        "time",
        "noise",
        "first run",
        "busy",
        "memory",
        "a million rows",
        "of the limit",
        "ratio",
        "95 % interval",
        "gpu_mlp is",
    ]
    body = "".join("".join(map(_cells, _lines(row))) + _reasons(row) for row in result.rows)
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    text = (
        "Noise is the interquartile range of the rounds over their median; the first run has what is compiled in it. "
        "Busy is how many processors worked on the mean, memory the process's, or the GPU's, in that round; the energy "
        "is the processor's, or the GPU's, where the system tells it."
    )
    return _section("All figures", text, f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>')


def _cells(cells: list[str]) -> str:
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _lines(row: dict[str, Any]) -> list[list[str]]:
    found = []
    for who, each in row["contestants"].items():
        share = share_of_limit(row, who)
        limit = "" if share is None else f"{share[0]} ({share[1]})"
        median, first = (time_of(each[name], MICRO) for name in ("median", "first_seconds"))
        used = busy(row, who), _memory_of(each), energy(row, who) or "unknown"
        found.append(
            [_name(row), who, median, f"{each['noise']:.0%}", first, *used, limit, *compared(row, who)]
        )
    return found


def _memory_of(contestant: dict[str, Any]) -> str:
    measures = contestant.get("measures", {})
    found = measures.get("gpu_memory_bytes", measures.get("resident_bytes"))
    return "" if found is None else f"{found / 1e6:.0f} MB"


def _reasons(row: dict[str, Any]) -> str:
    """A line for everybody who was not timed."""
    return "".join(
        f'<tr><td>{escape(_name(row))}</td><td>{escape(who)}</td><td colspan="10">{escape(reason)}</td></tr>'
        for who, reason in row["skipped"].items()
    )


def _machine(result: Result) -> str:
    machine = result.machine
    facts = {
        "processor": f"{machine.get('processors')} x {machine.get('processor')}",
        "threads": machine.get("threads"),
        "memory": f"{(machine.get('memory_bytes') or 0) / 2**30:.0f} GiB",
        "system": machine.get("system"),
        "BLAS": ", ".join(machine.get("blas", [])),
        "settings": ", ".join(f"{name}={value}" for name, value in machine.get("settings", {}).items())
        or "none",
        "versions": ", ".join(f"{name} {found}" for name, found in machine.get("versions", {}).items()),
        "method": f"{result.method.get('rounds')} rounds in turn, blocks of {result.method.get('seconds')} s",
    }
    body = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in facts.items())
    return _section("The machine", "What the figures must be read with.", f"<dl>{body}</dl>")
