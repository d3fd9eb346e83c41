"""Clothing and toys."""

# One line per concept and per stroke: tables of coordinates read better in rows.
# ruff: noqa: C408
# fmt: off

import numpy as np

from ..concepts import Family
from ..drawing import COLOURS as C
from ..drawing import FLAT, arc, shade, smooth, turn


def garment(s, p):
    """Things to wear, laid flat."""
    body, trim, kind = p.body_c, p.trim_c, p.kind
    swing = 0.05 * p.pose
    shapes = []
    if kind == "top":
        n, long = p.neck, p.sleeve
        for f in (-1, 1):
            shapes.append(s.limb([(f * 0.42, 1.16), (f * (0.55 + 0.3 * long), 1.0 - 0.45 * long + swing)], [0.36, 0.28 - 0.06 * long], body) if long else None)
        w = p.hem
        shapes.append(s.poly(smooth([(-w, 0.02), (-0.46, 0.6), (-0.5, 1.22), (-0.2, 1.32), (0, 1.32 - n), (0.2, 1.32), (0.5, 1.22), (0.46, 0.6), (w, 0.02), (0, 0.0)], k=4), body))
        if p.front == "buttons":
            s.stroke([(0, 0.03), (0, 1.3 - n)], 0.03, shade(body, -0.35))
            for y in np.linspace(0.15, 1.05, 5):
                s.dot(0.07, y, 0.035, trim)
        elif p.front == "zip":
            s.stroke([(0, 0.03), (0, 1.3 - n)], 0.05, C["silver"])
            for f in (-1, 1):
                s.box(f * 0.26 - 0.12, 0.14, f * 0.26 + 0.12, 0.36, shade(body, -0.12), 0.03)
        elif p.front == "star":
            s.poly([turn([(0.22 if k % 2 == 0 else 0.09, 0)], 90 + 36 * k, 0, 0.75)[0] for k in range(10)], trim)
        if p.hood:
            s.blob([(-0.3, 1.2), (-0.34, 1.5), (0, 1.68), (0.34, 1.5), (0.3, 1.2), (0, 1.08)], shade(body, -0.15))
    elif kind == "dress":
        shapes.append(s.blob([(-p.hem, 0.03), (-0.28, 0.85), (-0.32, 1.3), (-0.18, 1.45), (0, 1.3), (0.18, 1.45), (0.32, 1.3), (0.28, 0.85), (p.hem, 0.03), (p.hem * 0.5, -0.03 + swing), (-p.hem * 0.5, -0.03 - swing)], body))
        s.limb([(-0.28, 0.86), (0.28, 0.86)], 0.09, trim)
    elif kind == "skirt":
        shapes.append(s.blob([(-p.hem, 0.03), (-0.32, 0.85), (0.32, 0.85), (p.hem, 0.03), (p.hem * 0.5, -0.04), (-p.hem * 0.5, -0.04)], body))
        s.box(-0.34, 0.82, 0.34, 0.96, trim, 0.03)
    elif kind == "legs":
        y = 1.3 - p.sleeve
        shapes.append(s.poly([(-0.4, 1.3), (0.4, 1.3), (p.hem, y), (p.hem - 0.34, y), (0, 0.92), (-p.hem + 0.34, y), (-p.hem, y)], body))
        s.box(-0.41, 1.24, 0.41, 1.36, shade(body, -0.15), 0.02)
        s.oval(0, 1.3, 0.05, 0.04, C["brass"])
        for f in (-1, 1):
            s.stroke([(f * 0.36, 1.18), (f * 0.22, 1.02)], 0.025, trim)
        if p.hood:
            for f in (-1, 1):
                s.limb([(f * 0.22, 1.3), (f * 0.26, 1.95)], 0.1, body)
            s.box(-0.28, 1.3, 0.28, 1.72, body, 0.04)
    elif kind == "sock":
        shapes.append(s.limb([(-0.2, 1.3), (-0.18, 0.6), (-0.1, 0.24), (0.55, 0.2)], [0.42, 0.38, 0.46, 0.36], body))
        s.box(-0.42, 1.2, 0.02, 1.42, trim, 0.06)
        s.oval(0.62, 0.2, 0.16, 0.17, trim)
    elif kind == "shoe":
        h = p.sleeve
        shapes.append(s.blob([(-0.75, 0.1), (-0.78, 0.3 + h), (-0.35, 0.34 + h), (-0.18, 0.45), (0.4, 0.36), (0.85, 0.2), (0.85, 0.08), (0, 0.06)], body))
        s.limb([(-0.74, 0.06), (0.86, 0.06)], 0.13, trim)
        if p.front == "laces":
            for i in range(3):
                s.stroke([(-0.2 + 0.15 * i, 0.52 - 0.06 * i), (-0.05 + 0.15 * i, 0.38 - 0.05 * i)], 0.045, C["white"])
        elif p.front == "fur":
            for x in np.linspace(-0.76, -0.38, 5):
                s.oval(x, 0.34 + h, 0.1, 0.09, C["cream"])
        if p.heel:
            s.poly([(-0.76, 0.1), (-0.52, 0.1), (-0.62, -0.35), (-0.74, -0.35)], trim)
    elif kind == "hat":
        if p.front == "brim":
            s.oval(0, 0.2, p.hem, 0.17, body)
            crown = [(-0.42, 0.22), (-0.4 - p.flare, 0.25 + p.sleeve), (0, 0.3 + p.sleeve), (0.4 + p.flare, 0.25 + p.sleeve), (0.42, 0.22), (0, 0.14)]
            shapes.append(s.poly(crown, body) if p.flare else s.blob(crown, body))
            s.texture(shapes[-1], [np.array([(-1, 0.1), (1, 0.1), (1, 0.36), (-1, 0.36)])], trim)
        elif p.front == "cone":
            shapes.append(s.poly([(-0.55, 0.1), (0.05 + swing, 1.4), (0.55, 0.1), (0, 0.03)], body))
            s.oval(0.05 + swing, 1.4, 0.13, 0.13, trim)
        elif p.front == "peak":
            shapes.append(s.blob([(-0.55, 0.15), (-0.5, 0.55), (0, 0.75), (0.48, 0.55), (0.55, 0.15), (0, 0.1)], body))
            s.blob([(0.3, 0.2), (0.7, 0.24), (1.05, 0.1), (0.7, 0.06), (0.3, 0.1)], trim)
            s.oval(0, 0.76, 0.06, 0.04, trim)
        elif p.front == "wool":
            shapes.append(s.blob([(-0.55, 0.25), (-0.5, 0.7), (0, 1.0), (0.5, 0.7), (0.55, 0.25), (0, 0.2)], body))
            s.box(-0.6, 0.05, 0.6, 0.33, trim, 0.1)
            s.oval(0, 1.06, 0.18, 0.18, trim)
            s.strokes(s.shapes[-1].points, shade(trim, -0.2), 10, 0.14, 60, 0.02, p.phase)
        else:
            shapes.append(s.blob([(-0.5, 0.2), (-0.55, 0.55), (0.05, 0.68), (0.75, 0.5), (0.7, 0.3), (0.45, 0.2), (0, 0.16)], body))
            s.limb([(0.1, 0.66), (0.14, 0.76)], 0.07, body)
    elif kind == "glove":
        for a, k in ((112, 0.5), (96, 0.58), (82, 0.57), (66, 0.48)):
            if p.front == "mitten":
                break
            s.limb([turn([(0.2, 0)], a, 0, 0.55)[0], turn([(k + 0.14, 0)], a, 0, 0.55)[0]], 0.17, body)
        s.limb([(-0.2, 0.5), (-0.5, 0.85)], [0.26, 0.17], body)
        h = 1.15 if p.front == "mitten" else 0.9
        shapes.append(s.blob([(-0.28, 0.25), (-0.33, 0.7), (-0.2, h), (0.2, h), (0.33, 0.7), (0.28, 0.25)], body))
        s.box(-0.3, 0, 0.3, 0.27, trim, 0.06)
    elif kind == "scarf":
        s.limb([(0.12, 1.2), (0.22 + swing, 0.6), (0.16, 0.05)], 0.3, shade(body, -0.1))
        shapes.append(s.limb([(-0.1, 1.2), (-0.2 - swing, 0.55), (-0.14, -0.1)], 0.32, body))
        s.oval(0, 1.3, 0.5, 0.26, body)
        s.oval(0, 1.4, 0.34, 0.14, shade(body, -0.35), lift=-6)
    elif kind == "tie":
        shapes.append(s.poly([(-0.1, 1.35), (0.1, 1.35), (0.24, 0.2), (0, -0.05), (-0.24, 0.2)], body))
        s.poly([(-0.16, 1.6), (0.16, 1.6), (0.1, 1.35), (-0.1, 1.35)], shade(body, -0.12))
    for shape in shapes:
        if shape is None:
            continue
        if p.pattern == "stripes":
            s.stripes(shape, trim, 6, p.angle, 0.4)
        elif p.pattern == "dots":
            s.spots(shape, trim, 20, 0.045, p.phase)
        elif p.pattern == "check":
            s.stripes(shape, trim, 5, 0, 0.22)
            s.stripes(shape, trim, 5, 90, 0.22)
        elif p.pattern == "knit":
            s.bricks(shape, shade(body, -0.14), 10, 0.02)
            s.stripes(shape, trim, 3, 0, 0.25)


CLOTHES = Family(
    "garment", "clothing", garment,
    dict(body_c="vivid", trim_c="white navy cream amber", kind="top", sleeve=0.3, hem=0.5, neck=0.12, front="", pattern="", angle=0.0, hood=False, heel=False, flare=0.0, metres=0.6),
    {
        "t-shirt": dict(front="star"),
        "striped jersey": dict(pattern="stripes", sleeve=1.0),
        "jumper": dict(pattern="knit", sleeve=1.05, neck=0.05),
        "shirt": dict(front="buttons", sleeve=1.0, pattern="check"),
        "cardigan": dict(front="buttons", sleeve=1.05, neck=0.45),
        "hooded jacket": dict(front="zip", sleeve=1.05, hood=True),
        "waistcoat": dict(front="buttons", sleeve=0.0, neck=0.5, hem=0.44),
        "dress": dict(kind="dress", hem=0.65, pattern="dots"),
        "ball gown": dict(kind="dress", hem=1.05, metres=1.4),
        "skirt": dict(kind="skirt", hem=0.7, pattern="check"),
        "jeans": dict(kind="legs", sleeve=1.3, hem=0.46, body_c="blue navy indigo slate", trim_c="amber", metres=1.0),
        "flared trousers": dict(kind="legs", sleeve=1.3, hem=0.66, metres=1.0),
        "shorts": dict(kind="legs", sleeve=0.62, hem=0.52),
        "dungarees": dict(kind="legs", sleeve=1.2, hem=0.5, hood=True, body_c="blue navy teal rust"),
        "sock": dict(kind="sock", pattern="stripes", metres=0.25),
        "trainer": dict(kind="shoe", sleeve=0.22, front="laces", metres=0.28),
        "ankle boot": dict(kind="shoe", sleeve=0.6, front="laces", body_c="brown chestnut black umber tan", trim_c="umber", metres=0.3),
        "snow boot": dict(kind="shoe", sleeve=0.75, front="fur", metres=0.35),
        "wellington boot": dict(kind="shoe", sleeve=1.0, front="", metres=0.4),
        "high-heeled shoe": dict(kind="shoe", sleeve=0.1, heel=True, body_c="red black magenta white violet", trim_c="charcoal", metres=0.25),
        "top hat": dict(kind="hat", front="brim", hem=0.72, sleeve=0.8, flare=0.05, body_c="black charcoal violet", trim_c="red white", metres=0.3),
        "sun hat": dict(kind="hat", front="brim", hem=1.05, sleeve=0.35, body_c="sand cream honey pink", trim_c="coral navy", metres=0.4),
        "party hat": dict(kind="hat", front="cone", pattern="dots", metres=0.2),
        "baseball cap": dict(kind="hat", front="peak", metres=0.25),
        "bobble hat": dict(kind="hat", front="wool", pattern="stripes", metres=0.3),
        "beret": dict(kind="hat", front="flat", body_c="crimson navy black olive", metres=0.28),
        "glove": dict(kind="glove", metres=0.25),
        "mitten": dict(kind="glove", front="mitten", pattern="stripes", metres=0.2),
        "scarf": dict(kind="scarf", pattern="stripes", metres=1.2),
        "necktie": dict(kind="tie", pattern="stripes", angle=40.0, metres=0.6),
    },
    dict(soft=0.9, indoor=0.7), free=True,
)


def toy(s, p):
    """Toys and balls."""
    body, trim, kind = p.body_c, p.trim_c, p.kind
    if kind == "ball":
        spin = 40 * p.pose
        ball = s.oval(0, 0.6, 0.6, 0.6, body)
        if p.pattern == "panels":
            for a in range(0, 360, 72):
                centre = turn([(0.52, 0)], a + spin, 0, 0.6)[0]
                s.texture(ball, [np.array([turn([(0.16, 0)], a + spin + 72 * k, *centre)[0] for k in range(5)])], trim)
            s.texture(ball, [np.array([turn([(0.18, 0)], spin + 36 + 72 * k, 0, 0.6)[0] for k in range(5)])], trim)
        elif p.pattern == "wedges":
            for i, name in enumerate(("red", "sky", "yellow")):
                s.texture(ball, [np.array([(0, 0.75), turn([(0.8, 0)], 120 * i + spin, 0, 0.6)[0], turn([(0.8, 0)], 120 * i + 40 + spin, 0, 0.6)[0]])], C[name])
            s.dot(0, 0.75, 0.1, C["white"])
        elif p.pattern == "lines":
            for q in (arc(0, 0.6, 0.01, 0.6, 90, 270), arc(-0.75, 0.6, 0.5, 0.5, -60, 60), arc(0.75, 0.6, 0.5, 0.5, 120, 240)):
                s.texture(ball, [turn(np.concatenate([q - 0.016, (q + 0.016)[::-1]]) - (0, 0.6), spin, 0, 0.6)], trim)
            s.texture(ball, [turn([(-1, -0.016), (1, -0.016), (1, 0.016), (-1, 0.016)], spin, 0, 0.6)], trim)
        elif p.pattern == "seam":
            for x in (-0.75, 0.75):
                q = arc(x, 0.6, 0.5, 0.55, -75 + (180 if x > 0 else 0), 75 + (180 if x > 0 else 0))
                s.texture(ball, [turn(np.concatenate([q - 0.025, (q + 0.025)[::-1]]) - (0, 0.6), spin, 0, 0.6)], trim)
        elif p.pattern == "holes":
            for x, y in ((-0.1, 0.85), (0.12, 0.88), (0.03, 0.7)):
                s.dot(x, y, 0.06, C["black"])
        s.gloss(arc(0, 0.6, 0.42, 0.42, 115, 150), 0.07, shade(body, 0.6))
    elif kind == "plush":
        for f in (-1, 1):
            s.limb([(f * 0.25, 0.4), (f * 0.5, 0.14)], [0.3, 0.3], body)
            s.oval(f * 0.56, 0.17, 0.15, 0.19, trim)
            s.limb([(f * 0.3, 0.8), (f * 0.58, 0.55 + 0.1 * p.pose * f)], [0.22, 0.22], body)
        s.oval(0, 0.55, 0.42, 0.46, body)
        s.oval(0, 0.5, 0.26, 0.3, trim, lift=2)
        for f in (-1, 1):
            if p.pattern == "bunny":
                s.limb([(f * 0.16, 1.4), (f * 0.24, 2.0)], [0.2, 0.17], body)
                s.limb([(f * 0.17, 1.5), (f * 0.24, 1.95)], 0.08, trim, lift=0)
            else:
                s.oval(f * 0.33, 1.5, 0.17, 0.17, body)
                s.oval(f * 0.33, 1.5, 0.09, 0.09, trim, lift=0)
        s.oval(0, 1.2, 0.44, 0.4, body)
        s.oval(0, 1.08, 0.2, 0.16, trim)
        for f in (-1, 1):
            s.eye(f * 0.18, 1.28, 0.06)
        s.oval(0, 1.15, 0.07, 0.05, C["umber"])
        if p.pattern != "bunny":
            s.poly([(-0.2, 0.88), (-0.2, 0.7), (0, 0.79), (0.2, 0.7), (0.2, 0.88), (0, 0.79)], C["red"])
    elif kind == "robot":
        for f in (-1, 1):
            s.box(f * 0.22 - 0.1, 0.05, f * 0.22 + 0.1, 0.4, C["slate"])
            s.box(f * 0.25 - 0.17, 0, f * 0.25 + 0.17, 0.12, trim, 0.04)
            s.limb([(f * 0.42, 0.9), (f * 0.65, 0.62 + 0.2 * p.pose * f)], 0.12, C["slate"])
            s.oval(f * 0.68, 0.58 + 0.2 * p.pose * f, 0.11, 0.11, trim)
        s.box(-0.42, 0.36, 0.42, 1.05, body, 0.05)
        s.box(-0.27, 0.55, 0.27, 0.88, C["silver"], 0.03)
        for x, c in ((-0.15, "red"), (0, "yellow"), (0.15, "lime")):
            s.dot(x, 0.72, 0.055, C[c])
        s.limb([(0, 1.55), (0, 1.75)], 0.04, C["slate"])
        s.oval(0, 1.8, 0.07, 0.07, C["red"])
        s.box(-0.34, 1.08, 0.34, 1.55, body, 0.07)
        for f in (-1, 1):
            s.oval(f * 0.15, 1.36, 0.1, 0.1, C["lemon"])
            s.dot(f * 0.15, 1.36, 0.045, C["black"])
        s.box(-0.18, 1.15, 0.18, 1.22, C["charcoal"])
    elif kind == "kite":
        with s.placed(angle=12 * p.pose):
            for k in range(4):
                s.poly([(0.1 * (-1) ** k - 0.1, -0.2 - 0.24 * k), (0.1 * (-1) ** k + 0.1, -0.1 - 0.24 * k), (0.1 * (-1) ** k + 0.1, -0.24 - 0.24 * k), (0.1 * (-1) ** k - 0.1, -0.12 - 0.24 * k)], (body, trim)[k % 2])
            s.stroke([(0, 0.1), (0.1, -0.3), (-0.1, -0.6), (0.05, -1.0)], 0.02, C["umber"])
            s.poly([(0, 0), (-0.55, 0.95), (0, 1.45), (0.55, 0.95)], body)
            s.poly([(0, 0), (0.55, 0.95), (0, 0.95)], trim, False, FLAT)
            s.poly([(0, 0.95), (-0.55, 0.95), (0, 1.45)], trim, False, FLAT)
    elif kind == "duck":
        s.blob([(-0.75, 0.55), (-0.8, 0.85), (-0.45, 0.55), (0.1, 0.5), (0.7, 0.45), (0.6, 0.05), (0, -0.03), (-0.55, 0.08)], body)
        s.oval(0.36, 0.92, 0.36, 0.34, body)
        s.limb([(0.68, 0.88), (0.92, 0.9)], [0.16, 0.11], trim)
        s.blob([(-0.4, 0.4), (-0.1, 0.45), (0.15, 0.3), (-0.15, 0.14)], shade(body, -0.1))
        s.eye(0.48, 1.0, 0.06, True)
    elif kind == "blocks":
        for x, y, c in ((-0.5, 0, "red"), (0.06, 0, "sky"), (-0.24, 0.52, "amber")):
            s.box(x, y, x + 0.5, y + 0.5, C[c], 0.04)
            s.box(x + 0.1, y + 0.1, x + 0.4, y + 0.4, shade(C[c], 0.5), 0.03, line=False)
            s.poly([turn([(0.11, 0)], 90 + 120 * k, x + 0.25, y + 0.25)[0] for k in range(3)], C[c], False)
    elif kind == "rings":
        s.box(-0.7, 0, 0.7, 0.14, C["wood"], 0.06)
        for i, c in enumerate(("red", "orange", "yellow", "green", "blue")):
            w = 0.62 - 0.09 * i
            s.box(-w, 0.14 + 0.22 * i, w, 0.35 + 0.22 * i, C[c], 0.1)
        s.oval(0, 1.36, 0.15, 0.15, body)
    elif kind == "top":
        with s.placed(angle=14 * p.pose):
            s.limb([(0, 0.75), (0, 1.2)], 0.09, trim)
            shape = s.blob([(-0.7, 0.65), (-0.5, 0.85), (0.5, 0.85), (0.7, 0.65), (0.1, 0.08), (0, 0), (-0.1, 0.08)], body)
            s.stripes(shape, trim, 4, 0, 0.3)
    elif kind == "yoyo":
        s.stroke([(0.1, 0.9), (0.3 + 0.2 * p.pose, 1.5), (0, 2.0)], 0.03, C["umber"])
        s.oval(0, 0.5, 0.5, 0.5, body)
        s.oval(0, 0.5, 0.32, 0.32, trim)
        s.poly([turn([(0.24 if k % 2 == 0 else 0.1, 0)], 90 + 36 * k, 0, 0.5)[0] for k in range(10)], body)
    elif kind == "horse":
        s.limb([(-0.9, 0.25), (-0.4, 0.04), (0.4, 0.04), (0.9, 0.25)], 0.1, trim)
        for x in (-0.4, 0.35):
            s.limb([(x, 0.7), (x * 1.3, 0.1)], [0.16, 0.1], body)
        s.limb([(-0.5, 0.85), (-0.75, 0.5)], [0.14, 0.07], C["cocoa"])
        with s.joined():
            s.blob([(-0.6, 0.75), (-0.45, 1.0), (0.3, 0.98), (0.5, 0.7), (0.2, 0.55), (-0.4, 0.55)], body)
            s.limb([(0.3, 0.8), (0.55, 1.35)], [0.34, 0.24], body)
            s.limb([(0.5, 1.35), (0.85, 1.2)], [0.27, 0.18], body)
        s.limb([(0.5, 1.5), (0.3, 1.25), (0.2, 1.0)], [0.1, 0.16, 0.08], C["cocoa"])
        s.blob([(-0.25, 1.02), (0.1, 1.0), (0.1, 0.75), (-0.22, 0.75)], C["red"])
        s.eye(0.58, 1.37, 0.05)
    elif kind == "die":
        s.poly([(-0.5, 0.8), (-0.2, 1.05), (0.75, 1.05), (0.5, 0.8)], shade(body, 0.2))
        s.poly([(0.5, 0.8), (0.75, 1.05), (0.75, 0.2), (0.5, -0.05)], shade(body, -0.2))
        s.box(-0.5, -0.05, 0.5, 0.8, body, 0.06)
        for x, y in ((-0.28, 0.58), (0.28, 0.58), (0, 0.375), (-0.28, 0.17), (0.28, 0.17)):
            s.dot(x, y, 0.085, trim)
    elif kind == "doll":
        for y, w, h in ((0.42, 0.52, 0.44), (1.08, 0.34, 0.34)):
            s.oval(0, y, w, h, body)
        s.oval(0, 1.08, 0.22, 0.22, C["skin"], lift=2)
        for f in (-1, 1):
            s.eye(f * 0.09, 1.1, 0.04)
            s.dot(f * 0.13, 1.0, 0.04, C["pink"])
        s.blob([(-0.2, 1.16), (0, 1.32), (0.2, 1.16), (0, 1.22)], C["brown"], False, FLAT)
        s.oval(0, 0.42, 0.3, 0.3, trim)
        for a in range(0, 360, 60):
            s.oval(*turn([(0.13, 0)], a, 0, 0.42)[0], 0.09, 0.08, C["rose"], lift=1)
        s.dot(0, 0.42, 0.07, C["amber"])
    elif kind == "balloon":
        s.stroke([(0, 0.6), (0.08 * p.pose, 0.3), (-0.06, 0)], 0.025, C["umber"])
        s.poly([(-0.07, 0.58), (0.07, 0.58), (0, 0.68)], body)
        s.blob([(0, 0.66), (-0.4, 1.05), (-0.42, 1.45), (0, 1.75), (0.42, 1.45), (0.4, 1.05)], body)
        s.gloss(arc(0, 1.3, 0.26, 0.28, 115, 160), 0.07, shade(body, 0.6))


TOYS = Family(
    "toy", "toy and music", toy,
    dict(body_c="vivid", trim_c="white amber navy", kind="ball", pattern="", metres=0.2),
    {
        "football": dict(body_c="white", trim_c="black", pattern="panels"),
        "basketball": dict(body_c="orange", trim_c="umber", pattern="lines"),
        "beach ball": dict(body_c="white", pattern="wedges", metres=0.4),
        "tennis ball": dict(body_c="lime", trim_c="white", pattern="seam", metres=0.07),
        "baseball": dict(body_c="white ivory", trim_c="red", pattern="seam", metres=0.07),
        "bowling ball": dict(body_c="navy plum teal charcoal crimson", pattern="holes"),
        "teddy bear": dict(kind="plush", body_c="caramel brown honey tan", trim_c="cream sand", metres=0.4, soft=1.0),
        "toy rabbit": dict(kind="plush", pattern="bunny", body_c="white pink grey sky", trim_c="blush cream", metres=0.4, soft=1.0),
        "toy robot": dict(kind="robot", body_c="teal red sky silver amber", trim_c="orange navy"),
        "kite": dict(kind="kite", trim_c="yellow white navy", metres=1.0, flies=1.0),
        "rubber duck": dict(kind="duck", body_c="yellow", trim_c="orange", metres=0.1, aquatic=0.5),
        "building blocks": dict(kind="blocks"),
        "stacking rings": dict(kind="rings"),
        "spinning top": dict(kind="top", metres=0.1),
        "yo-yo": dict(kind="yoyo", metres=0.06),
        "rocking horse": dict(kind="horse", body_c="white honey grey chestnut", trim_c="red teal wood", metres=1.0),
        "die": dict(kind="die", body_c="white red sky", trim_c="black navy white", metres=0.02),
        "nesting doll": dict(kind="doll", body_c="red teal violet", trim_c="cream amber"),
        "balloon": dict(kind="balloon", metres=0.3, flies=0.8),
    },
    dict(round=0.5, soft=0.3, indoor=0.7, moves=0.3),
)

FAMILIES = (CLOTHES, TOYS)
