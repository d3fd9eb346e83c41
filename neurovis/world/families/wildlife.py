"""Birds, fish, insects, sea creatures and reptiles."""

# One line per concept and per stroke: tables of coordinates read better in rows.
# ruff: noqa: C408, E741, RUF005
# fmt: off

import numpy as np

from ..concepts import Family
from ..drawing import COLOURS as C
from ..drawing import arc, mix, shade, smooth, tube, turn


def bird(s, p):
    """A bird that stands, facing right; `lean` lifts its chest."""
    l, g, r, lean = p.length, p.girth, p.head, p.lean + 5 * p.tilt
    cx, cy = 0.0, p.leg + 0.42 * g + 0.3 * l * abs(np.sin(np.radians(lean)))

    def at(x, y):
        return turn([(x * l / 2, y * g / 2)], lean, cx, cy)[0]

    rump, chest = at(-0.85, 0.1), at(0.62, 0.25)
    t = p.taillen
    if p.tail == "train":
        fan = turn([(0, 0.1), (-0.4, 0.5), (-0.75, 0.85), (-1.1, 0.95), (-1.3, 0.7), (-1.3, 0.3), (-1.05, 0), (0, -0.1)], 0)
        s.blob(fan * t + rump, p.wing_c)
        for i in range(5):
            for k in (0.55, 0.95):
                q = rump + turn([(-k * t * 1.15, 0)], -62 + 16 * i + 25)[0]
                s.oval(*q, 0.075 * t, 0.06 * t, C["gold"], line=False)
                s.dot(*q, 0.035 * t, C["navy"])
    elif p.tail == "sickle":
        for i in range(4):
            s.limb([rump, rump + (-0.3 * t, 0.35 * t + 0.12 * i * t), rump + (-0.75 * t, 0.1 * t + 0.16 * i * t)],
                   [0.16, 0.15, 0.04], shade(p.tail_c, -0.12 * (i % 2)))
    else:
        spread = 14 if p.tail == "fan" else 5
        for a in (-spread, spread, 0):
            s.limb([rump + at(0.3, 0) - at(0, 0), rump + turn([(-t, 0)], lean + p.tailrise + a)[0]],
                   [g * 0.35, g * (0.3 if p.tail == "fan" else 0.16)], p.tail_c)
    for x, c in ((0.1, shade(p.leg_c, -0.25)), (-0.06, p.leg_c)):
        stand = cx + x * l * 0.8
        s.limb([(stand, cy - 0.2 * g), (stand - 0.03, p.leg * 0.5), (stand + 0.02 * p.pose, 0.03)], 0.05 + 0.02 * g, c)
        for dx in (0.14, 0.07, -0.08):
            s.limb([(stand, 0.04), (stand + dx * (1 + g), 0.02)], 0.04, c)
    neck = turn([(p.neck, 0)], p.rise)[0]
    hx, hy = at(0.72, 0.5) + neck
    with s.joined():
        body = s.blob([at(-1.05, 0.15), at(-0.5, 0.75), at(0.2, 0.95), at(0.85, 0.6), at(1, 0), at(0.6, -0.75),
                       at(-0.1, -0.95), at(-0.75, -0.5)], p.coat_c)
        bow = (0.25 * p.neck if p.curve else 0, 0)
        column = s.limb([at(0.5, 0.1), (chest + (hx, hy)) / 2 + bow, (hx, hy)], [g * 0.6, r * 1.3 + 0.1 * g, r * 1.5], p.coat_c)
        face = s.oval(hx, hy, r, r * 0.95, p.head_c)
    if p.neck > 0.25:
        s.texture(column, [column], p.coat_c if not p.bald else p.head_c)
    s.texture(body, [np.array([at(1.3, -0.1), at(0.75, 0.55), at(0.1, -0.2), at(-0.9, -0.5), at(-0.9, -2), at(1.3, -2)])],
              p.belly_c)
    if p.cap:
        s.texture(face, [np.array([(hx - 2 * r, hy + 0.1 * r), (hx + 2 * r, hy + 0.35 * r), (hx + 2 * r, hy + 2 * r),
                                   (hx - 2 * r, hy + 2 * r)])], p.wing_c)
    if p.speckle:
        s.spots(body, shade(p.wing_c, -0.2), 20, 0.025, p.phase, 1.6)
    _crest(s, p, hx, hy, r)
    wing = [at(0.45, 0.55), at(0.1, 0.72), at(-0.5, 0.4), at(-1.12, -0.05), at(-0.5, -0.4), at(0.15, -0.4), at(0.48, 0.0)]
    pivot = at(0.4, 0.2)
    flap = turn(np.array(wing) - pivot, 12 - 14 * p.pose if p.pose > 0 else 0, *pivot)
    feathers = s.blob(flap, p.wing_c)
    s.stripes(feathers, shade(p.wing_c, -0.25), 4, lean + 8, 0.14)
    if p.bar:
        s.stripes(feathers, p.bar_c, 2, lean + 60, 0.3)
    _beak(s, p, hx, hy, r)
    if p.owl:
        for dx in (0.45, -0.35):
            s.oval(hx + dx * r, hy + 0.05 * r, 0.46 * r, 0.5 * r, mix(p.belly_c, C["white"], 0.3))
            s.eye(hx + dx * r, hy + 0.05 * r, 0.24 * r, False, C["amber"])
        s.poly([(hx - 0.08 * r, hy + 0.05 * r), (hx + 0.2 * r, hy + 0.05 * r), (hx + 0.06 * r, hy - 0.35 * r)], p.beak_c)
    else:
        s.eye(hx + 0.3 * r, hy + 0.2 * r, max(r * 0.17, 0.024), False, C["black"])


def _crest(s, p, x, y, r):
    if p.crest == "comb":
        for dx, k in ((-0.45, 0.28), (0, 0.36), (0.4, 0.28)):
            s.oval(x + dx * r, y + r * 1.02, k * r, k * 1.25 * r, C["red"])
        s.oval(x + 0.6 * r, y - 0.9 * r, 0.2 * r, 0.4 * r, C["red"])
    elif p.crest == "tuft":
        for a in (120, 140, 160):
            s.limb([(x, y + 0.6 * r), turn([(r * 2.0, 0)], a, x + 0.2 * r, y + 0.2 * r)[0]], [0.4 * r, 0.05], p.wing_c)
    elif p.crest == "crown":
        for a in (75, 95, 115):
            q = turn([(r * 2, 0)], a, x, y)[0]
            s.stroke([(x, y + 0.7 * r), q], 0.025, p.wing_c)
            s.dot(*q, 0.2 * r, p.tail_c)
    elif p.crest == "horns":
        for dx in (-0.6, 0.6):
            s.poly([(x + (dx - 0.25) * r, y + 0.7 * r), (x + dx * 1.3 * r, y + 1.45 * r), (x + (dx + 0.25) * r, y + 0.7 * r)], p.coat_c)
    elif p.crest == "plume":
        s.limb([(x - 0.2 * r, y + 0.5 * r), (x - 1.2 * r, y + 0.8 * r), (x - 2 * r, y + 0.3 * r)], [0.25 * r, 0.16 * r, 0.03], C["black"])


def _beak(s, p, x, y, r):
    b, c, x0 = p.beak, p.beak_c, x + 0.72 * r
    low = shade(c, -0.2)
    if p.bill == "hook":
        s.blob([(x0 - 0.1 * r, y + 0.4 * r), (x0 + 0.6 * b, y + 0.35 * r), (x0 + b, y - 0.25 * r), (x0 + 0.55 * b, y - 0.05 * r),
                (x0 - 0.1 * r, y - 0.25 * r)], c)
    elif p.bill == "flat":
        s.blob([(x0 - 0.1 * r, y + 0.3 * r), (x0 + 0.5 * b, y + 0.05 * r), (x0 + b, y + 0.05 * r), (x0 + b, y - 0.2 * r),
                (x0 - 0.1 * r, y - 0.35 * r)], c)
    elif p.bill == "big":
        bill = s.blob([(x0 - 0.1 * r, y + 0.6 * r), (x0 + 0.5 * b, y + 0.65 * r), (x0 + b, y - 0.3 * r), (x0 + 0.4 * b, y - 0.3 * r),
                       (x0 - 0.1 * r, y - 0.45 * r)], c)
        s.texture(bill, [np.array([(x0 + 0.75 * b, y - 3), (x0 + 0.75 * b, y + 3), (x0 + 9, y + 3), (x0 + 9, y - 3)])], C["black"])
    elif p.bill == "pouch":
        s.blob([(x0 - 0.2 * r, y), (x0 + 0.5 * b, y - 0.45 * b), (x0 + b, y - 0.3 * r)], shade(c, 0.25))
        s.limb([(x0 - 0.2 * r, y + 0.1 * r), (x0 + b, y - 0.15 * r)], [0.4 * r, 0.16 * r], c)
    elif p.bill == "down":
        s.limb([(x0 - 0.1 * r, y), (x0 + 0.6 * b, y - 0.05 * r), (x0 + 0.85 * b, y - 0.6 * b)], [0.6 * r, 0.5 * r, 0.1 * r], c)
        s.dot(x0 + 0.85 * b, y - 0.6 * b, 0.16 * r, C["black"])
    else:
        s.poly([(x0 - 0.1 * r, y + 0.05 * r), (x0 + b * 0.85, y - 0.12 * r), (x0 - 0.05 * r, y - 0.4 * r)], low)
        s.poly([(x0 - 0.15 * r, y + 0.35 * r), (x0 + b, y - 0.08 * r), (x0 - 0.15 * r, y - 0.1 * r)], c)


BIRDS = Family(
    "bird", "animal", bird,
    dict(coat_c="brown tan", wing_c="brown cocoa", belly_c="cream", head_c="brown tan", beak_c="amber", tail_c="cocoa brown", leg_c="copper",
         bar_c="white", length=0.9, girth=0.5, neck=0.06, rise=60.0, head=0.2, beak=0.16, bill="cone", lean=16.0, leg=0.2, tail="plain",
         taillen=0.35, tailrise=-4.0, crest="", curve=False, bald=False, owl=False, cap=False, bar=False, speckle=False, metres=0.3),
    {
        "house sparrow": dict(coat_c="tan", wing_c="chestnut", head_c="ash", speckle=True, cap=True, metres=0.15),
        "robin": dict(coat_c="olive tan", wing_c="brown", belly_c="orange russet", head_c="orange russet", girth=0.58, head=0.22, beak=0.1, metres=0.14),
        "blue tit": dict(coat_c="sage", wing_c="blue", belly_c="yellow", head_c="white", tail_c="blue", leg_c="slate", beak_c="black", cap=True, girth=0.56, head=0.23, beak=0.08, length=0.75, metres=0.12),
        "goldfinch": dict(coat_c="yellow amber", wing_c="black", belly_c="lemon", head_c="yellow", tail_c="black", bar=True, cap=True, beak_c="orange", beak=0.14, metres=0.12),
        "cardinal": dict(coat_c="red crimson", wing_c="crimson", belly_c="red", head_c="red", tail_c="crimson", crest="tuft", beak_c="orange", taillen=0.5, metres=0.22),
        "blue jay": dict(coat_c="sky", wing_c="blue", belly_c="white", head_c="blue", tail_c="blue", crest="tuft", bar=True, beak_c="black", leg_c="slate", taillen=0.5, metres=0.28),
        "crow": dict(coat_c="black charcoal", wing_c="black", belly_c="black", head_c="black", tail_c="black", beak_c="charcoal", leg_c="slate", beak=0.24, length=1.05, metres=0.5),
        "magpie": dict(coat_c="black", wing_c="navy", belly_c="white", head_c="black", tail_c="navy", beak_c="charcoal", leg_c="slate", bar=True, taillen=0.8, metres=0.45),
        "pigeon": dict(coat_c="slate grey", wing_c="silver", belly_c="ash", head_c="teal slate", tail_c="slate", leg_c="rose", beak_c="charcoal", bar_c="charcoal", bar=True, head=0.16, beak=0.1, length=1.05, metres=0.33),
        "dove": dict(coat_c="white snow", wing_c="white", belly_c="snow", head_c="white", tail_c="white", tail="fan", leg_c="rose", beak_c="coral", head=0.16, beak=0.08, length=1.0, metres=0.3),
        "snowy owl": dict(coat_c="white snow", wing_c="silver", belly_c="white", head_c="white", tail_c="silver", owl=True, speckle=True, lean=58.0, head=0.3, leg=0.06, girth=0.6, beak=0.01, beak_c="charcoal", neck=0.01, metres=0.6),
        "horned owl": dict(coat_c="brown chestnut", wing_c="cocoa", belly_c="tan", head_c="brown chestnut", owl=True, crest="horns", speckle=True, lean=58.0, head=0.3, leg=0.06, girth=0.6, beak=0.01, beak_c="charcoal", neck=0.01, metres=0.5),
        "bald eagle": dict(coat_c="cocoa umber", wing_c="umber", belly_c="cocoa", head_c="white", tail_c="white", bill="hook", beak=0.24, lean=40.0, head=0.19, girth=0.55, tail="fan", leg_c="amber", metres=0.9),
        "falcon": dict(coat_c="slate", wing_c="slate", belly_c="cream", head_c="charcoal slate", tail_c="slate", bill="hook", beak=0.12, lean=48.0, head=0.18, speckle=True, leg_c="yellow", length=1.0, metres=0.5),
        "vulture": dict(coat_c="umber", wing_c="cocoa", belly_c="umber", head_c="blush rose", tail_c="umber", bill="hook", beak=0.2, neck=0.3, rise=25.0, bald=True, lean=42.0, head=0.14, girth=0.6, metres=1.0),
        "green parrot": dict(coat_c="green lime leaf", wing_c="leaf", belly_c="lime", head_c="green", tail_c="teal", bill="hook", beak_c="coral", beak=0.17, lean=48.0, head=0.22, taillen=0.6, metres=0.35),
        "scarlet macaw": dict(coat_c="red", wing_c="blue", belly_c="red", head_c="red", tail_c="blue red", bar_c="yellow", bar=True, bill="hook", beak_c="ivory", beak=0.24, lean=50.0, head=0.22, taillen=0.95, metres=0.85),
        "cockatoo": dict(coat_c="white snow", wing_c="lemon", belly_c="white", head_c="white", tail_c="cream", crest="tuft", bill="hook", beak_c="slate", beak=0.18, lean=46.0, head=0.21, metres=0.45),
        "toucan": dict(coat_c="black", wing_c="black", belly_c="white", head_c="cream", tail_c="black", bill="big", beak_c="orange amber", beak=0.55, lean=40.0, head=0.2, leg_c="sky", metres=0.55),
        "kingfisher": dict(coat_c="turquoise blue", wing_c="blue", belly_c="orange", head_c="turquoise", tail_c="blue", beak_c="charcoal", beak=0.42, lean=30.0, head=0.25, taillen=0.16, length=0.75, leg=0.08, metres=0.17),
        "hummingbird": dict(coat_c="green teal", wing_c="silver", belly_c="white", head_c="magenta crimson", tail_c="leaf", beak_c="charcoal", beak=0.5, lean=38.0, length=0.65, girth=0.32, head=0.15, leg=0.05, tail="fan", taillen=0.25, metres=0.09, flies=1.0),
        "woodpecker": dict(coat_c="black", wing_c="black", belly_c="white", head_c="red crimson", tail_c="black", bar=True, beak_c="slate", beak=0.34, lean=60.0, crest="tuft", head=0.18, leg=0.1, metres=0.3),
        "mallard duck": dict(coat_c="stone grey", wing_c="brown", belly_c="silver", head_c="forest", tail_c="white", bill="flat", beak_c="yellow", leg_c="orange", beak=0.26, lean=4.0, length=1.1, neck=0.26, rise=70.0, leg=0.1, head=0.17, tailrise=-24.0, taillen=0.22, metres=0.55, aquatic=0.8),
        "goose": dict(coat_c="white stone", wing_c="white", belly_c="white", head_c="white", tail_c="white", bill="flat", beak_c="orange", leg_c="orange", beak=0.24, lean=12.0, length=1.15, neck=0.62, rise=78.0, leg=0.18, head=0.16, tailrise=-20.0, taillen=0.22, metres=0.8, aquatic=0.6),
        "swan": dict(coat_c="white snow", wing_c="snow", belly_c="white", head_c="white", tail_c="white", bill="flat", beak_c="orange", leg_c="charcoal", beak=0.24, lean=2.0, length=1.35, girth=0.56, neck=0.85, rise=84.0, curve=True, leg=0.03, head=0.14, tailrise=-26.0, taillen=0.25, metres=1.5, aquatic=0.9),
        "flamingo": dict(coat_c="pink coral rose", wing_c="rose", belly_c="pink", head_c="pink", tail_c="rose", bill="down", beak_c="cream", leg_c="rose", beak=0.24, lean=14.0, length=0.75, girth=0.38, neck=0.75, rise=72.0, curve=True, leg=0.95, head=0.13, taillen=0.14, metres=1.3, aquatic=0.5),
        "heron": dict(coat_c="steel silver", wing_c="slate", belly_c="white", head_c="white", tail_c="slate", crest="plume", beak_c="amber", beak=0.45, lean=26.0, length=0.85, girth=0.36, neck=0.6, rise=70.0, curve=True, leg=0.75, head=0.12, leg_c="olive", metres=1.0, aquatic=0.5),
        "stork": dict(coat_c="white", wing_c="black", belly_c="white", head_c="white", tail_c="white", beak_c="red", leg_c="red", beak=0.48, lean=20.0, length=0.85, girth=0.4, neck=0.45, rise=72.0, leg=0.75, head=0.13, taillen=0.16, metres=1.0),
        "crane": dict(coat_c="silver", wing_c="ash", belly_c="silver", head_c="charcoal", tail_c="amber", crest="crown", beak_c="charcoal", leg_c="charcoal", beak=0.2, lean=24.0, length=0.85, girth=0.4, neck=0.6, rise=78.0, leg=0.8, head=0.13, tail="fan", metres=1.1),
        "pelican": dict(coat_c="white cream", wing_c="silver", belly_c="white", head_c="cream", tail_c="silver", bill="pouch", beak_c="amber", leg_c="amber", beak=0.62, lean=24.0, length=1.05, girth=0.6, neck=0.4, rise=82.0, curve=True, leg=0.14, head=0.16, taillen=0.18, metres=1.5, aquatic=0.8),
        "puffin": dict(coat_c="black", wing_c="black", belly_c="white", head_c="white", tail_c="black", cap=True, bill="big", beak_c="orange", leg_c="orange", beak=0.22, lean=50.0, girth=0.54, leg=0.08, taillen=0.14, length=0.8, metres=0.3, aquatic=0.8),
        "gull": dict(coat_c="white", wing_c="silver grey", belly_c="white", head_c="white", tail_c="charcoal", beak_c="yellow", leg_c="amber", beak=0.22, lean=12.0, length=1.05, girth=0.44, head=0.18, metres=0.5, aquatic=0.5),
        "penguin": dict(coat_c="black", wing_c="black charcoal", belly_c="white", head_c="black", tail_c="black", beak_c="orange", leg_c="orange", beak=0.18, lean=76.0, length=1.05, girth=0.6, leg=0.04, taillen=0.14, head=0.2, neck=0.02, metres=0.8, aquatic=0.9),
        "rooster": dict(coat_c="russet chestnut", wing_c="chestnut", belly_c="cocoa", head_c="honey", tail_c="forest teal", tail="sickle", taillen=0.7, crest="comb", beak=0.14, lean=26.0, neck=0.2, rise=70.0, leg=0.28, leg_c="yellow", girth=0.56, metres=0.5),
        "hen": dict(coat_c="rust white tan", wing_c="rust white tan", belly_c="cream", head_c="rust white tan", tail_c="rust", tail="fan", tailrise=-40.0, taillen=0.34, crest="comb", beak=0.12, lean=10.0, neck=0.1, leg=0.2, leg_c="yellow", girth=0.64, metres=0.4),
        "chick": dict(coat_c="yellow lemon", wing_c="amber", belly_c="lemon", head_c="yellow lemon", tail_c="amber", tail="plain", taillen=0.1, beak=0.08, length=0.6, girth=0.5, head=0.24, leg=0.12, metres=0.1),
        "turkey": dict(coat_c="umber cocoa", wing_c="brown", belly_c="umber", head_c="sky", tail_c="rust", tail="fan", tailrise=-70.0, taillen=0.6, crest="comb", bald=True, lean=22.0, neck=0.3, rise=74.0, head=0.13, girth=0.72, leg=0.2, beak=0.1, metres=1.0),
        "peacock": dict(coat_c="blue indigo", wing_c="teal", belly_c="blue", head_c="blue indigo", tail_c="teal", tail="train", taillen=0.95, crest="crown", lean=24.0, neck=0.4, rise=74.0, head=0.13, leg=0.26, beak=0.1, metres=1.2),
        "ostrich": dict(coat_c="black umber", wing_c="umber", belly_c="white", head_c="blush", tail_c="white", tail="fan", bald=True, lean=10.0, length=0.9, girth=0.56, neck=0.85, rise=82.0, head=0.12, leg=0.8, leg_c="blush", bill="flat", beak=0.14, taillen=0.25, metres=2.4, flies=0.0),
    },
    dict(animate=1.0, natural=1.0, moves=1.0, flies=0.8, soft=0.5, edible=0.15), faces=True,
)


def fish(s, p):
    """Fish and whales, facing right."""
    l, h = p.length, p.height
    coat, belly, mark, fin = p.coat_c, p.belly_c, p.mark_c, p.fin_c
    wag = 0.06 * p.pose
    root, t = -0.47 * l, p.tails
    ends = {
        "fork": [(0.1, 0.1), (-0.32, 0.42), (-0.16, 0), (-0.32, -0.42), (0.1, -0.1)],
        "moon": [(0.1, 0.06), (-0.12, 0.2), (-0.3, 0.6), (-0.1, 0), (-0.24, -0.5), (-0.12, -0.2), (0.1, -0.06)],
        "round": [(0.1, 0.1), (-0.15, 0.26), (-0.34, 0.2), (-0.38, 0), (-0.34, -0.2), (-0.15, -0.26), (0.1, -0.1)],
        "veil": [(0.1, 0.1), (-0.3, 0.5), (-0.75, 0.55), (-0.6, 0.1), (-0.85, -0.35), (-0.3, -0.4), (0.1, -0.1)],
        "fluke": [(0.12, 0.1), (-0.1, 0.2), (-0.34, 0.46), (-0.3, 0.12), (-0.46, 0.06), (-0.1, -0.05), (0.12, -0.08)],
    }
    tail = np.array(ends[p.tail]) * t + (root, wag)
    (s.poly if p.tail in ("fork", "moon") else s.blob)(tail, fin)
    top, low = h * 0.46, -h * 0.4
    if p.dorsal == "long":
        s.blob([(0.3 * l, top * 0.7), (0.1 * l, top + 0.25 * h * p.fins), (-0.2 * l, top + 0.22 * h * p.fins), (-0.4 * l, top * 0.5)], fin)
    elif p.dorsal == "spike":
        s.poly([(0.1 * l, top * 0.8), (-0.06 * l, top + 0.5 * p.fins * 0.6), (-0.12 * l, top * 0.8)], fin)
    elif p.dorsal == "sail":
        s.blob([(0.3 * l, top * 0.6), (0.2 * l, top + 0.5 * h * p.fins), (-0.1 * l, top + 0.7 * h * p.fins), (-0.3 * l, top * 0.6)], fin)
        s.blob([(0.15 * l, low * 0.6), (0.0, low - 0.45 * h * p.fins), (-0.2 * l, low - 0.5 * h * p.fins), (-0.3 * l, low * 0.6)], fin)
    if p.dorsal in ("long", "spike"):
        s.poly([(-0.12 * l, low * 0.7), (-0.24 * l, low - 0.14 * p.fins), (-0.26 * l, low * 0.5)], fin)
    if p.spines:
        for a in range(0, 360, 18):
            q = arc(0, 0, 0.5 * l, 0.5 * h, a, a + 1, 2)[0]
            s.poly(turn([(-0.03, -0.03), (0.13, 0), (-0.03, 0.03)], a, *q), fin)
    nose = 0.5 * l
    if p.sword:
        s.poly([(nose - 0.1 * l, 0.06), (nose + p.sword, 0.03), (nose - 0.1 * l, -0.05)], shade(coat, -0.1))
    body = s.blob([(nose, -0.02 * h), (nose - 0.08 * l, 0.26 * h * p.blunt), (0.2 * l, top), (-0.12 * l, top * 0.9), (-0.36 * l, top * 0.35), (root, 0.06 * h + wag),
                   (root, -0.06 * h + wag), (-0.36 * l, low * 0.4), (-0.1 * l, low), (0.2 * l, low), (nose - 0.08 * l, -0.24 * h * p.blunt)], coat)
    under = [(l, -0.1 * h), (0.2 * l, -0.14 * h), (-0.5 * l, -0.02 * h), (-0.5 * l, -h), (l, -h)]
    s.texture(body, [smooth(under)], belly)
    if p.pattern == "bands":
        for x in (0.24, -0.06, -0.34):
            for w, c in ((0.085, C["black"]), (0.06, mark)):
                s.texture(body, [np.array([((x - w) * l, -h), ((x - w) * l, h), ((x + w) * l, h), ((x + w) * l, -h)])], c)
    elif p.pattern == "bars":
        s.stripes(body, mark, 6, 90, 0.34, 0.02)
    elif p.pattern == "stripes":
        s.stripes(body, mark, 5, 0, 0.34)
    elif p.pattern == "spots":
        s.spots(body, mark, 30, 0.02 * l, p.phase)
    elif p.pattern == "patch":
        s.texture(body, [arc(0.3 * l, 0.16 * h, 0.07 * l, 0.09 * h, 0, 350), arc(-0.05 * l, -0.2 * h, 0.12 * l, 0.12 * h, 0, 350)], mark)
    elif p.pattern == "grooves":
        for k in range(5):
            s.texture(body, [tube([(nose, -0.12 * h - 0.05 * k * h), (0.0, -0.2 * h - 0.05 * k * h)], 0.012)], mark)
    if p.scales:
        for i in range(5):
            for j in (-1, 0, 1):
                q = arc((0.16 - 0.12 * i) * l, (0.15 * j + 0.04) * h, 0.05 * l, 0.07 * h, 100, 260, 7)
                s.texture(body, [tube(q, 0.014)], shade(coat, -0.2))
    s.stroke(arc(0.24 * l, 0, 0.1 * l, 0.3 * h, 120, 240, 8), 0.018, shade(coat, -0.4))
    s.blob([(0.1 * l, -0.08 * h), (-0.06 * l, -0.02 * h - 0.1 * p.fins * p.pose), (-0.14 * l, -0.22 * h), (0.04 * l, -0.24 * h)], shade(fin, 0.06))
    s.stroke([(nose - 0.005, -0.06 * h), (nose - 0.1 * l, -0.12 * h)], 0.02, shade(coat, -0.5))
    if p.lips:
        s.oval(nose, -0.03 * h, 0.05 * l, 0.07 * h, shade(coat, 0.2))
    if p.jet:
        for f in (-1, 1):
            s.limb([(0.26 * l, top), (0.26 * l + 0.03 * f, top + 0.14), (0.26 * l + 0.14 * f, top + 0.2)], [0.03, 0.05, 0.02], C["glass"])
    s.eye(nose - 0.14 * l, 0.12 * h, 0.035 * (0.6 + h), not p.small_eye, C["black"])


FISHES = Family(
    "fish", "animal", fish,
    dict(coat_c="orange amber", belly_c="cream", mark_c="white", fin_c="orange amber", length=1.3, height=0.6, tail="fork", tails=0.8, dorsal="long",
         fins=0.8, pattern="plain", sword=0.0, blunt=1.0, spines=False, scales=False, lips=False, jet=False, small_eye=False, metres=0.3),
    {
        "clownfish": dict(coat_c="orange", belly_c="orange", pattern="bands", tail="round", metres=0.1),
        "goldfish": dict(coat_c="orange amber", belly_c="amber", fin_c="orange", tail="veil", scales=True, height=0.7, length=1.1, metres=0.15),
        "betta": dict(coat_c="crimson blue violet", belly_c="purple indigo", fin_c="red blue magenta", tail="veil", tails=1.3, dorsal="sail", fins=1.2, height=0.42, metres=0.07),
        "angelfish": dict(coat_c="silver yellow", belly_c="white", mark_c="charcoal", fin_c="silver yellow", pattern="bars", dorsal="sail", fins=1.1, height=1.0, length=1.0, tail="round", metres=0.15),
        "surgeonfish": dict(coat_c="blue", belly_c="navy", fin_c="yellow", mark_c="navy", pattern="patch", height=0.72, length=1.2, tail="fork", metres=0.3),
        "butterflyfish": dict(coat_c="yellow lemon", belly_c="white", mark_c="black", fin_c="yellow", pattern="bars", height=0.95, length=1.0, sword=0.12, tail="round", tails=0.6, metres=0.2),
        "pufferfish": dict(coat_c="sand olive", belly_c="white", mark_c="brown", fin_c="amber", pattern="spots", spines=True, height=1.15, length=1.1, tail="round", tails=0.5, dorsal="", lips=True, metres=0.3),
        "carp": dict(coat_c="brass olive", belly_c="sand", fin_c="brown", scales=True, height=0.56, length=1.5, tail="fork", metres=0.6, edible=0.7),
        "koi": dict(coat_c="white", belly_c="snow", mark_c="red orange", fin_c="white", pattern="patch", height=0.48, length=1.5, tail="veil", tails=0.6, metres=0.5),
        "trout": dict(coat_c="sage olive", belly_c="blush", mark_c="umber", fin_c="tan", pattern="spots", height=0.42, length=1.6, tail="fork", tails=0.6, metres=0.4, edible=0.8),
        "salmon": dict(coat_c="steel slate", belly_c="pink", mark_c="slate", fin_c="slate", pattern="plain", height=0.44, length=1.7, tail="moon", tails=0.55, metres=0.8, edible=0.9),
        "tuna": dict(coat_c="navy", belly_c="silver", mark_c="slate", fin_c="yellow", height=0.52, length=1.7, tail="moon", tails=0.8, dorsal="spike", fins=0.5, metres=2.0, edible=0.9),
        "sardine": dict(coat_c="steel teal", belly_c="silver", mark_c="navy", fin_c="slate", pattern="stripes", height=0.32, length=1.6, tail="fork", tails=0.5, dorsal="spike", fins=0.3, metres=0.15, edible=0.9),
        "piranha": dict(coat_c="slate", belly_c="red", mark_c="black", fin_c="crimson", pattern="spots", height=0.78, length=1.2, blunt=1.5, tail="fork", metres=0.25),
        "lionfish": dict(coat_c="cream", belly_c="white", mark_c="brick crimson", fin_c="brick rust", pattern="bars", dorsal="sail", fins=1.4, height=0.5, spines=True, tail="round", metres=0.3),
        "swordfish": dict(coat_c="slate indigo", belly_c="silver", fin_c="navy", height=0.4, length=1.7, sword=0.65, tail="moon", tails=0.85, dorsal="spike", fins=1.0, metres=3.0, edible=0.7),
        "great white shark": dict(coat_c="slate steel", belly_c="white", fin_c="slate", height=0.5, length=1.8, tail="moon", tails=0.85, dorsal="spike", fins=1.0, blunt=0.8, small_eye=True, metres=4.5),
        "whale shark": dict(coat_c="slate navy", belly_c="silver", mark_c="white", fin_c="slate", pattern="spots", height=0.6, length=1.9, blunt=1.7, tail="moon", tails=0.8, dorsal="spike", fins=0.7, small_eye=True, metres=10.0),
        "dolphin": dict(coat_c="steel slate", belly_c="silver", fin_c="slate", height=0.46, length=1.6, sword=0.16, tail="fluke", tails=0.75, dorsal="spike", fins=0.8, blunt=0.9, small_eye=True, metres=2.5),
        "orca": dict(coat_c="black", belly_c="white", mark_c="white", fin_c="black", pattern="patch", height=0.6, length=1.7, tail="fluke", tails=0.9, dorsal="spike", fins=1.5, blunt=1.4, small_eye=True, metres=7.0),
        "blue whale": dict(coat_c="steel blue", belly_c="silver", mark_c="slate", fin_c="slate", pattern="grooves", height=0.56, length=2.0, tail="fluke", tails=0.85, dorsal="", blunt=1.5, jet=True, small_eye=True, metres=25.0),
        "sperm whale": dict(coat_c="ash charcoal", belly_c="grey", mark_c="charcoal", fin_c="charcoal", height=0.62, length=1.8, tail="fluke", tails=0.9, dorsal="", blunt=2.0, jet=True, small_eye=True, metres=16.0),
        "narwhal": dict(coat_c="silver steel", belly_c="white", mark_c="slate", fin_c="slate", pattern="spots", height=0.5, length=1.4, sword=0.9, tail="fluke", tails=0.8, dorsal="", blunt=1.5, small_eye=True, metres=4.0),
    },
    dict(animate=1.0, natural=1.0, moves=1.0, aquatic=1.0, edible=0.4, soft=0.3), faces=True, floats=True,
)

FAMILIES = (BIRDS, FISHES)
