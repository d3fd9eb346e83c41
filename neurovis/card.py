"""The model card: what a shared model is, what it reached and how that was measured, what may be done.

Comes in: the plain data of a saved model. Goes out: Markdown with YAML front matter. Every number was made
by evaluation and stands with n, chance, interval, gallery and protocol; licence, terms and citation of the
training data come from its manifest.
"""

from __future__ import annotations

import inspect
import re
import sys
from typing import Any

from neurovis import __version__
from neurovis.manifest import Manifest, manifests, read_manifest
from neurovis.records import Score

SNIPPET = """import numpy as np
from neurovis.hub import from_pretrained

model = from_pretrained("{name}"{whose})
# trial x channel x time, preprocessed as below; here: nothing but noise
signal = np.random.default_rng(0).standard_normal((2, len(model.channel_name), model.n_times))
said = model.predict(
    signal, model.channel_name, sfreq=model.sfreq, tmin=model.tmin, subject=model.subjects[0]
)
print({{target: vector.shape for target, vector in said.items()}})
# pictures to retrieve among: model.gallery(target, vectors of the target's encoder{side}), then cosines
"""
USE = (
    "Research on how brain activity carries what a person sees, with recordings of people who agreed to "
    "it. The model was measured on the people and the galleries named here; it does not read thoughts, "
    "says little about other people or devices, and is no basis for a decision about anyone."
)


def data_manifest(signals: dict[str, Any]) -> Manifest | None:
    """Manifest of the dataset that a model was trained on; None where its reader has none."""
    for name in manifests():
        manifest = read_manifest(name)
        if manifest.reader == signals.get("dataset"):
            return manifest
    return None


def _snippet(name: str, config: dict[str, Any], shape: dict[str, Any]) -> str:
    """Code that runs; it says whose model is loaded, or whose image side, where each subject has one."""
    said = config.get("subjects") or "joint"
    kind = said.get("name") if isinstance(said, dict) else said
    whose = f', subject="{shape["subjects"][0]}"' if kind == "single" else ""
    several = config.get("projection") == "own" and len(shape["subjects"]) > 1
    return SNIPPET.format(name=name, whose=whose, side=", subject=..." if several else "")


def card(
    name: str,
    config: dict[str, Any],
    shape: dict[str, Any],
    signals: dict[str, Any],
    scores: list[Score],
    headline: dict[str, Any],
    provenance: dict[str, Any],
    brain: Any,
    licence: str = "other",
) -> str:
    """Markdown of a model card.

    Parameters
    ----------
    name : str
        Folder or repository.
    config, shape, signals, provenance : dict
        Content of the files of these names.
    scores : list of Score
        Without comparisons.
    headline : dict
        Which of them speaks for the model.
    brain : BrainEncoder, optional
        None for a tower that is no part of neurovis.
    licence : str
        Of the weights, as Hugging Face spells it.
    """
    import yaml

    manifest = data_manifest(signals)
    chosen = _chosen(scores, headline)
    front = {
        "library_name": "neurovis",
        "license": licence,
        **({"license_name": "terms-of-the-training-data"} if licence == "other" else {}),
        "tags": ["neurovis", "brain-decoding", str(signals["modality"])],
        "model-index": [{"name": name, "results": [_result(manifest, signals, chosen)]}],
    }
    text = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=1000)
    parts = [
        f"---\n{text}---\n",
        f"# {name}\n",
        _what(config, shape, signals),
        f"## Intended use\n\n{USE}\n",
        f"## Training data\n\n{_data(manifest, signals)}\n",
        f"## Signals\n\n{_signals(shape, signals)}\n",
        f"## Scores\n\n{_table(chosen, scores, headline)}\n",
        f"## Use\n\n```python\n{_snippet(name, config, shape)}```\n",
        f"## Citation\n\n{_citation(manifest, brain)}\n",
        f"## Provenance\n\n{_provenance(provenance)}\n",
    ]
    return "\n".join(parts)


def _what(config: dict[str, Any], shape: dict[str, Any], signals: dict[str, Any]) -> str:
    said = config.get("brain")
    tower = said.get("name") if isinstance(said, dict) else said
    return (
        f"A brain decoder made with neurovis {__version__}: signals ({signals['modality'].upper()}) in, one "
        f"vector per target out ({_targets(config, shape)}). Tower `{_line(tower)}`, subjects: "
        f"{_line(', '.join(shape['subjects']))}; {len(shape['channel_name'])} channels.\n"
    )


def _line(value: Any) -> str:
    """Text from elsewhere that cannot break a line, a table or the page."""
    text = " ".join(str(value).split())
    return re.sub(r"([|<>`])", lambda m: {"<": "&lt;", ">": "&gt;"}.get(m[1], "\\" + m[1]), text)


def _chosen(scores: list[Score], headline: dict[str, Any]) -> list[Score]:
    """All metrics of the headline's system and target, all subjects together."""
    keys = ("system", "target", "subject")
    return [s for s in scores if all(s.about.get(k) == headline[k] for k in keys)]


def _result(
    manifest: Manifest | None, signals: dict[str, Any], scores: list[Score]
) -> dict[str, Any]:
    name = manifest.title if manifest else signals.get("dataset") or "recordings of the makers"
    kind = manifest.name if manifest else signals.get("dataset") or "own"
    return {
        "task": {"type": "image-retrieval", "name": "the shown image from brain signals"},
        "dataset": {"name": name, "type": kind},
        "metrics": [
            {
                "type": s.name,
                "name": f"{s.name}, mean of {s.about['n_averaged']} trials",
                "value": round(s.value, 6),
                "args": {
                    "n": int(s.n),
                    "chance": round(s.chance, 6),
                    "low": round(s.low, 6),
                    "high": round(s.high, 6),
                    "gallery": s.gallery,
                    "protocol": s.protocol,
                    "n_averaged": int(s.about["n_averaged"]),
                },
            }
            for s in scores
        ],
    }


def _targets(config: dict[str, Any], shape: dict[str, Any]) -> str:
    said = []
    for name, width in shape["outputs"].items():
        target = (config.get("targets") or {}).get(name, {})
        encoder = target.get("encoder", "") if isinstance(target, dict) else target
        encoder = encoder.get("name", "") if isinstance(encoder, dict) else encoder
        said.append(
            f"`{_line(name)}`: {width} numbers, from {_line(encoder) or 'given embeddings'}"
        )
    return "; ".join(said)


def _data(manifest: Manifest | None, signals: dict[str, Any]) -> str:
    if manifest is None:
        return (
            f"Recordings of the makers (reader `{_line(signals.get('dataset') or 'unknown')}`). No licence "
            "is known: ask them before using the weights."
        )
    lines = [
        f"{_line(manifest.title)}" + (f" ({manifest.url})" if manifest.url else ""),
        f"\nLicence of the data: {_line(manifest.licence)}.",
    ]
    if "licence" in manifest.unverified:
        lines.append("That licence was not checked against its source.")
    if manifest.terms:
        lines.append(f"\nTerms ({manifest.terms.url}): {_line(manifest.terms.text)}")
    return "\n".join(lines)


def _signals(shape: dict[str, Any], signals: dict[str, Any]) -> str:
    import yaml

    stop = shape["tmin"] + (shape["n_times"] - 1) / shape["sfreq"]
    made = yaml.safe_dump(signals["preprocessing"], sort_keys=False, allow_unicode=True)
    return (
        f"{shape['n_times']} samples at {shape['sfreq']:g} Hz from {shape['tmin']:g} to {stop:g} s after the "
        f"picture appeared, unit {_line(signals['unit'])}, scaled as in training. Channels are found by "
        "name; those that are missing are marked absent. Preprocessing "
        f"(`neurovis preprocess`):\n\n```yaml\n{made.replace('```', '')}```"
    )


def _table(chosen: list[Score], scores: list[Score], headline: dict[str, Any]) -> str:
    first = chosen[0]
    rows = [*chosen]
    rows += [
        s
        for s in scores
        if s.name == headline["metric"]
        and s.about["target"] in (headline["target"], "")
        and s.about.get("n_averaged") == headline["n_averaged"]
        and (s.about["system"], s.about["subject"]) != (headline["system"], "all")
        and (s.about["system"] == headline["system"] or s.about["subject"] == "all")
    ]
    words = (
        f"Gallery: {_line(first.gallery)}. Protocol: {_line(first.protocol)}. 95 % intervals. The first rows "
        f"are those of the model ({_line(headline['system'])}); the others say how its subjects, baseline "
        "and limits did on the same test rows."
    )
    lines = [
        words,
        "",
        "| system | subject | trials averaged | metric | value | interval | chance | n |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for s in rows:
        cells = [s.about["system"], s.about["subject"], s.about["n_averaged"], s.name]
        cells += [f"{s.value:.4g}", f"{s.low:.4g} to {s.high:.4g}", f"{s.chance:.4g}", s.n]
        lines.append(f"| {' | '.join(map(_line, cells))} |")
    return "\n".join(lines)


def _citation(manifest: Manifest | None, brain: Any) -> str:
    lines = [f"- data: {_line(text)}" for text in (manifest.citation if manifest else ())]
    told = (
        f"{inspect.getdoc(type(brain)) or ''} {sys.modules[type(brain).__module__].__doc__ or ''}"
    )
    found = dict.fromkeys(re.findall(r"arXiv[ :]\d{4}\.\d{4,5}|doi:10\.\S+[\w)]", told))
    lines += [f"- method: {text}" for text in found]
    lines.append("- software: The neurovis developers, neurovis (see its CITATION.cff)")
    return "\n".join(lines)


def _provenance(record: dict[str, Any]) -> str:
    said = {
        "seed": record.get("seed"),
        "finished": record.get("time"),
        "python": record.get("python"),
    }
    said |= record.get("versions") or {}
    lines = [f"- {_line(key)}: {_line(value)}" for key, value in said.items() if value is not None]
    return "\n".join(lines)
