"""Sweets and dishes."""

# One line per concept and per stroke: tables of coordinates read better in rows.
# ruff: noqa: C408
# fmt: off

import numpy as np

from ..concepts import Family
from ..drawing import COLOURS as C
from ..drawing import arc, shade, turn


def _plate(s, w=0.95, y=0.05):
    s.oval(0, y, w, 0.16, C["white"])
    s.oval(0, y + 0.03, w * 0.72, 0.1, C["silver"], line=False, lift=-4)


def _sprinkles(s, shape, phase, n=16):
    for i, name in enumerate(("red", "sky", "yellow", "lime")):
        low, high = shape.min(0), shape.max(0)
        k = np.arange(i, n, 4)
        at = low + np.stack([(k + 0.5) / n, (k * 0.618 + phase) % 1], 1) * (high - low)
        s.texture(shape, [turn([(-0.035, -0.014), (0.035, -0.014), (0.035, 0.014), (-0.035, 0.014)], 60 * j + 20, *q) for j, q in enumerate(at)], C[name])


def _drip(s, x0, x1, y, depth, colour):
    xs = np.linspace(x0, x1, 9)
    low = [(x, y - depth * (0.45 + 0.55 * (i % 2)) - depth * 0.3 * np.sin(i * 2.3)) for i, x in enumerate(xs)]
    return s.blob([(x0, y + 0.05), *low, (x1, y + 0.05), ((x0 + x1) / 2, y + 0.09)], colour)


def sweet(s, p):
    """Cakes, pastry and ices."""
    dough, cream, top = p.dough_c, p.cream_c, p.top_c
    with s.placed(angle=3 * p.tilt):
        if p.plan == "layers":
            y = 0.0
            _plate(s, 0.95)
            y = 0.08
            for i in range(p.tiers):
                w, h = p.width * (1 - p.shrink * i), p.tall
                body = s.box(-w, y, w, y + h, dough if not p.iced else cream, 0.05)
                if not p.iced:
                    s.stripes(body, cream, 2, 0, 0.3)
                y += h
                drip = _drip(s, -w * 0.99, w * 0.99, y, 0.13, top)
                if p.sprinkle:
                    _sprinkles(s, drip, p.phase)
            if p.crown == "candles":
                for x in np.linspace(-0.6, 0.6, 4) * w:
                    s.box(x - 0.035, y, x + 0.035, y + 0.26, C["sky"])
                    s.blob([(x - 0.04, y + 0.3), (x, y + 0.44), (x + 0.04, y + 0.3), (x, y + 0.26)], C["amber"])
            elif p.crown == "berries":
                for x in np.linspace(-0.7, 0.7, 5) * w:
                    s.oval(x, y + 0.07, 0.1, 0.1, C["red"])
            elif p.crown == "rings":
                for f in (-1, 1):
                    s.stroke(arc(f * 0.09, y + 0.16, 0.12, 0.12, 0, 350), 0.04, C["gold"])
        elif p.plan == "slice":
            _plate(s, 0.95)
            side = s.poly([(-0.75, 0.1), (0.7, 0.1), (0.7, 0.1 + p.tall), (-0.75, 0.1 + p.tall)], dough)
            s.stripes(side, cream, p.tiers, 0, 0.35)
            s.poly([(-0.75, 0.1 + p.tall), (0.7, 0.1 + p.tall), (0.4, 0.38 + p.tall)], top)
            if p.crown:
                s.oval(0.38, 0.36 + p.tall, 0.12, 0.12, C["red"])
                s.oval(0.38, 0.27 + p.tall, 0.2, 0.08, C["white"])
        elif p.plan == "cup":
            case = s.poly([(-0.5, 0.5), (0.5, 0.5), (0.36, 0), (-0.36, 0)], dough)
            s.stripes(case, shade(dough, -0.22), 7, 90, 0.3)
            y = 0.52
            for w in (0.6, 0.46, 0.28) if not p.flat else (0.58,):
                s.blob([(-w, y), (-w * 0.9, y + 0.22), (0, y + 0.32), (w * 0.9, y + 0.22), (w, y), (0, y - 0.08)], top if not p.flat else shade(dough, -0.12))
                y += 0.23
            if p.sprinkle:
                for shape in s.shapes[-3:]:
                    if not shape.marks:
                        _sprinkles(s, shape.points, p.phase, 10)
            if p.flat:
                s.spots(s.shapes[-1].points, C["umber"], 9, 0.05, p.phase)
            else:
                s.oval(0.02, y + 0.14, 0.11, 0.11, C["red"])
        elif p.plan == "ring":
            s.oval(0, 0.6, 0.72, 0.6, dough)
            glaze = s.blob(arc(0, 0.64, 0.66, 0.53, 0, 330, 12) + 0.03 * np.sin(np.arange(12) * 2.4)[:, None], top)
            if p.sprinkle:
                _sprinkles(s, glaze, p.phase, 28)
            s.oval(0, 0.63, 0.24, 0.19, shade(dough, -0.42), lift=-14)
        elif p.plan == "round":
            body = s.oval(0, 0.55, 0.66, 0.56, dough)
            s.spots(body, top, 10, 0.07, p.phase)
            if p.sprinkle:
                _sprinkles(s, body, p.phase)
        elif p.plan == "crescent":
            for i, x in enumerate((-0.72, 0.72, -0.48, 0.48, -0.2, 0.2, 0.0)):
                y = 0.42 - 0.42 * x * x
                s.oval(x, y, 0.24 - 0.1 * abs(x), 0.38 - 0.25 * abs(x), shade(dough, 0.05 * (i % 2)), -48 * x)
        elif p.plan == "pretzel":
            s.limb([(-0.12, 0.2), (0.4, 0.75), (0.55, 1.0), (0.25, 1.2), (0, 0.95), (-0.25, 1.2), (-0.55, 1.0), (-0.4, 0.75), (0.12, 0.2)], [0.13, 0.17, 0.2, 0.2, 0.18, 0.2, 0.2, 0.17, 0.13], dough)
            for x, y in ((-0.45, 0.85), (0.45, 0.85), (-0.2, 1.13), (0.2, 1.13), (0, 0.42), (0.52, 1.02), (-0.52, 1.02)):
                s.box(x - 0.025, y - 0.02, x + 0.025, y + 0.03, C["white"], line=False, lift=2)
        elif p.plan == "cone":
            cone = s.poly([(-0.36, 0.8), (0.36, 0.8), (0, 0)], dough)
            s.stripes(cone, shade(dough, -0.25), 6, 55, 0.16)
            s.stripes(cone, shade(dough, -0.25), 6, 125, 0.16)
            y = 0.95
            for c, w in zip((top, cream, p.extra_c), (0.4, 0.37, 0.34)[: p.tiers]):
                with s.joined():
                    s.oval(0, y, w, w * 0.88, c)
                    s.blob([(-w, y - 0.1), (-w * 0.6, y - 0.27), (0, y - 0.2), (w * 0.6, y - 0.27), (w, y - 0.1)], c)
                s.gloss(arc(0, y, w * 0.65, w * 0.6, 115, 150), 0.06, shade(c, 0.55))
                y += 0.42
            if p.crown:
                s.limb([(0.1, y - 0.1), (0.3, y + 0.3)], 0.1, C["cocoa"])
        elif p.plan == "stick":
            s.box(-0.08, 0, 0.08, 0.4, C["sand"], 0.06)
            body = s.box(-0.36, 0.3, 0.36, 1.35, top, 0.34)
            if p.sprinkle:
                s.texture(body, [np.array([(-1, 0.2), (-1, 0.75), (1, 0.85), (1, 0.2)])], cream)
            s.gloss([(-0.2, 0.6), (-0.2, 1.1)], 0.08, shade(top, 0.5))
        elif p.plan == "pop":
            s.box(-0.035, 0, 0.035, 0.8, C["white"])
            s.oval(0, 1.1, 0.46, 0.46, top)
            spiral = [turn([(0.44 * (1 - k / 24), 0)], k * 40, 0, 1.1)[0] for k in range(20)]
            s.stroke(spiral, 0.09, cream)
            s.gloss(arc(0, 1.1, 0.34, 0.34, 115, 150), 0.05, shade(top, 0.7))
        elif p.plan == "sandwich":
            for i in range(p.tiers):
                y = 0.42 * i
                s.blob([(-0.55, y + 0.02), (-0.6, y + 0.12), (0, y + 0.17), (0.6, y + 0.12), (0.55, y + 0.02), (0, y - 0.02)], dough)
                s.blob([(-0.5, y + 0.13), (-0.5, y + 0.23), (0.5, y + 0.23), (0.5, y + 0.13)], cream)
                s.blob([(-0.6, y + 0.22), (-0.5, y + 0.42), (0, y + 0.5), (0.5, y + 0.42), (0.6, y + 0.22), (0, y + 0.18)], dough)
        elif p.plan == "stack":
            _plate(s, 0.9)
            for i in range(5):
                s.oval(0.03 * np.sin(i * 2 + p.phase * 6), 0.14 + 0.12 * i, 0.64, 0.13, shade(dough, -0.05 * (i % 2)))
            _drip(s, -0.42, 0.42, 0.7, 0.3, top)
            s.box(-0.13, 0.7, 0.13, 0.86, C["lemon"], 0.03)
        elif p.plan == "pie":
            s.poly([(-0.85, 0.32), (0.85, 0.32), (0.66, 0), (-0.66, 0)], C["silver"])
            lid = s.blob([(-0.86, 0.32), (-0.6, 0.56), (0, 0.66), (0.6, 0.56), (0.86, 0.32), (0, 0.27)], top)
            s.stripes(lid, dough, 6, 55, 0.4)
            s.stripes(lid, dough, 6, 125, 0.4)
            for x in np.linspace(-0.8, 0.8, 11):
                s.oval(x, 0.33, 0.1, 0.07, dough, lift=2)


SWEETS = Family(
    "sweet", "food", sweet,
    dict(dough_c="bread honey", cream_c="cream pink white", top_c="pink cocoa mint lilac sky white", extra_c="pink mint lemon", plan="layers", tiers=1, width=0.7, tall=0.34,
         shrink=0.0, iced=False, sprinkle=False, crown="", flat=False, metres=0.12),
    {
        "birthday cake": dict(tiers=2, shrink=0.2, crown="candles", sprinkle=True, iced=True, metres=0.3),
        "wedding cake": dict(tiers=4, shrink=0.22, tall=0.3, crown="rings", iced=True, cream_c="white snow", top_c="white blush", metres=0.6),
        "sponge cake": dict(tiers=2, tall=0.24, top_c="white cream", cream_c="red rose", dough_c="honey", metres=0.25),
        "chocolate cake": dict(tiers=1, tall=0.5, dough_c="cocoa", top_c="umber", cream_c="tan", crown="berries", metres=0.25),
        "cake slice": dict(plan="slice", tiers=3, tall=0.55, crown="cherry", top_c="pink white cocoa"),
        "cheesecake": dict(plan="slice", tiers=1, tall=0.4, dough_c="cheese", cream_c="cream", top_c="crimson plum"),
        "cupcake": dict(plan="cup", dough_c="sky rose mint lilac amber", sprinkle=True, metres=0.07),
        "muffin": dict(plan="cup", dough_c="bread caramel", flat=True, metres=0.08),
        "doughnut": dict(plan="ring", sprinkle=True, top_c="pink sky white lilac"),
        "chocolate doughnut": dict(plan="ring", top_c="cocoa umber", dough_c="caramel"),
        "chocolate chip cookie": dict(plan="round", dough_c="honey tan", top_c="cocoa"),
        "jam biscuit": dict(plan="ring", dough_c="sand bread", top_c="bread sand", sprinkle=False),
        "croissant": dict(plan="crescent", dough_c="honey caramel", metres=0.15),
        "pretzel": dict(plan="pretzel", dough_c="caramel chestnut"),
        "ice cream cone": dict(plan="cone", dough_c="tan honey", tiers=1, crown="flake", top_c="white pink mint cocoa"),
        "triple ice cream": dict(plan="cone", dough_c="tan honey", tiers=3),
        "ice lolly": dict(plan="stick", top_c="orange red lime", metres=0.15),
        "choc ice": dict(plan="stick", top_c="cocoa", cream_c="cream", sprinkle=True, metres=0.15),
        "lollipop": dict(plan="pop", top_c="red magenta turquoise orange", cream_c="white", metres=0.15),
        "macaron": dict(plan="sandwich", dough_c="pink mint lilac lemon coral sky", cream_c="white", metres=0.05),
        "macaron tower": dict(plan="sandwich", dough_c="pink mint lilac lemon coral sky", cream_c="white", tiers=3, metres=0.12),
        "pancake stack": dict(plan="stack", dough_c="honey bread", top_c="caramel", metres=0.2),
        "cherry pie": dict(plan="pie", top_c="crimson", dough_c="bread", metres=0.25),
        "apple pie": dict(plan="pie", top_c="honey", dough_c="bread", metres=0.25),
    },
    dict(edible=1.0, soft=0.8, indoor=0.8, round=0.5),
)


def dish(s, p):
    """Meals: on bread, in a bowl, on a plate."""
    base, fill, extra = p.base_c, p.fill_c, p.extra_c
    if p.plan == "bun":
        s.blob([(-0.72, 0.03), (-0.74, 0.2), (0.74, 0.2), (0.72, 0.03), (0, -0.02)], base)
        y = 0.2
        for name, k in p.layers:
            c = C[name]
            if k == "wavy":
                xs = np.linspace(-0.82, 0.82, 13)
                s.blob([*[(x, y + 0.06 * (i % 2) - 0.04) for i, x in enumerate(xs)], *[(x, y + 0.13) for x in xs[::-2]]], c)
                y += 0.07
            elif k == "slab":
                s.box(-0.76, y, 0.76, y + 0.17, c, 0.08)
                y += 0.16
            else:
                s.poly([(-0.78, y + 0.06), (0.78, y + 0.06), (0.5, y - 0.12), (0.2, y), (-0.3, y - 0.1), (-0.6, y)], c)
                y += 0.05
        top = s.blob([(-0.76, y + 0.02), (-0.66, y + 0.35), (0, y + 0.56), (0.66, y + 0.35), (0.76, y + 0.02), (0, y - 0.02)], base)
        s.texture(top, [arc(x, y + v, 0.045, 0.022, 0, 330, 8) for x, v in ((-0.4, 0.3), (-0.1, 0.42), (0.2, 0.3), (0.42, 0.3), (0, 0.22), (-0.25, 0.18))], C["cream"])
    elif p.plan == "sub":
        s.limb([(-0.85, 0.22), (0.85, 0.22)], 0.44, base)
        if p.layers:
            s.limb([(-0.8, 0.4), (-0.3, 0.36), (0.3, 0.44), (0.8, 0.4)], 0.16, C["lime"])
        s.limb([(-0.95, 0.42), (0.95, 0.42)], 0.28, fill)
        xs = np.linspace(-0.8, 0.8, 11)
        s.stroke([(x, 0.46 + 0.06 * (-1) ** i) for i, x in enumerate(xs)], 0.06, extra)
        s.limb([(-0.82, 0.1), (0.82, 0.1)], 0.28, shade(base, 0.08))
    elif p.plan == "slice":
        wedge = s.poly([(-0.7, 1.0), (0.7, 1.0), (0, 0)], fill)
        s.limb([(-0.72, 1.02), (0, 1.1), (0.72, 1.02)], 0.24, base)
        for x, y in ((-0.3, 0.8), (0.28, 0.78), (0.0, 0.5)):
            s.oval(x, y, 0.15, 0.14, extra)
        s.spots(wedge, C["leaf"], 6, 0.04, p.phase)
    elif p.plan == "round":
        s.oval(0, 0.75, 0.85, 0.75, base)
        disc = s.oval(0, 0.76, 0.7, 0.62, fill, line=False)
        for i in range(9):
            q = turn([(0.52 * np.sqrt((i + 0.5) / 9), 0)], i * 137.5, 0, 0.76)[0]
            s.oval(*q, 0.12, 0.11, extra, lift=3)
        s.spots(disc, C["leaf"], 9, 0.045, p.phase)
    elif p.plan == "bowl":
        s.oval(0, 0.62, 0.86, 0.25, shade(base, -0.2))
        s.oval(0, 0.62, 0.78, 0.2, fill, line=False)
        if "noodles" in p.layers:
            for i in range(5):
                s.stroke([(-0.5 + 0.1 * i, 0.6), (-0.2 + 0.1 * i, 0.78 - 0.02 * i), (0.1 + 0.1 * i, 0.58), (0.4, 0.72)], 0.045, C["cheese"])
        if "mound" in p.layers:
            heap = s.blob([(-0.7, 0.62), (-0.45, 0.95), (0, 1.08), (0.45, 0.95), (0.7, 0.62), (0, 0.55)], extra)
            s.spots(heap, shade(extra, 0.3), 18, 0.045, p.phase)
            s.spots(heap, p.fleck_c, 10, 0.05, p.phase + 0.3)
        if "egg" in p.layers:
            s.oval(0.3, 0.7, 0.2, 0.13, C["white"])
            s.oval(0.3, 0.7, 0.1, 0.07, C["amber"])
        if "float" in p.layers:
            for x, y in ((-0.35, 0.64), (0.05, 0.7), (0.35, 0.6), (-0.05, 0.55)):
                s.oval(x, y, 0.12, 0.06, extra)
        body = s.blob([(-0.86, 0.62), (-0.78, 0.3), (-0.42, 0.04), (0.42, 0.04), (0.78, 0.3), (0.86, 0.62), (0.6, 0.47), (0, 0.4), (-0.6, 0.47)], base)
        s.stripes(body, shade(base, -0.3), 2, 0, 0.16)
        s.box(-0.35, -0.03, 0.35, 0.06, shade(base, -0.15))
        if p.sticks:
            for dx in (0, 0.12):
                s.limb([(0.2 + dx, 0.6), (1.0 + dx, 1.25)], 0.05, C["brick"])
    elif p.plan == "plate":
        _plate(s, 1.0)
        if "egg" in p.layers:
            s.blob([(-0.7, 0.14), (-0.5, 0.42), (0, 0.34), (0.45, 0.44), (0.72, 0.16), (0.2, 0.05), (-0.3, 0.02)], C["white"])
            s.oval(0.02, 0.28, 0.22, 0.17, C["amber"])
        elif "heap" in p.layers:
            heap = s.blob([(-0.75, 0.08), (-0.5, 0.4), (0, 0.6), (0.5, 0.4), (0.75, 0.08), (0, 0)], fill)
            for k in range(7):
                r = 0.12 + 0.09 * k
                s.texture(heap, [np.concatenate([arc(0.1 * np.sin(k * 2), 0.15, r, r * 0.7, 10, 170), arc(0.1 * np.sin(k * 2), 0.15, r - 0.03, r * 0.7 - 0.03, 170, 10)])], shade(fill, -0.25))
            s.blob([(-0.36, 0.46), (-0.2, 0.64), (0.1, 0.68), (0.36, 0.48), (0.15, 0.38), (-0.15, 0.4)], extra)
            for x, y in ((-0.1, 0.62), (0.14, 0.6), (0.02, 0.74)):
                s.oval(x, y, 0.12, 0.11, C["brown"])
        elif "steak" in p.layers:
            meat = s.blob([(-0.6, 0.12), (-0.5, 0.45), (0, 0.6), (0.55, 0.42), (0.6, 0.14), (0, 0.06)], fill)
            s.stripes(meat, shade(fill, -0.4), 4, 50, 0.2)
            s.blob([(0.25, 0.1), (0.5, 0.34), (0.85, 0.2), (0.7, 0.06)], C["leaf"])
        elif "bird" in p.layers:
            for f in (-1, 1):
                s.limb([(f * 0.4, 0.25), (f * 0.72, 0.5), (f * 0.9, 0.72)], [0.34, 0.18, 0.09], fill)
                s.oval(f * 0.93, 0.76, 0.07, 0.07, C["ivory"])
            s.blob([(-0.6, 0.1), (-0.55, 0.5), (0, 0.8), (0.55, 0.5), (0.6, 0.1), (0, 0.03)], fill)
            s.gloss(arc(0, 0.3, 0.35, 0.34, 105, 150), 0.07, shade(fill, 0.5))
        elif "sushi" in p.layers:
            for x, c in ((-0.5, fill), (0.02, extra), (0.54, fill)):
                s.box(x - 0.22, 0.1, x + 0.22, 0.36, C["snow"], 0.1)
                s.limb([(x - 0.2, 0.4), (x + 0.22, 0.38)], 0.17, c)
                s.box(x - 0.06, 0.1, x + 0.06, 0.47, C["black"], line=False)
        elif "rolls" in p.layers:
            for x, y in ((-0.4, 0.12), (0.1, 0.12), (0.6, 0.12), (-0.15, 0.44), (0.35, 0.44)):
                s.oval(x, y + 0.16, 0.23, 0.19, C["black"])
                s.oval(x, y + 0.17, 0.18, 0.145, C["snow"], line=False)
                s.oval(x, y + 0.17, 0.09, 0.07, fill, line=False)
    elif p.plan == "fold":
        s.poly(arc(0.06, 0.05, 0.85, 0.85, 0, 180, 18), shade(base, -0.18))
        for i in range(9):
            q = arc(0, 0.05, 0.8, 0.84, 12 + 20 * i, 13 + 20 * i, 2)[0]
            s.oval(*q, 0.16, 0.15, (fill, extra, C["lime"])[i % 3])
        shell = s.poly(arc(-0.05, 0, 0.82, 0.78, 0, 180, 18), base)
        s.spots(shell, shade(base, -0.18), 14, 0.035, p.phase)
    elif p.plan == "cheese":
        s.poly([(-0.85, 0.5), (0.5, 0.95), (0.85, 0.55)], shade(base, 0.25))
        face = s.poly([(-0.85, 0.5), (0.85, 0.55), (0.85, 0.05), (-0.85, 0)], base)
        s.texture(face, [arc(x, y, r, r * 0.85, 0, 340) for x, y, r in ((-0.5, 0.26, 0.11), (0.05, 0.4, 0.09), (0.35, 0.18, 0.13), (-0.15, 0.1, 0.07), (0.68, 0.42, 0.07))], shade(base, -0.28))
    elif p.plan == "loaf":
        body = s.blob([(-0.95, 0.05), (-1.0, 0.35), (-0.7, 0.58), (0, 0.66), (0.7, 0.58), (1.0, 0.35), (0.95, 0.05), (0, -0.02)], base)
        s.texture(body, [turn(np.array([(-0.05, 0.0), (0.0, 0.28), (0.07, 0.3), (0.04, 0.02)]), -28, x, 0.32) for x in np.linspace(-0.7, 0.6, p.count)], C["cream"])
        s.strokes(body, shade(base, -0.15), 12, 0.1, 20, 0.03, p.phase)
    elif p.plan == "toast":
        for dx, c in ((0.1, -0.2), (0, 0)):
            with s.placed(dx, dx * 0.6):
                s.blob([(-0.55, 0), (-0.56, 0.6), (-0.66, 0.8), (-0.4, 1.02), (0.4, 1.02), (0.66, 0.8), (0.56, 0.6), (0.55, 0), (0, -0.02)], shade(fill, c))
        s.blob([(-0.46, 0.08), (-0.47, 0.6), (-0.54, 0.78), (-0.34, 0.93), (0.34, 0.93), (0.54, 0.78), (0.47, 0.6), (0.46, 0.08), (0, 0.06)], base, line=False)
        s.box(-0.17, 0.4, 0.17, 0.7, C["lemon"], 0.04)
    elif p.plan == "fries":
        for i in range(9):
            x = (i - 4) * 0.11
            s.limb([(x * 0.8, 0.4), (x * 1.35, 1.05 + 0.16 * np.sin(i * 2.4 + 6 * p.phase))], 0.115, shade(base, 0.12 * (i % 2)))
        cup = s.poly([(-0.5, 0.75), (-0.25, 0.66), (0.25, 0.66), (0.5, 0.75), (0.36, 0), (-0.36, 0)], extra)
        s.stripes(cup, C["white"], 4, 90, 0.3)
    elif p.plan == "skewer":
        s.limb([(-0.95, 0.05), (0.95, 0.7)], 0.045, C["tan"])
        for i, x in enumerate(np.linspace(-0.6, 0.6, 5)):
            s.box(x - 0.13, x * 0.34 + 0.22, x + 0.13, x * 0.34 + 0.54, (fill, extra)[i % 2], 0.07)


DISHES = Family(
    "dish", "food", dish,
    dict(base_c="bread honey", fill_c="brick", extra_c="red", fleck_c="leaf", plan="bun", layers=(), count=4, sticks=False, metres=0.2),
    {
        "hamburger": dict(layers=(("lime", "wavy"), ("brown", "slab"), ("cheese", "sheet"), ("red", "wavy"))),
        "double cheeseburger": dict(layers=(("brown", "slab"), ("cheese", "sheet"), ("brown", "slab"), ("cheese", "sheet"), ("lime", "wavy"))),
        "fish burger": dict(layers=(("amber", "slab"), ("white", "wavy"), ("lime", "wavy"))),
        "hot dog": dict(plan="sub", fill_c="brick", extra_c="yellow"),
        "submarine sandwich": dict(plan="sub", fill_c="pink", extra_c="white", layers=("salad",)),
        "pizza": dict(plan="round", fill_c="cheese", extra_c="red brick", base_c="crust bread"),
        "pizza slice": dict(plan="slice", fill_c="cheese", extra_c="red brick", base_c="crust bread"),
        "noodle soup": dict(plan="bowl", base_c="red navy white teal", fill_c="caramel", layers=("noodles", "egg"), sticks=True),
        "tomato soup": dict(plan="bowl", base_c="white sky teal", fill_c="red", extra_c="bread", layers=("float",)),
        "bowl of rice": dict(plan="bowl", base_c="navy teal brick", fill_c="cream", extra_c="ivory", fleck_c="orange", layers=("mound",), sticks=True),
        "salad": dict(plan="bowl", base_c="wood white", fill_c="lime", extra_c="green lime", fleck_c="red", layers=("mound",)),
        "bowl of porridge": dict(plan="bowl", base_c="sage blush sky", fill_c="ivory", extra_c="indigo", layers=("float",)),
        "fried egg": dict(plan="plate", layers=("egg",)),
        "plate of spaghetti": dict(plan="plate", layers=("heap",), fill_c="cheese", extra_c="brick red"),
        "steak": dict(plan="plate", layers=("steak",), fill_c="chestnut brown"),
        "roast chicken": dict(plan="plate", layers=("bird",), fill_c="caramel honey", metres=0.4),
        "nigiri sushi": dict(plan="plate", layers=("sushi",), fill_c="coral", extra_c="amber"),
        "sushi rolls": dict(plan="plate", layers=("rolls",), fill_c="coral lime"),
        "taco": dict(plan="fold", base_c="cheese", fill_c="brown", extra_c="red"),
        "wedge of cheese": dict(plan="cheese", base_c="cheese amber"),
        "loaf of bread": dict(plan="loaf", base_c="crust caramel", count=4, metres=0.35),
        "slice of toast": dict(plan="toast", base_c="bread honey", fill_c="crust brown", metres=0.12),
        "french fries": dict(plan="fries", base_c="cheese amber", extra_c="red navy", metres=0.15),
        "kebab": dict(plan="skewer", fill_c="brown", extra_c="red lime", metres=0.25),
    },
    dict(edible=1.0, soft=0.7, indoor=0.9, round=0.4),
)

FAMILIES = (SWEETS, DISHES)
