"""Boats, aircraft and trains; all face right."""

# One line per concept and per stroke: tables of coordinates read better in rows.
# ruff: noqa: C408, E741
# fmt: off

import numpy as np

from ..concepts import Family
from ..drawing import COLOURS as C
from ..drawing import mix, shade
from .road import pane, wheel


def boat(s, p):
    """A hull on a strip of water, with what stands on deck."""
    l, h, hull, deck, sail = p.length / 2, p.hull, p.hull_c, p.deck_c, p.sail_c
    y = 0.08
    for x, t, kind in p.masts:
        x *= l
        s.limb([(x, y + h * 0.5), (x, y + h + t)], [0.06, 0.04], C["wood"])
        sway = 0.06 * p.pose
        if kind == "square":
            for k in range(3):
                b, w = y + h + 0.12 + k * t / 3.3, 0.34 - 0.05 * k
                s.blob([(x - w, b), (x - w * 0.9 + 0.06, b + t / 7), (x - w, b + t / 3.8), (x + w, b + t / 3.8), (x + w + 0.1, b + t / 7), (x + w, b)], sail)
        elif kind == "main":
            s.blob([(x - 0.03, y + h + t * 0.96), (x - 0.14 * l - 0.2 + sway, y + h + t * 0.5), (x - 0.62 * l + sway, y + h + 0.12), (x - 0.3 * l, y + h + 0.08), (x - 0.03, y + h + 0.1), (x - 0.03, y + h + t * 0.5)], sail)
        elif kind == "jib":
            s.poly([(x + 0.03, y + h + t * 0.85), (x + 0.1 * l + sway, y + h + t * 0.45), (0.95 * l, y + h + 0.1), (x + 0.04, y + h + 0.12)], shade(sail, -0.06))
        elif kind == "junk":
            fan = s.poly([(x - 0.34, y + h + 0.1), (x - 0.28, y + h + t * 0.8), (x + 0.06, y + h + t), (x + 0.34, y + h + t * 0.62), (x + 0.3, y + h + 0.1)], sail)
            s.stripes(fan, shade(sail, -0.35), 6, 8, 0.14)
        s.poly([(x, y + h + t), (x - 0.2, y + h + t + 0.06), (x, y + h + t + 0.12)], C["red"])
    if p.plan == "submarine":
        s.box(-0.2, y + h * 0.8, 0.25, y + h + 0.34, shade(hull, -0.08), 0.06)
        s.limb([(0.1, y + h + 0.3), (0.1, y + h + 0.62), (0.26, y + h + 0.62)], 0.06, C["slate"])
        s.poly([(-l + 0.15, y + h * 0.5), (-l - 0.15, y + h + 0.1), (-l - 0.15, y), ], shade(hull, -0.2))
        body = s.oval(0, y + h * 0.5, l, h * 0.55, hull)
        for x in np.linspace(-0.45, 0.55, 4) * l:
            s.oval(x, y + h * 0.52, 0.08, 0.08, C["window"])
        s.texture(body, [np.array([(-3, -1), (3, -1), (3, y + h * 0.25), (-3, y + h * 0.25)])], deck)
    else:
        for x0, x1, b, t, c in p.cabins:
            c = {"deck": deck, "hull": hull, "funnel": C["red"], "black": C["charcoal"]}.get(c) or C[c]
            s.box(x0 * l, y + h + b - 0.02, x1 * l, y + h + b + t, c, 0.03)
            if t > 0.14 and x1 - x0 > 0.3:
                for x in np.arange(x0 * l + 0.08, x1 * l - 0.1, 0.17):
                    s.box(x, y + h + b + t * 0.4, x + 0.09, y + h + b + t * 0.75, C["window"], line=False, lift=-4)
        if p.plan == "canoe":
            body = s.blob([(-l, y + h), (-l * 0.8, y + 0.1), (-l * 0.4, y), (l * 0.4, y), (l * 0.8, y + 0.1), (l, y + h), (l * 0.7, y + h * 0.72), (0, y + h * 0.6), (-l * 0.7, y + h * 0.72)], hull)
        elif p.plan == "raft":
            body = s.box(-l, y, l, y + h, hull, 0.1)
            s.stripes(body, shade(hull, -0.3), 7, 90, 0.12)
        else:
            body = s.blob([(-l * p.stern, y + h), (-l * 0.92, y + 0.06), (-l * 0.6, y - 0.05), (l * 0.6, y - 0.05), (l * 0.86, y + h * 0.4), (l * 1.05, y + h * p.bow),
                           (l * 0.6, y + h * 1.02), (-l * 0.5, y + h)], hull)
        s.texture(body, [np.array([(-3, y + h * 0.78), (3, y + h * 0.95), (3, y + h * 0.75), (-3, y + h * 0.6)])], mix(deck, hull, 0.15))
        if p.planks:
            s.stripes(body, shade(hull, -0.25), 4, 1, 0.1)
        for x in p.ports:
            s.oval(x * l, y + h * 0.42, 0.06, 0.06, C["window"])
        if p.oars:
            s.limb([(-0.1, y + h * 0.8), (0.45 + 0.2 * p.pose, y - 0.1)], [0.05, 0.05], C["oak"])
            s.oval(0.48 + 0.2 * p.pose, y - 0.12, 0.06, 0.15, C["oak"], 30)
        if p.boxes:
            for i in range(6):
                for j in range(2 + i % 2):
                    c = C[("brick", "teal", "amber", "navy", "olive")[(i * 2 + j * 3) % 5]]
                    s.box(-0.35 * l + i * 0.2, y + h + j * 0.17, -0.35 * l + i * 0.2 + 0.19, y + h + 0.16 + j * 0.17, c, line=shade(c, -0.4))
    x = np.linspace(-l * 1.25, l * 1.25, 13)
    top = [(q, y + 0.03 + 0.05 * (i % 2)) for i, q in enumerate(x)]
    water = s.blob([*top, (l * 1.1, -0.12), (-l * 1.1, -0.12)], C["water"], line=C["white"])
    s.stripes(water, shade(C["water"], 0.35), 3, 0, 0.16, 0.02)


BOATS = Family(
    "boat", "vehicle", boat,
    dict(hull_c="red navy teal white wood blue", deck_c="white cream", sail_c="white cream coral sky", length=2.0, hull=0.42, stern=1.0, bow=1.1, plan="hull", masts=(), cabins=(), ports=(),
         planks=False, oars=False, boxes=False, metres=10.0),
    {
        "sailing dinghy": dict(length=1.4, hull=0.3, masts=((0.1, 1.4, "main"),), metres=4.0),
        "yacht": dict(length=1.9, masts=((0.05, 1.7, "main"), (0.05, 1.7, "jib")), ports=(-0.4, -0.1, 0.2)),
        "schooner": dict(length=2.4, planks=True, hull_c="wood navy", masts=((-0.4, 1.3, "main"), (0.3, 1.5, "main"), (0.3, 1.5, "jib")), metres=25.0),
        "galleon": dict(length=2.1, hull=0.55, hull_c="wood brown", planks=True, stern=1.12, bow=1.2, masts=((-0.5, 1.1, "square"), (0.0, 1.4, "square"), (0.55, 1.1, "square")), ports=(-0.6, -0.3, 0.0, 0.3), cabins=((-1.0, -0.65, 0.0, 0.3, "wood"),), metres=40.0),
        "junk": dict(length=2.0, hull=0.5, hull_c="brown brick", sail_c="brick amber", stern=1.1, masts=((-0.45, 1.0, "junk"), (0.2, 1.4, "junk")), metres=20.0),
        "rowing boat": dict(length=1.7, hull=0.38, planks=True, oars=True, metres=3.5),
        "canoe": dict(plan="canoe", length=2.0, hull=0.42, metres=4.5, oars=True),
        "raft": dict(plan="raft", hull_c="wood oak", length=1.6, hull=0.2, masts=((0.0, 1.0, "square"),), metres=4.0),
        "motorboat": dict(length=1.9, hull=0.4, bow=1.3, cabins=((-0.1, 0.3, 0.0, 0.22, "glass"),), metres=6.0),
        "tugboat": dict(length=1.6, hull=0.5, bow=1.35, cabins=((-0.35, 0.45, 0.0, 0.3, "deck"), (-0.05, 0.4, 0.3, 0.3, "deck"), (-0.3, -0.1, 0.3, 0.45, "funnel")), metres=25.0),
        "trawler": dict(length=1.9, hull=0.5, bow=1.4, masts=((-0.4, 1.0, ""), (0.75, 0.6, "")), cabins=((-0.1, 0.4, 0.0, 0.5, "deck"),), ports=(0.1, 0.4), metres=20.0),
        "ferry": dict(length=2.4, hull=0.4, cabins=((-0.85, 0.75, 0.0, 0.26, "deck"), (-0.7, 0.6, 0.26, 0.22, "deck"), (0.25, 0.55, 0.48, 0.2, "deck"), (-0.4, -0.2, 0.48, 0.36, "funnel")), metres=100.0),
        "ocean liner": dict(length=3.0, hull=0.45, hull_c="charcoal navy", bow=1.25, cabins=((-0.8, 0.65, 0.0, 0.2, "deck"), (-0.7, 0.5, 0.2, 0.2, "deck"), (-0.5, -0.36, 0.4, 0.5, "funnel"), (-0.15, -0.01, 0.4, 0.5, "funnel"), (0.2, 0.34, 0.4, 0.5, "funnel")), ports=(-0.7, -0.5, -0.3, -0.1, 0.1, 0.3, 0.5), metres=270.0),
        "container ship": dict(length=2.8, hull=0.45, boxes=True, cabins=((-0.85, -0.55, 0.0, 0.75, "deck"),), metres=300.0),
        "submarine": dict(plan="submarine", hull_c="slate charcoal yellow teal", deck_c="brick", length=2.2, hull=0.55, metres=70.0),
    },
    dict(moves=1.0, aquatic=0.9), faces=True, free=True,
)


def aircraft(s, p):
    """Fuselage, wings, tail; balloons and rockets too."""
    body, trim, l, h = p.body_c, p.trim_c, p.length / 2, p.girth
    with s.placed(angle=7 * p.pose):
        if p.plan == "balloon":
            for x in (-0.2, 0.2):
                s.stroke([(x * 1.6, 0.65), (x, 0.25)], 0.02, C["brown"])
            s.box(-0.2, 0, 0.2, 0.26, C["wood"], 0.04)
            s.bricks(s.shapes[-1].points, shade(C["wood"], -0.3), 4)
            bag = s.blob([(-0.2, 0.62), (-0.68, 1.2), (-0.66, 1.7), (0, 2.1), (0.66, 1.7), (0.68, 1.2), (0.2, 0.62), (0, 0.58)], body)
            for f in (-0.72, 0.0, 0.72):
                s.texture(bag, [np.array([(f * 0.25, 0.5), (f * 0.75 - 0.13, 1.2), (f * 0.7 - 0.1, 1.7), (0, 2.2), (f * 0.7 + 0.1, 1.7), (f * 0.75 + 0.13, 1.2)])], trim)
            return
        if p.plan == "airship":
            for a in (0.28, -0.28):
                s.poly([(-l + 0.15, a * 0.5), (-l - 0.12, a * 1.6), (-l + 0.32, a * 1.5), (-l + 0.5, a * 0.6)], trim)
            bag = s.oval(0, 0, l, h, body)
            s.stripes(bag, shade(body, -0.14), 5, 0, 0.1)
            s.box(-0.25, -h - 0.16, 0.3, -h + 0.06, trim, 0.06)
            for x in (-0.15, 0.0, 0.15):
                s.box(x - 0.05, -h - 0.07, x + 0.05, -h + 0.01, C["window"], line=False)
            return
        if p.plan in ("rocket", "shuttle"):
            s.blob([(-0.16, 0.05), (0, -0.5 - 0.1 * p.tilt), (0.16, 0.05)], C["amber"])
            s.blob([(-0.08, 0.05), (0, -0.28), (0.08, 0.05)], C["lemon"], line=False)
            for f in (-1, 1):
                if p.plan == "shuttle":
                    s.box(f * 0.42 - 0.11, 0, f * 0.42 + 0.11, 1.2, C["white"], 0.1)
                s.poly([(f * 0.18, 0.55), (f * 0.55, 0.0), (f * 0.5, -0.1), (f * 0.16, 0.12)], trim)
            hullp = s.blob([(-0.2, 0), (-0.3, 0.5), (-0.28, 1.1), (0, 1.75), (0.28, 1.1), (0.3, 0.5), (0.2, 0), (0, -0.02)], body)
            s.texture(hullp, [np.array([(-1, 1.3), (1, 1.3), (1, 2), (-1, 2)]), np.array([(-1, 0.2), (1, 0.2), (1, 0.32), (-1, 0.32)])], trim)
            for y in (1.0, 0.65):
                s.oval(0, y, 0.12, 0.12, C["window"])
            return
        if p.plan == "saucer":
            s.oval(0, 0.24, 0.4, 0.36, C["glass"])
            s.oval(0, 0.3, 0.13, 0.15, C["lime"])
            s.eye(0.05, 0.33, 0.04, True)
            s.oval(0, 0.06, 0.95, 0.24, body)
            for x in np.linspace(-0.7, 0.7, 6):
                s.oval(x, 0.0 - 0.06 * (1 - abs(x)), 0.07, 0.06, trim)
            return
        if p.plan in ("helicopter", "drone"):
            if p.plan == "drone":
                for x in (-0.8, -0.35, 0.35, 0.8):
                    s.limb([(0, 0.1), (x, 0.2)], 0.06, body)
                    s.box(x - 0.03, 0.18, x + 0.03, 0.32, C["charcoal"])
                    s.oval(x, 0.34, 0.28, 0.03, C["glass"])
                s.box(-0.3, -0.08, 0.3, 0.18, body, 0.1)
                s.oval(0, -0.1, 0.1, 0.1, C["charcoal"])
                return
            s.limb([(-0.3, 0.2), (-1.35, 0.34)], [0.3, 0.1], body)
            s.poly([(-1.3, 0.3), (-1.5, 0.66), (-1.34, 0.66), (-1.15, 0.36)], trim)
            s.oval(-1.38, 0.36, 0.05, 0.24, C["glass"], 30 * p.pose)
            s.box(-0.05, 0.5, 0.05, 0.74, C["slate"])
            s.limb([(-1.1, 0.74), (1.1, 0.74)], [0.05, 0.05], C["charcoal"])
            hullp = s.blob([(-0.55, 0.2), (-0.35, 0.5), (0.15, 0.58), (0.6, 0.35), (0.72, 0.0), (0.4, -0.2), (-0.2, -0.2), (-0.5, 0)], body)
            s.texture(hullp, [np.array([(-2, -0.1), (2, -0.1), (2, 0.0), (-2, 0.0)])], trim)
            pane(s, [(0.18, 0.06), (0.64, 0.06), (0.54, 0.34), (0.2, 0.48)])
            pane(s, [(-0.22, 0.1), (0.1, 0.1), (0.1, 0.44), (-0.22, 0.42)])
            for x in (-0.25, 0.35):
                s.limb([(x, -0.18), (x, -0.4)], 0.04, C["slate"])
            s.limb([(-0.5, -0.4), (0.65, -0.4), (0.78, -0.32)], 0.06, C["slate"])
            return
        s.poly([(-0.2, 0.1), (-0.55 - p.sweep, 0.4), (-0.35 - p.sweep, 0.42), (0.25, 0.12)], shade(trim, -0.2))
        s.poly([(-l + 0.1, 0.05), (-l - 0.12, p.fin), (-l + 0.14, p.fin), (-l + 0.5, 0.1)], trim)
        if p.decks == 2:
            s.limb([(-0.25, 0.52), (0.4, 0.52)], 0.09, trim)
        hullp = s.blob([(-l, 0.08), (-l * 0.5, h * 0.9), (l * 0.4, h), (l * 0.8, h * 0.75), (l + p.point, -0.02), (l * 0.7, -h * 0.75), (-l * 0.3, -h * 0.8), (-l * 0.8, -0.05)], body)
        s.texture(hullp, [np.array([(-3, -0.13 * h), (3, -0.13 * h), (3, -0.55 * h), (-3, -0.55 * h)])], trim)
        for x in np.linspace(-0.55, 0.45, p.windows) * l if p.windows else ():
            s.oval(x, h * 0.35, 0.045, 0.055, C["window"], line=False)
        pane(s, [(l * 0.62, h * 0.25), (l * 0.9, h * 0.25), (l * 0.74, h * 0.68), (l * 0.6, h * 0.75)])
        s.poly([(-l + 0.06, 0.04), (-l - 0.18, -0.02), (-l - 0.05, -0.06), (-l + 0.4, -0.02)], trim)
        s.poly([(0.3 + p.chord, -0.05 * h), (-0.3 - p.sweep, -0.45 - p.sweep * 0.3), (-0.55 - p.sweep, -0.43 - p.sweep * 0.3), (-0.25 - p.chord, -0.08 * h)], shade(trim, 0.08))
        if p.decks == 2:
            for x in (-0.15, 0.3):
                s.limb([(x, -0.25), (x + 0.03, 0.54)], 0.04, C["brown"])
            s.limb([(-0.4, 0.56), (0.5, 0.56)], 0.11, trim)
            s.limb([(-0.4, -0.25), (0.5, -0.25)], 0.11, trim)
        if p.engines == "jet":
            s.oval(-0.1, -0.34, 0.2, 0.1, C["silver"])
        elif p.engines == "prop":
            s.oval(l + p.point + 0.03, 0, 0.045, 0.42, C["glass"], 14 * p.tilt)
            s.oval(l + p.point + 0.02, 0, 0.1, 0.08, C["slate"])
        if p.gear == "floats":
            for x in (-0.1, 0.4):
                s.limb([(x, -h * 0.6), (x, -0.62)], 0.045, C["slate"])
            s.limb([(-0.45, -0.62), (0.75, -0.6)], [0.15, 0.12], C["silver"])
        elif p.gear == "wheels":
            s.limb([(0.35, -h * 0.6), (0.42, -0.4)], 0.05, C["slate"])
            s.oval(0.43, -0.46, 0.13, 0.13, C["charcoal"])


AIRCRAFT = Family(
    "aircraft", "vehicle", aircraft,
    dict(body_c="white silver sky red yellow orange", trim_c="blue red teal orange navy", plan="plane", length=2.4, girth=0.26, sweep=0.35, chord=0.1, fin=0.55, point=0.05, windows=9, decks=1,
         engines="jet", gear="", metres=20.0),
    {
        "airliner": dict(body_c="white silver", metres=60.0),
        "private jet": dict(body_c="white silver", length=1.9, girth=0.2, windows=4, fin=0.5, point=0.12),
        "fighter jet": dict(body_c="slate olive steel", trim_c="ash slate olive", length=2.2, girth=0.16, sweep=0.5, chord=0.3, windows=0, point=0.35, fin=0.42),
        "biplane": dict(length=1.6, girth=0.24, sweep=0.0, windows=0, decks=2, engines="prop", gear="wheels", fin=0.4, metres=8.0),
        "propeller plane": dict(length=1.7, girth=0.25, sweep=0.05, windows=2, engines="prop", gear="wheels", fin=0.45, metres=9.0),
        "seaplane": dict(length=1.8, girth=0.24, sweep=0.05, windows=3, engines="prop", gear="floats", metres=10.0),
        "glider": dict(body_c="white snow", length=2.2, girth=0.12, sweep=0.5, chord=-0.1, windows=0, engines="", fin=0.5, metres=15.0),
        "helicopter": dict(plan="helicopter", metres=12.0),
        "quadcopter": dict(plan="drone", body_c="white charcoal orange", metres=0.4),
        "hot-air balloon": dict(plan="balloon", body_c="red orange sky yellow violet", metres=20.0),
        "airship": dict(plan="airship", body_c="silver white coral", length=2.4, girth=0.48, metres=75.0),
        "space rocket": dict(plan="rocket", body_c="white silver", trim_c="red orange blue", metres=50.0),
        "space shuttle": dict(plan="shuttle", body_c="orange amber", trim_c="charcoal navy", metres=40.0),
        "flying saucer": dict(plan="saucer", body_c="silver slate", trim_c="lime yellow coral", metres=10.0),
    },
    dict(moves=1.0, flies=1.0, wheels=0.3), faces=True, floats=True,
)


def train(s, p):
    """Engines and carriages on a piece of track."""
    body, trim, r, l = p.body_c, p.trim_c, p.wheel, p.length / 2
    y = 0.12
    for x in np.linspace(-l, l, 9):
        s.box(x - 0.06, 0, x + 0.06, 0.07, C["brown"])
    s.box(-l - 0.1, 0.06, l + 0.1, 0.11, C["slate"])
    if p.plan == "steam":
        s.box(-l, y + 0.2, l - 0.05, y + 0.36, C["charcoal"])
        s.poly([(l - 0.2, y + 0.3), (l + 0.2, y), (l - 0.2, y)], trim)
        s.limb([(l - 0.42, y + 0.8), (l - 0.42, y + 1.2)], [0.18, 0.26], C["charcoal"])
        for i in range(4):
            k = 0.12 + 0.05 * i
            s.oval(l - 0.5 - 0.26 * i, y + 1.42 + 0.1 * i + 0.03 * p.pose, k * 1.2, k, C["white"], line=C["silver"])
        s.oval(0.05, y + 0.86, 0.14, 0.14, trim)
        boiler = s.box(-0.35, y + 0.32, l - 0.1, y + 0.86, body, 0.16)
        s.stripes(boiler, trim, 4, 90, 0.1)
        s.box(-l, y + 0.3, -0.3, y + 1.2, body, 0.03)
        s.box(-l - 0.08, y + 1.17, -0.22, y + 1.28, trim, 0.04)
        pane(s, [(-l + 0.15, y + 0.75), (-0.45, y + 0.75), (-0.45, y + 1.1), (-l + 0.15, y + 1.1)])
        s.oval(l - 0.1, y + 0.7, 0.08, 0.1, C["lemon"])
    elif p.plan == "bullet":
        shell = s.blob([(-l, y + 0.1), (-l, y + 0.5), (-l + 0.05, y + 0.85), (0, y + 0.87), (l * 0.45, y + 0.8), (l * 0.95, y + 0.36), (l, y + 0.14), (0, y + 0.08)], body)
        s.texture(shell, [np.array([(-3, y + 0.22), (3, y + 0.16), (3, y + 0.26), (-3, y + 0.36)])], trim)
        for x in np.linspace(-l + 0.15, l * 0.22, 6):
            s.box(x, y + 0.5, x + 0.15, y + 0.7, C["window"], 0.04, lift=-4)
        pane(s, [(l * 0.46, y + 0.55), (l * 0.74, y + 0.46), (l * 0.6, y + 0.62), (l * 0.46, y + 0.72)])
    elif p.plan == "wagon":
        s.box(-l, y + 0.18, l, y + 0.3, C["charcoal"])
        if p.load == "coal":
            s.blob([(-l + 0.1, y + 0.8), (-0.4, y + 1.1), (0.2, y + 1.02), (l - 0.1, y + 0.8)], C["black"])
            s.poly([(-l + 0.02, y + 0.85), (l - 0.02, y + 0.85), (l - 0.12, y + 0.28), (-l + 0.12, y + 0.28)], body)
        elif p.load == "tank":
            s.box(-l + 0.05, y + 0.28, l - 0.05, y + 0.95, body, 0.32)
            s.stripes(s.shapes[-1].points, trim, 3, 90, 0.12)
            s.box(-0.12, y + 0.92, 0.12, y + 1.04, shade(body, -0.2))
        else:
            shape = s.box(-l + 0.02, y + 0.28, l - 0.02, y + 1.05, body, 0.03)
            s.stripes(shape, shade(body, -0.2), 9, 90, 0.1)
            s.box(-0.26, y + 0.3, 0.26, y + 1.0, shade(body, -0.12))
    else:
        if p.wire:
            s.limb([(-0.1, y + p.tall), (0.2, y + p.tall + 0.2), (-0.05, y + p.tall + 0.4)], 0.04, C["slate"])
            s.box(-0.35, y + p.tall + 0.38, 0.3, y + p.tall + 0.42, C["slate"])
        shell = s.box(-l, y + 0.12, l, y + p.tall, body, p.corner)
        s.texture(shell, [np.array([(-3, y + 0.3), (3, y + 0.3), (3, y + 0.42), (-3, y + 0.42)])], trim)
        n = p.windows
        for i in range(n):
            w = (2 * l - 0.2) / n
            x = -l + 0.1 + i * w
            if i in p.doors:
                s.box(x + 0.03, y + 0.16, x + w - 0.03, y + p.tall - 0.1, shade(trim, 0.1))
            pane(s, [(x + 0.05, y + p.tall * 0.52), (x + w - 0.05, y + p.tall * 0.52), (x + w - 0.05, y + p.tall - 0.14), (x + 0.05, y + p.tall - 0.14)])
        s.oval(l - 0.04, y + 0.24, 0.05, 0.07, C["lemon"])
        if p.roof:
            s.box(-l - 0.05, y + p.tall - 0.03, l + 0.05, y + p.tall + 0.09, trim, 0.05)
    for x in p.axles:
        big = r * (1.6 if p.plan == "steam" and x < 0.3 else 1)
        with s.placed(0, 0.1):
            wheel(s, x * l, big, trim if p.plan == "steam" else C["slate"], 6 if p.plan == "steam" else 0)
    if p.plan == "steam":
        s.limb([(-0.7 * l, 0.3), (0.2 * l, 0.3)], 0.05, C["silver"])


TRAINS = Family(
    "train", "vehicle", train,
    dict(body_c="red teal navy forest orange sky", trim_c="cream yellow brick silver", plan="carriage", length=2.6, tall=0.95, corner=0.08, windows=6, doors=(), wheel=0.13,
         axles=(-0.78, -0.58, 0.58, 0.78), wire=False, roof=True, load="", metres=20.0),
    {
        "steam locomotive": dict(plan="steam", length=2.3, axles=(-0.72, -0.25, 0.2, 0.7), body_c="charcoal forest crimson navy", trim_c="red brick gold"),
        "bullet train": dict(plan="bullet", length=3.0, body_c="white silver sky", trim_c="blue red teal", metres=27.0),
        "tram": dict(length=2.2, windows=5, doors=(1, 3), wire=True, metres=15.0),
        "railway carriage": dict(length=2.7, windows=7, doors=(0, 6)),
        "metro train": dict(length=2.4, windows=5, doors=(1, 3), corner=0.22, roof=False, body_c="silver steel white", trim_c="red blue orange"),
        "diesel locomotive": dict(length=2.4, windows=8, tall=0.9, doors=(0,), corner=0.03, trim_c="yellow amber"),
        "trolley car": dict(length=1.7, windows=4, tall=1.1, wire=True, body_c="crimson forest amber", trim_c="cream gold", axles=(-0.4, 0.4), metres=9.0),
        "goods wagon": dict(plan="wagon", length=1.9, body_c="brick brown slate", metres=12.0),
        "coal wagon": dict(plan="wagon", load="coal", length=1.8, body_c="slate brick", metres=12.0),
        "tank wagon": dict(plan="wagon", load="tank", length=2.0, body_c="silver charcoal white", metres=12.0),
    },
    dict(moves=1.0, wheels=0.9), faces=True, free=True,
)


FAMILIES = (BOATS, AIRCRAFT, TRAINS)
