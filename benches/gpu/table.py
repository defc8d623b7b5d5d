#!/usr/bin/env python3
"""One table of ours and PyTorch's attention, the shapes where we are worst first.

    table.py ours.jsonl [ours-sm_80.jsonl ...] rivals.jsonl [--power power.csv]

The files are JSON lines of `benches/gpu/attention` and of `rivals.py`; power and clocks come from nvidia-smi's CSV. What is
not there is left out. Nothing but Python's own library is needed.
"""

import argparse
import csv
import json
import math
import pathlib
import statistics
import sys

OURS = "ours"


def read_lines(path):
    """The objects of a file of JSON lines; a last line that was cut off is left out."""
    objects = []
    for line in pathlib.Path(path).read_text().splitlines():
        try:
            objects.append(json.loads(line))
        except json.JSONDecodeError:
            print(f"{path}: a line is cut off: {line[:60]}", file=sys.stderr)
    return objects


def merge(files):
    """(shapes by name, in order, with results by implementation; errors likewise; everything else).

    Ours on another device than the first file's is called by what follows its number, as in `ours:sm_80`.
    """
    shapes, errors, others = {}, {}, []
    for path in files:
        ours = OURS
        for line in read_lines(path):
            if "device" in line:
                name = line["device"].split(" ")[0]
                ours = "ours:" + name.split(":", 2)[2] if name.count(":") == 2 else OURS
                others.append(line)
            elif "shape" in line:
                implementation = ours if line["implementation"] == OURS else line["implementation"]
                row = shapes.setdefault(line["name"], {"case": line, "results": {}})
                row["results"][implementation] = line
            elif "error" in line:
                errors.setdefault(line["name"], {})[line["implementation"]] = line["error"]
            else:
                others.append(line)
    return shapes, errors, others


def milliseconds(line):
    return line["ms"]["median"] if line and line.get("ms") else None


def best_rival(results):
    """(name, milliseconds) of the fastest that is not ours, or None."""
    times = [(milliseconds(line), name) for name, line in results.items() if not name.startswith(OURS)]
    times = sorted((ms, name) for ms, name in times if ms is not None)
    return (times[0][1], times[0][0]) if times else None


def waits_for_host(line):
    """Whether the device had nothing to do while a call was enqueued, so that the time is the host's."""
    host_ms = line.get("host_ms") if line else None
    return host_ms is not None and host_ms > 0.8 * milliseconds(line)


def rows(shapes, errors):
    """One per shape: ratio (rival's time / ours, above 1 we win), worst first; those without a ratio last."""
    table = []
    for name, row in shapes.items():
        results = row["results"]
        ours, rival = results.get(OURS), best_rival(results)
        ms = milliseconds(ours)
        ratio = rival[1] / ms if ms and rival else None
        of = errors.get(name, {})
        worst = lambda e: max(e.values(), key=lambda x: math.inf if math.isnan(x) else x) if e else None
        table.append(
            {
                "name": name,
                "case": row["case"],
                "ratio": ratio,
                "ms": ms,
                "rival": rival,
                "others": {n: milliseconds(l) for n, l in results.items() if n.startswith(OURS + ":")},
                "tflops": ours.get("tflops") if ours else None,
                "gb_s": ours.get("gb_s") if ours else None,
                "error": worst(of.get(OURS)),
                "rival_error": worst(of.get(rival[0])) if rival else None,
                "host": [n for n, l in [("ours", ours), ("rival", rival and results[rival[0]])] if waits_for_host(l)],
                "failure": ours.get("failure") if ours else "not measured",
            }
        )
    return sorted(table, key=lambda row: (row["ratio"] is None, row["ratio"] or 0.0))


def number(value, digits):
    return "-" if value is None else f"{value:.{digits}f}"


def scientific(value):
    return "-" if value is None else f"{value:.1e}"


def print_table(files):
    shapes, errors, others = merge(files)
    for line in others:
        if "device" in line:
            print("device", line["device"], "torch " + line["torch"] if "torch" in line else "")
        elif "ceiling" in line:
            what = f"{line['tflops']:.1f} TFLOP/s" if "tflops" in line else f"{line['gb_s']:.1f} GB/s"
            print(f"{line['ceiling']}: {what}")
        elif "jit" in line:
            print(f"driver compiles {line['jit']} in {line['ms']:.0f} ms")
    print(f"{'ratio':>7} {'ours ms':>10} {'rival ms':>10} {'rival':<10} {'TFLOP/s':>8} {'GB/s':>8} "
          f"{'error':>8} {'rival':>8}  shape")
    table = rows(shapes, errors)
    for row in table:
        rival = row["rival"] or ("-", None)
        rest = "".join(f"  {name} {number(ms, 4)} ms" for name, ms in row["others"].items())
        rest += f"  ({row['failure']})" if row["failure"] else ""
        rest += f"  (time of the host: {' and '.join(row['host'])})" if row["host"] else ""
        print(f"{number(row['ratio'], 3):>7} {number(row['ms'], 4):>10} {number(rival[1], 4):>10} {rival[0]:<10} "
              f"{number(row['tflops'], 1):>8} {number(row['gb_s'], 1):>8} {scientific(row['error']):>8} "
              f"{scientific(row['rival_error']):>8}  {row['name']}{rest}")
    print_means(table)


def print_means(table):
    """The geometric mean of the ratios of each pass, type and group."""
    groups = {}
    for row in table:
        if row["ratio"]:
            case = row["case"]
            groups.setdefault((case["group"], case["pass"], case["dtype"]), []).append(row["ratio"])
    for key, ratios in sorted(groups.items()):
        mean = math.exp(statistics.fmean(map(math.log, ratios)))
        print(f"{mean:7.3f} geometric mean of {len(ratios)}, worst {min(ratios):.3f}: {' '.join(key)}")
    measured = sum(row["ms"] is not None for row in table)
    print(f"{measured} of {len(table)} shapes measured, {sum(map(len, groups.values()))} compared")


def print_power(path):
    """Median and extremes of each column of nvidia-smi's CSV; cells that are no numbers do not count."""
    with open(path, newline="") as file:
        lines = list(csv.reader(file, skipinitialspace=True))
    for column, title in enumerate(lines[0] if lines else []):
        found = []
        for line in lines[1:]:
            try:
                found.append(float(line[column]))
            except (ValueError, IndexError):  # a time, "[N/A]", a line that was cut off
                pass
        if found:
            print(f"{title}: median {statistics.median(found):g}, {min(found):g} to {max(found):g}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", help="JSON lines; those that are not there are left out")
    parser.add_argument("--power", help="CSV of nvidia-smi, likewise")
    arguments = parser.parse_args()
    print_table([path for path in arguments.files if pathlib.Path(path).exists()])
    if arguments.power and pathlib.Path(arguments.power).exists():
        print_power(arguments.power)


if __name__ == "__main__":
    main()
