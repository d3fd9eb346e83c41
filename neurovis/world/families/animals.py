"""Mammals, birds and fish: bodies from joined limbs, told apart by proportion, parts and coat."""

# One line per concept and per stroke: tables of coordinates read better in rows.
# ruff: noqa: C408, E741
# fmt: off

from ..concepts import Family
from ..drawing import COLOURS as C
from ..drawing import FLAT, arc, mix, shade, turn


def _ear(s, kind, x, y, k, colour, inner, lean=0.0):
    """One ear at the top of a head, `k` its height."""
    if not kind:
        return
    if kind == "point":
        shape = [(-0.42, -0.1), (-0.1, 1), (0.12, 0.95), (0.5, -0.1)]
        lobe = [(-0.2, 0), (0.0, 0.7), (0.28, 0)]
    elif kind == "round":
        shape = [(-0.55, 0), (-0.5, 0.6), (0, 0.9), (0.5, 0.6), (0.55, 0)]
        lobe = [(-0.3, 0.1), (0, 0.65), (0.3, 0.1)]
    elif kind == "long":
        shape = [(-0.2, 0), (-0.3, 1.2), (0, 2.1), (0.25, 1.2), (0.2, 0)]
        lobe = [(-0.08, 0.2), (-0.12, 1.2), (0, 1.7), (0.12, 1.2), (0.08, 0.2)]
    elif kind == "flop":
        shape = [(-0.3, 0.2), (0.1, 0.35), (0.3, 0.0), (0.15, -1.2), (-0.25, -1.35), (-0.45, -0.7)]
        lobe = None
    else:  # "side": leaf-shaped ears of cattle and deer that stand off backwards
        shape = [(0, -0.1), (-0.5, 0.4), (-1.2, 0.5), (-0.9, 0.05), (-0.3, -0.2)]
        lobe = [(-0.2, 0.0), (-0.6, 0.3), (-1.0, 0.35), (-0.6, 0.05)]
    smoother = s.poly if kind == "point" else s.blob
    smoother(turn(shape, lean) * k + (x, y), colour)
    if lobe:
        s.poly(turn(lobe, lean) * k + (x, y), inner, False, FLAT)


def _horns(s, kind, x, y, k, colour):
    if kind == "antlers":
        for dx, c in ((0.12, shade(colour, -0.25)), (0, colour)):
            s.limb([(x + dx, y), (x - 0.15 * k + dx, y + 0.6 * k), (x + 0.1 * k + dx, y + 1.2 * k)],
                   [0.09 * k, 0.07 * k, 0.03 * k], c)
            for t, a in ((0.35, 0.3), (0.7, 0.36), (0.95, 0.25)):
                s.limb([(x + dx - 0.12 * k, y + t * k), (x + dx + a * k, y + (t + 0.2) * k)],
                       [0.06 * k, 0.02 * k], c)
    elif kind == "palms":
        for dx, c in ((0.14, shade(colour, -0.25)), (0, colour)):
            s.blob([(x + dx, y), (x + dx - 0.7 * k, y + 0.5 * k), (x + dx - 0.9 * k, y + 1.1 * k),
                    (x + dx - 0.45 * k, y + 0.85 * k), (x + dx - 0.2 * k, y + 1.2 * k),
                    (x + dx, y + 0.8 * k), (x + dx + 0.2 * k, y + k)], c)
    elif kind == "curl":
        ring = arc(x - 0.1 * k, y - 0.25 * k, 0.42 * k, 0.42 * k, 60, 380)
        s.limb(ring, [0.3 * k * (1 - 0.055 * i) for i in range(len(ring))], colour)
    elif kind == "swept":
        for dx, c in ((0.1, shade(colour, -0.2)), (0, colour)):
            s.limb([(x + dx, y), (x + dx - 0.2 * k, y + 0.6 * k), (x + dx - 0.75 * k, y + 0.9 * k)],
                   [0.14 * k, 0.1 * k, 0.02 * k], c)
    elif kind == "spear":
        for dx, c in ((0.1, shade(colour, -0.2)), (0, colour)):
            s.limb([(x + dx, y), (x + dx - 0.5 * k, y + 1.5 * k)], [0.1 * k, 0.02 * k], c)
    elif kind == "cattle":
        for f, c in ((0.75, shade(colour, -0.15)), (-1, colour)):
            s.limb([(x, y), (x + 0.45 * k * f, y + 0.1 * k), (x + 0.6 * k * f, y + 0.6 * k)],
                   [0.16 * k, 0.13 * k, 0.03 * k], c)
    elif kind == "nubs":
        for dx in (0.1, -0.06):
            s.limb([(x + dx, y - 0.05), (x + dx - 0.04 * k, y + 0.35 * k)], 0.07 * k, colour)
            s.dot(x + dx - 0.04 * k, y + 0.36 * k, 0.06 * k, C["umber"])


def _tail(s, p, x, y, coat, mark):
    t, sway = p.taillen, 0.12 * p.pose
    if p.tail == "bushy":
        shape = s.limb([(x, y), (x - 0.45 * t, y - 0.12 * t + sway), (x - 0.85 * t, y + 0.28 * t + sway)],
                       [0.1, 0.4 * t, 0.16 * t], coat)
        tip = [(x - 2 * t, y + 2 * t), (x - 0.72 * t, y + t), (x - 0.72 * t, y - t), (x - 2 * t, y - t)]
        s.texture(shape, [tip], mark)
    elif p.tail == "plume":
        s.limb([(x + 0.05, y - 0.1), (x - 0.25 * t, y + 0.35 * t), (x - 0.1 * t, y + 0.85 * t),
                (x - 0.5 * t, y + 1.1 * t)], [0.12, 0.42 * t, 0.5 * t, 0.14 * t], coat)
    elif p.tail == "curl":
        s.limb(arc(x - 0.07, y + 0.06, 0.09 * t, 0.1 * t, -60, 330, 9), 0.045 * t, coat)
    elif p.tail == "stub":
        s.oval(x, y, 0.09 * t, 0.09 * t, mark)
    elif p.tail == "hair":
        s.limb([(x, y), (x - 0.25 * t, y - 0.1 * t + sway), (x - 0.3 * t + sway, y - 0.75 * t)],
               [0.1, 0.2 * t, 0.1 * t], mark)
    elif p.tail == "flat":
        shape = s.blob([(x + 0.05, y - 0.1), (x - 0.3 * t, y), (x - 0.9 * t, y - 0.25 * t),
                        (x - 0.8 * t, y - 0.5 * t), (x - 0.2 * t, y - 0.3 * t)], mark)
        s.bricks(shape, shade(mark, -0.3), 4)
    elif p.tail:
        width = 0.16 if p.tail == "thick" else 0.075
        shape = s.limb([(x + 0.05, y), (x - 0.4 * t, y - 0.15 * t + sway), (x - 0.7 * t, y + 0.15 * t + sway),
                        (x - 0.95 * t, y + 0.45 * t + sway)], [width * 1.3, width, width, width * 0.8], coat)
        if p.tail == "tuft":
            s.oval(x - 0.97 * t, y + 0.47 * t + sway, 0.1, 0.07, mark, 40)
        if p.tail == "ringed":
            s.stripes(shape, mark, 8, 60, 0.5)


def mammal(s, p):
    """Four legs, seen from the side, facing right."""
    l, g, y0, r = p.length, p.girth, p.leg, p.head
    coat, mark, belly = p.coat_c, p.mark_c, p.belly_c
    far, swing = shade(coat, -0.22), 0.13 * p.pose * y0
    sock = mark if p.pattern in ("socks", "points") else None
    for x, f in ((-l * 0.3, -1), (l * 0.3, 1)):
        top, foot = (x + 0.06, y0 + 0.3 * g), (x + 0.08 - f * swing + 0.04, p.thick * 0.3)
        s.limb([top, ((top[0] + foot[0]) / 2, y0 * 0.55), foot],
               [p.thick * 1.5, p.thick, p.thick * 0.9], (sock and shade(sock, -0.2)) or far)
    _tail(s, p, -l * 0.47, y0 + 0.72 * g, coat, mark)
    rise = p.rise + 7 * p.tilt
    tip = turn([(p.neck + r * 0.4, 0)], rise, l * 0.38, y0 + 0.72 * g)[0]
    hx, hy = p.hx, p.hy = tip
    jaw = turn([(r * 0.2, -r * 0.15), (r * 0.7 + p.snout, -r * 0.32)], p.nod, hx, hy)
    torso = [
        (-l * 0.5, y0 + 0.56 * g), (-l * 0.37, y0 + 0.97 * g), (0, y0 + (0.93 + p.hump * 0.4) * g),
        (l * 0.3, y0 + (1 + p.hump) * g), (l * 0.5, y0 + 0.6 * g), (l * 0.38, y0 + 0.06 * g),
        (0, y0 + 0.1 * g), (-l * 0.36, y0 + 0.14 * g),
    ]
    _ear(s, p.ear, hx + r * 0.28, hy + r * 0.72, r * p.ears, shade(coat, -0.2), far, p.earlean - 8)
    with s.joined():
        if p.pattern == "humps":
            for x in (-0.2, 0.17):
                s.oval(x * l, y0 + 0.98 * g, 0.15 * l, 0.3 * g, coat)
        body = s.blob(torso, coat)
        for x, f in ((-l * 0.36, 1), (l * 0.36, -1)):
            hip = p.thick * (2.3 if x < 0 else 1.6)
            foot = (x - f * swing + 0.03, p.thick * 0.3)
            s.limb([(x, y0 + 0.4 * g), ((x + foot[0]) / 2 - 0.02, y0 * 0.55), foot],
                   [hip, p.thick, p.thick * 0.95], coat)
            s.oval(foot[0] + p.thick * 0.2, p.thick * 0.28, p.thick * 0.65, p.thick * 0.3, sock or coat)
            if sock:
                s.limb([((x + foot[0]) / 2, y0 * 0.45), foot], p.thick, sock)
        neck = s.limb([(l * 0.3, y0 + 0.62 * g), ((hx + l * 0.36) / 2, (hy + y0 + 0.7 * g) / 2), (hx, hy)],
                      [g * 0.62, (g * 0.4 + r * 1.1) / 2, r * 1.25], coat)
        face = s.oval(hx, hy, r, r * 0.94, coat)
        muzzle = s.limb(jaw, [r * 1.35, r * p.chin], coat)
    _coat(s, p, body, neck, face, muzzle, belly, mark)
    if p.hair:
        _hair(s, p, hx, hy, r, l, y0, g, mark)
    _ear(s, p.ear, hx - r * 0.3, hy + r * 0.72, r * p.ears, mark if p.pattern in ("points", "socks") else coat,
         mix(belly, C["blush"], 0.5), p.earlean + 8)
    if p.horn:
        _horns(s, p.horn, hx - r * 0.1, hy + r * 0.85, p.horns, C["ivory"] if p.horn != "antlers" else C["tan"])
    _face(s, p, hx, hy, r, jaw, muzzle, belly)


def _coat(s, p, body, neck, face, muzzle, belly, mark):
    low, high = body.min(0), body.max(0)
    w, h = high - low
    under = [(low[0], low[1] - 1), (low[0], low[1] + 0.26 * h), (low[0] + 0.5 * w, low[1] + 0.32 * h),
             (high[0], low[1] + 0.3 * h), (high[0], low[1] - 1)]
    if p.pattern != "hide":
        s.texture(body, [under], mix(p.coat_c, belly, 0.75))
    if p.pattern == "stripes":
        s.stripes(body, mark, 9, 96, 0.36, 0.08 * p.girth, True)
        s.stripes(neck, mark, 5, p.rise, 0.36, 0, True)
    elif p.pattern == "tabby":
        s.stripes(body, mark, 8, 100, 0.28, 0.04, True)
        s.stripes(face, mark, 5, 80, 0.2, 0, True)
    elif p.pattern == "spots":
        s.spots(body, mark, 26, 0.042 * p.length, p.phase)
        s.spots(neck, mark, 7, 0.035 * p.length, p.phase)
    elif p.pattern == "net":
        s.spots(body, mark, 22, 0.09 * p.length, p.phase)
        s.spots(neck, mark, 13, 0.075, p.phase)
    elif p.pattern == "patches":
        s.spots(body, mark, 5, 0.2 * p.length, p.phase)
        s.spots(face, mark, 2, 0.5 * p.head, 0.3)
    elif p.pattern == "dapple":
        s.spots(body, mark, 16, 0.03, p.phase)
    elif p.pattern == "saddle":
        back = [(low[0], high[1] + 1), (low[0], low[1] + 0.6 * h), (low[0] + 0.5 * w, low[1] + 0.45 * h),
                (high[0] - 0.1 * w, low[1] + 0.7 * h), (high[0] - 0.1 * w, high[1] + 1)]
        s.texture(body, [back], mark)
    elif p.pattern == "band":
        x = low[0] + 0.62 * w
        s.texture(body, [[(x, -1), (x, 3), (high[0] + 1, 3), (high[0] + 1, -1)]], mark)
    elif p.pattern == "wool":
        for i in range(11):
            t = i / 11 * 6.283
            q = arc(*(low + high) / 2, 0.47 * w, 0.4 * h, 0, 360, 12)[i]
            s.oval(q[0], q[1], 0.13 * w, 0.24 * h, mix(p.coat_c, belly, 0.2 + 0.02 * i), t, lift=2)
        s.oval(*(low + high) / 2, 0.42 * w, 0.4 * h, mix(p.coat_c, belly, 0.3), line=False)
        s.strokes(body, shade(p.coat_c, -0.16), 14, 0.1, 20, 0.03, p.phase)
    elif p.pattern == "spines":
        for i in range(30):
            a = 20 + 150 * ((i * 0.618) % 1)
            k = 0.35 + 0.7 * ((i * 0.755) % 1)
            q = arc(low[0] + 0.45 * w, low[1] + 0.3 * h, 0.5 * w * k, 0.75 * h * k, a, a + 1, 2)[0]
            s.poly(turn([(0, -0.03), (0.24, 0), (0, 0.03)], a + 25, *q), shade(mark, 0.2 * ((i * 0.4) % 1)), lift=2)
    if p.pattern in ("plain", "saddle", "socks", "band"):
        s.strokes(body, shade(p.coat_c, -0.14), 16, 0.11, 172, 0.016, p.phase)
    if p.facing == "mask":
        s.texture(face, [turn(arc(0, 0, p.head * 0.5, p.head * 0.34, 0, 345), -28, p.hx + 0.28 * p.head, p.hy + 0.2 * p.head)], mark)
    elif p.facing == "points":
        s.texture(muzzle, [muzzle], mark)
    elif p.facing == "pale":
        s.texture(muzzle, [muzzle], mix(p.coat_c, belly, 0.85))
    elif p.facing == "blaze":
        s.stripes(face, belly, 1, 75, 0.35)


def _hair(s, p, hx, hy, r, l, y0, g, mark):
    if p.hair == "lion":
        with s.joined():
            for i in range(11):
                q = arc(hx - r * 0.25, hy - r * 0.1, r * 1.1, r * 1.15, 0, 360, 12)[i]
                s.oval(q[0], q[1], r * 0.52, r * 0.52, mark)
            s.oval(hx - r * 0.25, hy - r * 0.1, r * 1.15, r * 1.2, mark)
        s.oval(hx + 0.1 * r, hy, r * 0.85, r * 0.85, p.coat_c)
        s.limb([(hx + 0.2 * r, hy - 0.2 * r), (hx + 0.6 * r + p.snout, hy - 0.35 * r)], [r * 0.9, r * p.chin], p.belly_c)
    else:
        x, y = l * 0.2, y0 + 0.98 * g
        s.limb([(hx + r * 0.2, hy + r * 0.95), (hx - r * 0.7, hy + r * 0.5), ((hx + x) / 2 - r * 0.5, (hy + y) / 2 + r * 0.3),
                (x, y)], [r * 0.4, r * 0.7, r * 0.8, r * 0.3], mark)


def _face(s, p, hx, hy, r, jaw, muzzle, belly):
    nose = jaw[1] + turn([(r * p.chin * 0.42, r * p.chin * 0.2)], p.nod)[0]
    if p.nose == "trunk":
        x, y = jaw[1]
        s.limb([(x - 0.4 * r, y + 0.2 * r), (x + 0.1 * r, y - 0.6 * r), (x + 0.15 * r, y - 1.6 * r),
                (x + (0.45 + 0.3 * p.pose) * r, y - 2.1 * r)], [r * 0.9, r * 0.6, r * 0.42, r * 0.34], p.coat_c)
        s.limb([(x - 0.3 * r, y - 0.3 * r), (x + 0.3 * r, y - 0.75 * r), (x + 0.8 * r, y - 0.6 * r)],
               [r * 0.2, r * 0.18, r * 0.05], C["ivory"])
        s.blob([(hx - 0.1 * r, hy + 0.7 * r), (hx - 0.9 * r, hy + 0.8 * r), (hx - 1.2 * r, hy - 0.1 * r),
                (hx - 0.7 * r, hy - 0.9 * r), (hx - 0.1 * r, hy - 0.4 * r)], shade(p.coat_c, -0.08))
    elif p.nose == "horn":
        x, y = jaw[1]
        s.limb([(x, y + 0.3 * r), (x + 0.25 * r, y + 1.1 * r)], [0.36 * r, 0.04], C["ivory"])
        s.limb([(x - 0.5 * r, y + 0.45 * r), (x - 0.42 * r, y + 0.9 * r)], [0.26 * r, 0.03], C["ivory"])
    elif p.nose == "disc":
        s.oval(jaw[1][0] + r * p.chin * 0.35, jaw[1][1], r * 0.16, r * p.chin * 0.5, shade(p.coat_c, 0.15))
        s.dot(jaw[1][0] + r * p.chin * 0.4, jaw[1][1] + 0.08 * r, 0.05 * r, shade(p.coat_c, -0.5))
        s.dot(jaw[1][0] + r * p.chin * 0.4, jaw[1][1] - 0.12 * r, 0.05 * r, shade(p.coat_c, -0.5))
    elif p.nose == "tusks":
        x, y = jaw[1]
        s.limb([(x - 0.2 * r, y - 0.2 * r), (x + 0.1 * r, y + 0.3 * r)], [0.16 * r, 0.03], C["ivory"])
        s.dot(*nose, r * 0.16, C["umber"])
    else:
        s.oval(*nose, r * 0.19, r * 0.15, C["black"], line=False)
    low = jaw[1] + (0.05 * r, -r * p.chin * 0.26)
    s.stroke([jaw[0] + (r * 0.25, -r * 0.34), low], 0.035 * r + 0.008, shade(p.coat_c, -0.55))
    if p.whiskers:
        for a in (-8, 8, 24):
            s.stroke([jaw[1], jaw[1] + turn([(-r * 0.9, 0)], a)[0]], 0.02 * r + 0.004, C["white"])
    s.eye(hx + r * 0.3, hy + r * 0.24, r * 0.16, p.facing == "mask", C["black"])


MAMMALS = Family(
    "mammal", "animal", mammal,
    dict(coat_c="brown tan", mark_c="cocoa", belly_c="cream", length=1.2, girth=0.46, leg=0.42, thick=0.13,
         neck=0.12, rise=52.0, head=0.23, snout=0.12, chin=0.75, nod=-8.0, ear="point", ears=0.8, earlean=0.0,
         tail="thin", taillen=0.6, pattern="plain", facing="", hump=0.0, horn="", horns=0.4, hair="", nose="",
         whiskers=False, metres=1.0),
    {
        "tabby cat": dict(coat_c="tan grey honey", mark_c="cocoa brown", pattern="tabby", snout=0.02, chin=0.7, whiskers=True, taillen=0.75, metres=0.5),
        "siamese cat": dict(coat_c="cream ivory", mark_c="cocoa umber", pattern="points", facing="points", snout=0.03, length=1.1, girth=0.38, whiskers=True, taillen=0.8, metres=0.5),
        "black cat": dict(coat_c="black charcoal", mark_c="black", belly_c="slate", snout=0.02, girth=0.4, whiskers=True, taillen=0.85, metres=0.5),
        "lynx": dict(coat_c="sand tan", mark_c="cocoa", pattern="spots", tail="stub", ears=1.1, leg=0.55, snout=0.04, whiskers=True),
        "lion": dict(coat_c="honey sand tan", mark_c="chestnut rust", hair="lion", tail="tuft", taillen=0.8, girth=0.52, head=0.26, thick=0.17, ear="round", ears=0.5, metres=2.0),
        "tiger": dict(coat_c="orange russet", mark_c="black", pattern="stripes", tail="ringed", taillen=0.85, length=1.45, girth=0.52, thick=0.18, head=0.26, ear="round", ears=0.6, belly_c="white", metres=2.2),
        "leopard": dict(coat_c="honey amber", mark_c="umber", pattern="spots", tail="ringed", taillen=0.9, length=1.35, ear="round", ears=0.55, thick=0.16, metres=1.6),
        "red fox": dict(coat_c="russet orange", mark_c="white", belly_c="white", tail="bushy", taillen=1.05, snout=0.22, chin=0.42, ears=1.0, girth=0.36, thick=0.1, facing="pale", metres=0.8),
        "arctic fox": dict(coat_c="white snow", mark_c="silver", belly_c="snow", tail="bushy", taillen=1.0, snout=0.14, chin=0.5, ear="round", ears=0.6, girth=0.44, leg=0.34, metres=0.6),
        "wolf": dict(coat_c="grey slate ash", mark_c="charcoal", belly_c="silver", pattern="saddle", tail="bushy", taillen=0.75, snout=0.27, chin=0.5, ears=0.8, leg=0.58, metres=1.4),
        "dalmatian": dict(coat_c="white snow", mark_c="black", belly_c="white", pattern="spots", ear="flop", ears=0.8, snout=0.24, chin=0.6, leg=0.58, girth=0.4, tail="thin", metres=0.9),
        "dachshund": dict(coat_c="chestnut rust cocoa", belly_c="tan", ear="flop", ears=0.95, length=1.7, leg=0.2, girth=0.36, snout=0.3, chin=0.5, tail="thin", taillen=0.5, metres=0.6),
        "golden retriever": dict(coat_c="honey sand", belly_c="cream", ear="flop", ears=0.85, snout=0.22, chin=0.68, tail="plume", taillen=0.6, leg=0.46, thick=0.15, metres=1.0),
        "poodle": dict(coat_c="white cream black grey", mark_c="white cream black grey", pattern="wool", ear="flop", ears=1.1, snout=0.22, chin=0.45, tail="stub", taillen=1.6, leg=0.55, length=0.95, metres=0.6),
        "german shepherd": dict(coat_c="tan honey", mark_c="black umber", pattern="saddle", facing="points", snout=0.26, chin=0.55, ears=1.0, tail="bushy", taillen=0.7, leg=0.54, metres=1.1),
        "bulldog": dict(coat_c="tan sand white", pattern="plain", snout=0.02, chin=1.1, head=0.31, ear="flop", ears=0.45, leg=0.24, thick=0.2, girth=0.5, length=1.0, tail="stub", taillen=0.7, metres=0.6),
        "brown bear": dict(coat_c="brown chestnut", belly_c="brown", tail="stub", ear="round", ears=0.5, girth=0.68, leg=0.36, thick=0.24, hump=0.1, head=0.28, snout=0.16, chin=0.7, metres=2.0),
        "polar bear": dict(coat_c="snow cream", mark_c="snow", belly_c="white", tail="stub", ear="round", ears=0.36, girth=0.64, leg=0.42, thick=0.24, neck=0.3, rise=30.0, head=0.25, snout=0.24, chin=0.65, metres=2.3),
        "giant panda": dict(coat_c="white snow", mark_c="black", belly_c="white", pattern="socks", facing="mask", tail="stub", ear="round", ears=0.6, girth=0.66, leg=0.32, thick=0.25, head=0.33, snout=0.06, chin=0.8, metres=1.5),
        "raccoon": dict(coat_c="grey ash", mark_c="charcoal", belly_c="silver", facing="mask", tail="ringed", taillen=0.75, ear="round", ears=0.65, girth=0.48, leg=0.26, snout=0.16, chin=0.42, metres=0.6),
        "badger": dict(coat_c="grey slate", mark_c="black", belly_c="black", facing="mask", tail="stub", ear="round", ears=0.35, girth=0.42, leg=0.2, snout=0.24, chin=0.45, length=1.35, metres=0.7),
        "skunk": dict(coat_c="black umber", mark_c="white", belly_c="black", pattern="saddle", tail="plume", taillen=0.9, ear="round", ears=0.35, leg=0.2, snout=0.16, chin=0.4, metres=0.5),
        "squirrel": dict(coat_c="russet rust grey", belly_c="cream", tail="plume", taillen=1.15, leg=0.18, girth=0.4, length=0.8, snout=0.08, chin=0.55, ears=0.75, head=0.22, metres=0.25),
        "rabbit": dict(coat_c="tan grey white", belly_c="white", tail="stub", taillen=1.3, ear="long", ears=1.0, leg=0.16, girth=0.5, length=0.9, snout=0.05, chin=0.7, metres=0.35),
        "hare": dict(coat_c="tan caramel", belly_c="cream", tail="stub", ear="long", ears=1.25, leg=0.46, girth=0.4, length=1.0, thick=0.1, snout=0.12, chin=0.6, rise=62.0, metres=0.5),
        "mouse": dict(coat_c="grey silver tan", belly_c="blush", tail="thin", taillen=1.05, ear="round", ears=1.15, leg=0.1, girth=0.44, length=0.85, thick=0.08, snout=0.16, chin=0.34, rise=10.0, whiskers=True, metres=0.1),
        "rat": dict(coat_c="ash cocoa", belly_c="stone", tail="thin", taillen=1.3, ear="round", ears=0.6, leg=0.12, girth=0.4, length=1.15, thick=0.09, snout=0.24, chin=0.36, rise=6.0, whiskers=True, metres=0.2),
        "hedgehog": dict(coat_c="tan sand", mark_c="brown umber", pattern="spines", tail="", ear="round", ears=0.5, leg=0.1, girth=0.56, length=1.0, thick=0.1, snout=0.2, chin=0.3, rise=-25.0, head=0.2, metres=0.2),
        "beaver": dict(coat_c="brown chestnut", mark_c="umber", tail="flat", ear="round", ears=0.35, leg=0.14, girth=0.54, length=1.1, snout=0.1, chin=0.8, metres=0.8),
        "otter": dict(coat_c="cocoa brown", belly_c="tan", tail="thick", taillen=0.8, ear="round", ears=0.3, leg=0.17, girth=0.36, length=1.45, snout=0.08, chin=0.85, whiskers=True, metres=0.9),
        "pig": dict(coat_c="pink blush", mark_c="rose", belly_c="blush", tail="curl", nose="disc", ear="flop", ears=0.5, girth=0.6, leg=0.24, thick=0.17, rise=20.0, snout=0.14, chin=0.6, pattern="hide", metres=1.4),
        "wild boar": dict(coat_c="umber cocoa", belly_c="brown", tail="tuft", taillen=0.4, nose="tusks", girth=0.58, leg=0.32, hump=0.12, rise=8.0, snout=0.34, chin=0.42, ears=0.6, metres=1.4),
        "sheep": dict(coat_c="cream white ivory", mark_c="umber", belly_c="white", pattern="wool", facing="points", tail="stub", ear="side", ears=0.7, leg=0.32, thick=0.1, girth=0.6, snout=0.16, chin=0.6, metres=1.2),
        "ram": dict(coat_c="ivory stone", mark_c="umber", belly_c="cream", pattern="wool", horn="curl", horns=0.6, tail="stub", ear="side", ears=0.4, leg=0.36, girth=0.56, snout=0.2, chin=0.6, metres=1.3),
        "goat": dict(coat_c="white tan ash", belly_c="cream", horn="swept", horns=0.5, tail="stub", ear="side", ears=0.7, leg=0.46, thick=0.1, girth=0.46, snout=0.24, chin=0.5, metres=1.2),
        "dairy cow": dict(coat_c="white snow", mark_c="black umber", belly_c="blush", pattern="patches", facing="pale", horn="cattle", horns=0.26, tail="tuft", taillen=0.6, ear="side", ears=0.65, length=1.5, girth=0.64, leg=0.42, thick=0.15, rise=22.0, snout=0.24, chin=0.85, metres=2.4),
        "highland cow": dict(coat_c="rust caramel russet", mark_c="rust", horn="cattle", horns=0.6, tail="tuft", ear="side", ears=0.6, length=1.35, girth=0.7, leg=0.28, thick=0.18, rise=14.0, snout=0.18, chin=0.85, hair="horse", metres=2.2),
        "bison": dict(coat_c="cocoa brown", mark_c="umber", belly_c="umber", pattern="band", horn="cattle", horns=0.3, hump=0.34, tail="tuft", taillen=0.5, ear="side", ears=0.4, length=1.4, girth=0.62, leg=0.3, rise=-12.0, head=0.27, snout=0.16, chin=0.95, metres=2.8),
        "horse": dict(coat_c="chestnut brown cocoa", mark_c="umber black", belly_c="brown", hair="horse", tail="hair", taillen=0.9, ears=0.6, length=1.35, girth=0.5, leg=0.74, thick=0.13, neck=0.5, rise=54.0, head=0.2, snout=0.34, chin=0.85, nod=-36.0, metres=2.4),
        "white horse": dict(coat_c="snow white", mark_c="silver", belly_c="silver", hair="horse", tail="hair", taillen=0.9, ears=0.6, length=1.3, girth=0.5, leg=0.72, thick=0.13, neck=0.5, rise=58.0, head=0.2, snout=0.34, chin=0.85, nod=-40.0, pattern="dapple", metres=2.4),
        "pony": dict(coat_c="caramel honey brown", mark_c="cream ivory", belly_c="tan", hair="horse", tail="hair", taillen=0.75, ears=0.6, length=1.15, girth=0.56, leg=0.42, thick=0.14, neck=0.3, head=0.23, snout=0.28, chin=0.85, nod=-34.0, facing="blaze", metres=1.6),
        "donkey": dict(coat_c="ash grey", mark_c="umber", belly_c="white", facing="pale", hair="horse", tail="tuft", ear="long", ears=0.85, length=1.2, girth=0.5, leg=0.55, neck=0.3, head=0.22, snout=0.3, chin=0.8, nod=-34.0, metres=1.8),
        "zebra": dict(coat_c="white snow", mark_c="black", belly_c="white", pattern="stripes", hair="horse", tail="tuft", ear="round", ears=0.6, length=1.25, girth=0.52, leg=0.62, neck=0.4, head=0.21, snout=0.3, chin=0.8, nod=-34.0, facing="points", metres=2.2),
        "giraffe": dict(coat_c="sand cream", mark_c="caramel rust", belly_c="cream", pattern="net", horn="nubs", horns=0.5, tail="tuft", taillen=0.5, ear="side", ears=0.7, length=1.0, girth=0.5, leg=0.95, thick=0.11, neck=1.25, rise=70.0, head=0.18, snout=0.26, chin=0.75, nod=-18.0, hump=0.1, metres=5.0),
        "camel": dict(coat_c="tan sand caramel", mark_c="brown", belly_c="tan", hump=0.0, tail="tuft", taillen=0.5, ear="round", ears=0.4, length=1.2, girth=0.5, leg=0.8, thick=0.12, neck=0.62, rise=48.0, head=0.18, snout=0.26, chin=0.85, pattern="humps", metres=3.0),
        "llama": dict(coat_c="white caramel cream cocoa", mark_c="cream", belly_c="cream", pattern="wool", tail="stub", ear="long", ears=0.5, length=0.95, girth=0.5, leg=0.5, thick=0.11, neck=0.66, rise=74.0, head=0.18, snout=0.16, chin=0.75, metres=1.7),
        "red deer": dict(coat_c="rust chestnut", belly_c="tan", mark_c="cream", horn="antlers", horns=0.62, tail="stub", ear="side", ears=0.8, girth=0.44, leg=0.68, thick=0.1, neck=0.36, rise=60.0, head=0.18, snout=0.24, chin=0.55, nod=-18.0, metres=1.8),
        "fawn": dict(coat_c="caramel rust", mark_c="cream", belly_c="cream", pattern="dapple", tail="stub", ear="side", ears=1.1, length=0.9, girth=0.34, leg=0.58, thick=0.075, neck=0.2, rise=62.0, head=0.2, snout=0.14, chin=0.5, metres=0.8),
        "moose": dict(coat_c="cocoa umber", mark_c="cocoa", belly_c="brown", horn="palms", horns=0.6, tail="stub", ear="side", ears=0.6, length=1.3, girth=0.6, leg=0.75, thick=0.12, hump=0.18, neck=0.26, rise=30.0, head=0.21, snout=0.4, chin=1.0, nod=-30.0, metres=2.8),
        "antelope": dict(coat_c="caramel tan", mark_c="white", belly_c="white", horn="spear", horns=0.5, tail="tuft", taillen=0.35, ear="side", ears=0.7, girth=0.42, leg=0.7, thick=0.09, neck=0.36, rise=58.0, head=0.17, snout=0.24, chin=0.55, facing="blaze", metres=1.6),
        "elephant": dict(coat_c="ash slate grey", mark_c="grey", belly_c="ash", nose="trunk", tail="tuft", taillen=0.5, ear="", ears=0.01, length=1.45, girth=0.86, leg=0.46, thick=0.27, rise=28.0, head=0.36, snout=0.06, chin=0.7, pattern="hide", metres=5.0),
        "rhinoceros": dict(coat_c="grey stone ash", belly_c="ash", nose="horn", tail="tuft", taillen=0.4, ear="round", ears=0.45, length=1.55, girth=0.7, leg=0.32, thick=0.24, hump=0.1, rise=-6.0, head=0.28, snout=0.36, chin=0.9, pattern="hide", metres=3.5),
        "hippopotamus": dict(coat_c="plum ash slate", belly_c="rose", tail="stub", taillen=0.5, ear="round", ears=0.26, length=1.5, girth=0.74, leg=0.2, thick=0.25, rise=0.0, head=0.3, snout=0.36, chin=1.25, pattern="hide", metres=3.5),
    },
    dict(animate=1.0, natural=1.0, moves=1.0, soft=0.7, edible=0.15), faces=True,
)

FAMILIES = (MAMMALS,)
