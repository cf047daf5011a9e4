"""The command line: parse, call one function, print. Heavy imports stay inside the commands."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from aarlab.errors import AarlabError, InputError, MethodError, UnknownName

app = typer.Typer(
    name="aarlab",
    help="A laboratory for automated alignment researchers, with a score that is hard to fool.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog="First time? `aarlab run` takes nine researchers through a whole run in about seven minutes.",
)
problem_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
ledger_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(problem_app, name="problem", help="Check or rebuild a problem, or make one of your own data.")
app.add_typer(ledger_app, name="ledger", help="The append-only record of every answer.")

study_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(study_app, name="study", help="Studies of evaluation itself, on real tasks.")

LabArgument = Annotated[Path | None, typer.Argument(help="Lab folder; default: ./labs/latest.", show_default=False)]
LabOption = Annotated[Path | None, typer.Option("--lab", help="Lab folder; default: ./labs/latest.")]
RunningLab = Annotated[Path, typer.Argument(help="Lab folder of a live run, for example labs/latest.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Opens = Annotated[bool, typer.Option("--open", help="Watch it in a browser: start the dashboard beside it.")]


@app.command()
def run(
    problem: Annotated[str, typer.Argument(help="A name of `aarlab problems`, or a folder.")] = "w2s-math",
    lab: Annotated[Path | None, typer.Option(help="New lab folder; default: ./labs/PROBLEM-TIME.")] = None,
    researchers: Annotated[int, typer.Option(help="Researchers to start.", show_default="9")] = 0,
    llm: Annotated[str, typer.Option(help="Language model, by its Inspect name.", show_default="none: searches")] = "",
    cli: Annotated[str, typer.Option(help="Program around the model: `claude-code` or `codex`.")] = "",
    base_url: Annotated[str, typer.Option(help="Of a compatible server.", show_default="the provider's")] = "",
    prompt: Annotated[str, typer.Option(help="`open` or `prescribed`.", show_default="open")] = "",
    directions: Annotated[
        str, typer.Option(help="File of directions for language models.", show_default="nine shipped")
    ] = "",
    undirected: Annotated[bool, typer.Option(help="Give every researcher the same start.")] = False,
    minutes: Annotated[
        float, typer.Option(help="Wall time of the research phase.", show_default="3.5; with --llm 480")
    ] = 0.0,
    answers: Annotated[int, typer.Option(help="Ladder answers for the whole fleet.", show_default="45")] = 0,
    seeds: Annotated[int, typer.Option(help="Seeds of a feedback score.", show_default="5")] = 0,
    dollars: Annotated[float, typer.Option(help="Fleet budget: models and CPU time.", show_default="none")] = 0.0,
    researcher_dollars: Annotated[float, typer.Option(help="The same of each one.", show_default="none")] = 0.0,
    tokens: Annotated[int, typer.Option(help="Tokens for the whole fleet.", show_default="none")] = 0,
    fresh: Annotated[bool, typer.Option(help="Draw new secret items first (needs the [train] extra).")] = False,
    isolation: Annotated[
        str,
        typer.Option("--isolation", "--sandbox", help="`bwrap`, `gvisor`, or `process`: isolates nothing, unranked."),
    ] = "",
    port: Annotated[int, typer.Option(help="Loopback port of the lab service.", show_default="any free one")] = 0,
    config: Annotated[Path | None, typer.Option(help="A lab.toml to start from; flags go over it.")] = None,
    open_: Opens = False,
) -> None:
    """Run a fleet on a problem, from researchers to report.

    Examples:

      aarlab run --open          nine searches, no key needed, watched in a browser

      aarlab run w2s-code --minutes 20 --answers 150

      aarlab run --llm anthropic/claude-opus-4-6 --dollars 50     nine language models (needs the [llm] extra)

      aarlab run --config my-lab.toml --lab labs/mine
    """
    from aarlab.fleet import launch

    settings = launch.settings_for(
        problem, config, researchers=researchers, llm=llm, cli=cli, base_url=base_url, prompt=prompt,
        directions=directions, undirected=undirected, minutes=minutes, answers=answers, seeds=seeds, dollars=dollars,
        researcher_dollars=researcher_dollars, tokens=tokens, fresh=fresh, isolation=isolation, port=port,
    )  # fmt: skip
    raise typer.Exit(launch.run(settings, lab, _beside(open_)))


@app.command()
def resume(lab: LabArgument = None, open_: Opens = False) -> None:
    """Go on with a stopped or crashed run.

    Example: aarlab resume labs/w2s-math-20260401-120000-ab12
    """
    from aarlab.fleet import launch, plan

    raise typer.Exit(launch.resume(plan.find(lab), _beside(open_)))


@app.command()
def serve(
    lab: Annotated[Path | None, typer.Argument(help="Lab folder to begin with.", show_default="all labs")] = None,
    labs: Annotated[Path | None, typer.Option(help="Folder of labs.", show_default="LAB's, else ./labs")] = None,
    port: Annotated[int | None, typer.Option(help="Loopback port.", show_default="8642, or the next free one")] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open a browser.")] = False,
    link: Annotated[bool, typer.Option("--link", help="Print a new link to the dashboard that runs.")] = False,
    viewer_link: Annotated[bool, typer.Option("--viewer-link", help="The same, for who only looks.")] = False,
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="End once no lab runs and nobody has looked for 10 minutes.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Serve the dashboard: watch and control all labs of a folder in a browser.

    It prints a link that lets one browser in, as operator, and one for who only looks; each works once and within ten
    minutes. Ctrl-C ends the dashboard; runs go on without it.

    Examples:

      aarlab serve --open

      aarlab serve labs/mine --port 9000

      aarlab serve --viewer-link       while it runs, from another terminal
    """
    from aarlab.dashboard import running

    where = running.place(lab, labs)
    if link or viewer_link:
        _print_links(where, [r for r, asked in (("operator", link), ("viewer", viewer_link)) if asked], open_, as_json)
        return
    running.check_free(where.root)  # before much is imported
    from aarlab.dashboard import command

    def say(found: dict[str, Any]) -> None:
        typer.echo(json.dumps(found) if as_json else running.sentences(found))

    raise typer.Exit(command.serve(where, port, open_browser=open_, until_idle=until_idle, say=say))


@app.command()
def status(
    lab: LabArgument = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing it, until the run is done or Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a run: best verified PGR, budget, one line per researcher.

    --watch shows the first page of the dashboard every two seconds; where there is no terminal every 15 seconds, and
    with --json one object a line for each change. It ends with code 0 when the run is done; without a terminal also,
    with code 130, when the run is stopped before.

    Examples: aarlab status --watch      aarlab status labs/mine --json
    """
    from aarlab.fleet import launch, plan

    if watch:
        from aarlab.fleet.watch import watch as go_on

        raise typer.Exit(go_on(plan.find(lab), as_json))
    shown = launch.status(plan.find(lab))
    if as_json:
        _print_json(shown)
    else:
        from aarlab.fleet.progress import print_once

        print_once(shown)


@app.command()
def stop(
    name: Annotated[str | None, typer.Argument(help="One researcher; default: the whole run.")] = None,
    lab: LabOption = None,
) -> None:
    """Stop one researcher for good, or the whole run so that `aarlab resume` can go on.

    Examples: aarlab stop ada      aarlab stop
    """
    from aarlab.fleet import launch, plan

    typer.echo(launch.stop(plan.find(lab), name))


@app.command()
def restart(
    lab: RunningLab,
    researcher: Annotated[str, typer.Argument(help="A name that `aarlab status` shows.")],
    as_json: AsJson = False,
) -> None:
    """Start a researcher's process anew: one that runs, or that was stopped, has finished or failed.

    The supervisor of the live run does so within seconds; the others go on. The ledger keeps that it was asked for.

    Example: aarlab restart labs/latest ada
    """
    from aarlab.fleet.runner import TERMINAL

    with _live(lab, researcher) as client:
        found = client.restart(researcher, TERMINAL)
    if as_json:
        _print_json(found)
    else:
        typer.echo(f"{found['name']} is started again")


@app.command()
def message(
    lab: RunningLab,
    researcher: Annotated[str, typer.Argument(help="A name that `aarlab status` shows, or `everyone`.")],
    text: Annotated[str, typer.Argument(help="1 to 4000 characters.")],
    as_json: AsJson = False,
) -> None:
    """Tell a researcher of a live run something, or `everyone`.

    It becomes a post of the operator that all can read, and a line of the ledger. A language model is told it after
    its next turn; searches do not read.

    Examples:

      aarlab message labs/latest ada "Try fewer items."

      aarlab message labs/mine everyone "An hour is left."
    """
    from aarlab.fleet.runner import TERMINAL

    with _live(lab, researcher, "everyone") as client:
        found = client.message(researcher, text, TERMINAL)
    if as_json:
        _print_json(found)
    else:
        typer.echo(f"message {found['id']} to {found['to']} is sent")


@app.command()
def report(lab: LabArgument = None, as_json: AsJson = False) -> None:
    """Write the report of a finished or unfinished run again and say where it is."""
    from aarlab.fleet import plan
    from aarlab.reports.report import write

    page = write(plan.find(lab))
    if as_json:
        typer.echo((page.parent / "report.json").read_text())
    else:
        typer.echo(page)


@app.command()
def submit(
    file: Annotated[Path, typer.Argument(help="A method file.")],
    lab: LabOption = None,
    name: Annotated[str, typer.Option(help="A short name; default: the file's.")] = "",
    track: Annotated[str, typer.Option(help="Its track; default: the file's `# track:` line, else inductive.")] = "",
    wait: Annotated[float, typer.Option(help="Seconds to wait for the answer.")] = 120.0,
    as_json: AsJson = False,
) -> None:
    """Hand a method file in to a live run, as a person; prints the lab's answer.

    Example: aarlab submit my_method.py
    """
    from aarlab.fleet import launch, plan

    row = launch.submit(plan.find(lab), file, name, wait, track)
    if as_json:
        _print_json(row)
    else:
        typer.echo(f"submission {row['id']}: {row['status']}" + (f", {row['answer']}" if row.get("answer") else ""))


@app.command("try")
def try_(
    file: Annotated[Path, typer.Argument(help="A method file.")],
    problem: Annotated[str, typer.Option(help="A name of `aarlab problems`, or a folder.")] = "w2s-math",
    seeds: Annotated[int, typer.Option(help="How many seeds.")] = 3,
    isolation: Annotated[str, typer.Option(help="`bwrap`, `gvisor` or `process`.")] = "bwrap",
    as_json: AsJson = False,
) -> None:
    """Run a method on a problem's open task, sandboxed, with full tracebacks. Costs no budget.

    Example: aarlab try my_method.py --problem w2s-code
    """
    from aarlab.fleet import trial

    found = trial.try_method(file, problem, seeds, isolation)
    if as_json:
        _print_json(found)
    else:
        typer.echo(trial.sentence(found))


@app.command()
def audit(
    what: Annotated[str, typer.Argument(metavar="SUBMISSION|FILE", help="A submission's number, or a method file.")],
    lab: LabOption = None,
    problem: Annotated[str, typer.Option(help="FILE: a name of `aarlab problems`, or a folder.")] = "w2s-math",
    track: Annotated[str, typer.Option(help="FILE: its track.", show_default="the file's `# track:` line")] = "",
    level: Annotated[str, typer.Option(help="`quick` or `full`.", show_default="the run's, or full")] = "",
    isolation: Annotated[str, typer.Option(help="FILE: `bwrap`, `gvisor` or `process`.")] = "bwrap",
    as_json: AsJson = False,
) -> None:
    """Measure what a method depends on, and compare it with the track it declares.

    A submission is audited in its lab, running or not; a file on the problem's open task, without any lab.

    Examples:

      aarlab audit 12

      aarlab audit 12 --level quick --lab labs/mine

      aarlab audit my_method.py --problem w2s-math --track hybrid
    """
    from aarlab.fleet import audit as audits
    from aarlab.fleet import plan

    if level not in ("", "quick", "full"):
        raise InputError(f"--level is {level!r}; it is 'quick' or 'full'")
    if what.isdigit():
        found = audits.audit_submission(plan.find(lab), int(what), level or None)  # type: ignore[arg-type]
    else:
        found = audits.audit_file(Path(what), problem, track, level or "full", isolation)  # type: ignore[arg-type]
    if as_json:
        _print_json(found)
    else:
        typer.echo("\n".join(audits.lines(found)))


@app.command()
def overrule(
    number: Annotated[int, typer.Argument(metavar="SUBMISSION", help="A submission's number.")],
    rank: Annotated[bool, typer.Option("--rank/--unrank", help="Whether it ranks.", show_default=False)],
    reason: Annotated[str, typer.Option(help="Why; the ledger and the report show it.")],
    lab: LabOption = None,
) -> None:
    """Rank or unrank a submission against its verdict, with a public reason.

    Example: aarlab overrule 12 --rank --reason "the repeated answers are the task's own"
    """
    from aarlab.fleet import audit as audits
    from aarlab.fleet import plan

    typer.echo(audits.overrule(plan.find(lab), number, rank, reason))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def sandbox(
    context: typer.Context,
    as_: Annotated[str, typer.Option("--as", help="Researcher whose sandbox to open.")] = "",
    lab: LabOption = None,
) -> None:
    """Open a shell, or run `-- COMMAND`, exactly as a researcher of the current lab has it.

    Examples: aarlab sandbox      aarlab sandbox --as ada -- python -c "import numpy"
    """
    from aarlab.fleet import launch, plan

    raise typer.Exit(launch.shell(plan.find(lab), as_, tuple(context.args)))


@app.command()
def prompt(
    problem: Annotated[str, typer.Argument(help="A name of `aarlab problems`, or a folder.")] = "w2s-math",
    kind: Annotated[str, typer.Option(help="`open` or `prescribed`.")] = "open",
    direction: Annotated[str, typer.Option(help="In words.", show_default="the first shipped one")] = "",
) -> None:
    """Print everything that a language model is told as a researcher.

    Example: aarlab prompt w2s-code --kind prescribed
    """
    from aarlab.fleet import models

    typer.echo(models.prompt(kind, problem, direction))


@app.command()
def transcripts(
    lab: LabArgument = None,
    port: Annotated[int, typer.Option(help="Loopback port.", show_default="7575")] = 0,
) -> None:
    """Open Inspect View on the transcripts of a lab's language models (needs the [llm] extra).

    Example: aarlab transcripts labs/mine --port 8000
    """
    from aarlab.fleet import models, plan

    raise typer.Exit(models.transcripts(plan.find(lab), port))


@app.command()
def scan(
    lab: LabArgument = None,
    model: Annotated[str, typer.Option(help="Reads the transcripts too.", show_default="llm.reader_model")] = "",
    as_json: AsJson = False,
) -> None:
    """Look through a lab's transcripts for signs of reward hacking (needs the [scan] extra).

    Example: aarlab scan labs/mine --model anthropic/claude-opus-4-6
    """
    from aarlab.fleet import models, plan

    found = models.scan(plan.find(lab), model)
    if as_json:
        _print_json(found)
    else:
        typer.echo(models.signs(found))


@app.command()
def mcp(
    lab: LabArgument = None,
    researcher: Annotated[str, typer.Option(help="Who the agent is in the lab.", show_default="the first one")] = "",
    workspace: Annotated[
        Path | None, typer.Option(help="Folder with its method files.", show_default="its own in the lab")
    ] = None,
    http: Annotated[bool, typer.Option("--http", help="Streamable HTTP instead of standard input and output.")] = False,
    port: Annotated[int, typer.Option(help="HTTP: loopback port.", show_default="any free one")] = 0,
) -> None:
    """Serve a researcher's tools over MCP, so that an agent of your own joins a live run (needs the [llm] extra).

    Examples: aarlab mcp --researcher me      aarlab mcp labs/mine --researcher me --http --port 8123
    """
    from aarlab.fleet import models, plan

    models.mcp(plan.find(lab), researcher, workspace, http, port)


@app.command()
def problems(
    names: Annotated[list[str] | None, typer.Argument(help="Names or folders; default: all shipped ones.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the problems and their tasks."""
    from aarlab.problems import base

    loaded = [base.load(n, check=False) for n in names or base.names()]
    if as_json:
        _print_json(
            [{"name": p.name, "title": p.title, "tasks": [_task_row(t) for t in p.tasks.values()]} for p in loaded]
        )
        return
    for p in loaded:
        typer.echo(f"{p.name}: {p.title}")
        for t in p.tasks.values():
            typer.echo(
                f"  {t.name:22} {t.role:9} train {t.train_items:5} test {t.test_items:5}"
                f"  floor {t.floor.mean:.3f}  ceiling {t.ceiling.mean:.3f}  gap {100 * t.gap:4.1f} points"
            )


@app.command()
def baselines(
    problems: Annotated[list[str] | None, typer.Argument(help="Names or folders; default: all shipped ones.")] = None,
    seeds: Annotated[int, typer.Option(help="Public seeds 0 to N - 1, at least 2.")] = 20,
    methods: Annotated[str, typer.Option(help="Names, separated by commas.", show_default="all")] = "",
    tasks: Annotated[str, typer.Option(help="Names or roles, separated by commas.", show_default="all")] = "",
    student: Annotated[str, typer.Option(help="`probe`, or `lora` (needs the [train] extra).")] = "probe",
    model: Annotated[str, typer.Option(help="LoRA: the model.", show_default="smollm2-135m")] = "",
    epochs: Annotated[float, typer.Option(help="LoRA: passes over the data.", show_default="the model's own")] = 0.0,
    items: Annotated[int, typer.Option(help="So many items of each task, train and test.", show_default="all")] = 0,
    workers: Annotated[int, typer.Option(help="Processes with one thread each; LoRA always has one.")] = 2,
    out: Annotated[Path | None, typer.Option(help="Folder to write to.", show_default="docs or results")] = None,
    cache: Annotated[Path | None, typer.Option(help="What was measured.", show_default="cache/baselines")] = None,
    fresh_cache: Annotated[bool, typer.Option(help="Measure everything again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure all methods on all tasks and write the reference table: results.md, results.json and results.svg.

    Killed and started again, it goes on. A complete table of 20 seeds goes to ./docs in a checkout of aarlab, any
    other to ./results. Ends with code 3 where a method failed; a method that says it cannot run here is no failure.

    Examples:

      aarlab baselines --seeds 20

      aarlab baselines w2s-math --methods weak-labels-hard,weak-labels-soft --tasks feedback,record

      aarlab baselines w2s-math --student lora --items 600 --tasks feedback --seeds 3
    """
    from aarlab.baselines import command, write

    found = command.run(
        problems or [], seeds, methods, tasks, student, model, items, epochs, workers, cache, fresh_cache, out
    )
    if as_json:
        _print_json(found.table)
    else:
        typer.echo(f"{write.text(found.table)}\n{found.page}")
    for sentence in found.failures:
        typer.echo(sentence, err=True)
    raise typer.Exit(3 if found.failures else 0)


@app.command()
def published(
    path: Annotated[Path, typer.Argument(help="A condensed JSON file, a folder of them, or a released cache folder.")],
    as_json: AsJson = False,
) -> None:
    """Measure the published results of the 2026 study as this lab measures: PGR, intervals, the best of m.

    PATH is chat.json with `methods`, or a folder with <domain>_<idea>/<configuration>/seed_<N>.json. Floor and ceiling
    are means over all seeds of `weak_artifacts` and `train_ceiling`.

    Examples: aarlab published cache_results      aarlab published chat.json --json
    """
    from aarlab.published.measure import measure
    from aarlab.published.read import read

    tables = [measure(domain) for domain in read(path)]
    if as_json:
        _print_json([table.as_dict() for table in tables])
    else:
        from aarlab.published.show import print_tables

        print_tables(tables)


@app.command()
def redteam(
    problems: Annotated[list[str] | None, typer.Argument(help="Names or folders; default: all shipped ones.")] = None,
    only: Annotated[str, typer.Option(help="One attack: its number, or a word of its name.", show_default="all")] = "",
    fast: Annotated[bool, typer.Option(help="The quick subset, under three minutes.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for redteam.json and .md.", show_default="none")] = None,
    as_json: AsJson = False,
) -> None:
    """Start a lab and attack it; print what each attack gained, which audits fired, and how it ended.

    Ends with code 3 where an attack did not end as it must.

    Examples: aarlab redteam w2s-math      aarlab redteam --fast      aarlab redteam w2s-code --only 19
    """
    from aarlab.redteam import command

    found = command.run(problems or [], only, fast, out, quiet=as_json)
    if as_json:
        _print_json(found.matrices)
    else:
        for matrix in found.matrices:
            typer.echo(matrix["summary"])
        if found.page:
            typer.echo(found.page)
    raise typer.Exit(0 if found.as_expected else 3)


@problem_app.command("check")
def problem_check(name: Annotated[str, typer.Argument(help="Problem to check, by name or folder.")]) -> None:
    """Compare every file of a problem's data pack with its SHA-256, and every ceiling with its floor."""
    from aarlab.problems import base

    loaded = base.load(name, check=True)
    typer.echo(f"{loaded.name}: {len(loaded.tasks)} tasks, all files match their checksums ({loaded.folder})")
    loaded.check_gaps()


@problem_app.command("new")
def problem_new(
    folder: Annotated[Path, typer.Argument(metavar="NAME", help="The folder to make; its name is the problem's.")],
    from_paper_data: Annotated[
        Path, typer.Option(help="Folder with train_label.jsonl, train_unlabel.jsonl and test.jsonl.")
    ],
    title: Annotated[str, typer.Option(help="One line on what is asked.")] = "",
    teacher: Annotated[str, typer.Option(help="`bag` of words, or an early exit of the student: l1 to l19.")] = "bag",
    context: Annotated[int, typer.Option(help="Tokens of an item that the student reads.")] = 1024,
    items: Annotated[int, typer.Option(help="Most items of each file.", show_default="all")] = 0,
    drop_repeats: Annotated[bool, typer.Option(help="Leave out items that stand in two files.")] = False,
    threads: Annotated[int, typer.Option(help="Threads of the student.", show_default="all cores")] = 0,
) -> None:
    """Make a problem of your own data, with features, teachers, floors and ceilings (needs the [train] extra).

    Example: aarlab problem new my-chat --from-paper-data labeled_data/chat --items 1000
    """
    from aarlab.fleet import packs
    from aarlab.problems.new import Options

    options = Options(title, teacher, context, items, drop_repeats, threads)
    made = packs.from_paper_data(folder, from_paper_data, options)
    typer.echo(made)
    made.problem.check_gaps()


@problem_app.command("build")
def problem_build(
    name: Annotated[str, typer.Argument(help="Problem to build.")],
    out: Annotated[Path | None, typer.Option(help="Where the pack goes; default: ./cache/NAME.")] = None,
    from_scratch: Annotated[bool, typer.Option(help="Fetch model and texts, generate, extract, measure.")] = False,
    fresh: Annotated[bool, typer.Option(help="New secret items instead of the shipped ones.")] = False,
) -> None:
    """Rebuild a problem's data pack and say how far it differs from the shipped one.

    Examples: aarlab problem build w2s-math --from-scratch      aarlab problem build w2s-code --fresh
    """
    from aarlab.fleet import packs

    typer.echo(packs.build_pack(name, out, from_scratch, fresh))


@ledger_app.command("verify")
def ledger_verify(lab: LabArgument = None, as_json: AsJson = False) -> None:
    """Check chain, rows and artifacts; print the bits released so far and their bound."""
    from aarlab.fleet import launch, plan

    found = launch.verify(plan.find(lab))
    if as_json:
        _print_json(found)
    else:
        typer.echo(found["text"])
    raise typer.Exit(0 if found["ok"] else 2)


@study_app.command("exfiltration")
def study_exfiltration(
    problem: Annotated[str, typer.Argument(help="A name of `aarlab problems`, or a folder.")] = "w2s-math",
    task: Annotated[str, typer.Option(help="The attacked task.")] = "feedback",
    answers: Annotated[int, typer.Option(help="Most answers, of all agents together.")] = 4500,
    repeats: Annotated[int, typer.Option(help="Base submissions, each with another teacher.")] = 20,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder to write to.", show_default="results")] = None,
    as_json: AsJson = False,
) -> None:
    """Attack exact, rounded, noisy and Ladder answers on a real task: PGR stolen against answers, with a plot.

    Examples:

      aarlab study exfiltration

      aarlab study exfiltration w2s-pref --answers 450 --repeats 5
    """
    from aarlab.studies import command, page

    written = command.run(problem, task, answers, repeats, seed, out)
    if as_json:
        _print_json(written.found)
    else:
        typer.echo(f"{page.text(written.found)}\n{written.page}")


@study_app.command("directions")
def study_directions(
    problem: Annotated[str, typer.Argument(help="A name of `aarlab problems`, or a folder.")] = "w2s-math",
    repeats: Annotated[int, typer.Option(help="Pairs of runs, with and without directions.")] = 3,
    researchers: Annotated[int, typer.Option(help="Of each run.")] = 9,
    llm: Annotated[str, typer.Option(help="Language model, by its Inspect name.", show_default="none: searches")] = "",
    base_url: Annotated[str, typer.Option(help="Of a compatible server.", show_default="the provider's")] = "",
    directions: Annotated[str, typer.Option(help="File of directions.", show_default="nine shipped")] = "",
    minutes: Annotated[float, typer.Option(help="Research of each run.", show_default="as `aarlab run`")] = 0.0,
    answers: Annotated[int, typer.Option(help="Ladder answers of each run.", show_default="as `aarlab run`")] = 0,
    seeds: Annotated[int, typer.Option(help="Seeds of a score.", show_default="as `aarlab run`")] = 0,
    dollars: Annotated[float, typer.Option(help="Budget of each run.", show_default="none")] = 0.0,
    tokens: Annotated[int, typer.Option(help="Tokens of each run.", show_default="none")] = 0,
    isolation: Annotated[str, typer.Option(help="`bwrap`, `gvisor` or `process`.", show_default="bwrap")] = "",
    quick: Annotated[bool, typer.Option("--quick", help="One minute a run, few finalists, no audits.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of the study.")] = Path("studies/directions"),
) -> None:
    """Does a direction for each researcher help? Fleets with and without, on equal budgets: diversity, PGR, cost.

    Stopped and started again with the same flags, it goes on.

    Examples:

      aarlab study directions --quick --repeats 2

      aarlab study directions --llm anthropic/claude-opus-4-6 --dollars 20 --repeats 5
    """
    from aarlab.fleet import models
    from aarlab.studies import directions as study

    if llm:
        models.needs_extra("inspect_ai", "llm")
    code = study.run(
        problem, researchers, repeats, out, llm, base_url, minutes=minutes, answers=answers, seeds=seeds,
        dollars=dollars, tokens=tokens, directions=directions, isolation=isolation, quick=quick,
    )  # fmt: skip
    raise typer.Exit(code)


def _task_row(card: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(card), "gap": card.gap}


def _beside(opened: bool) -> Callable[[Path], None]:
    """What happens beside a run that begins: nothing, or the dashboard."""
    if not opened:
        return lambda lab: None
    from aarlab.dashboard import running

    return running.open_beside


def _live(lab: Path, name: str, *others: str) -> Any:
    """The operator's client of a live run. Raises UnknownName where its fleet has nobody of that name."""
    from aarlab import settings as settings_file
    from aarlab.fleet import launch, plan

    folder = plan.find(lab)
    known = (*(one.name for one in settings_file.read(folder / "lab.toml").researchers), *others)
    if name not in known:
        raise UnknownName(f"no researcher {name!r}; this lab has {', '.join(known)}")
    return launch.live(folder)


def _print_links(where: Any, roles: list[str], opened: bool, as_json: bool) -> None:
    """New links to a dashboard that runs; the first is opened."""
    from aarlab.dashboard import running

    links = {role: running.ask(where, role) for role in roles}
    typer.echo(json.dumps(links) if as_json else "\n".join(links.values()))
    if opened:
        running.show(next(iter(links.values())))


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, default=str))


def main() -> None:
    """Run the command line; aarlab's errors become one sentence and their exit code."""
    try:
        app()
    except AarlabError as error:
        if isinstance(error, MethodError) and error.detail:
            print(error.detail, file=sys.stderr)
        print(f"aarlab: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno == 28:  # ENOSPC: the one system error everybody meets
            print(
                f"aarlab: the disk is full ({error.filename}); free some space and run `aarlab resume`", file=sys.stderr
            )
            sys.exit(3)
        raise
