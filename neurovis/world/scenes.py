"""Scenes: a concept and an exemplar number in, a picture with caption out.

What is shown (the concept) and how it is shown (colour, size, place, pose, count, background, light)
are drawn independently of each other from a generator seeded by (seed, concept, exemplar), so a
decoder cannot tell the concept from anything but the shapes. A scene renders to the same picture
at every size, in every process and on every machine.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from neurovis.errors import NeurovisError
from neurovis.progress import progress

from .backdrops import BACKDROPS, LIGHTS, paint_backdrop
from .concepts import TRAITS, Concept, concept, concepts, families, held_out, semantics
from .drawing import COLOURS, VIVID, Sketch, finish, new_canvas, paint

__all__ = [
    "Concept", "Scene", "concept", "concepts", "held_out", "render", "sample_kin", "sample_scene", "semantics",
    "write_pictures",
]  # fmt: skip

SPREAD = 0.381966  # the golden angle as a fraction: keeps the colours of one object apart
VERSION = 1  # raised when a change makes the same scene look different
# Where the copies of one object stand: (right, down, scale), frame fractions.
LAYOUTS = {
    1: ((0.0, 0.0, 1.0),),
    2: ((-0.22, -0.04, 0.68), (0.21, 0.02, 0.72)),
    3: ((-0.27, -0.06, 0.55), (0.26, -0.05, 0.56), (0.0, 0.03, 0.64)),
    4: ((-0.24, -0.13, 0.5), (0.25, -0.12, 0.5), (-0.2, 0.03, 0.56), (0.22, 0.04, 0.57)),
}
NUMBER = {1: "a", 2: "two", 3: "three", 4: "four"}
PAIRS = ("scissors", "pliers", "jeans", "trousers", "shorts", "dungarees")
IRREGULAR = {
    "mouse": "mice", "goose": "geese", "sheep": "sheep", "fish": "fish", "deer": "deer", "fox": "foxes",
    "wolf": "wolves", "calf": "calves", "knife": "knives", "loaf": "loaves", "leaf": "leaves",
    "scarf": "scarves", "shelf": "shelves", "bison": "bison", "foot": "feet", "trout": "trout",
    "salmon": "salmon", "squid": "squid", "aircraft": "aircraft", "moose": "moose", "cactus": "cacti",
    "octopus": "octopuses", "bus": "buses", "broccoli": "broccoli", "spaghetti": "spaghetti",
    "die": "dice", "carp": "carp", "koi": "koi", "tuna": "tuna", "iris": "irises", "fungus": "fungi",
    "rhinoceros": "rhinoceroses", "half": "halves", "bookshelf": "bookshelves", "sushi": "sushi",
    "porcini": "porcini",
}  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """One picture before it is drawn.

    Attributes
    ----------
    concept : str
    exemplar, seed : int
    caption : str
    attributes : dict
        What varies independently of the concept: `hue`, `colour`, `size` (fraction of the frame),
        `x`, `y`, `pose`, `tilt`, `light_side` (numbers), `mirrored` (0 or 1), `count` (1 to 4),
        `background`, `light` (names) and `detail` (the seed of the small print).
    kin : Concept, optional
        What is drawn, where it is none of the world's concepts.
    """

    concept: str
    exemplar: int
    seed: int
    caption: str
    attributes: dict
    kin: Concept | None = None

    @property
    def known(self) -> Concept:
        """What is drawn."""
        return self.kin or _concept(self.concept)


def sample_scene(concept: str, exemplar: int, seed: int = 0) -> Scene:
    """The scene of one exemplar of a concept.

    Parameters
    ----------
    concept : str
        A name among `concepts()`.
    exemplar, seed : int
        Not negative.

    Returns
    -------
    Scene

    Raises
    ------
    NeurovisError
        If the concept is unknown (with the nearest name) or a number is negative.
    """
    known = _concept(concept)
    if exemplar < 0 or seed < 0:
        raise NeurovisError(
            f"sample_scene: exemplar and seed must be 0 or more, found {exemplar} and {seed}; "
            "number the exemplars from 0."
        )
    rng = np.random.default_rng([seed, zlib.crc32(concept.encode()), exemplar])
    attributes = _attributes(rng)
    return Scene(concept, int(exemplar), int(seed), _caption(known, attributes), attributes)


def sample_kin(family: str, members: tuple[str, ...], number: int, seed: int = 0) -> Scene:
    """A scene of a thing without a name: each of its parameters is that of one of two concepts of a family.

    Parameters
    ----------
    family : str
    members : tuple of str
        Concepts of the family whose parameters may be taken.
    number, seed : int
        Not negative.

    Returns
    -------
    Scene
        Its `kin` is what is drawn; its caption says "kind of" and the family's name.

    Raises
    ------
    NeurovisError
        If a concept is unknown or of another family.
    """
    known = [_concept(name) for name in members]
    strange = [one.name for one in known if one.family != family]
    if strange or not known:
        raise NeurovisError(
            f"sample_kin: expected concepts of the family {family}, found {strange or 'none'}; name others."
        )
    rng = np.random.default_rng([seed, zlib.crc32(family.encode()), number, 1])
    one, other = (dict(known[i].parameters) for i in rng.integers(len(known), size=2))
    # a table row may state what its family leaves open
    parameters = {k: v if rng.random() < 0.5 else other.get(k, v) for k, v in one.items()}
    kin = Concept(f"kind of {family}", family, known[0].superclass, parameters)
    attributes = _attributes(rng)
    return Scene(kin.name, int(number), int(seed), _caption(kin, attributes), attributes, kin)


def _attributes(rng):
    u = rng.random(12)
    attributes = {
        "hue": 2 * u[0] - 1,
        "colour": u[1],
        "size": 0.58 + 0.24 * u[2],
        "x": 2 * u[3] - 1,
        "y": u[4],
        "mirrored": int(u[5] < 0.5),
        "pose": 2 * u[6] - 1,
        "tilt": 2 * u[7] - 1,
        "count": int(np.searchsorted((0.76, 0.9, 0.97), u[8]) + 1),
        "background": list(BACKDROPS)[int(u[9] * len(BACKDROPS))],
        "light": list(LIGHTS)[int(u[10] * len(LIGHTS))],
        "light_side": 2 * u[11] - 1,
        "detail": int(rng.integers(2**31)),
    }
    return {k: float(v) if isinstance(v, np.floating) else v for k, v in attributes.items()}


_concept = concept  # the parameter of the same name above hides it


def _plural(name):
    head, _, last = name.rpartition(" ")
    if " of " in name or " on " in name:
        cut = " of " if " of " in name else " on "
        first, rest = name.split(cut, 1)
        return _plural(first) + cut + rest
    if last in IRREGULAR:
        last = IRREGULAR[last]
    elif last.endswith("fish"):
        pass
    elif last.endswith(("s", "x", "ch", "sh")) or last in ("potato", "tomato", "mango"):
        # Words such as scissors, trousers and jeans are plural already.
        last = last if last.endswith("s") and not last.endswith(("ss", "us")) else last + "es"
    elif last.endswith("y") and last[-2:-1] not in "aeiou":
        last = last[:-1] + "ies"
    else:
        last += "s"
    return f"{head} {last}" if head else last


def _caption(known, a):
    family = families()[known.family]
    words = []
    if a["size"] < 0.64:
        words.append("small")
    elif a["size"] > 0.76:
        words.append("large")
    if family.free:
        words.append(_colour_word(known.parameters, a["colour"]))
    words.append(known.name if a["count"] == 1 else _plural(known.name))
    number = NUMBER[a["count"]]
    last = known.name.rpartition(" ")[2]
    if last in PAIRS:
        number += " pair of" if a["count"] == 1 else " pairs of"
    elif number == "a" and last.endswith("s") and _plural(known.name) == known.name:
        number = ""  # grapes, building blocks
    elif number == "a" and words[0][0] in "aeiou" and not words[0].startswith(("uk", "un")):
        number = "an"
    if family.faces:
        words.append("facing left" if a["mirrored"] else "facing right")
    words += [BACKDROPS[a["background"]][1], LIGHTS[a["light"]].phrase]
    return " ".join([number, *words]).strip()


def _options(colours):
    return (VIVID if colours == "vivid" else colours).split()


def _colour_word(parameters, at):
    """Name of the colour an exemplar shows most, as `_exemplar` picks it."""
    keys = [key for key in parameters if key.endswith("_c")]
    main = parameters.get("shows", keys[0])
    options = _options(parameters[main])
    word = options[int((at + keys.index(main) * SPREAD) % 1 * len(options))]
    return {"wood": "wooden", "glass": "clear"}.get(word, word)


def _plan(parameters):
    """Parameters of a concept sorted by how an exemplar varies them."""
    colours = [(k, _options(v)) for k, v in parameters.items() if k.endswith("_c")]
    shape = [
        (k, v)
        for k, v in parameters.items()
        if isinstance(v, float) and k not in TRAITS and not k.endswith("_c")
    ]
    fixed = {k: v for k, v in parameters.items() if not isinstance(v, float) and k[-2:] != "_c"}
    return colours, shape, fixed


def _exemplar(scene, rng):
    """Parameters of one exemplar: shapes within 6 % of the concept's, colours chosen."""
    colours, shape, fixed = _plan(scene.known.parameters)
    a = scene.attributes
    p = SimpleNamespace(**fixed, pose=a["pose"], tilt=a["tilt"], phase=rng.random())
    for (key, value), u in zip(shape, rng.uniform(0.94, 1.06, len(shape))):
        setattr(p, key, value * u)
    warm, bright = 10 * np.sin(6.3 * a["hue"]), 1 + 0.1 * a["hue"]
    taken = None
    for i, (key, options) in enumerate(colours):
        at = int((a["colour"] + i * SPREAD) % 1 * len(options))
        name = options[at]
        if i and name == taken and len(options) > 1:
            name = options[(at + 1) % len(options)]
        taken = name if i == 0 else taken
        r, g, b = COLOURS[name]
        rgb = (r * bright + warm, g * bright, b * bright - warm)
        setattr(p, key, tuple(int(min(max(c, 8), 255)) for c in rgb))
    p.vary = rng.random(24).tolist()
    return p


def _sketch(scene):
    """The display list of a scene's object, and the generator that decides what remains."""
    rng = np.random.default_rng(scene.attributes["detail"])
    sketch = Sketch()
    families()[scene.known.family].draw(sketch, _exemplar(scene, rng))
    return sketch, rng


def render(scene: Scene, size: int = 96) -> np.ndarray:
    """Draw a scene.

    Parameters
    ----------
    scene : Scene
    size : int
        Pixels along each side, 16 to 4096.

    Returns
    -------
    array (size, size, 3) uint8

    Raises
    ------
    NeurovisError
        If the size is out of range.
    """
    if not 16 <= size <= 4096:
        raise NeurovisError(
            f"render: size must be 16 to 4096 pixels, found {size}; choose another."
        )
    a = scene.attributes
    light = LIGHTS[a["light"]]
    floats = families()[scene.known.family].floats
    sketch, rng = _sketch(scene)
    canvas, factor = new_canvas(size)
    paint_backdrop(canvas, a["background"], a["light"], rng)
    (x0, y0), (x1, y1) = sketch.bounds()
    w, h = x1 - x0, y1 - y0
    extent = 0.5 * max(w, h) + 0.5 * np.sqrt(w * h)
    shadows, places = [], []
    for dx, dy, relative in LAYOUTS[a["count"]]:
        scale = min(a["size"] * relative / extent, 0.9 / max(w, h))
        width, height = w * scale, h * scale
        margin = max(0.5 - width / 2 - 0.02, 0)
        middle = 0.5 + np.clip(a["x"] * 0.5 * margin + dx, -margin, margin)
        ground = 0.82 + 0.1 * a["y"] + dy
        if floats:
            bottom = 0.5 + height / 2 + 0.14 * (a["y"] - 0.6) + 3 * dy
            bottom = min(max(bottom, height + 0.03), 0.93)
            shadows.append((middle - 0.1 * a["light_side"], 0.93, width * 0.3, 0.022))
        else:
            bottom = min(max(ground, height + 0.03), 0.965)
            reach = min(0.05 + 0.1 * height, 0.09)
            lean = -0.06 * a["light_side"] * (height + 0.2)
            shadows.append((middle + lean, bottom, width * 0.52, reach * 0.42))
        centre = (x0 + x1) / 2 * (-1 if a["mirrored"] else 1)
        places.append((scale, middle - centre * scale, bottom + y0 * scale))
    for scale, x, y in places:
        paint(canvas, sketch, scale, x, y, bool(a["mirrored"]))
    return finish(canvas, factor, shadows, a["light_side"], light.tint, light.dim)


def _file(name, exemplar):
    return f"{name.replace(' ', '_')}_{exemplar:03d}"


def _write(job):
    """Write one picture unless it is there already, whole and of the same scene."""
    from PIL import Image, PngImagePlugin

    path, name, exemplar, seed, size = job
    label = f"{name}|{exemplar}|{seed}|{size}|{VERSION}"
    if path.exists():
        with open(path, "rb") as file:
            head = file.read(400)
            file.seek(-min(12, path.stat().st_size), os.SEEK_END)
            whole = file.read().endswith(b"IEND\xaeB`\x82")
        if whole and label.encode("latin-1") + b"|" in head:
            return hashlib.sha256(path.read_bytes()).hexdigest()
    note = PngImagePlugin.PngInfo()
    note.add_text("neurovis-scene", label + "|")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        picture = Image.fromarray(render(sample_scene(name, exemplar, seed), size))
        picture.save(temporary, "PNG", pnginfo=note, compress_level=1)
        digest = hashlib.sha256(temporary.read_bytes()).hexdigest()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return digest


def write_pictures(folder, plan, size=128, n_jobs=1, quiet=False, seed=0):
    """Render a list of scenes into a folder of PNG files with their `stimuli.csv`.

    Pictures that are there already, whole and of the same scene and size, are kept, so a run that
    was killed goes on where it stopped.

    Parameters
    ----------
    folder : path
    plan : list of (concept, exemplar, set)
        `set` is "train" or "test".
    size : int
        Pixels along each side.
    n_jobs : int
        Processes; -1 takes all cores.
    quiet : bool
        No progress bar.
    seed : int
        Seed of the scenes.

    Returns
    -------
    Stimuli
        Image ids are `<concept>_<exemplar>` with underscores for spaces; paths lie below `folder`.

    Raises
    ------
    NeurovisError
        If the plan is empty or names an image twice or a concept that is unknown.
    """
    from neurovis.records import Stimuli

    folder = Path(folder)
    plan = [(str(name), int(exemplar), str(part)) for name, exemplar, part in plan]
    ids = [_file(name, exemplar) for name, exemplar, _ in plan]
    if not plan:
        raise NeurovisError("write_pictures: the plan is empty; name at least one exemplar.")
    twice = {i for i in ids if ids.count(i) > 1} if len(set(ids)) < len(ids) else ()
    if twice:
        raise NeurovisError(
            f"write_pictures: image {min(twice)!r} is in the plan more than once; keep one of them."
        )
    paths = [f"{_concept(n).family}/{i}.png".replace(" ", "_") for (n, _, _), i in zip(plan, ids)]
    jobs = [
        (folder / path, name, exemplar, seed, size)
        for path, (name, exemplar, _) in zip(paths, plan)
    ]
    bar = {"desc": "Drawing pictures", "total": len(jobs), "quiet": quiet}
    if n_jobs == 1:
        digests = [_write(job) for job in progress(jobs, **bar)]
    else:
        from joblib import Parallel, delayed

        parallel = Parallel(n_jobs=n_jobs, return_as="generator", batch_size=32)
        digests = list(progress(parallel(delayed(_write)(job) for job in jobs), **bar))
    stimuli = Stimuli(
        image=np.array(ids),
        path=[(path,) for path in paths],
        sha256=np.array(digests),
        width=np.full(len(ids), size),
        height=np.full(len(ids), size),
        concept=np.array([name for name, _, _ in plan]),
        set=np.array([part for _, _, part in plan]),
        caption=np.array([sample_scene(n, e, seed).caption for n, e, _ in plan]),
    )
    stimuli.write(folder / "stimuli.csv")
    return Stimuli.read(folder / "stimuli.csv")
