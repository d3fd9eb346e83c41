"""Buildings and furniture."""

# One line per concept and per stroke: tables of coordinates read better in rows.
# ruff: noqa: C408
# fmt: off

import numpy as np

from ..concepts import Family
from ..drawing import COLOURS as C
from ..drawing import arc, shade, turn

GLOW = (252, 222, 150)


def _roof(s, kind, x0, x1, y, t, colour):
    m, e = (x0 + x1) / 2, 0.07
    if kind == "gable":
        shape = s.poly([(x0 - e, y), (m, y + t), (x1 + e, y)], colour)
        s.bricks(shape, shade(colour, -0.2), 5)
    elif kind == "hip":
        shape = s.poly([(x0 - e, y), (x0 + 0.25 * t, y + t), (x1 - 0.25 * t, y + t), (x1 + e, y)], colour)
        s.bricks(shape, shade(colour, -0.2), 5)
    elif kind == "barn":
        s.poly([(x0 - e, y), (x0 + 0.1, y + 0.6 * t), (m, y + t), (x1 - 0.1, y + 0.6 * t), (x1 + e, y)], colour)
    elif kind == "cone":
        shape = s.poly([(x0 - e, y), (m, y + t), (x1 + e, y)], colour)
        s.stripes(shape, shade(colour, -0.15), 4, 0, 0.2)
    elif kind == "dome":
        s.blob([(x0 - 0.01, y - 0.03), (x0 - 0.02, y + 0.45 * t), (m - 0.12, y + 0.85 * t), (m, y + 1.1 * t), (m + 0.12, y + 0.85 * t), (x1 + 0.02, y + 0.45 * t), (x1 + 0.01, y - 0.03)], colour)
        s.limb([(m, y + 1.05 * t), (m, y + 1.3 * t)], 0.03, C["gold"])
    elif kind == "bulb":
        s.blob([(x0 + 0.04, y - 0.03), (x0 - 0.08, y + 0.4 * t), (m - 0.05, y + 0.85 * t), (m, y + 1.2 * t), (m + 0.05, y + 0.85 * t), (x1 + 0.08, y + 0.4 * t), (x1 - 0.04, y - 0.03)], colour)
    elif kind == "battlement":
        n = max(int((x1 - x0) / 0.14), 2)
        w = (x1 - x0) / (2 * n - 1)
        s.box(x0 - 0.03, y - 0.04, x1 + 0.03, y + 0.05, colour)
        for i in range(n):
            s.box(x0 + 2 * i * w, y + 0.04, x0 + (2 * i + 1) * w, y + 0.15, colour)
    elif kind == "eaves":
        s.blob([(x0 - 0.24, y + 0.14), (x0 - 0.06, y + 0.02), (x1 + 0.06, y + 0.02), (x1 + 0.24, y + 0.14), (x1 - 0.05, y + 0.16), (m, y + t), (x0 + 0.05, y + 0.16)], colour)
    elif kind == "flat":
        s.box(x0 - 0.05, y - 0.02, x1 + 0.05, y + 0.08, colour)
    elif kind == "thatch":
        shape = s.blob([(x0 - 0.2, y - 0.05), (x0, y + 0.5 * t), (m - 0.15, y + t), (m + 0.15, y + t), (x1, y + 0.5 * t), (x1 + 0.2, y - 0.05), (m, y + 0.02)], colour)
        s.strokes(shape, shade(colour, -0.25), 40, 0.16, 80, 0.016)


def building(s, p):
    """Blocks with roofs, windows and doors, and what makes each kind itself."""
    wall, roof, trim = p.wall_c, p.roof_c, p.trim_c
    if p.extra == "igloo":
        dome = s.poly(arc(0, 0, 0.9, 0.78, 0, 180, 24), wall)
        s.bricks(dome, shade(wall, -0.2), 6)
        s.poly(arc(0.3, 0, 0.42, 0.46, 0, 180), shade(wall, 0.1))
        s.poly(arc(0.34, 0, 0.26, 0.31, 0, 180), C["navy"], lift=-8)
        return
    if p.extra in ("tent", "tipi", "yurt"):
        t, w = (1.5, 0.6) if p.extra == "tipi" else (0.95, 0.95)
        if p.extra == "yurt":
            s.box(-0.85, 0, 0.85, 0.5, wall, 0.05)
            s.stripes(s.shapes[-1].points, trim, 2, 0, 0.2)
            _roof(s, "cone", -0.85, 0.85, 0.5, 0.42, roof)
            s.box(-0.18, 0, 0.18, 0.42, trim, 0.02)
            return
        if p.extra == "tipi":
            for a in (70, 100, 84):
                s.limb([(0, t - 0.1), turn([(0.35, 0)], a, 0, t - 0.1)[0]], 0.04, C["brown"])
        cloth = s.poly([(-w, 0), (0, t), (w, 0)], wall)
        s.stripes(cloth, trim, 3, 0, 0.2)
        s.poly([(-0.3 * w, 0), (0, 0.62 * t), (0.3 * w, 0)], shade(wall, -0.5), lift=-6)
        s.poly([(-0.3 * w, 0), (0, 0.62 * t), (-0.42 * w, 0.0)], shade(wall, 0.2))
        return
    if p.extra == "pyramid":
        s.poly([(-1.0, 0), (0.15, 1.15), (0.4, 0)], wall)
        s.bricks(s.shapes[-1].points, shade(wall, -0.15), 9)
        s.poly([(0.4, 0), (0.15, 1.15), (1.0, 0)], shade(wall, -0.22))
        return
    if p.extra == "arches":
        for k in range(2):
            shape = s.box(-1.2, k * 0.5, 1.2, k * 0.5 + 0.5, wall)
            s.bricks(shape, shade(wall, -0.14), 4)
            for x in np.linspace(-0.96, 0.96, 5):
                s.poly([(x - 0.16, k * 0.5), *arc(x, k * 0.5 + 0.24, 0.16, 0.17, 180, 0), (x + 0.16, k * 0.5)], shade(p.trim_c, -0.4), lift=-8)
        _roof(s, "flat", -1.2, 1.2, 1.0, 0.1, wall)
        return
    for x0, x1, y0, y1, top, t in p.blocks:
        shape = s.poly([(x0 - p.taper * (y1 - y0), y0), (x1 + p.taper * (y1 - y0), y0), (x1, y1), (x0, y1)], wall)
        if p.skin == "brick":
            s.bricks(shape, shade(wall, -0.16), max(int((y1 - y0) / 0.09), 3))
        elif p.skin == "plank":
            s.stripes(shape, shade(wall, -0.2), max(int((x1 - x0) / 0.12), 3), 90, 0.12)
        elif p.skin == "log":
            s.stripes(shape, shade(wall, -0.25), max(int((y1 - y0) / 0.12), 3), 0, 0.2)
        elif p.skin == "bands":
            s.stripes(shape, roof, 3, 0, 0.5)
        elif p.skin == "beams":
            for x in np.linspace(x0, x1, 4):
                s.texture(shape, [np.array([(x - 0.02, y0), (x + 0.02, y0), (x + 0.02, y1), (x - 0.02, y1)])], C["cocoa"])
            s.texture(shape, [np.array([(x0, (y0 + y1) / 2 - 0.02), (x1, (y0 + y1) / 2 - 0.02), (x1, (y0 + y1) / 2 + 0.02), (x0, (y0 + y1) / 2 + 0.02)])], C["cocoa"])
        elif p.skin == "columns":
            for x in np.linspace(x0 + 0.1, x1 - 0.1, 6):
                s.box(x - 0.06, y0, x + 0.06, y1, shade(wall, 0.2))
                s.box(x - 0.09, y1 - 0.07, x + 0.09, y1, shade(wall, 0.2))
        _roof(s, top, x0, x1, y1, t, wall if top == "battlement" else roof)
        if p.glass and p.skin != "columns":
            nx, ny = max(round((x1 - x0) / p.pitch), 1), max(round((y1 - y0 - p.door) / p.pitch), 1)
            for i in range(nx):
                for j in range(ny):
                    cx, cy = x0 + (i + 0.5) * (x1 - x0) / nx, y0 + p.door + (j + 0.5) * (y1 - y0 - p.door) / ny
                    k = p.pitch * 0.28
                    c = GLOW if (i * 5 + j * 3 + int(p.phase * 9)) % 4 == 0 else C["window"]
                    if p.glass == "arch":
                        s.poly([(cx - k, cy - 1.2 * k), (cx + k, cy - 1.2 * k), *arc(cx, cy + 0.4 * k, k, 1.1 * k, 0, 180, 7)], c, lift=-4)
                    else:
                        s.box(cx - k, cy - k, cx + k, cy + k, c, line=C["white"] if p.glass == "frame" else None, lift=-4)
    if p.door:
        d = p.door
        s.box(-0.3 * d, 0, 0.3 * d, 0.85 * d, trim, 0.02)
        s.dot(0.18 * d, 0.4 * d, 0.025, C["gold"])
    if p.extra == "chimney":
        s.box(0.35, p.blocks[0][3] + 0.2, 0.52, p.blocks[0][3] + 0.62, C["brick"])
        for i in range(3):
            s.oval(0.46 + 0.1 * i, p.blocks[0][3] + 0.76 + 0.13 * i, 0.09 + 0.03 * i, 0.07 + 0.02 * i, C["white"], line=C["silver"])
    elif p.extra == "sails":
        y = p.blocks[0][3] - 0.02
        for a in range(0, 360, 90):
            with s.placed(0, y, 1, a + 40 * p.pose + 20):
                s.limb([(0, 0), (0.9, 0)], 0.05, C["brown"])
                s.poly([(0.22, 0.02), (0.9, 0.02), (0.9, 0.22), (0.22, 0.22)], C["cream"])
                s.bricks(s.shapes[-1].points, C["brown"], 2, 0.02)
        s.oval(0, y, 0.07, 0.07, C["cocoa"])
    elif p.extra == "cross":
        y = max(b[3] + b[5] for b in p.blocks)
        x = next((b[0] + b[1]) / 2 for b in p.blocks if b[3] + b[5] == y)
        s.box(x - 0.025, y - 0.04, x + 0.025, y + 0.26, C["gold"])
        s.box(x - 0.09, y + 0.1, x + 0.09, y + 0.15, C["gold"])
    elif p.extra == "lamp":
        x, y = 0, p.blocks[0][3]
        s.box(-0.16, y, 0.16, y + 0.26, GLOW)
        s.box(-0.22, y - 0.03, 0.22, y + 0.03, C["charcoal"])
        _roof(s, "cone", -0.18, 0.18, y + 0.26, 0.2, roof)
    elif p.extra == "flags":
        for x0, x1, _, y1, _, t in p.blocks[1:]:
            x, y = (x0 + x1) / 2, y1 + t
            s.limb([(x, y - 0.03), (x, y + 0.26)], 0.025, C["brown"])
            s.poly([(x, y + 0.26), (x + 0.2, y + 0.2), (x, y + 0.13)], C["red"])
    elif p.extra == "antenna":
        y = p.blocks[-1][3]
        s.limb([(0, y), (0, y + 0.5)], [0.06, 0.02], C["steel"])
    elif p.extra == "awning":
        shape = s.poly([(-0.82, 0.62), (0.82, 0.62), (0.9, 0.44), (-0.9, 0.44)], C["white"])
        s.stripes(shape, trim, 8, 90, 0.5)
        s.box(0.24, 0.08, 0.72, 0.42, C["window"])


BUILDINGS = Family(
    "building", "building", building,
    dict(wall_c="cream white sky sand blush mint", roof_c="brick slate teal brown", trim_c="brown teal red navy", blocks=((-0.6, 0.6, 0.0, 0.75, "gable", 0.5),), skin="", glass="frame",
         pitch=0.36, door=0.4, taper=0.0, extra="", metres=9.0),
    {
        "cottage": dict(extra="chimney"),
        "thatched cottage": dict(blocks=((-0.75, 0.75, 0.0, 0.6, "thatch", 0.6),), roof_c="sand honey", wall_c="white cream"),
        "log cabin": dict(blocks=((-0.75, 0.75, 0.0, 0.62, "gable", 0.45),), wall_c="wood oak", skin="log", extra="chimney"),
        "half-timbered house": dict(blocks=((-0.55, 0.55, 0.0, 1.0, "gable", 0.6),), wall_c="white cream", skin="beams", pitch=0.34),
        "terraced house": dict(blocks=((-0.45, 0.45, 0.0, 1.25, "gable", 0.3),), wall_c="brick rust", skin="brick"),
        "villa": dict(blocks=((-0.95, 0.2, 0.0, 0.55, "flat", 0.1), (-0.1, 0.9, 0.0, 0.95, "flat", 0.1)), wall_c="white snow", roof_c="slate stone", pitch=0.3),
        "barn": dict(blocks=((-0.7, 0.7, 0.0, 0.65, "barn", 0.6),), wall_c="crimson red brick", skin="plank", glass="", door=0.62, trim_c="white", roof_c="slate ash"),
        "shop": dict(blocks=((-0.8, 0.8, 0.0, 0.95, "flat", 0.1),), extra="awning", pitch=0.36, wall_c="sage blush sky brick"),
        "skyscraper": dict(blocks=((-0.42, 0.42, 0.0, 1.5, "flat", 0.1), (-0.28, 0.28, 1.55, 2.1, "flat", 0.1)), wall_c="steel silver slate", roof_c="slate", pitch=0.2, glass="plain", extra="antenna", metres=250.0),
        "office block": dict(blocks=((-0.7, 0.7, 0.0, 1.4, "flat", 0.1),), wall_c="silver stone sand", roof_c="slate", pitch=0.25, glass="plain", metres=50.0),
        "church": dict(blocks=((-0.25, 0.95, 0.0, 0.65, "gable", 0.4), (-0.75, -0.25, 0.0, 1.1, "cone", 0.75)), wall_c="white stone", glass="arch", extra="cross", pitch=0.34, metres=30.0),
        "cathedral": dict(blocks=((-0.4, 0.4, 0.0, 1.1, "gable", 0.4), (-0.8, -0.4, 0.0, 1.4, "cone", 0.6), (0.4, 0.8, 0.0, 1.4, "cone", 0.6)), wall_c="stone sand", glass="arch", pitch=0.32, extra="cross", door=0.5, metres=90.0),
        "mosque": dict(blocks=((-0.6, 0.6, 0.0, 0.6, "dome", 0.55), (-0.95, -0.76, 0.0, 1.3, "cone", 0.3), (0.76, 0.95, 0.0, 1.3, "cone", 0.3)), wall_c="cream white sand", roof_c="turquoise gold teal", glass="arch", pitch=0.3, metres=40.0),
        "onion-domed church": dict(blocks=((-0.5, 0.5, 0.0, 0.8, "bulb", 0.7), (-0.85, -0.5, 0.0, 0.6, "bulb", 0.45), (0.5, 0.85, 0.0, 0.6, "bulb", 0.45)), wall_c="white blush brick", roof_c="gold blue green", glass="arch", pitch=0.32, metres=45.0),
        "castle": dict(blocks=((-0.6, 0.6, 0.0, 0.7, "battlement", 0.15), (-0.95, -0.6, 0.0, 1.1, "battlement", 0.15), (0.6, 0.95, 0.0, 1.1, "battlement", 0.15)), wall_c="stone grey", skin="brick", glass="arch", pitch=0.42, extra="flags", door=0.5, metres=40.0),
        "fairytale castle": dict(blocks=((-0.5, 0.5, 0.0, 0.75, "battlement", 0.15), (-0.85, -0.5, 0.0, 1.2, "cone", 0.5), (0.5, 0.85, 0.0, 1.2, "cone", 0.5), (-0.2, 0.2, 0.7, 1.5, "cone", 0.6)), wall_c="white blush cream", roof_c="blue violet rose", glass="arch", pitch=0.36, extra="flags", metres=60.0),
        "greek temple": dict(blocks=((-0.95, 0.95, 0.0, 0.75, "gable", 0.35),), wall_c="ivory sand", roof_c="ivory stone", skin="columns", glass="", door=0.0, metres=25.0),
        "pagoda": dict(blocks=((-0.6, 0.6, 0.0, 0.4, "eaves", 0.35), (-0.45, 0.45, 0.6, 0.95, "eaves", 0.32), (-0.3, 0.3, 1.12, 1.42, "eaves", 0.4)), wall_c="red brick", roof_c="teal slate forest", pitch=0.26, glass="plain", door=0.3, metres=30.0),
        "lighthouse": dict(blocks=((-0.2, 0.2, 0.0, 1.6, "flat", 0.1),), wall_c="white", roof_c="red navy teal", skin="bands", taper=0.08, glass="", extra="lamp", metres=30.0),
        "windmill": dict(blocks=((-0.28, 0.28, 0.0, 1.15, "dome", 0.32),), wall_c="white cream brick", taper=0.16, pitch=0.4, extra="sails", metres=20.0),
        "water tower": dict(blocks=((-0.12, 0.12, 0.0, 0.95, "flat", 0.1), (-0.5, 0.5, 0.95, 1.5, "cone", 0.3)), wall_c="steel wood silver", skin="plank", glass="", door=0.0, metres=30.0),
        "greenhouse": dict(blocks=((-0.85, 0.85, 0.0, 0.6, "gable", 0.45),), wall_c="glass mint", roof_c="glass mint", pitch=0.24, glass="frame", metres=4.0),
        "igloo": dict(extra="igloo", wall_c="snow glass", metres=3.0),
        "tent": dict(extra="tent", wall_c="orange lime sky coral", metres=2.0),
        "tipi": dict(extra="tipi", wall_c="cream sand", trim_c="brick teal", metres=5.0),
        "yurt": dict(extra="yurt", wall_c="cream white", roof_c="ivory sand", metres=4.0),
        "pyramid": dict(extra="pyramid", wall_c="sand honey", metres=140.0),
        "aqueduct": dict(extra="arches", wall_c="sand stone", metres=45.0),
    },
    dict(indoor=0.3), free=True,
)


def seat(s, p):
    """Chairs, benches and sofas from the front; legs, seat, back, arms."""
    wood, cloth = p.wood_c, p.cloth_c
    w, y, t = p.width / 2, p.seat, p.thick
    if p.base == "legs":
        for x in (-w + 0.14, w - 0.14):
            s.limb([(x, y), (x * 0.94, 0.12)], [0.09, 0.06], shade(wood, -0.3))
    elif p.base == "star":
        s.box(-0.05, 0.15, 0.05, y, C["slate"])
        for x in (-0.42, -0.2, 0.2, 0.42):
            s.limb([(0, 0.2), (x, 0.1)], 0.06, C["slate"])
            s.oval(x, 0.06, 0.06, 0.06, C["charcoal"])
    elif p.base == "rocker":
        s.limb([(-w - 0.2, 0.16), (-w * 0.5, 0.02), (w * 0.5, 0.02), (w + 0.2, 0.16)], 0.08, wood)
    if p.back:
        b = y + p.back
        if p.style == "slats":
            for x in (-w + 0.06, w - 0.06):
                s.limb([(x, y), (x * 1.04, b)], 0.09, wood)
            for x in np.linspace(-w + 0.22, w - 0.22, max(int(p.width / 0.2), 2)):
                s.limb([(x, y), (x, b - 0.06)], 0.05, wood)
            s.limb([(-w, b), (0, b + 0.05), (w, b)], 0.12, wood)
        elif p.style == "planks":
            for k in range(3):
                s.box(-w, y + 0.14 + k * p.back / 3, w, y + 0.08 + (k + 0.85) * p.back / 3, wood, 0.03)
        else:
            s.box(-w, y - 0.05, w, b, cloth, p.curve)
            if p.style == "buttons":
                for x in np.linspace(-w + 0.22, w - 0.22, max(int(p.width / 0.3), 2)):
                    for v in (0.35, 0.7):
                        s.oval(x, y + p.back * v, 0.03, 0.03, shade(cloth, -0.3), lift=-4)
            elif p.style == "crown":
                s.poly([(-w, b), (-w * 0.6, b + 0.26), (-w * 0.3, b + 0.06), (0, b + 0.36), (w * 0.3, b + 0.06), (w * 0.6, b + 0.26), (w, b)], C["gold"])
    if p.base != "box":
        s.box(-w - 0.02, y - t, w + 0.02, y + 0.04, cloth if p.padded else wood, 0.05)
    else:
        s.box(-w, 0.1, w, y, shade(cloth, -0.1), 0.06)
        for x in np.linspace(-w, w, p.cushions + 1)[:-1]:
            s.box(x + 0.02, y - 0.12, x + 2 * w / p.cushions - 0.02, y + 0.12, cloth, 0.09)
        for x in (-w + 0.1, w - 0.1):
            s.box(x - 0.05, 0, x + 0.05, 0.1, wood)
    if p.arms:
        for f in (-1, 1):
            if p.base == "box":
                s.box(f * w - 0.13, 0.08, f * w + 0.13, y + 0.34, shade(cloth, 0.05), 0.12)
            else:
                s.limb([(f * w, y), (f * (w + 0.05), y + 0.34)], 0.07, wood)
                s.limb([(f * (w + 0.05) - 0.1, y + 0.36), (f * (w + 0.05) + 0.1, y + 0.36)], 0.1, wood)
    if p.base in ("legs", "rocker"):
        low = 0.06 if p.base == "rocker" else 0.03
        for x in (-w + 0.05, w - 0.05):
            s.limb([(x, y - 0.04), (x * p.splay, low)], [0.11, 0.07], wood)
        if p.rung:
            s.limb([(-w + 0.05, y * 0.4), (w - 0.05, y * 0.4)], 0.06, wood)
    elif p.base == "pole":
        s.box(-0.06, 0.05, 0.06, y - t, C["silver"])
        s.oval(0, 0.05, 0.32, 0.06, C["silver"])


SEATS = Family(
    "seat", "furniture", seat,
    dict(cloth_c="teal coral amber sage indigo rose white charcoal", wood_c="wood oak brown chestnut white", width=0.8, seat=0.62, thick=0.1, back=0.8, base="legs", style="slats", curve=0.1, arms=False,
         padded=False, cushions=1, rung=False, splay=1.05, metres=0.9),
    {
        "wooden chair": dict(shows="wood_c", rung=True),
        "dining chair": dict(style="plain", padded=True, back=0.9, width=0.7),
        "armchair": dict(base="box", style="plain", arms=True, width=1.05, back=0.62, seat=0.45, curve=0.24),
        "sofa": dict(base="box", style="plain", arms=True, width=2.1, back=0.55, seat=0.45, cushions=3, curve=0.12, metres=2.0),
        "loveseat": dict(base="box", style="buttons", arms=True, width=1.5, back=0.62, seat=0.45, cushions=2, curve=0.3, metres=1.5),
        "footstool": dict(base="legs", back=0.0, padded=True, seat=0.36, thick=0.2, width=0.8, metres=0.4),
        "bar stool": dict(base="pole", back=0.0, padded=True, seat=1.15, thick=0.14, width=0.55),
        "milking stool": dict(shows="wood_c", back=0.0, seat=0.5, width=0.7, splay=1.3, thick=0.12, metres=0.4),
        "garden bench": dict(shows="wood_c", style="planks", width=1.9, back=0.55, seat=0.5, arms=True, metres=1.6),
        "pew": dict(shows="wood_c", style="planks", width=1.7, back=0.8, seat=0.5, thick=0.3, metres=2.0),
        "rocking chair": dict(shows="wood_c", base="rocker", arms=True, back=0.95),
        "office chair": dict(base="star", style="plain", padded=True, back=0.75, seat=0.7, curve=0.2, arms=True),
        "throne": dict(style="crown", padded=True, arms=True, back=1.25, width=0.95, cloth_c="crimson purple indigo", wood_c="gold brass", metres=1.6),
        "high chair": dict(shows="wood_c", seat=1.1, back=0.5, width=0.6, splay=1.35, rung=True, arms=True, metres=1.0),
    },
    dict(indoor=0.9, soft=0.5), free=True,
)


def cabinet(s, p):
    """Tables, shelves, beds and lamps."""
    wood, cloth, w, h = p.wood_c, p.cloth_c, p.width / 2, p.tall
    dark = shade(wood, -0.3)
    if p.plan == "table":
        if p.base == "pedestal":
            s.limb([(0, h), (0, 0.1)], [0.14, 0.2], wood)
            for x in (-0.4, 0.4):
                s.limb([(0, 0.16), (x, 0.04)], [0.14, 0.07], wood)
        elif p.base == "cross":
            for f in (-1, 1):
                s.limb([(f * w * 0.75, h), (-f * w * 0.75, 0.03)], 0.09, wood if f > 0 else dark)
            s.box(-w * 1.25, 0.3, -w * 0.55, 0.38, wood)
            s.box(w * 0.55, 0.3, w * 1.25, 0.38, wood)
        else:
            for x in (-w + 0.2, w - 0.2):
                s.box(x - 0.04, 0.1, x + 0.04, h, dark)
            for x in (-w + 0.07, w - 0.07):
                s.limb([(x, h), (x, 0.02)], [0.13, 0.08], wood)
        if p.drawers:
            for k in range(p.drawers):
                y = h - 0.08 - (k + 1) * 0.24
                s.box(w * 0.25, y, w - 0.04, y + 0.23, wood, 0.02)
                s.oval(w * 0.62, y + 0.12, 0.035, 0.03, C["brass"])
        if p.top == "round":
            s.oval(0, h, w, 0.13, wood)
        else:
            s.box(-w, h - 0.06, w, h + 0.06, wood, 0.03)
            s.poly([(-w, h + 0.06), (-w + 0.16, h + 0.24), (w - 0.16, h + 0.24), (w, h + 0.06)], shade(wood, 0.18))
        if p.top == "cloth":
            s.poly([(-w - 0.03, h + 0.07), (-w + 0.16, h + 0.24), (w - 0.16, h + 0.24), (w + 0.03, h + 0.07), (w, h - 0.26), (w * 0.5, h - 0.2), (0, h - 0.27), (-w * 0.5, h - 0.2), (-w, h - 0.26)], cloth)
            s.stripes(s.shapes[-1].points, shade(cloth, 0.5), 6, 90, 0.3)
        elif p.top == "mirror":
            s.oval(0, h + 0.75, 0.42, 0.5, wood)
            s.oval(0, h + 0.75, 0.35, 0.43, C["glass"])
            s.gloss([(-0.15, h + 0.65), (0.12, h + 0.98)], 0.06)
        elif p.top == "balls":
            s.poly([(-w + 0.12, h + 0.07), (-w + 0.2, h + 0.2), (w - 0.2, h + 0.2), (w - 0.12, h + 0.07)], C["green"])
            for x, c in ((-0.3, "red"), (0.05, "white"), (0.4, "amber")):
                s.oval(x, h + 0.18, 0.06, 0.06, C[c])
    elif p.plan == "shelf":
        body = s.box(-w, 0.06, w, h, wood, 0.02)
        s.strokes(body, dark, 14, 0.3, 88, 0.012, p.phase)
        for k in range(p.rows):
            y0, y1 = 0.12 + k * (h - 0.16) / p.rows, 0.08 + (k + 1) * (h - 0.16) / p.rows
            for i in range(p.columns):
                x0, x1 = -w + 0.06 + i * (2 * w - 0.08) / p.columns, -w + 0.02 + (i + 1) * (2 * w - 0.08) / p.columns
                if p.fill == "books":
                    s.box(x0, y0, x1, y1, dark, line=False, lift=-6)
                    x = x0 + 0.02
                    for j, name in enumerate(("brick", "teal", "amber", "navy", "sage", "coral", "plum", "cream", "olive")):
                        b = 0.07 + 0.03 * ((j * 0.618 + k * 0.3 + p.phase) % 1)
                        if x + b > x1:
                            break
                        s.box(x, y0, x + b, y0 + (y1 - y0) * (0.65 + 0.3 * ((j * 0.37 + k * 0.7) % 1)), C[name], lift=2)
                        x += b
                else:
                    s.box(x0, y0, x1, y1, shade(wood, 0.1), 0.02)
                    if p.fill == "glass":
                        s.box(x0 + 0.07, y0 + 0.07, x1 - 0.07, y1 - 0.07, C["glass"], lift=-4)
                    elif p.fill == "panel":
                        s.box(x0 + 0.08, y0 + 0.1, x1 - 0.08, y1 - 0.1, shade(wood, 0.02), lift=-4)
                    knob = ((x0 + x1) / 2 if p.columns < 2 or p.fill == "drawer" else (x1 - 0.05 if i == 0 else x0 + 0.05), (y0 + y1) / 2)
                    s.oval(*knob, 0.035, 0.035, C["brass"])
        s.box(-w - 0.05, h - 0.02, w + 0.05, h + 0.08, wood, 0.02)
        if p.top == "clock":
            s.oval(0, h - 0.34, 0.24, 0.24, C["cream"])
            s.stroke([(0, h - 0.34), (0.0, h - 0.18)], 0.03, C["black"])
            s.stroke([(0, h - 0.34), (0.12, h - 0.3)], 0.03, C["black"])
            _roof(s, "gable", -w, w, h + 0.06, 0.3, wood)
    elif p.plan == "bed":
        for k in range(p.rows):
            y = 0.3 + k * 0.85
            s.box(-w, y - 0.15, w, y, wood)
            s.box(-w + 0.05, y, w - 0.05, y + 0.18, C["white"], 0.06)
            s.blob([(-w + 0.08, y + 0.16), (-w + 0.12, y + 0.34), (-w + 0.42, y + 0.36), (-w + 0.48, y + 0.16)], C["snow"])
            quilt = s.blob([(-w + 0.5, y + 0.02), (-w + 0.5, y + 0.28), (0.2, y + 0.33), (w - 0.05, y + 0.24), (w - 0.02, y - 0.04), (0.2, y - 0.06)], cloth)
            s.stripes(quilt, shade(cloth, 0.35), 6, 90, 0.25)
        for x, t in ((-w, h), (w, h if p.rows > 1 else h * 0.7)):
            s.box(x - 0.06, 0, x + 0.06, t, wood, 0.03)
        if p.top == "canopy":
            s.box(w - 0.06, 0, w + 0.06, h, wood)
            s.poly([(-w - 0.1, h), (-w - 0.1, h - 0.18), (w + 0.1, h - 0.18), (w + 0.1, h)], cloth)
            s.blob([(-w - 0.02, h - 0.15), (-w - 0.06, 0.7), (-w + 0.16, 0.6), (-w + 0.28, h - 0.15)], shade(cloth, 0.2))
        elif p.top == "bars":
            for x in np.linspace(-w, w, 9):
                s.limb([(x, 0.1), (x, h - 0.05)], 0.045, wood)
            s.limb([(-w, h - 0.03), (w, h - 0.03)], 0.08, wood)
    elif p.plan == "lamp":
        y = h
        if p.base == "arm":
            elbow = (-0.35 - 0.08 * p.pose, 0.7)
            s.oval(0, 0.06, 0.32, 0.08, wood)
            s.limb([(0, 0.1), elbow], 0.07, C["slate"])
            s.limb([elbow, (0.25, 1.15)], 0.07, C["slate"])
            s.oval(0.42, 0.98, 0.14, 0.1, GLOW, 30)
            s.poly(turn(np.array([(-0.12, 0.18), (0.12, 0.18), (0.32, -0.18), (-0.32, -0.18)]), 28, 0.32, 1.12), cloth)
        elif p.base == "chain":
            s.limb([(0, 1.5), (0, 0.9)], 0.045, C["brass"])
            for x in (-0.75, 0.75, -0.4, 0.4, 0):
                s.limb([(0, 0.55), (x * 0.6, 0.35), (x, 0.6)], 0.05, C["brass"])
                s.box(x - 0.05, 0.6, x + 0.05, 0.85, C["ivory"])
                s.blob([(x - 0.05, 0.88), (x, 1.05), (x + 0.05, 0.88), (x, 0.83)], C["amber"])
        elif p.base == "cage":
            s.limb(arc(0, 1.15, 0.22, 0.24, 0, 180, 8), 0.045, C["charcoal"])
            s.box(-0.36, 0, 0.36, 0.14, C["charcoal"], 0.04)
            s.box(-0.28, 0.12, 0.28, 0.95, GLOW)
            s.blob([(-0.09, 0.25), (0, 0.65), (0.09, 0.25), (0, 0.17)], C["orange"])
            for x in (-0.28, 0.28):
                s.box(x - 0.03, 0.12, x + 0.03, 0.95, C["charcoal"])
            s.poly([(-0.38, 0.93), (0.38, 0.93), (0.18, 1.18), (-0.18, 1.18)], wood)
        elif p.base == "wax":
            s.oval(0, 0.06, 0.46, 0.1, C["brass"])
            s.box(-0.16, 0.08, 0.16, h, cloth, 0.04)
            s.stroke([(0, h), (0, h + 0.1)], 0.03, C["black"])
            s.blob([(-0.1, h + 0.2), (0.0, h + 0.52), (0.1, h + 0.2), (0, h + 0.08)], C["amber"])
            s.blob([(-0.045, h + 0.18), (0.0, h + 0.33), (0.045, h + 0.18), (0, h + 0.12)], C["lemon"], line=False)
        else:
            s.oval(0, 0.06, 0.34 if h > 1 else 0.24, 0.07, wood)
            if p.base == "vase":
                s.blob([(-0.12, 0.05), (-0.27, 0.32), (-0.07, y - 0.02), (0.07, y - 0.02), (0.27, 0.32), (0.12, 0.05)], wood)
            else:
                s.limb([(0, 0.06), (0, y)], 0.06, wood)
            s.poly([(-0.24, y + 0.5), (0.24, y + 0.5), (0.46, y - 0.02), (-0.46, y - 0.02)], cloth)
            s.stripes(s.shapes[-1].points, shade(cloth, 0.4), 5, 90, 0.3)


CABINETS = Family(
    "table or lamp", "furniture", cabinet,
    dict(wood_c="wood oak brown chestnut white sage", cloth_c="coral teal amber sky rose sage indigo", plan="table", width=1.7, tall=0.8, base="legs", top="", drawers=0, rows=1, columns=1, fill="panel",
         metres=1.2),
    {
        "dining table": dict(width=2.0, metres=1.8),
        "laid table": dict(shows="cloth_c", top="cloth", width=1.8),
        "round table": dict(base="pedestal", top="round", width=1.4),
        "picnic table": dict(base="cross", width=1.9, tall=0.75, metres=1.8),
        "writing desk": dict(drawers=3, width=1.8, tall=0.85),
        "dressing table": dict(drawers=2, top="mirror", width=1.4),
        "billiard table": dict(top="balls", width=2.2, tall=0.6, metres=2.7),
        "coffee table": dict(tall=0.4, width=1.7, metres=1.0),
        "bookcase": dict(plan="shelf", fill="books", rows=4, width=1.2, tall=1.7, metres=2.0),
        "low bookshelf": dict(plan="shelf", fill="books", rows=2, width=1.7, tall=0.9),
        "wardrobe": dict(plan="shelf", fill="panel", rows=1, columns=2, width=1.2, tall=1.7, metres=2.0),
        "chest of drawers": dict(plan="shelf", fill="drawer", rows=4, width=1.3, tall=1.2),
        "bedside cabinet": dict(plan="shelf", fill="drawer", rows=2, width=0.8, tall=0.8, metres=0.6),
        "apothecary chest": dict(plan="shelf", fill="drawer", rows=5, columns=4, width=1.5, tall=1.4),
        "china cabinet": dict(plan="shelf", fill="glass", rows=3, columns=2, width=1.2, tall=1.6, metres=1.9),
        "grandfather clock": dict(plan="shelf", fill="glass", rows=1, width=0.6, tall=1.9, top="clock", metres=2.1),
        "bed": dict(shows="cloth_c", plan="bed", width=2.1, tall=0.85, metres=2.0, soft=0.9),
        "bunk bed": dict(shows="cloth_c", plan="bed", rows=2, width=1.9, tall=1.8, metres=2.0, soft=0.8),
        "four-poster bed": dict(shows="cloth_c", plan="bed", width=2.0, tall=1.6, top="canopy", metres=2.2, soft=0.8),
        "cot": dict(plan="bed", width=1.4, tall=0.95, top="bars", metres=1.3, soft=0.8),
        "floor lamp": dict(shows="cloth_c", plan="lamp", tall=1.5, metres=1.6),
        "table lamp": dict(shows="cloth_c", plan="lamp", tall=0.65, base="vase", wood_c="teal coral white amber indigo", metres=0.5),
        "desk lamp": dict(shows="cloth_c", plan="lamp", base="arm", wood_c="slate charcoal", metres=0.5),
        "chandelier": dict(plan="lamp", base="chain", metres=1.0),
        "lantern": dict(plan="lamp", base="cage", wood_c="charcoal brick teal", metres=0.3),
        "candle": dict(shows="cloth_c", plan="lamp", base="wax", tall=0.75, cloth_c="cream red ivory sage", metres=0.2),
    },
    dict(indoor=1.0, soft=0.1), free=True,
)

FAMILIES = (BUILDINGS, SEATS, CABINETS)
