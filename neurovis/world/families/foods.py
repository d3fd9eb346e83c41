"""Fruit, vegetables, sweets and dishes."""

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
)  # fmt: skip

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
        "garlic": dict(skin_c="white ivory", mark_c="lilac", skin="lines", top="stub", green_c="ivory", tall=0.85, high=0.7, cap=0.26, dimple=-0.3, metres=0.05),
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
)  # fmt: skip


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
)  # fmt: skip


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
        "fried rice": dict(plan="bowl", base_c="navy teal brick", fill_c="cream", extra_c="ivory", fleck_c="orange", layers=("mound",), sticks=True),
        "salad": dict(plan="bowl", base_c="wood white", fill_c="lime", extra_c="green lime", fleck_c="red", layers=("mound",)),
        "porridge": dict(plan="bowl", base_c="sage blush sky", fill_c="ivory", extra_c="indigo", layers=("float",)),
        "fried egg": dict(plan="plate", layers=("egg",)),
        "spaghetti": dict(plan="plate", layers=("heap",), fill_c="cheese", extra_c="brick red"),
        "steak": dict(plan="plate", layers=("steak",), fill_c="chestnut brown"),
        "roast chicken": dict(plan="plate", layers=("bird",), fill_c="caramel honey", metres=0.4),
        "nigiri sushi": dict(plan="plate", layers=("sushi",), fill_c="coral", extra_c="amber"),
        "sushi rolls": dict(plan="plate", layers=("rolls",), fill_c="coral lime"),
        "taco": dict(plan="fold", base_c="cheese", fill_c="brown", extra_c="red"),
        "cheese": dict(plan="cheese", base_c="cheese amber"),
        "loaf of bread": dict(plan="loaf", base_c="crust caramel", count=4, metres=0.35),
        "toast": dict(plan="toast", base_c="bread honey", fill_c="crust brown", metres=0.12),
        "french fries": dict(plan="fries", base_c="cheese amber", extra_c="red navy", metres=0.15),
        "kebab": dict(plan="skewer", fill_c="brown", extra_c="red lime", metres=0.25),
    },
    dict(edible=1.0, soft=0.7, indoor=0.9, round=0.4),
)  # fmt: skip

FAMILIES = (FRUITS, VEGETABLES, SWEETS, DISHES)
