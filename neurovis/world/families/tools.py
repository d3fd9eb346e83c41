"""Hand tools, vessels and instruments."""

# One line per concept and per stroke: tables of coordinates read better in rows.
# ruff: noqa: C408, E741
# fmt: off

import numpy as np

from ..concepts import Family
from ..drawing import COLOURS as C
from ..drawing import FLAT, arc, shade, smooth, turn


def tool(s, p):
    """A handle that points down and a head at its top, leaning with the pose."""
    wood, head, l, w = p.handle_c, p.head_c, p.length, p.width
    kind, k = p.kind, p.head
    with s.placed(angle=28 * p.pose):
        if kind in ("pliers", "scissors"):
            for f in (-1, 1):
                if kind == "scissors":
                    s.stroke(arc(f * 0.24, 0.25, 0.17, 0.24, 0, 352), 0.1, wood)
                    s.poly([(-f * 0.02, 1.75), (-f * 0.17, 0.85), (f * 0.12, 0.42), (f * 0.2, 0.5), (f * 0.02, 0.95)], head)
                else:
                    s.limb([(f * 0.26, 0.05), (f * 0.3, 0.45), (f * 0.06, 0.95)], [0.17, 0.17, 0.15], wood)
                    s.poly([(0, 0.9), (-f * 0.2, 1.05), (-f * 0.16, 1.35), (-f * 0.02, 1.5)], head)
            s.oval(0, 0.92, 0.1, 0.1, shade(head, -0.2))
            return
        if kind == "tape":
            s.box(-0.45, 0, 0.45, 0.8, wood, 0.25)
            s.oval(0, 0.42, 0.24, 0.24, head)
            s.box(0.4, 0.02, 1.1, 0.12, C["yellow"])
            s.bricks(s.shapes[-1].points, C["black"], 1, 0.02)
            return
        grip = s.limb([(0, 0.05), (0.02 * p.bow, l * 0.5), (0, l)], [w * p.flare, w, w * 0.85], wood)
        if p.grip == "bands":
            s.stripes(grip, shade(wood, -0.35), 9, 0, 0.2)
        elif p.grip == "grain":
            s.strokes(grip, shade(wood, -0.25), 10, 0.3, 90, 0.014, p.phase)
        elif p.grip == "loop":
            s.stroke(arc(0, -0.1, 0.16, 0.14, 0, 350), 0.07, wood)
        elif p.grip == "dee":
            s.stroke([(0, 0.05), (-0.2, -0.12), (0.2, -0.12), (0, 0.05)], 0.07, wood)
        y = l
        if kind == "hammer":
            s.box(-0.12, y - 0.06, 0.32 * k, y + 0.2, head, 0.03)
            s.box(0.26 * k, y - 0.1, 0.42 * k, y + 0.24, head, 0.03)
            s.limb([(-0.1, y + 0.08), (-0.36 * k, y + 0.1), (-0.52 * k, y - 0.04)], [0.22, 0.15, 0.04], head)
        elif kind == "mallet":
            s.box(-0.42 * k, y - 0.12, 0.42 * k, y + 0.34, head, 0.07)
            for f in (-1, 1):
                s.box(f * 0.42 * k - 0.06, y - 0.14, f * 0.42 * k + 0.06, y + 0.36, shade(head, -0.2), 0.03)
        elif kind == "axe":
            s.blob([(-0.1, y - 0.28), (-0.1, y + 0.05), (0.12, y + 0.06), (0.55 * k, y + 0.2), (0.62 * k, y - 0.14), (0.5 * k, y - 0.48), (0.1, y - 0.24)], head)
            s.limb([(0.6 * k, y + 0.16), (0.66 * k, y - 0.14), (0.54 * k, y - 0.44)], 0.05, shade(head, 0.5))
            if p.double:
                s.blob([(0.1, y - 0.28), (0.1, y + 0.05), (-0.12, y + 0.06), (-0.55 * k, y + 0.2), (-0.62 * k, y - 0.14), (-0.5 * k, y - 0.48), (-0.1, y - 0.24)], head)
        elif kind == "pick":
            s.limb([(-0.75 * k, y - 0.16), (0, y + 0.1), (0.75 * k, y - 0.16)], [0.03, 0.2, 0.03], head)
        elif kind == "driver":
            s.limb([(0, y), (0, y + 0.75)], 0.09, head)
            s.poly([(-0.09, y + 0.66), (0.09, y + 0.66), (0.06, y + 0.86), (-0.06, y + 0.86)], head)
        elif kind == "spanner":
            s.blob([(-0.12, y - 0.1), (-0.3 * k, y + 0.2), (-0.16 * k, y + 0.52), (-0.1, y + 0.26), (0.1, y + 0.26), (0.16 * k, y + 0.52), (0.3 * k, y + 0.2), (0.12, y - 0.1)], head)
        elif kind == "saw":
            top = [(0.12, y - 0.45), (0.12, y + 1.05), (-0.12, y + 1.1), (-0.34, y - 0.3)]
            s.poly(top, head)
            for i in range(11):
                v = y - 0.4 + i * 0.13
                s.poly([(0.11, v), (0.19, v + 0.05), (0.11, v + 0.1)], head, lift=0)
        elif kind in ("spade", "trowel"):
            shape = [(-0.3 * k, y + 0.62), (0, y + 0.95), (0.3 * k, y + 0.62), (0.3 * k, y), (-0.3 * k, y)]
            (s.poly if kind == "spade" else s.blob)(shape, head)
            s.limb([(0, y - 0.1), (0, y + 0.4)], [0.14, 0.04], shade(head, -0.12))
        elif kind in ("fork", "rake"):
            n = p.tines
            s.limb([(-0.3 * k, y + 0.14), (0, y), (0.3 * k, y + 0.14)], 0.11, head)
            for x in np.linspace(-0.3 * k, 0.3 * k, n):
                s.limb([(x, y + 0.12), (x, y + (0.75 if kind == "fork" else 0.34))], [0.09, 0.06], head)
        elif kind == "brush":
            s.box(-0.17 * k, y - 0.03, 0.17 * k, y + 0.2, C["silver"], 0.02)
            hair = s.blob([(-0.17 * k, y + 0.2), (-0.24 * k, y + 0.45), (-0.05, y + 0.8), (0.05, y + 0.85), (0.24 * k, y + 0.45), (0.17 * k, y + 0.2)], head)
            s.strokes(hair, shade(head, -0.3), 22, 0.3, 90, 0.02, p.phase)
        elif kind == "broom":
            hair = s.blob([(-0.1, y - 0.05), (-0.3 * k, y + 0.3), (-0.45 * k, y + 0.85), (0, y + 0.92), (0.45 * k, y + 0.85), (0.3 * k, y + 0.3), (0.1, y - 0.05)], head)
            s.strokes(hair, shade(head, -0.3), 30, 0.4, 90, 0.018, p.phase)
            s.stripes(hair, C["brick"], 7, 0, 0.12)
        elif kind == "roller":
            s.limb([(0, y), (0, y + 0.15), (-0.45, y + 0.2), (-0.45, y + 0.42)], 0.06, C["slate"])
            s.box(-0.5, y + 0.32, 0.5, y + 0.72, head, 0.1)
        elif kind == "pencil":
            s.poly([(-w / 2, y), (w / 2, y), (0, y + 0.36)], C["sand"])
            s.poly([(-w / 6, y + 0.24), (w / 6, y + 0.24), (0, y + 0.36)], C["charcoal"], False, FLAT)
            s.box(-w / 2, -0.04, w / 2, 0.12, C["pink"], 0.04)
        elif kind == "spoon":
            s.oval(0, y + 0.34, 0.26 * k, 0.38, head)
            s.oval(0, y + 0.36, 0.18 * k, 0.28, shade(head, -0.18), line=False, lift=-5)
        elif kind == "knife":
            s.poly([(-0.13, y - 0.02), (0.13, y - 0.02), (0.16, y + 0.6), (0.02, y + 1.1 * k), (-0.13, y + 0.9 * k)], head)
            s.gloss([(0.09, y + 0.1), (0.1, y + 0.6)], 0.03)
        elif kind == "spatula":
            shape = s.poly([(-0.14, y), (0.14, y), (0.3 * k, y + 0.25), (0.3 * k, y + 0.8), (-0.3 * k, y + 0.8), (-0.3 * k, y + 0.25)], head)
            s.texture(shape, [np.array([(x - 0.03, y + 0.32), (x + 0.03, y + 0.32), (x + 0.03, y + 0.7), (x - 0.03, y + 0.7)]) for x in (-0.13, 0, 0.13)], shade(head, -0.5))
        elif kind == "whisk":
            for x in (0.3, 0.18, 0.05):
                s.stroke([(-0.02, y), (-x * k, y + 0.5), (0, y + 0.85), (x * k, y + 0.5), (0.02, y)], 0.035, head)
        elif kind == "pin":
            s.box(-0.2, y - l * 0.82, 0.2, y - l * 0.14, head, 0.08)
        elif kind == "racket":
            s.oval(0, y + 0.5, 0.42 * k, 0.54, head)
            net = s.oval(0, y + 0.5, 0.34 * k, 0.45, C["ivory"], lift=-6)
            s.stripes(net, C["ash"], 8, 0, 0.15)
            s.stripes(net, C["ash"], 7, 90, 0.15)
        elif kind == "lens":
            s.oval(0, y + 0.42, 0.44, 0.44, head)
            s.oval(0, y + 0.42, 0.35, 0.35, C["glass"], lift=-6)
            s.gloss(arc(0, y + 0.42, 0.24, 0.24, 110, 160), 0.06)
        elif kind == "umbrella":
            top = s.blob([(-0.95, y), (-0.7, y + 0.45), (0, y + 0.75), (0.7, y + 0.45), (0.95, y), (0.48, y + 0.1), (0, y - 0.02), (-0.48, y + 0.1)], head)
            s.texture(top, [smooth([(0, y + 0.8), (f * 0.34, y + 0.4), (f * 0.44, y), (f * 0.18, y), (f * 0.12, y + 0.4)]) for f in (-1, 1)], shade(head, 0.4))


TOOLS = Family(
    "tool", "tool", tool,
    dict(handle_c="wood oak red blue teal charcoal", head_c="silver steel slate", kind="hammer", length=1.2, width=0.15, head=1.0, flare=1.1, bow=1.0, grip="grain", double=False, tines=4, metres=0.3,
         tool=1.0),
    {
        "claw hammer": dict(),
        "mallet": dict(kind="mallet", head_c="oak wood charcoal"),
        "sledgehammer": dict(kind="mallet", head=0.8, length=1.9, width=0.11, metres=0.9),
        "axe": dict(kind="axe", length=1.5),
        "battle axe": dict(kind="axe", length=1.6, double=True, handle_c="cocoa brown"),
        "pickaxe": dict(kind="pick", length=1.5, metres=0.9),
        "screwdriver": dict(kind="driver", length=0.65, width=0.26, flare=1.0, grip="bands", handle_c="red amber teal blue"),
        "spanner": dict(kind="spanner", length=1.1, width=0.17, handle_c="silver steel", head_c="silver steel", grip="loop"),
        "hand saw": dict(kind="saw", length=0.55, width=0.28, flare=1.3),
        "spade": dict(kind="spade", length=1.3, width=0.1, grip="dee", metres=1.0),
        "trowel": dict(kind="trowel", length=0.55, width=0.2, head=0.85),
        "pitchfork": dict(kind="fork", length=1.6, width=0.09, tines=4, metres=1.4),
        "garden rake": dict(kind="rake", length=1.8, width=0.08, tines=8, head=1.4, metres=1.5),
        "paintbrush": dict(kind="brush", length=0.8, width=0.16, head_c="tan umber ivory", flare=0.7),
        "paint roller": dict(kind="roller", length=0.75, width=0.17, head_c="coral teal amber white sky"),
        "broom": dict(kind="broom", length=1.5, width=0.08, head_c="honey sand", metres=1.3),
        "pencil": dict(kind="pencil", length=1.5, width=0.2, flare=1.0, handle_c="amber red sky lime violet", grip="", metres=0.18),
        "pliers": dict(kind="pliers", handle_c="red blue amber"),
        "scissors": dict(kind="scissors", handle_c="red teal violet charcoal amber", metres=0.2),
        "tape measure": dict(kind="tape", handle_c="amber red charcoal", metres=0.1),
        "wooden spoon": dict(kind="spoon", length=1.15, width=0.1, handle_c="oak wood", head_c="oak wood"),
        "soup spoon": dict(kind="spoon", length=0.95, width=0.1, handle_c="silver", grip="", head=0.9),
        "fork": dict(kind="fork", length=0.8, width=0.11, handle_c="silver", head=0.6, grip="", metres=0.2),
        "kitchen knife": dict(kind="knife", length=0.6, width=0.22, handle_c="umber charcoal wood"),
        "spatula": dict(kind="spatula", length=1.1, width=0.1, handle_c="charcoal red teal"),
        "whisk": dict(kind="whisk", length=0.6, width=0.15, handle_c="silver wood red"),
        "rolling pin": dict(kind="pin", length=1.5, width=0.12, head_c="oak wood", handle_c="wood brick"),
        "tennis racket": dict(kind="racket", length=0.75, width=0.14, grip="bands", head_c="red blue lime charcoal", metres=0.7, tool=0.4),
        "magnifying glass": dict(kind="lens", length=0.65, width=0.16, head_c="brass silver charcoal", metres=0.2),
        "umbrella": dict(kind="umbrella", length=1.4, width=0.06, head_c="red sky violet amber teal", grip="loop", metres=0.9),
    },
    dict(tool=1.0, indoor=0.5),
)


def vessel(s, p):
    """Things turned on a wheel: a profile, then handle, spout, lid."""
    body, trim = p.body_c, p.trim_c
    h, w = p.tall, p.width / 2
    right = np.array([(x * w, y * h) for x, y in p.profile])
    lean = 5 * p.tilt
    with s.placed(angle=lean):
        top, low = right[-1], right[0]
        if p.handle == "side":
            s.stroke([(-w * 0.8, h * 0.78), (-w * 1.5, h * 0.7), (-w * 1.45, h * 0.3), (-w * 0.75, h * 0.25)], 0.12, trim if p.two_tone else shade(body, -0.08))
        elif p.handle == "bail":
            s.stroke([(-w * 0.95, h * 0.9), (-w * 0.7, h * 1.45), (0, h * 1.6), (w * 0.7, h * 1.45), (w * 0.95, h * 0.9)], 0.055, C["slate"])
        elif p.handle == "ears":
            for f in (-1, 1):
                s.stroke([(f * w * 0.85, h * 0.72), (f * w * 1.3, h * 0.72), (f * w * 1.25, h * 0.5), (f * w * 0.85, h * 0.5)], 0.1, shade(body, -0.2))
        elif p.handle == "long":
            s.limb([(-w * 0.9, h * 0.7), (-w * 2.3, h * 0.95)], [0.13, 0.16], C["charcoal"])
        if p.spout == "curve":
            s.limb([(w * 0.7, h * 0.3), (w * 1.25, h * 0.5), (w * 1.55, h * 0.92)], [0.3, 0.2, 0.11], body)
        elif p.spout == "rose":
            s.limb([(w * 0.8, h * 0.25), (w * 1.7, h * 1.05)], [0.16, 0.1], body)
            s.oval(w * 1.78, h * 1.1, 0.07, 0.2, trim, 48)
        s.oval(0, top[1], max(top[0], 0.02), 0.2 * top[0], shade(body, -0.45) if not p.fill else C[p.fill], lift=2)
        draw = smooth(right, False, 5) if p.soft_edges else right
        other = draw[::-1] * (-1, 1)
        rim = arc(0, top[1], top[0], 0.16 * top[0], 180, 360, 9)
        foot = arc(0, low[1], low[0], 0.12 * low[0], 180, 360, 7)
        shape = s.poly(np.concatenate([other[1:-1], foot, draw[1:-1], rim[::-1]]), body)
        if p.pattern == "bands":
            s.stripes(shape, trim, 3, 0, 0.3)
        elif p.pattern == "dots":
            s.spots(shape, trim, 14, 0.07, p.phase)
        elif p.pattern == "label":
            s.texture(shape, [np.array([(-2, h * 0.2), (2, h * 0.2), (2, h * 0.45), (-2, h * 0.45)])], C["cream"])
            s.texture(shape, [np.array([(-2, h * 0.29), (2, h * 0.29), (2, h * 0.36), (-2, h * 0.36)])], trim)
        elif p.pattern == "staves":
            s.stripes(shape, shade(body, -0.25), 7, 90, 0.12)
            s.texture(shape, [np.array([(-2, h * t), (2, h * t), (2, h * t + 0.07), (-2, h * t + 0.07)]) for t in (0.15, 0.75)], C["slate"])
        elif p.pattern == "weave":
            s.bricks(shape, shade(body, -0.3), 8, 0.02)
        elif p.pattern == "content":
            s.texture(shape, [np.array([(-2, -1), (2, -1), (2, h * p.level), (-2, h * p.level)])], trim)
        s.gloss([(-0.55 * right[:, 0].max(), h * 0.35), (-0.6 * right[:, 0].max(), h * 0.62)], 0.055, shade(body, 0.55))
        if p.lid == "knob":
            s.blob([(-top[0] * 1.05, top[1]), (-top[0] * 0.6, top[1] + 0.16), (0, top[1] + 0.22), (top[0] * 0.6, top[1] + 0.16), (top[0] * 1.05, top[1]), (0, top[1] - 0.06)], trim if p.two_tone else shade(body, 0.05))
            s.oval(0, top[1] + 0.27, 0.09, 0.09, trim)
        elif p.lid == "cap":
            s.box(-top[0] * 1.15, top[1] - 0.06, top[0] * 1.15, top[1] + 0.16, trim, 0.03)
        elif p.lid == "steam":
            for x in (-0.18, 0.1):
                s.stroke([(x, h + 0.12), (x + 0.09, h + 0.28), (x - 0.05, h + 0.42), (x + 0.06, h + 0.58)], 0.045, C["snow"])
        elif p.lid == "blooms":
            for x, y, c in ((-0.3, 0.5, "rose"), (0.3, 0.52, "yellow"), (0, 0.68, "white"), (-0.12, 0.35, "violet"), (0.2, 0.3, "coral")):
                s.stroke([(0, h), (x, h + y)], 0.045, C["leaf"])
                for a in range(0, 360, 60):
                    s.oval(*turn([(0.1, 0)], a, x, h + y)[0], 0.085, 0.07, C[c], a, lift=1)
                s.dot(x, h + y, 0.05, C["amber"])
        elif p.lid == "straw":
            s.limb([(0.05, h * 0.9), (0.3, h + 0.5)], 0.07, C["red"])
            s.oval(-w * 0.8, h, 0.16, 0.16, C["lime"])


MUG = ((0.9, 0.0), (1.0, 0.15), (1.0, 1.0))
VESSELS = Family(
    "vessel", "kitchenware", vessel,
    dict(body_c="red teal white sky amber coral sage indigo charcoal", trim_c="white navy coral amber", profile=MUG, width=0.8, tall=0.85, handle="", spout="", lid="", pattern="", fill="", level=0.6,
         soft_edges=True, two_tone=False, metres=0.12),
    {
        "mug": dict(handle="side", pattern="bands", fill="cocoa", lid="steam"),
        "teacup": dict(profile=((0.45, 0.0), (0.8, 0.3), (1.0, 1.0)), width=1.1, tall=0.6, handle="side", fill="rust", pattern="dots", metres=0.08),
        "teapot": dict(profile=((0.6, 0.0), (1.0, 0.4), (0.8, 0.85), (0.5, 1.0)), width=1.2, tall=0.85, handle="side", spout="curve", lid="knob", metres=0.2),
        "kettle": dict(profile=((1.0, 0.0), (0.95, 0.4), (0.6, 0.9), (0.45, 1.0)), width=1.3, tall=0.8, handle="bail", spout="curve", lid="knob", body_c="silver red mint charcoal", metres=0.25),
        "coffee pot": dict(profile=((0.9, 0.0), (0.75, 0.5), (0.6, 1.0)), width=0.9, tall=1.3, handle="side", spout="curve", lid="knob", body_c="silver copper white"),
        "jug": dict(profile=((0.6, 0.0), (1.0, 0.35), (0.65, 0.75), (0.8, 1.0)), width=0.9, tall=1.2, handle="side", metres=0.25),
        "watering can": dict(profile=((1.0, 0.0), (0.95, 0.5), (0.8, 1.0)), width=1.1, tall=0.9, handle="side", spout="rose", body_c="leaf teal amber steel sky", metres=0.4),
        "vase of flowers": dict(profile=((0.5, 0.0), (1.0, 0.4), (0.5, 0.85), (0.65, 1.0)), width=0.8, tall=1.0, lid="blooms", metres=0.5),
        "amphora": dict(profile=((0.25, 0.0), (0.8, 0.45), (1.0, 0.65), (0.4, 0.88), (0.5, 1.0)), width=0.9, tall=1.5, handle="ears", pattern="bands", body_c="brick rust sand", trim_c="umber", metres=0.6),
        "wine glass": dict(profile=((0.75, 0.0), (0.1, 0.06), (0.08, 0.45), (0.9, 0.62), (0.85, 1.0)), width=0.8, tall=1.4, body_c="glass", trim_c="crimson amber plum", pattern="content", level=0.8, soft_edges=False, metres=0.2),
        "cocktail glass": dict(profile=((0.6, 0.0), (0.06, 0.05), (0.06, 0.5), (1.0, 1.0)), width=1.1, tall=1.3, body_c="glass", trim_c="coral lime turquoise", pattern="content", level=0.85, soft_edges=False, lid="straw", metres=0.18),
        "lemonade glass": dict(profile=((0.75, 0.0), (1.0, 1.0)), width=0.75, tall=1.2, body_c="glass", trim_c="lemon coral lime", pattern="content", level=0.82, soft_edges=False, lid="straw", metres=0.15),
        "beer stein": dict(handle="side", body_c="amber honey", trim_c="cream", fill="cream", pattern="bands", tall=1.1, width=0.85, metres=0.2),
        "wine bottle": dict(profile=((0.95, 0.0), (1.0, 0.1), (1.0, 0.55), (0.4, 0.72), (0.32, 1.0)), width=0.6, tall=1.8, body_c="forest olive navy", trim_c="brick gold", pattern="label", lid="cap", metres=0.3),
        "milk bottle": dict(profile=((0.95, 0.0), (1.0, 0.5), (0.55, 0.75), (0.6, 1.0)), width=0.65, tall=1.4, body_c="glass", trim_c="snow", pattern="content", level=0.85, metres=0.25),
        "perfume bottle": dict(profile=((1.0, 0.0), (1.0, 0.65), (0.4, 0.72), (0.4, 0.9)), width=0.9, tall=0.9, body_c="blush lilac amber glass", trim_c="gold", lid="cap", soft_edges=False, metres=0.08),
        "jam jar": dict(profile=((0.95, 0.0), (1.0, 0.2), (1.0, 0.8), (0.85, 1.0)), width=0.8, tall=0.9, body_c="crimson amber plum", trim_c="gold white", pattern="label", lid="cap", metres=0.12),
        "cooking pot": dict(profile=((0.95, 0.0), (1.0, 0.15), (1.0, 1.0)), width=1.3, tall=0.75, handle="ears", lid="knob", body_c="silver red charcoal teal", metres=0.3),
        "frying pan": dict(profile=((0.85, 0.0), (1.0, 1.0)), width=1.3, tall=0.28, handle="long", body_c="charcoal slate brick", metres=0.4),
        "saucepan": dict(profile=((0.95, 0.0), (1.0, 1.0)), width=1.0, tall=0.65, handle="long", body_c="copper silver red", soft_edges=False, metres=0.3),
        "cauldron": dict(profile=((0.5, 0.0), (1.0, 0.35), (0.95, 0.7), (0.75, 0.9), (0.85, 1.0)), width=1.3, tall=1.0, handle="bail", body_c="charcoal black", fill="lime", metres=0.5),
        "mixing bowl": dict(profile=((0.4, 0.0), (0.8, 0.4), (1.0, 1.0)), width=1.5, tall=0.7, pattern="bands", metres=0.3),
        "goblet": dict(profile=((0.7, 0.0), (0.2, 0.1), (0.15, 0.4), (0.85, 0.55), (0.95, 1.0)), width=0.8, tall=1.2, body_c="gold brass silver", trim_c="red blue", pattern="dots", soft_edges=False),
        "bucket": dict(profile=((0.75, 0.0), (1.0, 1.0)), width=1.0, tall=0.9, handle="bail", soft_edges=False, pattern="bands", metres=0.3),
        "barrel": dict(profile=((0.8, 0.0), (1.0, 0.5), (0.8, 1.0)), width=1.0, tall=1.2, body_c="wood oak", pattern="staves", metres=0.9),
        "basket": dict(profile=((0.8, 0.0), (1.0, 1.0)), width=1.2, tall=0.65, body_c="sand honey wood", pattern="weave", handle="bail", metres=0.4),
    },
    dict(tool=0.5, indoor=0.9, round=0.6), free=True,
)


def instrument(s, p):
    """Musical instruments."""
    body, trim, kind = p.body_c, p.trim_c, p.kind
    with s.placed(angle=(14 * p.pose if p.sways else 0)):
        if kind == "strings":
            w, h, n = p.width, p.tall, p.neck
            s.box(-0.07, h * 0.8, 0.07, h + n, C["umber"])
            s.poly([(-0.11, h + n), (0.11, h + n), (0.15, h + n + 0.3), (-0.15, h + n + 0.3)], shade(body, -0.2))
            for y in (0.06, 0.17, 0.26):
                for f in (-1, 1):
                    s.oval(f * 0.18, h + n + y, 0.045, 0.035, C["ivory"], lift=1)
            waist = p.waist
            half = [(0, 0), (w * 0.8, 0.06 * h), (w, 0.3 * h), (w * waist, 0.58 * h), (w * p.shoulder, 0.85 * h), (0.1, h)]
            if p.point:
                half = [(0, 0), (w * 0.8, 0.04 * h), (w, 0.3 * h), (w * waist, 0.6 * h), (w * 0.9, 1.08 * h), (0.12, 0.82 * h)]
            s.blob(half + [(-x, y) for x, y in half[:0:-1]], body)
            if p.hole == "f":
                for f in (-1, 1):
                    s.stroke([(f * w * 0.5, h * 0.3), (f * w * 0.38, h * 0.42), (f * w * 0.46, h * 0.52), (f * w * 0.34, h * 0.62)], 0.04, C["umber"])
            elif p.hole == "round":
                s.oval(0, h * 0.6, w * 0.32, w * 0.32, C["umber"], line=trim, lift=-6)
            elif p.hole == "drum":
                s.oval(0, h * 0.5, w * 0.8, h * 0.4, C["ivory"], lift=2)
            else:
                s.blob([(-w * 0.7, h * 0.15), (-w * 0.2, h * 0.55), (w * 0.3, h * 0.5), (w * 0.5, h * 0.12)], trim, False, FLAT)
                for y in (0.32, 0.48):
                    s.box(-0.15, h * y, 0.15, h * y + 0.06, C["silver"], 0.02)
            s.box(-0.16, h * 0.22, 0.16, h * 0.27, C["umber"])
            for x in np.linspace(-0.05, 0.05, p.strings):
                s.stroke([(x, h * 0.24), (x * 0.8, h + n)], 0.012, C["silver"])
            if p.bow:
                s.limb([(w * 1.35, 0.1), (w * 1.5, h + n)], 0.05, C["brown"])
                s.stroke([(w * 1.28, 0.12), (w * 1.43, h + n)], 0.02, C["ivory"])
        elif kind == "harp":
            for i in range(8):
                s.stroke([(-0.45 + 0.12 * i, 0.25 + 0.14 * i), (-0.45 + 0.12 * i, 1.5 + 0.02 * i)], 0.02, C["ivory"])
            s.limb([(-0.5, 0.15), (0.6, 1.5)], [0.3, 0.15], body)
            s.limb([(-0.6, 0.1), (-0.62, 1.6)], 0.13, body)
            s.limb([(-0.62, 1.6), (-0.2, 1.45), (0.2, 1.7), (0.6, 1.52)], 0.15, body)
            s.oval(-0.62, 1.66, 0.13, 0.13, trim)
        elif kind == "drum":
            if p.legs:
                for x in (-0.6, 0.6):
                    s.limb([(x * 0.7, 0.4), (x, 0)], 0.06, C["silver"])
            w, h, y = p.width, p.tall, 0.25 if p.legs else 0.1
            shell = s.poly([(-w, y + h), *arc(0, y, w * p.waist, 0.13, 180, 360), (w, y + h)], body)
            for i in range(6):
                x = -w + 2 * w * i / 6
                s.texture(shell, [np.array([(x, y + h), (x + w / 6, y), (x + w / 6 + 0.04, y), (x + 0.04, y + h)]), np.array([(x + w / 3, y + h), (x + w / 6, y), (x + w / 6 + 0.04, y), (x + w / 3 + 0.04, y + h)])], trim)
            s.oval(0, y + h, w, 0.2, C["ivory"], line=trim)
            if p.sticks:
                for f in (-1, 1):
                    s.limb([(f * 0.9, y + h + 0.5), (f * 0.15, y + h + 0.05)], [0.06, 0.05], C["oak"])
                    s.oval(f * 0.13, y + h + 0.05, 0.07, 0.06, C["oak"])
        elif kind == "piano":
            if p.legs:
                s.poly([(-0.9, 0.85), (-0.75, 1.65), (0.1, 1.55), (0.85, 1.0), (0.9, 0.85)], shade(body, -0.15))
                for x in (-0.8, 0.75):
                    s.limb([(x, 0.6), (x, 0.04)], [0.14, 0.08], body)
                s.blob([(-0.95, 0.5), (-0.98, 0.85), (0.9, 0.85), (0.98, 0.7), (0.9, 0.5), (0, 0.47)], body)
                y = 0.56
            else:
                s.box(-0.9, 0.05, 0.9, 1.4, body, 0.04)
                s.box(-0.8, 0.95, 0.8, 1.28, shade(body, -0.15), 0.03)
                s.box(-0.98, 0.55, 0.98, 0.62, body)
                y = 0.62
            s.box(-0.86, y, 0.86, y + 0.17, C["white"])
            for i in range(13):
                x = -0.86 + i * 1.72 / 13
                s.box(x - 0.008, y, x + 0.008, y + 0.17, C["slate"], line=False)
                if i % 7 not in (0, 3):
                    s.box(x - 0.035, y + 0.06, x + 0.035, y + 0.17, C["black"], line=False)
        elif kind == "brass":
            if p.coil:
                s.stroke(arc(0, 0.6, 0.42, 0.42, 0, 350), 0.12, body)
                s.stroke(arc(0, 0.6, 0.28, 0.28, 0, 350), 0.07, body)
                s.limb([(0.3, 0.35), (0.7, 0.3), (0.95, 0.5)], [0.14, 0.24, 0.75], body)
                s.limb([(-0.35, 0.8), (-0.6, 1.15)], 0.06, body)
            elif p.slide:
                s.limb([(-1.2, 0.62), (0.6, 0.62)], 0.07, body)
                s.limb([(-0.9, 0.38), (1.15, 0.38), (1.25, 0.5), (1.15, 0.62), (0.5, 0.62)], 0.06, body)
                s.poly([(-0.75, 0.6), (-1.15, 0.9), (-1.15, 0.32)], body)
            else:
                s.stroke([(-0.55, 0.55), (-0.55, 0.3), (0.4, 0.3), (0.45, 0.55)], 0.09, body)
                s.limb([(-0.95, 0.58), (0.6, 0.58)], 0.09, body)
                s.limb([(0.5, 0.58), (0.85, 0.58), (1.15, 0.58)], [0.12, 0.26, 0.66], body)
                for x in (-0.15, 0.03, 0.21):
                    s.box(x - 0.06, 0.25, x + 0.06, 0.8, shade(body, -0.12), 0.03)
                    s.oval(x, 0.86, 0.07, 0.04, C["ivory"])
            s.gloss([(-0.5, 0.62), (0.3, 0.62)], 0.025)
        elif kind == "sax":
            s.limb([(-0.35, 1.7), (-0.1, 1.6), (-0.05, 0.9), (0.0, 0.3), (0.25, 0.1), (0.5, 0.35), (0.62, 0.85)], [0.08, 0.1, 0.16, 0.24, 0.3, 0.36, 0.62], body)
            for y in np.linspace(0.4, 1.35, 6):
                s.oval(-0.02, y, 0.09, 0.07, trim)
            s.limb([(-0.35, 1.7), (-0.5, 1.62)], 0.09, C["charcoal"])
        elif kind == "pipe":
            shape = s.limb([(0, 0.02), (0, 1.75)], [p.width * p.bell, p.width], body)
            s.stripes(shape, trim, 4, 0, 0.12)
            for y in np.linspace(0.35, 1.35, 7):
                s.dot(0.0, y, 0.035, shade(body, -0.6))
            if p.bell > 2:
                s.blob([(-0.06, 0.3), (-0.3, -0.1), (0.3, -0.1), (0.06, 0.3)], body)
        elif kind == "squeeze":
            for f in (-1, 1):
                s.box(f * 0.75 - 0.2, 0.05, f * 0.75 + 0.2, 1.1, body, 0.08)
            bellows = s.poly([(-0.55, 0.12), (0.55, 0.12), (0.55, 1.03), (-0.55, 1.03)], trim)
            s.stripes(bellows, shade(trim, -0.45), 8, 90, 0.35)
            for i in range(6):
                s.box(0.66, 0.16 + 0.14 * i, 0.92, 0.26 + 0.14 * i, C["white"], 0.02)
                s.dot(-0.75, 0.2 + 0.14 * i, 0.05, C["white"])
        elif kind == "bars":
            for i in range(8):
                x, t = -0.84 + 0.24 * i, 0.55 - 0.04 * i
                s.box(x - 0.1, 0.6 - t, x + 0.1, 0.6 + t, C[("red", "orange", "yellow", "lime", "teal", "sky", "indigo", "violet")[i]], 0.03)
            for y in (0.42, 0.78):
                s.limb([(-1.0, y), (0.95, y)], 0.05, body)
            s.limb([(0.2, 0.5), (0.85, 1.25)], 0.05, C["oak"])
            s.oval(0.2, 0.5, 0.1, 0.1, trim)
        elif kind == "bell":
            s.oval(0.05 * p.pose, 0.04, 0.12, 0.12, C["umber"])
            s.blob([(-0.62, 0.12), (-0.42, 0.35), (-0.36, 0.85), (0, 1.1), (0.36, 0.85), (0.42, 0.35), (0.62, 0.12), (0, 0.06)], body)
            s.stripes(s.shapes[-1].points, trim, 4, 0, 0.12)
            s.limb([(0, 1.05), (0, 1.5)], 0.14, C["wood"])


INSTRUMENTS = Family(
    "instrument", "toy and music", instrument,
    dict(body_c="wood honey chestnut", trim_c="cream amber", kind="strings", width=0.42, tall=0.95, neck=0.8, waist=0.62, shoulder=0.75, hole="round", strings=4, point=False, bow=False, legs=False,
         sticks=False, coil=False, slide=False, bell=1.0, sways=True, metres=0.8),
    {
        "acoustic guitar": dict(width=0.46, metres=1.0),
        "electric guitar": dict(body_c="red teal sky white charcoal", trim_c="white charcoal", hole="", waist=0.5, point=True, width=0.44, neck=0.95, metres=1.0),
        "ukulele": dict(width=0.34, tall=0.7, neck=0.5, body_c="honey amber turquoise", metres=0.6),
        "violin": dict(hole="f", width=0.36, tall=0.95, neck=0.5, waist=0.5, bow=True, body_c="chestnut rust", metres=0.6),
        "cello": dict(hole="f", width=0.5, tall=1.25, neck=0.65, waist=0.55, bow=True, body_c="rust brown", metres=1.2),
        "banjo": dict(hole="drum", width=0.46, tall=0.85, waist=0.98, shoulder=0.7, neck=1.0, metres=0.9),
        "lute": dict(width=0.46, tall=1.0, waist=0.85, shoulder=0.4, neck=0.55, metres=0.7),
        "harp": dict(kind="harp", body_c="gold wood", sways=False, metres=1.7),
        "snare drum": dict(kind="drum", body_c="red blue teal", trim_c="gold silver", width=0.75, tall=0.45, sticks=True, legs=True, waist=1.0, sways=False),
        "bongo drum": dict(kind="drum", body_c="wood brick amber", trim_c="cream", width=0.5, tall=0.9, waist=0.6, sways=False),
        "grand piano": dict(kind="piano", body_c="black white chestnut", legs=True, sways=False, metres=2.0),
        "upright piano": dict(kind="piano", body_c="chestnut black wood", sways=False, metres=1.5),
        "trumpet": dict(kind="brass", body_c="brass gold silver", metres=0.5),
        "trombone": dict(kind="brass", slide=True, body_c="brass gold", metres=1.2),
        "french horn": dict(kind="brass", coil=True, body_c="brass gold copper", metres=0.5),
        "saxophone": dict(kind="sax", body_c="brass gold", trim_c="ivory silver", metres=0.8),
        "recorder": dict(kind="pipe", body_c="ivory wood", trim_c="umber", width=0.14, bell=1.2, metres=0.3),
        "clarinet": dict(kind="pipe", body_c="black umber", trim_c="silver", width=0.12, bell=2.6, metres=0.7),
        "accordion": dict(kind="squeeze", body_c="crimson teal charcoal", trim_c="cream white", sways=False, metres=0.5),
        "xylophone": dict(kind="bars", sways=False, metres=0.6),
        "hand bell": dict(kind="bell", body_c="brass gold silver", metres=0.2),
    },
    dict(tool=0.5, indoor=0.8),
)


FAMILIES = (TOOLS, VESSELS, INSTRUMENTS)
