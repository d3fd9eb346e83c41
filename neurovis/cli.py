"""The ``neurovis`` command: one sub-command per step, each importing only what it needs.

Comes in: words typed in a shell. Goes out: artefacts on disk, a line on what to do next, and an exit
code: 0 done, 1 failed (one sentence; a traceback with ``--debug``), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from neurovis import __version__
from neurovis.interrupt import SAID, heard
from neurovis.options import arguments

Options = argparse.Namespace
_COMMON = ("command", "debug", "print_config")


class _Parser(argparse.ArgumentParser):
    """A parser whose mistakes come with the nearest right option."""

    commands: dict[str, argparse.ArgumentParser]

    def error(self, message: str) -> Any:
        import difflib
        import re

        options = [w for action in self._actions for w in action.option_strings]
        choices = [str(c) for action in self._actions for c in action.choices or ()]
        typed = [(word, options) for word in re.findall(r"--[\w-]+", message)]
        typed += [(word, choices) for word in re.findall(r"invalid choice: '([^']*)'", message)]
        for word, known in typed:
            near = difflib.get_close_matches(word, known, 1, 0.6)
            message += f"; did you mean {near[0]}?" if near and near[0] != word else ""
        print(f"{self.prog}: {message}\nSee: {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)


def _demo(options: Options) -> None:
    from neurovis.demo import demo

    report = demo(options.out, options.modality, quiet=options.quiet, n_jobs=options.n_jobs)
    print(f"Report: {report}")


def _simulate(options: Options) -> None:
    from neurovis.config import build, override
    from neurovis.world.simulate import Design, simulate

    words = override({"modality": options.modality}, options.override)
    if _printed(options, build(Design, words)):
        return
    simulate(options.out, n_jobs=options.n_jobs, quiet=options.quiet, **words)
    print(
        f"Simulated: {options.out}\nNext: neurovis preprocess synthetic --root {options.out} --out OUT"
    )


def _fetch(options: Options) -> None:
    from neurovis.listing import fetch

    print(fetch(**{k: v for k, v in vars(options).items() if k not in _COMMON}))


def _preprocess(options: Options) -> None:
    from neurovis.datasets import load_datasets
    from neurovis.errors import UsageError, unknown
    from neurovis.prepare import command

    name, known = _underscored(options.dataset), load_datasets()
    if name not in known:
        raise UsageError(unknown("dataset", options.dataset, known))
    options.debug = options.debug or "--debug" in options.words
    before = [f"--{f}" for f in ("quiet", "print-config") if getattr(options, _underscored(f))]
    command(name, [*before, *options.words], f"neurovis preprocess {options.dataset}")


def _embed(options: Options) -> None:
    from neurovis.images import embed, encoder
    from neurovis.records import Stimuli

    named = encoder(options.encoder)
    if _printed(options, named):
        return
    folder = embed(
        named,
        Stimuli.read(options.stimuli),
        options.out,
        batch_size=options.batch_size,
        device=options.device,
        quiet=options.quiet,
    )
    print(f"Embeddings: {folder / 'embeddings.h5'}")


def _sweep(options: Options) -> None:
    from neurovis.config import build, override
    from neurovis.sweep import Sweep, sweep, table

    words: dict[str, Any] = {"data": {"path": options.prepared, "subjects": options.subject or []}}
    words["encoders"] = options.encoder or ["classical"]
    if options.layers and options.layers != "all":
        words["layers"] = [_number(word) for word in options.layers.split(",")]
    if options.pools:
        words["pools"] = options.pools.split(",")
    config = build(Sweep, override(words, options.override))
    if _printed(options, config):
        return
    folder = sweep(config, options.out, quiet=options.quiet)
    print(f"{table(folder)}Sweep: {folder}")


def _number(word: str) -> int | float | str:
    """A number as it is written, or the word, which is refused with its name."""
    try:
        return int(word) if word.isdecimal() else float(word)
    except ValueError:
        return word


def _import(options: Options) -> None:
    from neurovis import imports

    make = getattr(imports, f"import_{options.record}")
    about = imports.read_options(make, options.override, quiet=options.quiet)
    print(f"Written: {make(options.file, options.ids, options.out, **about)}")
    if options.record == "trials":
        print(f"Next: neurovis preprocess imported --root {options.out} --out OUT")


def _train(options: Options) -> None:
    from neurovis.distributed import job

    with job() as world:
        _train_here(options, world.first)


def _train_here(options: Options, first: bool) -> None:
    from neurovis.config import build, load_yaml
    from neurovis.experiment import Experiment
    from neurovis.train import main as train

    experiment = build(Experiment, load_yaml(options.experiment, options.override))
    options.print_config &= first
    if _printed(options, experiment):
        return
    run = train(experiment, Path(options.out), options.resume == "auto", options.quiet)
    if first:
        _scores(run, options.quiet)
        print(f"Run: {run}\nNext: neurovis report {run}")


def _scores(run: Path, quiet: bool) -> None:
    from neurovis.evaluate import evaluate_run, table

    if not (run / "scores.json").is_file():
        evaluate_run(run, quiet=quiet)
    if not quiet:
        from neurovis.evaluate import read_coverage, read_scores

        print(table(read_scores(run), read_coverage(run)))


def _reconstructions(options: Options) -> bool:
    """Score reconstructions, where that is what was named."""
    from neurovis.generate.score import is_reconstructions, picture_table, score_reconstructions

    if not is_reconstructions(options.run[0]):
        return False
    metrics = options.metrics or "offline"
    for folder in options.run:
        print(picture_table(score_reconstructions(folder, metrics, quiet=options.quiet)))
    return True


def _evaluate(options: Options) -> None:
    from neurovis.errors import UsageError
    from neurovis.evaluate import evaluate_prediction, evaluate_run, read_coverage, table
    from neurovis.records import Embeddings, Prediction

    if options.run and _reconstructions(options):
        return
    if options.metrics:
        raise UsageError(
            "evaluate: --metrics goes with RUN/reconstructions/NAME, found a run or a prediction, whose metrics "
            "its targets decide; leave --metrics out."
        )
    corrected, curves = options.calibrate or options.transductive, []
    if options.run:
        run = Path(options.run[0])
        if len(options.run) > 1:
            from neurovis.ensemble import ensemble

            run = ensemble(options.run, quiet=options.quiet)
            print(f"Ensemble: {run}")
        scores, curves = evaluate_run(run, quiet=options.quiet), read_coverage(run)
    elif options.prediction and options.embeddings and not corrected:
        scores = evaluate_prediction(
            Prediction.read(options.prediction), Embeddings.read(options.embeddings)
        )
    else:
        raise UsageError(
            "evaluate: expected RUN, or --prediction P together with --embeddings E; --calibrate and "
            "--transductive go with a RUN."
        )
    print(table(scores, curves))
    if corrected:
        from neurovis.adapt import adapt_run, adapted_table

        print(adapted_table(adapt_run(run, options.calibrate, options.transductive, options.quiet)))


def _retrieve(options: Options) -> None:
    from neurovis.metrics.table import table
    from neurovis.retrieve import Query, listed, retrieve

    names = ("prediction", "system", "target", "n_averaged", "text", "text_vector", "weight")
    query = Query(run=options.run or "", **{name: getattr(options, name) for name in names})
    found, said, scores = retrieve(
        query, options.gallery, options.ids, options.k, options.engine, options.out, options.quiet
    )
    print(listed(found, said))
    if scores:
        print(table(scores))
    if options.out:
        print(f"Retrieved: {options.out}")


def _generate(options: Options) -> None:
    from neurovis.reconstruct import command

    config, paint = command(options.run, options.override, options.shard, options.n_jobs)
    if not _printed(options, config):
        print(paint(quiet=options.quiet))


def _hub(options: Options) -> None:
    from neurovis import hub

    if options.what == "save":
        saved = hub.save_pretrained(options.source, options.target, options.licence)
        print(f"Saved: {saved}\nNext: neurovis hub push {saved} OWNER/NAME")
    else:
        private, accept = not options.public, options.accept_terms
        print(f"Pushed: {hub.push(options.source, options.target, private, accept)}")


def _encode(options: Options) -> None:
    from neurovis.config import build, load_yaml
    from neurovis.distributed import job
    from neurovis.encode.experiment import Encode
    from neurovis.encode.results import table
    from neurovis.encode.run import encode

    with job() as world:
        experiment = build(Encode, load_yaml(options.experiment, options.override))
        options.print_config &= world.first
        if _printed(options, experiment):
            return
        folder = encode(experiment, options.out, options.resume == "auto", options.quiet)
        if world.first:
            said = "" if options.quiet else table(folder)
            print(f"{said}Encoding: {folder}\nNext: neurovis report {folder}")


def _report(options: Options) -> None:
    from neurovis.report import report_run

    out = Path(options.out) if options.out else None
    print(f"Report: {report_run(Path(options.run), out, quiet=options.quiet)}")
    if options.paper:
        from neurovis.report.paper import paper

        files = paper(options.run, options.paper, quiet=options.quiet)
        print(f"Paper: {options.paper}: {', '.join(path.name for path in files)}")


def _analyse(options: Options) -> None:
    from neurovis.analysis.command import analyse, configured, table

    config, run = configured(options.source, options.kind, options.override)
    if _printed(options, config):
        return
    folder = analyse(config, run, options.out, options.n_jobs, options.quiet)
    print(f"{table(folder)}Analysis: {folder}")
    print(f"Next: neurovis report {run or folder}")


def _live(options: Options) -> None:
    from neurovis.config import build, override
    from neurovis.live.run import Live, live
    from neurovis.live.tally import text

    names = [name for name in Live.model_fields if getattr(options, name, None)]
    words = {name: getattr(options, name) for name in names}
    if options.early:
        words["early"] = [_number(word) for word in options.early.split(",")]
    config = build(Live, override(words, options.override))
    if not _printed(options, config):
        print(text(live(config, quiet=options.quiet)))


def _list(options: Options) -> None:
    from neurovis.listing import listing

    print(listing(options.family, options.pattern, options.out, options.table))


def _doctor(options: Options) -> int:
    from neurovis.listing import doctor

    text, good = doctor(options.what, options.root, options.subject or ())
    print(text)
    return 0 if good else 1


def _printed(options: Options, config: Any) -> bool:
    """Print the config instead of running, if asked to."""
    if options.print_config:
        import yaml

        from neurovis.config import to_dict

        print(yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True), end="")
    return options.print_config


def _underscored(name: str) -> str:
    return name.replace("-", "_")


COMMANDS: dict[str, tuple[Callable, str, str]] = {
    "demo": (_demo, "everything, offline, on simulated recordings; ends with a report", "demo"),
    "simulate": (
        _simulate,
        "write a raw BIDS dataset of the image world",
        "simulate --modality meg --out world n_subjects=2",
    ),
    "fetch": (
        _fetch,
        "download what a dataset's manifest names; resumes, verifies, keeps what is whole",
        "fetch DATASET --root DIR --subject 01 --dry-run",
    ),
    "preprocess": (
        _preprocess,
        "raw recordings to trials.h5, stimuli.csv, split.json and a QC page",
        "preprocess synthetic --root world --out out",
    ),
    "embed": (
        _embed,
        "embed pictures with a frozen encoder",
        "embed --stimuli world/stimuli/stimuli.csv --encoder classical --out out",
    ),
    "sweep": (
        _sweep,
        "rank layers of image encoders by what signals tell of them, on validation images",
        "sweep out/prepared/synthetic-0123 --encoder timm:MODEL.TAG --layers 0.2,0.4,0.6 --out out",
    ),
    "import": (
        _import,
        "take arrays that others made: trials, embeddings, prediction",
        "import embeddings clip.npy --ids ids.txt --out out",
    ),
    "train": (
        _train,
        "train what an experiment's YAML describes",
        "train experiments/demo.yaml data.path=out/prepared/synthetic-0123 train.epochs=20",
    ),
    "evaluate": (
        _evaluate,
        "score a run, reconstructions, or a prediction against embeddings",
        "evaluate --prediction prediction.h5 --embeddings embeddings.h5",
    ),
    "retrieve": (
        _retrieve,
        "find the best images of a large gallery for a run's predictions, words, or both",
        "retrieve out/runs/demo-0123 --gallery embeddings.h5 --k 5",
    ),
    "generate": (
        _generate,
        "paint what was seen from what a run decoded; resumes, and several machines can share it",
        "generate out/runs/demo-0123 generator=linear samples=2 prior=diffusion",
    ),
    "hub": (
        _hub,
        "share a run: save it as a model with its card, push that to the Hugging Face Hub",
        "hub save out/runs/demo-0123 my-decoder",
    ),
    "analyse": (
        _analyse,
        "when, where and with how much data signals tell what was seen",
        "analyse out/runs/demo-0123 when data.path=out/prepared/synthetic-0123 width=0.05",
    ),
    "encode": (
        _encode,
        "encoding models: which features explain the response of each voxel or sensor",
        "encode experiments/encoding.yaml data.path=out/prepared/synthetic-0123",
    ),
    "report": (_report, "one self-contained HTML file from a run", "report out/runs/demo-0123"),
    "live": (
        _live,
        "decode a Lab Streaming Layer stream as it arrives, or a recording played as one",
        "live out/runs/demo-0123 --stream EEG",
    ),
    "list": (_list, "components by family and pattern", 'list brain "*conv*"'),
    "doctor": (
        _doctor,
        "versions, devices, what is missing of a dataset or a run and the command that gets it",
        "doctor bids --root DIR",
    ),
}


CONFIGURED = ("simulate", "preprocess", "embed", "sweep", "train", "generate", "analyse", "encode")
CONFIGURED += ("live",)
"""Commands that print a config of their own; the others print their options."""


def parser() -> _Parser:
    """The whole command line."""
    top = _Parser(
        prog="neurovis",
        description="Decode what a person saw from MEG, EEG or fMRI.",
        epilog="Each command: neurovis COMMAND --help. Start with: neurovis demo",
    )
    top.add_argument("--version", action="version", version=f"neurovis {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    made = {}
    for name, (_, what, example) in COMMANDS.items():
        made[name] = one = commands.add_parser(
            name,
            help=what,
            description=what[0].upper() + what[1:] + ".",
            epilog=f"Example: neurovis {example}",
        )
        one.add_argument("--quiet", action="store_true", help="no progress, only the result")
        one.add_argument("--debug", action="store_true", help="show the traceback of an error")
        one.add_argument(
            "--print-config", action="store_true", help="print the full config and stop"
        )
    arguments(made)
    top.commands = made
    return top


def main(words: list[str] | None = None) -> int:
    """Run one command; return its exit code."""
    top = parser()
    options, rest = top.parse_known_args(words)
    if rest:
        unknown = [word for word in rest if word.startswith("-")]
        if unknown or not hasattr(options, "override"):
            top.commands[options.command].error(f"unrecognized arguments: {' '.join(rest)}")
        options.override += rest
    command = COMMANDS[options.command][0]
    if options.print_config and options.command not in CONFIGURED:
        _printed(options, {k: v for k, v in vars(options).items() if k != "print_config"})
        return 0
    try:
        with heard():
            return command(options) or 0
    except KeyboardInterrupt:
        if options.debug:
            raise
        print(SAID, file=sys.stderr)
        return 130
    except Exception as error:
        return _failed(error, options)


def _failed(error: Exception, options: Options) -> int:
    from neurovis.errors import NeurovisError, UsageError

    if options.debug:
        raise error
    text = " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, NeurovisError):
        text = f"{type(error).__name__}: {text} (run with --debug for the traceback)"
    print(f"neurovis {options.command}: {text}", file=sys.stderr)
    return 2 if isinstance(error, UsageError) else 1


if __name__ == "__main__":
    raise SystemExit(main())
