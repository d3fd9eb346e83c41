"""Fruit and vegetables."""

# One line per concept and per stroke: tables of coordinates read better in rows.
# ruff: noqa: C408
# fmt: off

import numpy as np

from ..concepts import Family
from ..drawing import COLOURS as C
from ..drawing import FLAT, arc, mix, shade, smooth, turn


def _leaf(s, x, y, k, angle, colour):
    s.blob(turn(np.array([(0, 0), (0.5, 0.26), (1, 0), (0.5, -0.22)]) * k, angle, x, y), colour)


def produce(s, p):
    """Fruit and vegetables: a silhouette of revolution, or a bunch, with skin, stalk and leaves."""
    skin, mark, green = p.skin_c, p.mark_c, p.green_c
    w, h = p.width / 2, p.tall
    tilt = 10 * p.tilt
    with s.placed(angle=tilt):
        if p.plan == "long":  # bananas, carrots, chillies: a curved tapered body
            b = p.bend
            for i in range(p.count):
                with s.placed(0, 0, 1, 16 * (i - (p.count - 1) / 2)):
                    path = [(0, 0), (-b * 0.6, h * 0.3), (-b, h * 0.6), (-b * 0.5, h)]
                    body = s.limb(path, [p.point * w * 2, w * 1.8, w * 2, w * p.shoulder * 2], skin)
                    if p.skin == "rings":
                        s.stripes(body, shade(skin, -0.18), 8, 0, 0.12)
                    elif p.skin == "bumps":
                        s.spots(body, mark, 26, 0.03, p.phase)
                    elif p.skin == "grains":
                        for r in range(9):
                            for q in (-0.6, -0.2, 0.2, 0.6):
                                s.oval(q * w - b * 0.6, h * (0.12 + 0.09 * r), 0.055, 0.045, shade(skin, 0.2 if (r + int(q * 5)) % 3 else 0), line=False, lift=1)
                    s.gloss([(-b * 0.6 - 0.25 * w, h * 0.3), (-b - 0.3 * w, h * 0.62)], 0.05, shade(skin, 0.5))
            if p.top == "husk":
                for f in (-1, 1):
                    s.blob([(0, -0.12), (f * w * 1.5, 0.1), (f * w * 2.1, h * 0.72), (f * w * 0.9, h * 0.4), (0, 0.2)], green)
            elif p.top == "tuft":
                for a in (60, 78, 95, 112, 128):
                    s.limb([(-b * 0.5, h), turn([(0.3, 0)], a, -b * 0.5, h)[0], turn([(0.55, 0)], a * 1.15 - 14, -b * 0.5, h)[0]], [0.06, 0.11, 0.03], shade(green, 0.08 * (a % 5 - 2)))
            elif p.top == "stalk":
                s.limb([(-b * 0.5, h), (-b * 0.2, h + 0.2)], [w * 1.1, 0.07], green)
        elif p.plan == "bunch":
            for x, y, r in p.balls:
                s.oval(x, y, r, r, shade(skin, 0.1 * (y - 0.5)))
                s.gloss([(x - 0.4 * r, y + 0.3 * r), (x - 0.2 * r, y + 0.5 * r)], 0.16 * r, shade(skin, 0.6))
            if p.top == "stems":
                for x, y, r in p.balls:
                    s.stroke([(x, y + r * 0.8), (x * 0.5 + 0.1, 0.9), (0.15, 1.15)], 0.045, green)
                _leaf(s, 0.15, 1.12, 0.5, 10, green)
            else:
                top = max(b[1] + b[2] for b in p.balls)
                s.limb([(0, top - 0.08), (0.05, top + 0.18)], 0.07, C["brown"])
                _leaf(s, 0.02, top, 0.5, 25, green)
        elif p.plan == "floret":
            s.limb([(0, 0), (0, h * 0.55)], [w * 0.8, w * 0.9], green)
            for x in (-0.32, 0.32):
                s.limb([(0, h * 0.3), (x * 1.3 * w / 0.5, h * 0.62)], [0.2, 0.2], green)
            for i, (x, y, r) in enumerate(((-0.42, 0.62, 0.27), (0.42, 0.62, 0.27), (-0.24, 0.85, 0.28), (0.25, 0.86, 0.28), (0, 0.98, 0.26), (0, 0.68, 0.3))):
                s.oval(x * w / 0.5, y * h, r, r * 0.85, shade(skin, 0.04 * (i % 3)))
                s.spots(arc(x * w / 0.5, y * h, r, r * 0.85, 0, 345), shade(skin, 0.22), 12, 0.035, p.phase)
            if p.top == "leaves":
                for f in (-1, 1):
                    s.blob([(0, 0), (f * 0.5, 0.1), (f * 0.8, 0.55), (f * 0.5, 0.5), (f * 0.2, 0.25)], C["lime"])
        elif p.plan == "wedge":
            rind = s.poly(arc(0, h, w, h, 180, 360, 18), green)
            s.poly((rind - (0, h)) * 0.93 + (0, h), shade(green, 0.65), False, FLAT)
            flesh = s.poly((rind - (0, h)) * 0.84 + (0, h), skin, False, FLAT)
            for i in range(8):
                q = arc(0, h, w * (0.35 + 0.25 * (i % 2)), h * (0.35 + 0.25 * (i % 2)), 195 + 21 * i, 196 + 21 * i, 2)[0]
                s.texture(flesh, [arc(q[0], q[1], 0.03, 0.05, 0, 330, 8)], mark)
        elif p.plan == "half":
            s.oval(0, h / 2, w, h / 2, green)
            s.oval(0, h / 2, w * 0.86, h * 0.43, shade(skin, 0.45), line=False)
            flesh = s.oval(0, h / 2, w * 0.78, h * 0.39, skin, line=False)
            if p.skin == "segments":
                s.texture(flesh, [np.array([turn([(w, -0.02)], a, 0, h / 2)[0], (0, h / 2), turn([(w, 0.02)], a, 0, h / 2)[0]]) for a in range(0, 360, 40)], shade(skin, 0.6))
            elif p.skin == "stone":
                s.oval(0, h * 0.42, w * 0.4, h * 0.2, mark)
            else:
                s.oval(0, h / 2, w * 0.24, h * 0.11, C["ivory"], line=False)
                for a in range(0, 360, 24):
                    s.oval(*turn([(w * 0.46, 0)], a, 0, h / 2)[0], 0.026, 0.045, mark, a + 90, line=False, lift=2)
        else:
            profile = [(0, p.dimple * -0.1), (0.55, 0.0), (p.low, 0.25), (p.mid, 0.5), (p.high, 0.75), (p.cap, 0.95), (0, 1 - p.dimple * 0.12)]
            right = np.array(profile) * (w, h)
            shape = np.concatenate([right, (right * (-1, 1))[-2:0:-1]])
            body = s.blob(shape, skin)
            if p.skin == "ribs":
                for k in (0.28, 0.68):
                    for f in (-1, 1):
                        s.stroke([(f * 0.05, 0.02), (f * k * w * 1.15, h * 0.5), (f * 0.05, h * 0.94)], 0.035, shade(skin, -0.28))
            elif p.skin == "pips":
                s.spots(body, mark, 26, 0.032, p.phase, 1.5)
            elif p.skin == "net":
                s.stripes(body, mark, 7, 50, 0.14)
                s.stripes(body, mark, 7, 130, 0.14)
            elif p.skin == "streaks":
                for x in np.linspace(-0.8, 0.8, 6):
                    s.texture(body, [smooth([(x * w * 0.3, 0), (x * w - 0.06, h * 0.5), (x * w * 0.3, h), (x * w + 0.06, h * 0.5)])], mark)
            elif p.skin == "blush":
                s.texture(body, [arc(0.45 * w, 0.55 * h, 0.6 * w, 0.45 * h, 0, 345)], mix(skin, mark, 0.55))
            elif p.skin == "hair":
                s.strokes(body, mark, 34, 0.12, 70, 0.02, p.phase)
            elif p.skin == "lines":
                for f in (-0.6, -0.25, 0.25, 0.6):
                    s.stroke([(f * 0.2 * w, 0.03), (f * w, 0.5 * h), (f * 0.2 * w, 0.97 * h)], 0.022, mark)
            elif p.skin == "folds":
                for f, k in ((-1, 0.95), (1, 0.95), (-1, 0.6), (1, 0.6)):
                    s.stroke([(0, 0.05), (f * k * w, h * 0.35), (f * k * w * 0.85, h * 0.75), (f * 0.15 * w, h * 0.9)], 0.03, shade(skin, 0.35))
            elif p.skin == "dots":
                s.spots(body, mark, 16, 0.016, p.phase)
            s.gloss(arc(-0.02, h * 0.52, 0.6 * w, 0.34 * h, 120, 165), 0.075 * p.width, shade(skin, 0.55))
            y = h * (1 - 0.12 * p.dimple)
            if p.top == "stalk":
                s.limb([(0, y - 0.04), (0.03, y + 0.12), (0.1, y + 0.2)], [0.06, 0.05, 0.07], C["brown"])
            elif p.top == "leaf":
                s.limb([(0, y - 0.04), (0.03, y + 0.18)], 0.055, C["brown"])
                _leaf(s, 0.03, y + 0.08, 0.42, 28, green)
            elif p.top == "calyx":
                for a in (10, 50, 90, 130, 170):
                    _leaf(s, 0, y, 0.3, a - 0.4 * (a - 90), green)
                s.limb([(0, y), (0.05, y + 0.16)], 0.06, green)
            elif p.top == "crown":
                for a in (50, 130, 65, 115, 80, 100, 90):
                    s.limb([(0, y - 0.05), turn([(0.35, 0)], a, 0, y)[0], turn([(0.68, 0)], a + (a - 90) * 0.25, 0, y)[0]], [0.14, 0.13, 0.02], shade(green, 0.003 * (90 - abs(a - 90)) - 0.1))
            elif p.top == "stub":
                s.limb([(0, y - 0.05), (0.06, y + 0.17)], [0.18, 0.12], green)
            elif p.top == "tuft":
                for a in (65, 90, 115):
                    s.limb([(0, y - 0.03), turn([(0.35, 0)], a, 0, y)[0], turn([(0.62, 0)], a * 1.1 - 9, 0, y)[0]], [0.07, 0.16, 0.06], shade(green, 0.1 - 0.002 * abs(a - 90)))


FRUITS = Family(
    "fruit", "food", produce,
    dict(skin_c="red", mark_c="cream", green_c="leaf green", plan="turned", width=1.0, tall=0.95, low=0.86, mid=1.0, high=0.92, cap=0.5, dimple=1.0, skin="plain",
         top="leaf", bend=0.0, point=0.3, shoulder=0.6, count=1, balls=(), metres=0.08, round=0.9),
    {
        "red apple": dict(skin_c="red crimson", mark_c="amber", skin="blush"),
        "green apple": dict(skin_c="lime", mark_c="cream", skin="dots"),
        "pear": dict(skin_c="lime olive amber", mark_c="brown", skin="dots", tall=1.25, low=1.0, mid=0.86, high=0.5, cap=0.3, dimple=0.2, width=0.9),
        "orange": dict(skin_c="orange", mark_c="rust", skin="dots", mid=1.0, dimple=0.2, top="leaf"),
        "lemon": dict(skin_c="lemon yellow", mark_c="amber", skin="dots", tall=1.1, width=0.8, low=0.75, high=0.78, cap=0.24, dimple=-0.6, top=""),
        "lime slice": dict(plan="half", skin_c="lime", green_c="leaf", skin="segments", width=1.0, tall=1.0),
        "grapefruit half": dict(plan="half", skin_c="coral rose", green_c="amber", skin="segments", width=1.1, tall=1.1),
        "kiwi half": dict(plan="half", skin_c="green lime", green_c="brown", mark_c="black", skin="seeds", width=0.95, tall=1.05),
        "avocado half": dict(plan="half", skin_c="lime", green_c="forest", mark_c="brown", skin="stone", width=0.85, tall=1.2),
        "peach": dict(skin_c="coral amber", mark_c="rose", skin="blush", mid=1.02, dimple=1.4),
        "plum": dict(skin_c="plum purple indigo", mark_c="lilac", skin="blush", tall=1.05, width=0.9, dimple=0.6, top="stalk"),
        "mango": dict(skin_c="amber orange", mark_c="red", skin="blush", tall=1.15, width=0.9, low=1.0, high=0.75, cap=0.4, dimple=0.1),
        "strawberry": dict(skin_c="red", mark_c="lemon", skin="pips", top="calyx", tall=1.05, low=0.55, mid=0.88, high=1.05, cap=0.7, width=0.9, dimple=0.3, metres=0.03),
        "raspberry": dict(plan="bunch", skin_c="rose crimson", balls=tuple((x, y, 0.19) for y, n in ((0.95, 3), (0.72, 4), (0.5, 3), (0.28, 2), (0.14, 1)) for x in np.linspace(-0.125 * n, 0.125 * n, n)), metres=0.02),
        "blueberry": dict(skin_c="indigo navy", mark_c="sky", skin="blush", top="calyx", green_c="slate navy", tall=0.9, dimple=0.8, metres=0.01),
        "cherry": dict(plan="bunch", skin_c="crimson red", balls=((-0.32, 0.3, 0.3), (0.36, 0.26, 0.3)), top="stems", metres=0.02),
        "grapes": dict(plan="bunch", skin_c="purple indigo lime", balls=tuple((x, y, 0.17) for y, n in ((1.0, 4), (0.78, 5), (0.56, 4), (0.34, 3), (0.14, 1)) for x in np.linspace(-0.13 * n, 0.13 * n, n)), metres=0.15),
        "banana": dict(plan="long", skin_c="yellow lemon", green_c="olive", tall=1.3, width=0.32, bend=0.4, point=0.4, shoulder=0.3, top="stalk", round=0.1, metres=0.2),
        "banana bunch": dict(plan="long", skin_c="yellow amber", green_c="olive", tall=1.2, width=0.28, bend=0.3, point=0.4, shoulder=0.3, top="stalk", count=4, round=0.1, metres=0.25),
        "pineapple": dict(skin_c="amber honey", mark_c="brown", skin="net", top="crown", tall=1.15, width=0.85, dimple=0.2, low=0.95, high=0.95, cap=0.7, metres=0.3),
        "watermelon": dict(skin_c="green leaf", mark_c="forest", skin="streaks", tall=0.95, width=1.25, dimple=0.1, top="stalk", metres=0.35),
        "watermelon wedge": dict(plan="wedge", skin_c="red coral", mark_c="black", green_c="leaf", tall=0.75, width=1.5, round=0.4, metres=0.25),
        "melon": dict(skin_c="sage sand", mark_c="cream", skin="net", tall=1.0, width=1.05, dimple=0.3, top="stalk", metres=0.2),
        "coconut": dict(skin_c="brown cocoa", mark_c="tan", skin="hair", top="", tall=1.0, dimple=0.0, metres=0.15),
        "fig": dict(skin_c="plum indigo", mark_c="lilac", skin="lines", tall=1.05, width=0.85, low=1.0, mid=0.95, high=0.55, cap=0.28, dimple=-0.3, top="", metres=0.05),
        "pomegranate": dict(skin_c="crimson brick", mark_c="amber", skin="blush", top="calyx", green_c="brick", dimple=0.1),
    },
    dict(natural=1.0, edible=1.0, soft=0.4, round=0.9, indoor=0.5),
)

VEGETABLES = Family(
    "vegetable", "food", produce,
    {**FRUITS.defaults, "skin_c": "orange", "top": "stub", "round": 0.5, "metres": 0.12},
    {
        "tomato": dict(skin_c="red", top="calyx", tall=0.85, round=0.9),
        "cherry tomato": dict(plan="bunch", skin_c="red orange", balls=((-0.45, 0.3, 0.26), (0.05, 0.26, 0.27), (0.5, 0.36, 0.25), (-0.2, 0.7, 0.25)), top="stems"),
        "carrot": dict(plan="long", skin_c="orange", skin="rings", tall=1.3, width=0.4, point=0.08, shoulder=1.0, top="tuft"),
        "parsnip": dict(plan="long", skin_c="ivory cream", skin="rings", tall=1.3, width=0.46, point=0.06, shoulder=1.15, bend=0.08, top="tuft"),
        "beetroot": dict(skin_c="plum purple", mark_c="magenta", skin="lines", top="tuft", green_c="plum leaf", low=0.7, dimple=-0.4),
        "radish": dict(skin_c="rose magenta", mark_c="white", skin="blush", top="tuft", low=0.66, mid=0.95, dimple=-0.5, width=0.85, metres=0.04),
        "turnip": dict(skin_c="white cream", mark_c="purple", skin="blush", top="tuft", tall=0.85, low=0.8, dimple=-0.5),
        "potato": dict(skin_c="tan sand", mark_c="brown", skin="dots", top="", tall=0.85, width=1.25, low=0.95, high=0.8, dimple=0.1),
        "onion": dict(skin_c="honey copper plum", mark_c="brown", skin="lines", top="stub", green_c="tan", tall=0.95, high=0.8, cap=0.3, dimple=-0.4, round=0.8),
        "garlic bulb": dict(skin_c="white ivory", mark_c="lilac", skin="lines", top="stub", green_c="ivory", tall=0.85, high=0.7, cap=0.26, dimple=-0.3, metres=0.05),
        "leek": dict(plan="long", skin_c="white ivory", tall=1.4, width=0.26, point=0.9, shoulder=1.0, top="tuft", skin="rings"),
        "cucumber": dict(plan="long", skin_c="forest leaf", mark_c="lime", skin="bumps", tall=1.4, width=0.34, bend=0.1, point=0.7, shoulder=0.6, top=""),
        "courgette": dict(plan="long", skin_c="leaf green", mark_c="lime", skin="bumps", tall=1.3, width=0.36, point=0.75, shoulder=0.5, top="stalk"),
        "chilli": dict(plan="long", skin_c="red lime", tall=1.2, width=0.24, bend=0.3, point=0.08, shoulder=0.9, top="stalk"),
        "maize cob": dict(plan="long", skin_c="amber yellow", skin="grains", tall=1.3, width=0.42, point=0.8, shoulder=0.3, top="husk"),
        "aubergine": dict(skin_c="purple plum", tall=1.35, width=0.8, low=1.1, mid=0.95, high=0.6, cap=0.42, top="calyx", dimple=0.0),
        "bell pepper": dict(skin_c="red yellow green orange", skin="ribs", tall=1.05, width=1.0, low=0.72, mid=0.88, high=1.02, cap=0.75),
        "pumpkin": dict(skin_c="orange amber", skin="ribs", tall=0.9, width=1.3, metres=0.4, round=0.8),
        "butternut squash": dict(skin_c="sand honey", mark_c="tan", skin="lines", tall=1.4, width=0.85, low=1.1, mid=0.72, high=0.62, cap=0.5, dimple=0.1, metres=0.3),
        "cabbage": dict(skin_c="lime sage", skin="folds", top="", tall=0.95, width=1.1, round=0.9, metres=0.2),
        "red cabbage": dict(skin_c="plum purple", skin="folds", top="", tall=0.95, width=1.05, round=0.9, metres=0.2),
        "artichoke": dict(skin_c="sage olive", mark_c="forest", skin="net", top="", tall=1.05, width=0.9, high=0.75, cap=0.34, dimple=-0.3),
        "broccoli": dict(plan="floret", skin_c="leaf forest", green_c="lime sage", tall=1.0),
        "cauliflower": dict(plan="floret", skin_c="ivory cream", green_c="lime", tall=0.85, width=1.1, top="leaves"),
    },
    dict(natural=1.0, edible=1.0, indoor=0.5),
)


FAMILIES = (FRUITS, VEGETABLES)
