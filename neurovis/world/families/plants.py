"""Trees, flowers, succulents and mushrooms."""

# One line per concept and per stroke: tables of coordinates read better in rows.
# ruff: noqa: C408
# fmt: off

import numpy as np

from ..concepts import Family
from ..drawing import COLOURS as C
from ..drawing import FLAT, arc, shade, turn


def _foliage(s, x, y, r, colour, n=9, squash=0.85):
    """A round crown of overlapping tufts, lighter towards the top."""
    with s.joined():
        for i in range(n):
            q = arc(x, y, 0.68 * r, 0.68 * r * squash, 0, 360, n + 1)[i]
            s.oval(q[0], q[1], 0.45 * r, 0.42 * r, shade(colour, -0.12))
        s.oval(x, y, 0.8 * r, 0.8 * r * squash, shade(colour, -0.1))
    for dx, dy, k in ((-0.3, 0.32, 0.4), (0.28, 0.3, 0.36), (0.0, -0.05, 0.42), (0.05, 0.45, 0.3)):
        s.oval(x + dx * r, y + dy * r, k * r, k * r * 0.8, shade(colour, 0.1 * dy + 0.02), line=False, lift=4)


def tree(s, p):
    """A trunk and one of several crowns."""
    h, w, bark, leaf = p.trunk, p.width, p.bark_c, p.leaf_c
    bend, r = 0.12 * p.pose * p.bend, p.crown
    top = (bend, h)
    if p.crown_kind == "conifer":
        s.box(-w / 2, 0, w / 2, h + 0.2, bark)
        n = p.tiers
        for i in range(n):
            y, k = h + i * p.height / n * 0.86, 1 - i / (n + 0.6)
            half, up = r * k, p.height / n * 1.55
            s.poly([(-half, y), (-half * 0.5, y - 0.05), (0, y + 0.03), (half * 0.5, y - 0.05), (half, y), (half * 0.25, y + up * 0.7),
                    (0, y + up), (-half * 0.25, y + up * 0.7)], shade(leaf, 0.05 * (i - 1)))
            if p.fruit == "snow":
                s.poly([(-half * 0.45, y + up * 0.45), (0, y + up), (half * 0.45, y + up * 0.45), (0, y + up * 0.55)], C["snow"], False, FLAT)
            if p.fruit == "baubles":
                for x in (-0.6, -0.1, 0.5):
                    s.oval(x * half, y + 0.08 + 0.1 * abs(x), 0.05, 0.05, C[("red", "gold", "sky")[(i + int(x * 5)) % 3]], lift=3)
        if p.fruit == "baubles":
            star = turn([(0.13 if k % 2 == 0 else 0.055, 0) for k in range(1)], 0)
            star = np.concatenate([turn([(0.14 if k % 2 == 0 else 0.06, 0)], 90 + 36 * k, 0, h + p.height * 1.13) for k in range(10)])
            s.poly(star, C["yellow"])
        return
    if p.crown_kind == "palm":
        trunk = s.limb([(0, 0), (0.06 + bend, h * 0.5), (bend * 2, h)], [w * 1.3, w, w * 0.8], bark)
        s.stripes(trunk, shade(bark, -0.25), 11, 4, 0.16)
        for a in (200, 165, 15, -20, 125, 60, 95, 235, -55):
            d = np.array([np.cos(np.radians(a)), np.sin(np.radians(a))]) * r
            q = np.array([bend * 2, h])
            s.limb([q, q + d * 0.55 + (0, 0.16 * r), q + d - (0, 0.22 * r)], [0.06, 0.2 * r, 0.02], shade(leaf, -0.1 + 0.002 * abs(a - 90)))
        for dx in (-0.07, 0.07, 0.0):
            s.oval(bend * 2 + dx, h - 0.07, 0.07, 0.08, C["brown"])
        return
    with s.joined():
        s.poly([(-w * 0.85, 0), (-w * 0.45, 0.12), (top[0] - w * 0.36, h), (top[0] + w * 0.36, h), (w * 0.45, 0.12), (w * 0.85, 0)], bark)
        for f in (-1, 1):
            s.limb([(top[0], h * 0.72), (top[0] + f * 0.3 * r, h * 0.95), (top[0] + f * 0.55 * r, h + 0.3 * r)], [w * 0.5, w * 0.3, w * 0.2], bark)
    shape = s.shapes[-3].points
    if p.bark == "birch":
        for k in range(6):
            s.texture(shape, [np.array([(-w, 0.12 + k * h / 6), (w * (k % 2 - 0.4), 0.13 + k * h / 6), (w * (k % 2 - 0.4), 0.15 + k * h / 6), (-w, 0.16 + k * h / 6)])], C["charcoal"])
    else:
        s.strokes(shape, shade(bark, -0.3), 12, 0.18, 88, 0.02, p.phase)
    x, y = top[0], h + r * p.squash * 0.62
    if p.crown_kind == "round":
        _foliage(s, x, y, r, leaf, 10, p.squash)
    elif p.crown_kind == "column":
        with s.joined():
            s.blob([(x - r * 0.45, h - 0.2), (x - r * 0.5, h + 0.6 * p.height), (x, h + p.height), (x + r * 0.5, h + 0.6 * p.height), (x + r * 0.45, h - 0.2), (x, h - 0.32)], leaf)
        s.strokes(s.shapes[-1].points, shade(leaf, 0.22), 26, 0.2, 80, 0.03, p.phase)
    elif p.crown_kind == "flat":
        for dx, dy, k in ((-0.5, -0.06, 0.6), (0.5, 0, 0.6), (0, 0.12, 0.8)):
            s.blob([(x + (dx - k) * r, y + dy * r), (x + dx * r, y + (dy + 0.28) * r), (x + (dx + k) * r, y + dy * r), (x + dx * r, y + (dy - 0.06) * r)], shade(leaf, 0.1 * dy))
    elif p.crown_kind == "weeping":
        _foliage(s, x, y, r * 0.8, leaf, 8, 0.7)
        for i in range(13):
            q = x + (i - 6) / 6 * r * 0.95
            low = 0.16 + 0.12 * (i % 3) + 0.05 * abs(i - 6)
            s.limb([(q * 0.8, y + 0.25 * r), (q, y - 0.1 * r), (q + 0.05 * p.pose, low)], [0.14, 0.13, 0.04], shade(leaf, 0.06 * (i % 3) - 0.08))
    elif p.crown_kind == "bare":
        for a, k in ((150, 0.8), (120, 1.0), (92, 1.1), (62, 1.0), (35, 0.8)):
            q = turn([(k * r, 0)], a, top[0], h - 0.1)[0]
            s.limb([(top[0], h - 0.15), (np.array(top) + q) / 2 + (0.06, 0), q], [w * 0.5, w * 0.3, 0.02], bark)
            for b in (-35, 30):
                s.limb([(np.array(top) + q) / 2, turn([(k * r * 0.45, 0)], a + b, *((np.array(top) + q) / 2))[0]], [w * 0.22, 0.02], bark)
    elif p.crown_kind == "pads":
        for dx, dy, k in ((-0.75, -0.35, 0.42), (0.7, -0.15, 0.46), (-0.1, 0.3, 0.56)):
            s.limb([(x, h * 0.8), (x + dx * r, y + dy * r)], [w * 0.5, w * 0.3], bark)
            _foliage(s, x + dx * r, y + (dy + 0.1) * r, k * r, leaf, 7, 0.6)
    if p.pot:
        s.poly([(-0.55, 0.03), (0.55, 0.03), (0.44, -0.2), (-0.44, -0.2)], C["indigo"])
        s.box(-0.6, 0.0, 0.6, 0.09, C["indigo"], 0.03)
    if p.fruit and p.fruit not in ("snow", "baubles"):
        for i in range(9):
            q = arc(x, y, 0.72 * r * (0.35 + 0.08 * i), 0.6 * r * p.squash * (0.35 + 0.08 * i), i * 137, i * 137 + 1, 2)[0]
            if p.fruit == "blossom":
                for a in range(0, 360, 120):
                    s.dot(*turn([(0.05, 0)], a + 30 * i, *q)[0], 0.05, C["snow"])
            else:
                s.oval(q[0], q[1], 0.07, 0.07, C[p.fruit], lift=3)


TREES = Family(
    "tree", "plant", tree,
    dict(leaf_c="green leaf forest olive", bark_c="brown cocoa", crown_kind="round", trunk=0.8, width=0.22, crown=0.75, height=1.2, squash=0.9,
         tiers=4, bend=1.0, bark="", fruit="", pot=False, metres=10.0),
    {
        "oak": dict(width=0.3, crown=0.95, trunk=0.65, squash=0.8),
        "silver birch": dict(leaf_c="lime green", bark_c="snow", bark="birch", width=0.13, crown=0.55, squash=1.25, trunk=1.0),
        "maple": dict(leaf_c="red orange rust", crown=0.8, squash=0.95),
        "cherry tree": dict(leaf_c="pink blush rose", bark_c="umber", fruit="blossom", crown=0.78, squash=0.75, trunk=0.6),
        "apple tree": dict(fruit="red", crown=0.72, trunk=0.5, squash=0.85, metres=4.0),
        "orange tree": dict(fruit="orange", leaf_c="forest leaf", crown=0.62, trunk=0.65, width=0.15, squash=1.0, metres=4.0),
        "pine": dict(crown_kind="conifer", leaf_c="forest teal", trunk=0.35, crown=0.6, height=1.5, tiers=4, metres=18.0),
        "spruce": dict(crown_kind="conifer", leaf_c="teal forest", trunk=0.15, crown=0.5, height=1.8, tiers=7, metres=20.0),
        "snowy fir": dict(crown_kind="conifer", leaf_c="forest teal", fruit="snow", trunk=0.2, crown=0.62, height=1.4, tiers=4, metres=12.0),
        "christmas tree": dict(crown_kind="conifer", leaf_c="forest leaf", fruit="baubles", trunk=0.2, crown=0.65, height=1.4, tiers=3, metres=2.0, indoor=0.7),
        "cypress": dict(crown_kind="column", leaf_c="forest leaf", trunk=0.3, crown=0.5, height=1.9, width=0.16),
        "poplar": dict(crown_kind="column", leaf_c="lime green", trunk=0.5, crown=0.8, height=1.7, width=0.16),
        "coconut palm": dict(crown_kind="palm", bark_c="tan wood", leaf_c="green leaf", trunk=1.5, width=0.16, crown=0.8),
        "date palm": dict(crown_kind="palm", bark_c="brown wood", leaf_c="olive sage", trunk=0.8, width=0.3, crown=0.95, bend=0.2),
        "weeping willow": dict(crown_kind="weeping", leaf_c="lime olive sage", trunk=0.7, width=0.26, crown=0.9),
        "acacia": dict(crown_kind="flat", leaf_c="olive green", bark_c="brown", trunk=0.95, width=0.14, crown=1.0, squash=0.5),
        "baobab": dict(crown_kind="flat", leaf_c="olive leaf", bark_c="stone tan", trunk=1.1, width=0.66, crown=0.8, squash=0.7),
        "bonsai": dict(crown_kind="pads", leaf_c="leaf forest", trunk=0.55, width=0.2, crown=0.8, pot=True, metres=0.4, indoor=0.8),
        "dead tree": dict(crown_kind="bare", bark_c="umber ash", leaf_c="umber", trunk=0.7, width=0.26, crown=0.95),
    },
    dict(natural=1.0, round=0.4),
)


def _petals(s, x, y, n, long, wide, colour, tip=0.5, turned=0.0, squash=1.0):
    """A whorl of petals; `tip` from pointed (0) to broad (1)."""
    for i in range(n):
        a = turned + 360 / n * i
        petal = np.array([(0, -0.15), (long * 0.5, -wide * 0.5), (long * 0.9, -wide * 0.5 * tip), (long, 0), (long * 0.9, wide * 0.5 * tip), (long * 0.5, wide * 0.5), (0, 0.15)])
        petal[[0, -1]] *= wide
        s.blob(turn(petal, a) * (1, squash) + (x, y), shade(colour, 0.07 * (i % 2) - 0.02), lift=2)


def flower(s, p):
    """A stem with leaves and one or several blooms."""
    petal, core, stem = p.petal_c, p.core_c, p.stem_c
    h, sway = p.stem, 0.1 * p.pose
    heads = [(sway, h, 1.0)]
    if p.heads == 3:
        heads = [(-0.42 + sway, h * 0.82, 0.72), (0.42 + sway, h * 0.86, 0.72), (sway, h, 0.9)]
    for x, y, _ in heads:
        s.limb([(0, 0), (x * 0.3 + 0.03, y * 0.5), (x, y)], 0.07 * p.thick, stem)
    for f, y in ((-1, 0.3), (1, 0.42)):
        if p.leaf == "blade":
            s.limb([(0, 0.04), (f * 0.2, h * 0.4), (f * 0.42, h * 0.72)], [0.12, 0.15, 0.02], shade(stem, 0.05 * f))
        else:
            s.blob([(0, y * h), (f * 0.2, y * h + 0.17), (f * 0.5, y * h + 0.16), (f * 0.28, y * h - 0.01)], shade(stem, 0.06 * f))
            s.stroke([(0, y * h), (f * 0.4, y * h + 0.13)], 0.016, shade(stem, -0.25))
    for x, y, k in heads:
        r = p.size * k
        if p.bloom in ("daisy", "layered"):
            if p.bloom == "layered":
                _petals(s, x, y, p.petals, r * 1.05, p.wide * r * 1.1, shade(petal, -0.14), p.tip, 180 / p.petals)
            _petals(s, x, y, p.petals, r, p.wide * r, petal, p.tip, 8 * p.tilt + 90)
            if p.bloom == "layered":
                _petals(s, x, y, p.petals, r * 0.65, p.wide * r * 0.7, shade(petal, 0.14), p.tip, 180 / p.petals)
            disc = s.oval(x, y, p.core * r, p.core * r, core)
            s.spots(disc, shade(core, -0.3), 18, 0.022, p.phase)
        elif p.bloom == "rose":
            for i, (n, q) in enumerate(((6, 1.0), (5, 0.74), (4, 0.46))):
                for j in range(n):
                    z = turn([(q * r * 0.48, 0)], 360 / n * j + 25 * i, x, y)[0]
                    s.oval(*z, q * r * 0.5, q * r * 0.5, shade(petal, -0.1 + 0.08 * i), lift=3)
            s.stroke(arc(x, y, 0.16 * r, 0.14 * r, 20, 320, 9), 0.03, shade(petal, -0.4))
        elif p.bloom == "cup":
            for dx, c in ((-0.45, -0.16), (0.45, -0.16), (-0.22, 0.0), (0.24, 0.02), (0.0, 0.1)):
                s.blob([(x - 0.1 * r, y - 0.1 * r), (x + (dx - 0.4) * r, y + 0.5 * r), (x + dx * 1.5 * r, y + (1.15 + p.tip * 0.2) * r), (x + (dx + 0.4) * r, y + 0.5 * r), (x + 0.1 * r, y - 0.1 * r)], shade(petal, c))
        elif p.bloom == "trumpet":
            _petals(s, x, y, p.petals, r, p.wide * r, petal, p.tip, 90)
            s.oval(x, y, 0.42 * r, 0.42 * r, core)
            s.oval(x, y, 0.27 * r, 0.27 * r, shade(core, -0.35), lift=-12)
        elif p.bloom == "spike":
            for i in range(11):
                t = i / 10
                for f in (-1, 1):
                    s.oval(x + f * (1 - t) * 0.2 * r * p.wide * 2 + f * 0.04, y - 0.55 * r + t * 1.7 * r, (0.2 - 0.1 * t) * r, (0.17 - 0.07 * t) * r, shade(petal, 0.1 * (i % 2) - 0.05), f * 25, lift=2)
        elif p.bloom == "globe":
            for i in range(34):
                z = turn([(r * 0.78 * np.sqrt((i + 0.5) / 34), 0)], i * 137.5, x, y)[0]
                s.oval(*z, 0.16 * r, 0.16 * r, shade(petal, 0.16 * np.sin(i * 2.1)), line=None if i < 12 else False, lift=2)
        elif p.bloom == "seed":
            for i in range(26):
                z = turn([(r * (0.72 + 0.28 * (i % 2)), 0)], i * 13.85, x, y)[0]
                s.stroke([(x, y), z], 0.014, petal)
                for a in (-40, 0, 40):
                    s.stroke([z, turn([(0.12 * r, 0)], i * 13.85 + a, *z)[0]], 0.016, petal)
            s.oval(x, y, 0.14 * r, 0.14 * r, core)
        elif p.bloom == "bells":
            for i in range(6):
                z = (x + (0.15 if i % 2 else -0.15) * r * 1.6, y - 0.12 * r + (2 - i) * 0.3 * r)
                s.blob([(z[0] - 0.08, z[1] + 0.1), (z[0] - 0.15 * r, z[1] - 0.1 * r), (z[0] - 0.24 * r, z[1] - 0.3 * r), (z[0], z[1] - 0.22 * r), (z[0] + 0.24 * r, z[1] - 0.3 * r), (z[0] + 0.15 * r, z[1] - 0.1 * r), (z[0] + 0.08, z[1] + 0.1)], shade(petal, 0.06 * (i % 2)))
        elif p.bloom == "iris":
            for a in (215, 325, 270):
                _petals(s, x, y, 1, r, 0.7 * r, shade(petal, -0.08), 0.9, a)
                s.limb([(x, y), turn([(0.5 * r, 0)], a, x, y)[0]], [0.14 * r, 0.04], core)
            for a in (60, 120, 90):
                _petals(s, x, y, 1, r * 1.05, 0.62 * r, shade(petal, 0.1), 0.7, a)


FLOWERS = Family(
    "flower", "plant", flower,
    dict(petal_c="red pink yellow white", core_c="amber yellow", stem_c="leaf green forest", stem=1.2, thick=1.0, bloom="daisy", petals=8, size=0.5, wide=0.4,
         tip=0.6, core=0.3, heads=1, leaf="oval", metres=0.4),
    {
        "daisy": dict(petal_c="white snow", petals=14, wide=0.24, size=0.5, core=0.32, metres=0.2),
        "sunflower": dict(petal_c="yellow amber", core_c="cocoa umber", petals=18, wide=0.26, tip=0.3, size=0.62, core=0.52, stem=1.5, thick=1.6, metres=1.8),
        "gerbera": dict(petal_c="coral magenta orange rose", core_c="umber", bloom="layered", petals=16, wide=0.24, size=0.52, core=0.2),
        "cornflower": dict(petal_c="blue indigo", core_c="violet", petals=9, wide=0.4, tip=1.5, size=0.44, core=0.22),
        "cosmos": dict(petal_c="magenta pink white", petals=8, wide=0.55, tip=1.2, size=0.46, core=0.2, heads=3),
        "poppy": dict(petal_c="red coral", core_c="black", petals=4, wide=1.1, tip=1.2, size=0.48, core=0.24),
        "buttercup": dict(petal_c="yellow lemon", core_c="lime", petals=5, wide=0.85, tip=1.1, size=0.34, heads=3, metres=0.3),
        "forget-me-not": dict(petal_c="sky blue", core_c="yellow", petals=5, wide=0.8, tip=1.2, size=0.36, core=0.24, heads=3, metres=0.2),
        "dahlia": dict(petal_c="plum magenta orange crimson", core_c="amber", bloom="layered", petals=12, wide=0.42, tip=0.3, size=0.55, core=0.16),
        "water lily": dict(petal_c="pink white lilac", core_c="yellow", bloom="layered", petals=9, wide=0.46, tip=0.1, size=0.62, core=0.2, stem=0.35, aquatic=1.0),
        "rose": dict(petal_c="red crimson pink white yellow", bloom="rose", size=0.46, metres=0.6),
        "peony": dict(petal_c="pink rose blush magenta", bloom="rose", size=0.62, stem=0.95, thick=1.4),
        "tulip": dict(petal_c="red yellow pink violet white orange", bloom="cup", size=0.42, leaf="blade"),
        "crocus": dict(petal_c="violet lilac white amber", bloom="cup", size=0.4, stem=0.5, leaf="blade", tip=1.5, metres=0.1),
        "daffodil": dict(petal_c="yellow white lemon", core_c="orange amber", bloom="trumpet", petals=6, wide=0.5, tip=0.4, size=0.5, leaf="blade"),
        "lily": dict(petal_c="white pink orange", core_c="lime yellow", bloom="trumpet", petals=6, wide=0.34, tip=0.2, size=0.62, core=0.2),
        "hibiscus": dict(petal_c="red magenta coral", core_c="crimson", bloom="trumpet", petals=5, wide=0.85, tip=1.2, size=0.56, stem=0.9),
        "lavender": dict(petal_c="violet lilac indigo", bloom="spike", size=0.5, wide=0.35, heads=3, leaf="blade"),
        "lupin": dict(petal_c="pink indigo violet", bloom="spike", size=0.66, wide=0.7, stem=1.0),
        "foxglove": dict(petal_c="magenta rose lilac", bloom="bells", size=0.56, stem=1.4, metres=1.2),
        "hydrangea": dict(petal_c="sky pink lilac", bloom="globe", size=0.62, stem=0.85, thick=1.5, metres=1.0),
        "thistle": dict(petal_c="purple magenta", bloom="globe", size=0.34, heads=3),
        "dandelion clock": dict(petal_c="white snow", core_c="tan", bloom="seed", size=0.46, leaf="blade", metres=0.3),
        "iris": dict(petal_c="indigo violet yellow", core_c="yellow amber", bloom="iris", size=0.52, leaf="blade"),
    },
    dict(natural=1.0, soft=0.7, round=0.3), free=True,
)


def _pot(s, colour, w=0.42, h=0.45):
    s.poly([(-w, h), (w, h), (w * 0.75, 0), (-w * 0.75, 0)], colour)
    s.box(-w * 1.12, h - 0.04, w * 1.12, h + 0.1, colour, 0.02)


def succulent(s, p):
    """Cacti and pot plants."""
    body, spine, y = p.body_c, p.spine_c, 0.0
    lean = 6 * p.pose
    if p.pot:
        y = 0.5
    parts = []
    if p.plan == "columns":
        for x, b, t, side in p.columns:
            root = (0.0, y + b) if side else (x, y - 0.05)
            path = [root, (x, y + b + 0.05), (x, y + t)] if side else [root, (x, y + t)]
            parts.append(s.limb(path, p.width, body))
    elif p.plan == "ball":
        parts.append(s.oval(0, y + p.tall * 0.45, p.width, p.tall * 0.52, body))
    elif p.plan == "pads":
        for x, h, k, a in ((0, 0.3, 0.36, 0), (-0.34, 0.78, 0.28, 25), (0.36, 0.74, 0.26, -30), (-0.02, 0.92, 0.25, 4), (0.55, 1.12, 0.2, -20)):
            parts.append(s.oval(x, y + h, k * 0.78, k, shade(body, 0.1 * (h - 0.5)), a + lean))
    elif p.plan in ("blades", "fronds", "leaves"):
        for i in range(p.count):
            a = 90 + (i - (p.count - 1) / 2) * p.spread / p.count * (1 if i % 2 else -1)
            k = p.tall * (1 - 0.0022 * abs(a - 90))
            if p.plan == "leaves":
                stalk = turn([(0, 0), (k * 0.7, 0)], a, 0, y)
                s.limb([stalk[0], stalk[1] + (0, 0.05)], 0.045, shade(body, -0.15))
                s.blob(turn(np.array([(0, 0), (0.12, 0.2), (0.36, 0.18), (0.6, 0), (0.36, -0.18), (0.12, -0.2)]) * p.width * 2.2, a - 30 * np.sign(a - 90), *stalk[1]), shade(body, 0.05 * (i % 3)))
                s.stroke(turn([(0, 0), (p.width * 1.1, 0)], a - 30 * np.sign(a - 90), *stalk[1]), 0.02, shade(body, 0.3))
                continue
            d = turn([(k, 0)], a)[0]
            droop = (0, -0.35 * k * abs(np.cos(np.radians(a)))) if p.plan == "fronds" else (0, 0)
            parts.append(s.limb([(0, y), (d[0] * 0.5, y + d[1] * 0.6), (d[0] + droop[0], y + d[1] + droop[1])], [p.width, p.width * 0.8, 0.02], shade(body, 0.06 * (i % 3) - 0.06)))
    for part in parts:
        if p.mark == "spines":
            s.stripes(part, shade(body, -0.2), 4, 90, 0.16)
            low, high = part.min(0), part.max(0)
            for i in range(10):
                q = (low[0] + (high[0] - low[0]) * (0.2 + 0.6 * ((i * 0.62) % 1)), low[1] + (high[1] - low[1]) * (i + 0.5) / 10)
                for a in (60, 120):
                    s.stroke([q, turn([(0.07, 0)], a, *q)[0]], 0.014, spine)
        elif p.mark == "bands":
            s.stripes(part, spine, 9, 5, 0.3)
    for x, h in p.blooms:
        _petals(s, x, y + h, 7, 0.17, 0.1, p.flower_c, 0.4)
        s.dot(x, y + h, 0.05, C["yellow"])
    if p.pot:
        _pot(s, p.pot_c)


SUCCULENTS = Family(
    "pot plant", "plant", succulent,
    dict(body_c="green leaf sage forest", spine_c="cream", flower_c="magenta coral yellow", pot_c="brick rust sky white teal", plan="columns",
         columns=((0, 0, 1.5, False),), width=0.36, tall=1.0, count=7, spread=170.0, mark="spines", blooms=(), pot=True, metres=0.4, indoor=0.7),
    {
        "saguaro": dict(columns=((0, 0, 1.7, False), (-0.48, 0.65, 1.2, True), (0.5, 0.5, 1.35, True)), pot=False, metres=6.0, indoor=0.0),
        "organ pipe cactus": dict(columns=((-0.55, 0, 1.0, False), (0.55, 0, 1.1, False), (-0.2, 0, 1.5, False), (0.22, 0, 1.35, False)), pot=False, width=0.26, metres=4.0, indoor=0.0),
        "barrel cactus": dict(plan="ball", width=0.55, tall=1.15, blooms=((-0.15, 1.12), (0.18, 1.1)), pot=False, metres=0.8),
        "pincushion cactus": dict(plan="ball", width=0.36, tall=0.7, blooms=((0, 0.7), (-0.25, 0.56), (0.25, 0.56))),
        "prickly pear": dict(plan="pads", blooms=((-0.45, 1.08), (0.6, 1.35)), pot=False, metres=1.5, indoor=0.1),
        "bunny ears cactus": dict(plan="pads", body_c="lime green", blooms=(), width=0.3),
        "column cactus": dict(columns=((0, 0, 1.3, False),), width=0.34, blooms=((0, 1.45),)),
        "aloe": dict(plan="blades", body_c="sage mint", count=9, spread=150.0, width=0.17, tall=0.9, mark=""),
        "snake plant": dict(plan="blades", body_c="forest leaf", spine_c="lime", count=6, spread=36.0, width=0.2, tall=1.25, mark="bands"),
        "agave": dict(plan="blades", body_c="teal sage", count=13, spread=180.0, width=0.2, tall=1.05, mark="", pot=False, metres=1.5, indoor=0.1),
        "fern": dict(plan="fronds", body_c="lime green", count=13, spread=190.0, width=0.16, tall=1.0, mark="", spine_c="leaf"),
        "spider plant": dict(plan="fronds", body_c="lime mint", spine_c="white", count=15, spread=220.0, width=0.08, tall=1.1, mark=""),
        "rubber plant": dict(plan="leaves", body_c="forest leaf", count=7, spread=150.0, width=0.3, tall=0.9, mark=""),
    },
    dict(natural=0.9, indoor=0.6),
)


def mushroom(s, p):
    """A stem and a cap, or a body that has neither."""
    cap, stem, spot = p.cap_c, p.stem_c, p.spot_c
    h, w, r, k = p.tall, p.width, p.cap, p.dome
    people = ((0, 0, 1.0, 4 * p.pose),)
    if p.cluster:
        people = ((-0.5, 0, 0.62, 14), (0.48, 0, 0.7, -12), (0, 0, 1.0, 3 * p.pose))
    for x, y, scale, a in people:
        with s.placed(x, y, scale, a):
            if p.plan == "coral":
                for b in range(-50, 51, 20):
                    s.limb([(0, 0), turn([(0.55, 0)], 90 + b * 0.8)[0], turn([(1.05, 0)], 90 + b)[0]], [0.26, 0.17, 0.09], shade(cap, 0.002 * b))
                continue
            if p.plan == "puff":
                ball = s.oval(0, 0.5, 0.55, 0.5, cap)
                s.spots(ball, spot, 24, 0.03, p.phase)
                continue
            if p.plan == "funnel":
                body = s.blob([(-0.14, 0), (-0.16, 0.5), (-0.6, 0.95), (-0.68, 1.12), (0, 1.0), (0.68, 1.12), (0.6, 0.95), (0.16, 0.5), (0.14, 0)], cap)
                for t in (-0.4, -0.2, 0, 0.2, 0.4):
                    s.texture(body, [np.array([(t * 0.2 - 0.015, 0.2), (t * 1.3 - 0.03, 1.1), (t * 1.3 + 0.03, 1.1), (t * 0.2 + 0.015, 0.2)])], shade(cap, -0.2))
                continue
            stalk = s.blob([(-w * 0.7, 0), (-w * 0.5, h * 0.5), (-w * 0.4, h), (w * 0.4, h), (w * 0.5, h * 0.5), (w * 0.7, 0), (0, -0.04)], stem)
            s.strokes(stalk, shade(stem, -0.16), 8, 0.2, 90, 0.018, p.phase)
            if p.ring:
                s.blob([(-w * 0.8, h * 0.62), (0, h * 0.7), (w * 0.8, h * 0.62), (w * 0.5, h * 0.56), (-w * 0.5, h * 0.56)], shade(stem, 0.1))
            if p.plan == "morel":
                top = s.blob([(-0.2, h - 0.1), (-0.4, h + 0.2), (-0.28, h + 0.65), (0, h + 0.9), (0.28, h + 0.65), (0.4, h + 0.2), (0.2, h - 0.1)], cap)
                s.spots(top, spot, 26, 0.07, p.phase, 1.4)
                continue
            s.oval(0, h, r * 0.94, r * 0.2, shade(stem, -0.12))
            for i in range(-4, 5):
                s.stroke([(0, h), (i * r * 0.21, h - r * 0.14 * (1 - abs(i) / 6))], 0.016, shade(stem, -0.32))
            top = [(-r, h), (-r * 0.9, h + 0.42 * r * k), (-r * 0.45, h + 0.85 * r * k), (0, h + r * k), (r * 0.45, h + 0.85 * r * k), (r * 0.9, h + 0.42 * r * k), (r, h), (0, h + 0.1 * r)]
            dome = s.blob(top, cap)
            if p.spots:
                s.spots(dome, spot, 11, 0.085 * r / 0.6, p.phase, 0.8)
            s.gloss(arc(0, h + 0.1 * r, 0.62 * r, 0.68 * r * k, 112, 142), 0.06, shade(cap, 0.45))


MUSHROOMS = Family(
    "mushroom", "plant", mushroom,
    dict(cap_c="brown chestnut tan", stem_c="cream ivory", spot_c="white", plan="cap", tall=0.7, width=0.28, cap=0.6, dome=0.8, spots=False, ring=False, cluster=False,
         metres=0.1, edible=0.6),
    {
        "fly agaric": dict(cap_c="red crimson", spots=True, ring=True, edible=0.0),
        "panther cap": dict(cap_c="brown cocoa", spots=True, ring=True, dome=0.6, edible=0.0),
        "porcini": dict(cap_c="chestnut brown", width=0.52, tall=0.6, cap=0.7, dome=0.75),
        "button mushroom": dict(cap_c="white cream", width=0.34, tall=0.4, cap=0.5, dome=1.0),
        "parasol mushroom": dict(cap_c="tan sand", spot_c="brown", spots=True, ring=True, tall=1.25, width=0.16, cap=0.75, dome=0.45),
        "death cap": dict(cap_c="sage olive", ring=True, tall=0.8, width=0.22, cap=0.52, dome=0.7, edible=0.0),
        "ink cap": dict(cap_c="silver ivory", tall=0.7, width=0.15, cap=0.34, dome=2.2),
        "honey fungus": dict(cap_c="honey amber", cluster=True, tall=0.75, width=0.16, cap=0.42, dome=0.7),
        "enoki": dict(cap_c="ivory cream", cluster=True, tall=1.1, width=0.08, cap=0.17, dome=1.0),
        "indigo milk cap": dict(cap_c="indigo blue", stem_c="sky", tall=0.5, width=0.3, cap=0.66, dome=0.35),
        "chanterelle": dict(plan="funnel", cap_c="amber yellow orange"),
        "morel": dict(plan="morel", cap_c="tan brown", spot_c="umber", tall=0.45, width=0.34),
        "puffball": dict(plan="puff", cap_c="white cream", spot_c="stone"),
        "coral fungus": dict(plan="coral", cap_c="coral amber lilac", edible=0.1),
    },
    dict(natural=1.0, soft=0.8, round=0.4),
)

FAMILIES = (TREES, FLOWERS, SUCCULENTS, MUSHROOMS)
