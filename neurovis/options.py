"""What each command of ``neurovis`` can be told: its words and options, with their help."""

from __future__ import annotations

import argparse


def arguments(made: dict[str, argparse.ArgumentParser]) -> None:
    """Give each command its options, besides those that all share."""

    def override(name: str) -> None:
        made[name].add_argument("override", nargs="*", metavar="key=value", help="change an option")

    def jobs(name: str) -> None:
        made[name].add_argument("--n-jobs", type=int, default=2, help="processes (default 2)")

    made["demo"].add_argument("--out", default="neurovis-demo", help="folder (default %(default)s)")
    made["demo"].add_argument("--modality", choices=("meg", "eeg", "fmri"), default="meg")
    jobs("demo")
    made["simulate"].add_argument("--modality", choices=("meg", "eeg", "fmri"), default="meg")
    made["simulate"].add_argument("--out", required=True, help="root of the BIDS dataset")
    override("simulate")
    jobs("simulate")
    made["fetch"].add_argument("dataset", help="see: neurovis list datasets")
    made["fetch"].add_argument("--root", required=True, help="folder that its files go to")
    made["fetch"].add_argument(
        "--source", action="append", default=[], help="only this source of its manifest; repeatable"
    )
    made["fetch"].add_argument(
        "--subject", action="append", default=[], help="only this one; repeatable"
    )
    made["fetch"].add_argument(
        "--include", action="append", default=[], help='only such paths, "*_events.tsv"; repeatable'
    )
    made["fetch"].add_argument(
        "--accept",
        action="append",
        default=[],
        help="accept the owners' terms, which you have read",
    )
    made["fetch"].add_argument("--dry-run", action="store_true", help="say what would be fetched")
    made["fetch"].add_argument(
        "--relist", action="store_true", help="ask the owners for their list of files anew"
    )
    made["fetch"].add_argument("--n-jobs", type=int, default=4, help="files at a time (default 4)")
    made["preprocess"].add_argument("dataset", help="see: neurovis list datasets")
    made["preprocess"].add_argument(
        "words",
        nargs=argparse.REMAINDER,
        metavar="--root DIR --out OUT [options]",
        help="options of the dataset: neurovis preprocess DATASET --help",
    )
    made["embed"].add_argument("--stimuli", required=True, help="stimuli.csv")
    made["embed"].add_argument("--encoder", default="classical", help="see: neurovis list images")
    made["embed"].add_argument("--out", required=True, help="goes to OUT/embeddings/...")
    made["embed"].add_argument("--batch-size", type=int, default=64, help="pictures at a time")
    made["embed"].add_argument("--device", default="auto", help="auto, cpu or cuda")
    made["sweep"].add_argument("prepared", help="prepared folder, made by neurovis preprocess")
    made["sweep"].add_argument(
        "--encoder", action="append", help="as for neurovis embed; repeatable (default classical)"
    )
    made["sweep"].add_argument(
        "--layers", help="of networks: all, relative depths 0.2,0.4 or numbers 3,6 (default all)"
    )
    made["sweep"].add_argument("--pools", help="of blocks: mean, cls or mean,cls (default mean)")
    made["sweep"].add_argument("--subject", action="append", help="only this one; repeatable")
    made["sweep"].add_argument("--out", default=".", help="goes to OUT/sweeps/... (default .)")
    override("sweep")
    made["import"].add_argument("record", choices=("trials", "embeddings", "prediction"))
    made["import"].add_argument("file", help=".npy .npz .pt .fif .h5")
    made["import"].add_argument(
        "--ids", help="image id of each row: txt, csv, json (not needed where the file says them)"
    )
    made["import"].add_argument("--out", required=True, help="folder for the record's file")
    override("import")
    made["train"].add_argument("experiment", help="YAML of the experiment")
    made["train"].add_argument("--out", default=".", help="goes to OUT/runs/... (default .)")
    made["train"].add_argument(
        "--resume", choices=("auto", "never"), default="auto", help="go on from a checkpoint"
    )
    override("train")
    made["encode"].add_argument("experiment", help="YAML of the encoding experiment")
    made["encode"].add_argument("--out", default=".", help="goes to OUT/encoding/... (default .)")
    made["encode"].add_argument(
        "--resume",
        choices=("auto", "never"),
        default="auto",
        help="go on with what is fitted already",
    )
    override("encode")
    made["evaluate"].add_argument(
        "run",
        nargs="*",
        help="run folder; several are averaged into an ensemble; or reconstructions",
    )
    made["evaluate"].add_argument(
        "--metrics",
        default="",
        help="of reconstructions: offline, published, or a YAML file (default offline)",
    )
    made["evaluate"].add_argument("--prediction", help="prediction.h5")
    made["evaluate"].add_argument("--embeddings", help="embeddings.h5")
    made["evaluate"].add_argument(
        "--calibrate", default="", help="also learned from validation: mean,csls,temperature"
    )
    made["evaluate"].add_argument(
        "--transductive",
        default="",
        help="also using other test rows, reported apart: moments,whiten,csls,one_to_one,whiten+csls",
    )
    made["retrieve"].add_argument("run", nargs="?", help="run folder")
    made["retrieve"].add_argument(
        "--prediction", default="", help="prediction.h5, instead of a run"
    )
    made["retrieve"].add_argument(
        "--gallery", required=True, help="embeddings.h5 or .npy, float16 or float32; stays on disk"
    )
    made["retrieve"].add_argument("--ids", help="image ids of a .npy, one per line")
    made["retrieve"].add_argument("--k", type=int, default=10, help="images per row (default 10)")
    made["retrieve"].add_argument("--system", default="tower", help="of the run (default tower)")
    made["retrieve"].add_argument("--target", default="", help="where there are several")
    made["retrieve"].add_argument(
        "--n-averaged", type=int, help="rows of so many trials averaged (default: the most)"
    )
    made["retrieve"].add_argument(
        "--text", default="", help="words, alone or with the brain's part"
    )
    made["retrieve"].add_argument(
        "--text-vector", default="", help="their vector, as .npy or embeddings.h5, instead"
    )
    made["retrieve"].add_argument(
        "--weight", type=float, default=0.5, help="of the words, 0 to 1 (default 0.5)"
    )
    made["retrieve"].add_argument(
        "--engine", default="exact", help="or a FAISS index: Flat, IVF4096,SQfp16 (extra faiss)"
    )
    made["retrieve"].add_argument("--out", help="retrieved.h5 to write")
    made["generate"].add_argument("run", help="run folder")
    made["generate"].add_argument(
        "--shard", metavar="I/N", help="paint this part of N; without it the parts are collected"
    )
    made["generate"].add_argument(
        "--n-jobs", type=int, help="processes (default 2 on a CPU, 1 on a GPU)"
    )
    override("generate")
    made["hub"].add_argument("what", choices=("save", "push"))
    made["hub"].add_argument("source", help="to save: run folder; to push: what was saved")
    made["hub"].add_argument("target", help="to save: new folder; to push: OWNER/NAME")
    made["hub"].add_argument(
        "--licence",
        default="other",
        help="of the weights, as the Hub spells it (default %(default)s)",
    )
    made["hub"].add_argument("--public", action="store_true", help="push for everybody to see")
    made["hub"].add_argument(
        "--accept-terms",
        action="store_true",
        help="the terms of the training data's owners allow sharing",
    )
    made["analyse"].add_argument("source", help="run folder, or YAML of an experiment")
    made["analyse"].add_argument("kind", choices=("when", "where", "amount"))
    made["analyse"].add_argument(
        "--out", default=".", help="goes to OUT/analyses/... (default .); of a run, into it"
    )
    override("analyse")
    jobs("analyse")
    made["report"].add_argument("run", help="run folder, or that of an analysis")
    made["report"].add_argument("--out", help="file (default RUN/report.html)")
    made["report"].add_argument(
        "--paper",
        metavar="DIR",
        help="also figures as PDF, tables as LaTeX and CSV, into this folder",
    )
    live = made["live"]
    live.add_argument("run", help="run folder")
    live.add_argument("--stream", default="", help="name of the stream of signals")
    live.add_argument(
        "--markers", default="", help="of the stream of markers (default: the only one there is)"
    )
    live.add_argument(
        "--replay",
        default="",
        help="play DATASET/RECORDING (synthetic/ses-01_run-01), or a recorded session, as a stream",
    )
    live.add_argument("--root", default="", help="of the dataset that is played")
    live.add_argument("--speed", type=float, help="of the replay, times real speed (default 1)")
    live.add_argument("--subject", default="", help="whose model, where the run has several")
    live.add_argument(
        "--gallery",
        action="append",
        help="embeddings.h5, or TARGET=embeddings.h5; repeatable (default: the run's test images)",
    )
    live.add_argument("--stimuli", default="", help="stimuli.csv with the gallery's pictures")
    live.add_argument(
        "--calibrate", type=float, help="learn from so many first minutes before going live"
    )
    live.add_argument("--early", default="", help="decide on growing windows too, s: 0.2,0.3")
    live.add_argument("--duration", type=float, help="end after so many seconds of signal")
    live.add_argument("--host", default="", help="where the page listens (default 127.0.0.1)")
    live.add_argument("--port", type=int, help="of the page (default: any that is free)")
    live.add_argument("--out", default=".", help="goes to OUT/live/... (default .)")
    override("live")
    kinds = ("datasets", "images", "brain", "losses", "metrics", "generators")
    kinds += ("priors", "subjects", "protocols", "augmentations", "readouts")
    made["list"].add_argument("family", choices=kinds)
    made["list"].add_argument("pattern", nargs="?", default="*", help='such as "*conv*"')
    made["list"].add_argument(
        "--out", default=".", help="where prepared datasets are looked for (default .)"
    )
    table = "towers: weights at published shapes; of one tower, module by module"
    made["list"].add_argument("--table", action="store_true", help=table)
    made["doctor"].add_argument("what", nargs="?", help="a dataset or a run folder")
    made["doctor"].add_argument("--root", help="where the dataset is")
    made["doctor"].add_argument("--subject", action="append", help="only this one; repeatable")
