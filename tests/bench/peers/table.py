"""What was measured, as Markdown."""

import statistics
from datetime import date

CALLERS = (1, 16, 64)

TITLES = {
    ("get", False): "Get by id",
    ("search", False): "Search, top 10; `hash` embedder, or vectors given",
    ("store", False): "Store; `hash` embedder, or vectors given",
    ("hello", False): "The host's own part",
    ("search", True): "Search, top 10, with a model",
    ("store", True): "Store, with a model",
}


def print_tables(run, peers, machine):
    settings = run.settings
    print(f"### {date.today()}, {settings.facts:,} facts\n")
    print(f"{machine}; {100 * run.idle:.0f} % of it was busy while all servers were idle.")
    command = f"make bench-peers ROUNDS={settings.rounds} SECONDS={settings.seconds:g}"
    print(f"`{command}`; {run.rounds} rounds were complete.\n")
    print("| who | versions | does | durable |\n|---|---|---|---|")
    for peer in peers:
        version = run.versions.get(peer.name) or f"not measured: {run.missing.get(peer.name)}"
        print(f"| {peer.name} | {cell(version)} | {peer.does} | {peer.durable} |")
    print_outcome(run, peers)
    for (verb, embeds), title in TITLES.items():
        rows = [peer for peer in peers if verb in peer.requests and peer.embeds == embeds]
        if any(figures_of(run, peer, verb, callers) for peer in rows for callers in CALLERS):
            print(f"\n**{title}**\n")
            print_verb(run, rows, verb)


def print_outcome(run, peers):
    """How many calls of Kenning there are for one of each peer's."""
    print("\n**Kenning ÷ the other, at 1, 16 and 64 callers**; bold where Kenning is behind\n")
    print("| beside | Kenning | get | search | store |\n|---|---|---|---|---|")
    behind = total = 0
    for peer in peers:
        for our in peers:
            if is_kenning(peer) or not is_kenning(our) or our.embeds != peer.embeds:
                continue
            ratios = {verb: ratios_of(run, our, peer, verb) for verb in ("get", "search", "store")}
            known = [ratio for row in ratios.values() for ratio in row if ratio]
            behind += sum(ratio < 1 for ratio in known)
            total += len(known)
            if known:
                cells = [" / ".join(map(outcome, row)) for row in ratios.values()]
                print(f"| {peer.name} | {our.storage}, `{our.embedder}` | {' | '.join(cells)} |")
    print(f"\nKenning is behind in {behind} of {total} comparisons.")


def ratios_of(run, our, peer, verb):
    """One for each number of callers, None where there is none; nothing if there is none at all."""
    ratios = []
    for callers in CALLERS:
        mine, theirs = median(run, our, verb, callers), median(run, peer, verb, callers)
        ratios.append(mine / theirs if mine and theirs else None)
    return ratios if any(ratios) else []


def outcome(ratio):
    if ratio is None:
        return "–"
    return f"**{ratio:.2f}**" if ratio < 1 else f"{ratio:.3g}"


def print_verb(run, peers, verb):
    head = ["who", "callers", "calls/s, median", "range", "p50, ms", "p99, ms"]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for callers in CALLERS:
        for peer in peers:
            figures = figures_of(run, peer, verb, callers)
            row = figure_cells(figures) if figures else [why_missing(run, peer, verb, callers)]
            if callers in peer.callers:
                row += [""] * (4 - len(row))
                print(f"| {peer.name} | {callers} | {' | '.join(row)} |")


def figure_cells(figures):
    rates = [figure.per_second for figure in figures]
    p50 = statistics.median(figure.p50_us for figure in figures) / 1e3
    p99 = statistics.median(figure.p99_us for figure in figures) / 1e3
    span = f"{number(min(rates))} to {number(max(rates))}"
    return [number(statistics.median(rates)), span, number(p50), number(p99)]


def why_missing(run, peer, verb, callers):
    failed = run.missing.get((peer.name, verb, callers)) or run.missing.get(peer.name)
    return f"not measured: {cell(failed or 'the time was over')}"


def figures_of(run, peer, verb, callers):
    return run.figures.get((peer.name, verb, callers))


def median(run, peer, verb, callers):
    figures = figures_of(run, peer, verb, callers)
    return statistics.median(figure.per_second for figure in figures) if figures else None


def is_kenning(peer):
    return hasattr(peer, "storage")


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def cell(text):
    return " ".join(text.replace("|", "/").split())[:200]
