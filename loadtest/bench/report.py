"""The figures of a benchmark beside their bars: a table for people, summary.json for programs."""

import time

from rich.table import Table
from rich.text import Text

from loadtest import machine, output
from loadtest.bench import physics
from loadtest.bench.run import BenchRun
from loadtest.output import Bar, shown
from local import screen

BARS: dict[str, dict[str, Bar]] = {
    "bridge": {
        "drain_msgs_per_s": Bar(200_000, at_least=True),
        "drain_us_per_msg": Bar(4),
        "steady_us_per_msg": Bar(15),
        "steady_p99_ms": Bar(50),
    },
    "scorer": {
        "records_per_s": Bar(800_000, at_least=True),
        "us_per_record": Bar(1.2),
        "state_records_per_s": Bar(500_000, at_least=True),
        "state_us_per_record": Bar(2),
        "restore_100k_cars_s": Bar(5),
        "steady_p50_ms": Bar(15),
        "steady_p99_ms": Bar(30),
    },
    "simulator": {"us_per_publish": Bar(25)},
    "physics": {f"per_s_of_{cars}_cars": Bar(800_000, at_least=True) for cars in physics.SIZES},
}


def report(run: BenchRun) -> None:
    """Write summary.json; print a table for every stage, what could not be measured, and where the files are.

    In summary.json `not_measured` and `failures` are empty where everything was measured.
    """
    host = machine.describe()
    content = {
        **run.ours,
        "peers": {name: figures for stage in run.theirs.values() for name, figures in stage.items()},
        "not_measured": run.missing,
        "failures": run.failures,
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "commit": machine.commit(),
        "machine": host,
    }
    output.write_json(run.settings.run_dir / "summary.json", content)
    for stage, figures in run.ours.items():
        run.console.print(figure_table(stage, figures, run.theirs.get(stage, {})))
    for name, why in (run.missing | run.failures).items():
        run.console.print(Text(f"{name}: not measured: {why}", style="bold red"))
    run.console.print(
        f"{host['cpu']}, {host['cores']} cores, {host['memory_gib']} GiB, commit {content['commit']}; load "
        f"average {host['load_average']} at the end; written to {run.settings.run_dir}/summary.json",
        soft_wrap=True,
    )


def figure_table(stage: str, figures: dict[str, float], peers: dict[str, dict[str, float]]) -> Table:
    """One row a figure: ours, the bar where the stage has any, and that of each peer.

    Five programs fit into 80 columns, because the words of a peer's name stand below each other.
    """
    bars = BARS.get(stage, {})
    heads = [peer.replace("-", "\n") for peer in peers]
    result = screen.table(stage, "figure", "ours", *(["bar"] if bars else []), *heads)
    for key in dict.fromkeys([*figures, *(key for theirs in peers.values() for key in theirs)]):
        bar, value = bars.get(key), figures.get(key)
        style = "" if bar is None or value is None else "green" if bar.met(value) else "bold red"
        limit = [str(bar or "")] if bars else []
        others = (shown(theirs.get(key)) for theirs in peers.values())
        result.add_row(key, Text(shown(value), style=style), *limit, *others)
    return result
