"""Summaries: ``evaluation_summary.txt`` of one checkpoint, table and ``checkpoint_comparison.csv`` of several.

All functions take the JSON data of ``metrics.json`` and return text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from groot_ray.errors import ConfigurationError

Metrics = Mapping[str, Any]
VIEWS = {"all": "all dimensions", "real": "the robot's own dimensions"}


def evaluation_summary(metrics: Metrics) -> str:
    """The evaluation of one checkpoint as text."""
    parts = [
        _header(metrics),
        _aggregate(metrics),
        _baselines(metrics),
        _components(metrics),
        _trajectories(metrics),
        _dimensions(metrics),
    ]
    parts.append(
        "\n".join(["What the numbers mean", *(f"  {name}: {text}" for name, text in metrics["definitions"].items())])
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _header(metrics: Metrics) -> str:
    options = metrics["options"]
    real = sum(d["real"] for d in metrics["dimensions"])
    frames = "all frames" if options["steps"] is None else f"at most {options['steps']} frames"
    ids = ", ".join(str(t["id"]) for t in metrics["trajectories"])
    lines = [
        "Open-loop evaluation",
        f"  checkpoint    {metrics['checkpoint']}",
        f"  dataset       {metrics['dataset']}",
        f"  embodiment    {metrics['tag']}, {len(metrics['dimensions'])} action dimensions, "
        f"{real} of them the robot's own",
        f"  trajectories  {ids} ({frames} each), predicted every {options['action_horizon']} frames "
        f"at {metrics['fps']:g} Hz",
        f"  noise         seed {options['seed']}, {options['denoising_steps']} denoising steps",
    ]
    return "\n".join(lines + [f"  note          {note}" for note in metrics["notes"]])


def _rows(scores: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and value of each metric."""
    rows = [("MSE", f"{scores['mse']:.6f}"), ("MAE", f"{scores['mae']:.6f}")]
    rows += [(f"Success@{x}", percent(share)) for x, share in scores["success"].items()]
    rows += [(f"Accuracy@{x}", percent(share)) for x, share in scores["accuracy"].items()]
    return [*rows, ("Error drift", f"{scores['error_drift']:+.6f}")]


def _aggregate(metrics: Metrics) -> str:
    views = [view for view in VIEWS if metrics["average"][view] is not None]
    columns = [_rows(metrics["average"][view]) for view in views]
    rows = [[name, *(column[i][1] for column in columns)] for i, (name, _) in enumerate(columns[0])]
    text = "Averages over trajectories\n" + table(["", *(VIEWS[view] for view in views)], rows)
    spread = [
        f"{d['mae']:.6f} over {VIEWS[v]}" for v in views if (d := metrics["deviation"][v]) and d["mae"] is not None
    ]
    return text + (f"\n  standard deviation of the MAE over trajectories: {', '.join(spread)}" if spread else "")


def _baselines(metrics: Metrics) -> str:
    if not metrics["baselines"]:
        return ""
    views = [view for view in VIEWS if metrics["average"][view] is not None]
    rows, lines = [], []
    for name, baseline in metrics["baselines"].items():
        lines.append(f"  {name}: {baseline['description']}")
        if "unavailable" in baseline:
            lines.append(f"  {name} was not evaluated: {baseline['unavailable']}")
            rows.append([name, *("not known" for _ in views), ""])
            continue
        beaten = [view for view in views if baseline["beaten"][view]]
        verdict = "beaten" if beaten == views else f"beaten over {VIEWS[beaten[0]]} only" if beaten else "NOT beaten"
        rows.append([name, *(f"{baseline['average'][view]['mae']:.6f}" for view in views), verdict])
    rows.insert(0, ["this checkpoint", *(f"{metrics['average'][view]['mae']:.6f}" for view in views), ""])
    return "\n".join(
        ["Baselines (MAE; lower is better)", table(["", *(VIEWS[view] for view in views), ""], rows), *lines]
    )


def _components(metrics: Metrics) -> str:
    rows = []
    for key, component in metrics["components"].items():
        real = component["real"]
        whole = component["all"]
        success = [percent(share) for share in whole["success"].values()]
        rows.append(
            [key, f"{whole['mae']:.6f}", f"{real['mae']:.6f}" if real else "-", f"{whole['mse']:.6f}", *success]
        )
    thresholds = [f"Success@{x}" for x in metrics["average"]["all"]["success"]]
    return "Components (averages over trajectories)\n" + table(["", "MAE", "MAE, own dims", "MSE", *thresholds], rows)


def _trajectories(metrics: Metrics) -> str:
    thresholds = list(metrics["average"]["all"]["success"])
    rows = []
    for entry in metrics["trajectories"]:
        scores = entry["all"]
        success = [percent(scores["success"][x]) for x in thresholds]
        real = f"{entry['real']['mae']:.6f}" if entry["real"] else "-"
        drift = f"{scores['error_drift']:+.6f}"
        rows.append(
            [
                str(entry["id"]),
                str(entry["frames"]),
                f"{scores['mse']:.6f}",
                f"{scores['mae']:.6f}",
                real,
                *success,
                drift,
            ]
        )
    header = ["Trajectory", "frames", "MSE", "MAE", "MAE, own dims", *(f"Success@{x}" for x in thresholds), "drift"]
    return "Trajectories\n" + table(header, rows)


def _dimensions(metrics: Metrics) -> str:
    rows = [
        [d["name"], d["unit"] or "-", f"{d['mae']:.6f}", "" if d["real"] else "not the robot's own"]
        for d in metrics["dimensions"]
    ]
    return "Dimensions\n" + table(["", "unit", "MAE", ""], rows)


def comparison_summary(comparison: Metrics) -> str:
    """Several checkpoints side by side, from the ``metrics.json`` that compares them."""
    named, best = comparison["checkpoints"], comparison["best"]
    first = named[best]
    thresholds = list(first["average"]["all"]["success"])
    rows = [_row(name, entry["average"], thresholds, "best" if name == best else "") for name, entry in named.items()]
    rows += [
        _row(name, baseline["average"], thresholds, "baseline")
        for name, baseline in first["baselines"].items()
        if "average" in baseline
    ]
    header = ["", "MSE", "MAE", "MAE, own dims", *(f"Success@{x}" for x in thresholds), ""]
    notes = [f"  note     {note}" for note in comparison["notes"]]
    lines = ["Checkpoints compared", f"  dataset  {comparison['dataset']}", *notes, "", table(header, rows), ""]
    lines.append(
        f"  Lowest MAE over {VIEWS[comparison['judged_by']]}: {best}. Details are in each checkpoint's folder."
    )
    return "\n".join(lines) + "\n"


def _row(name: str, average: Mapping[str, Any], thresholds: Sequence[str], remark: str) -> list[str]:
    scores, real = average["all"], average["real"]
    success = [percent(scores["success"][x]) for x in thresholds]
    own = f"{real['mae']:.6f}" if real else "-"
    return [name, f"{scores['mse']:.6f}", f"{scores['mae']:.6f}", own, *success, remark]


def comparison_csv(entries: Sequence[Metrics]) -> str:
    """``checkpoint_comparison.csv``: one row per checkpoint, over all dimensions; shares in percent.

    The columns are step, mse, mae, success_<threshold without its dot>, and <component>_mae.
    """
    thresholds = list(entries[0]["average"]["all"]["success"])
    components = list(entries[0]["components"])
    for entry in entries:
        if list(entry["components"]) != components:
            raise ConfigurationError(
                f"{entry['checkpoint']} predicts the components {', '.join(entry['components'])}, but "
                f"{entries[0]['checkpoint']} {', '.join(components)}; compare checkpoints of the same embodiment"
            )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [
            "step",
            "mse",
            "mae",
            *(f"success_{x.replace('.', '')}" for x in thresholds),
            *(f"{key}_mae" for key in components),
        ]
    )
    for entry in entries:
        scores = entry["average"]["all"]
        shares = [f"{100 * scores['success'][x]:.1f}" for x in thresholds]
        errors = [f"{entry['components'][key]['all']['mae']:.6f}" for key in components]
        step = entry["name"] if entry["step"] is None else entry["step"]
        writer.writerow([step, f"{scores['mse']:.6f}", f"{scores['mae']:.6f}", *shares, *errors])
    return text.getvalue()


def percent(share: float) -> str:
    """A share between 0 and 1 as ``97.5%``."""
    return f"{100 * share:.1f}%"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Text in columns, indented by two; the first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = []
    for row in [header, *rows]:
        cells = [
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join(lines)
