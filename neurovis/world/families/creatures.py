"""Insects from above, creatures of the sea, reptiles and dinosaurs."""

# One line per concept and per stroke: tables of coordinates read better in rows.
# ruff: noqa: C408, E741, RUF005
# fmt: off

import numpy as np

from ..concepts import Family
from ..drawing import COLOURS as C
from ..drawing import FLAT, arc, mix, shade, tube, turn


def _flip(points, f):
    return np.asarray(points, float) * (f, 1)


def insect(s, p):
    """Six or eight legs, seen from above, head up, turned by the pose."""
    with s.placed(angle=22 * p.pose):
        l, w, coat, mark = p.length, p.width, p.coat_c, p.mark_c
        spread = 1 + 0.08 * p.tilt
        for i in range(p.legs):
            y = 0.16 * l - 0.3 * l * i / max(p.legs - 1, 1)
            a = (35 - 75 * i / max(p.legs - 1, 1)) * spread
            for f in (-1, 1):
                knee = turn([(p.reach, 0)], a + 18)[0]
                foot = turn([(p.reach * 1.75, 0)], a - 14)[0]
                s.limb(_flip([(0.3 * w, y), (0.3 * w + knee[0], y + knee[1]), (0.3 * w + foot[0], y + foot[1])], f),
                       [p.leg_w * 1.2, p.leg_w, p.leg_w * 0.5], shade(p.leg_c, -0.1))
        for f in (-1, 1):
            tip = (p.horn * 0.45, 0.5 * l + p.horn)
            if p.horn:
                s.limb(_flip([(0.05, 0.42 * l), (tip[0] * 0.7, 0.5 * l + p.horn * 0.6), tip], f), 0.03, coat)
                if p.club:
                    s.oval(f * tip[0], tip[1], 0.045, 0.035, coat)
            if p.jaw:
                s.limb(_flip([(0.06, 0.5 * l), (0.2, 0.5 * l + p.jaw * 0.5), (0.05, 0.5 * l + p.jaw)], f), [0.1, 0.09, 0.03], shade(coat, -0.1))
        if p.wing in ("butterfly", "moth", "swallowtail"):
            _wings(s, p, spread)
        elif p.wing == "clear":
            for y, a, k in ((0.02, -38, 0.8), (0.12, 8, 1.0)):
                for f in (-1, 1):
                    blade = turn([(0, -0.05), (0.55, -0.17), (0.95, -0.05), (0.95, 0.1), (0.5, 0.16), (0, 0.05)], a) * p.span * k
                    v = s.blob(_flip(blade, f) + (0, y), p.wing_c)
                    s.texture(v, [tube(_flip(turn([(0.05, 0), (0.9, b)], a) * p.span * k, f) + (0, y), 0.014) for b in (0.04, -0.07)], shade(p.wing_c, -0.3))
        elif p.wing == "long":
            for y, a in ((-0.02, -12), (0.12, 10)):
                for f in (-1, 1):
                    v = s.limb(_flip(turn([(0.05, 0), (0.5, 0.02), (1.1, 0)], a) * p.span, f) + (0, y), [0.1, 0.22, 0.16], p.wing_c)
                    s.stripes(v, shade(p.wing_c, -0.22), 7, 80, 0.15)
        if p.wing in ("clear", "long", "butterfly", "moth", "swallowtail", "", "ant"):
            if p.waist:
                s.blob(_flip([(0, -0.05), (w * 0.8, -0.3 * l), (w * 0.55, -0.62 * l), (0, -0.72 * l), (-w * 0.55, -0.62 * l), (-w * 0.8, -0.3 * l)], 1), coat)
                tail = s.blob([(0, -0.08), (w * 0.8, -0.3 * l), (w * 0.5, -0.6 * l), (0, -0.72 * l), (-w * 0.5, -0.6 * l), (-w * 0.8, -0.3 * l)], coat)
            else:
                tail = s.limb([(0, 0), (0, -0.65 * l)], [w, w * 0.7], coat)
            if p.banded:
                s.stripes(tail, mark, 4, 0, 0.5)
            s.oval(0, 0.1 * l, 0.5 * w, 0.2 * l, mark if p.fuzzy else coat)
            if p.fuzzy:
                s.strokes(arc(0, 0.1 * l, 0.5 * w, 0.2 * l, 0, 340), shade(mark, -0.3), 12, 0.08, 90, 0.02, p.phase)
        else:  # beetle: wing cases with a seam
            s.oval(0, 0.3 * l, 0.42 * w, 0.17 * l, mark)
            shell = s.oval(0, -0.12 * l, 0.62 * w, 0.46 * l, coat)
            if p.wing == "dots":
                for x, y in ((0.3, 0.1), (0.4, -0.2), (0.2, -0.42), (0.12, 0.22)):
                    s.texture(shell, [arc(f * x * w, y * l - 0.05, 0.1 * w, 0.1 * w, 0, 340) for f in (-1, 1)], mark)
            elif p.wing == "lines":
                s.stripes(shell, mark, 7, 90, 0.25)
            elif p.wing == "bars":
                s.stripes(shell, mark, 5, 0, 0.45)
            s.stroke([(0, 0.3 * l), (0, -0.56 * l)], 0.025, shade(coat, -0.55))
            s.gloss([(-0.3 * w, 0.1 * l), (-0.34 * w, -0.1 * l)], 0.05, shade(coat, 0.55))
        s.oval(0, 0.42 * l, p.head, p.head * 0.85, mark if p.wing in ("dots",) else coat)
        for f in (-1, 1):
            s.oval(f * p.head * 0.75, 0.46 * l, p.eye, p.eye * 1.15, p.eye_c)
            s.dot(f * p.head * 0.75 + 0.01, 0.48 * l, p.eye * 0.35, C["white"])


def _wings(s, p, spread):
    k, moth = p.span, p.wing == "moth"
    for f in (-1, 1):
        hind = [(0, 0.05), (0.35, 0.02), (0.62, -0.16), (0.6, -0.5), (0.34, -0.66), (0.1, -0.4)]
        if p.wing == "swallowtail":
            hind[3:5] = [(0.56, -0.42), (0.5, -0.66), (0.52, -1.0), (0.42, -0.98), (0.36, -0.68)]
        fore = [(0, 0.0), (0.02, 0.16), (0.45, 0.62), (0.92, 0.74), (0.95, 0.5), (0.74, 0.12), (0.4, -0.02)]
        if moth:
            fore = [(0, -0.02), (0.05, 0.22), (0.5, 0.4), (1.0, 0.3), (0.92, -0.1), (0.5, -0.26)]
        for shape in (hind, fore):
            wing = s.blob(_flip(np.array(shape) * (k * spread, k), f), p.mark_c if p.rim else p.wing_c)
            centre = wing.mean(0) * 0.94
            if p.rim:
                s.poly((wing - centre) * 0.78 + centre * 0.95, p.wing_c, False, FLAT)
                for i in range(0, len(wing), 6):
                    q = (wing[i] - centre) * 0.88 + centre
                    if abs(q[0]) > 0.3 * k:
                        s.dot(*q, 0.025 * k, C["white"])
            for a in (-0.5, 0, 0.5):
                end = centre + (wing[len(wing) // 2] - centre) * 0.9 + (0, a * 0.35 * k)
                s.texture(wing, [tube([(0, 0.05), end], 0.02 * k)], shade(p.mark_c, 0.05) if p.rim else shade(p.wing_c, -0.25))
            if p.ocelli:
                s.dot(*(centre * 1.1), 0.11 * k, p.mark_c)
                s.dot(*(centre * 1.1), 0.075 * k, p.spot_c)
                s.dot(*(centre * 1.1), 0.035 * k, C["black"])


INSECTS = Family(
    "insect", "animal", insect,
    dict(coat_c="umber", mark_c="black", wing_c="glass", leg_c="umber", eye_c="black", spot_c="amber", length=1.0, width=0.3, head=0.14, eye=0.055,
         legs=3, reach=0.26, leg_w=0.045, wing="", span=0.9, horn=0.3, club=False, jaw=0.0, waist=False, banded=False, fuzzy=False, rim=False,
         ocelli=False, metres=0.03),
    {
        "monarch butterfly": dict(wing_c="orange", wing="butterfly", rim=True, club=True, width=0.13, head=0.07, reach=0.05, metres=0.1),
        "blue morpho": dict(wing_c="blue sky", mark_c="navy", wing="butterfly", rim=True, club=True, width=0.12, head=0.07, reach=0.05, metres=0.12),
        "cabbage white": dict(wing_c="white snow", mark_c="charcoal", spot_c="charcoal", wing="butterfly", ocelli=True, club=True, width=0.12, head=0.07, reach=0.05, metres=0.05),
        "swallowtail butterfly": dict(wing_c="lemon yellow", wing="swallowtail", rim=True, club=True, width=0.14, head=0.07, reach=0.05, metres=0.08),
        "peacock butterfly": dict(wing_c="brick rust", mark_c="indigo", spot_c="amber", wing="butterfly", ocelli=True, club=True, width=0.13, head=0.07, reach=0.05, metres=0.06),
        "luna moth": dict(wing_c="mint", coat_c="white", mark_c="plum", spot_c="yellow", wing="swallowtail", ocelli=True, width=0.2, head=0.08, fuzzy=False, horn=0.2, reach=0.05, metres=0.1),
        "hawk moth": dict(wing_c="tan ash", coat_c="brown", mark_c="rose", spot_c="pink", wing="moth", ocelli=True, banded=True, width=0.24, head=0.09, horn=0.22, fuzzy=True, reach=0.05, metres=0.08),
        "honeybee": dict(coat_c="amber honey", mark_c="umber", wing="clear", span=0.7, banded=True, waist=True, fuzzy=True, width=0.4, horn=0.22, metres=0.015),
        "bumblebee": dict(coat_c="yellow amber", mark_c="black", wing="clear", span=0.65, banded=True, waist=True, fuzzy=True, width=0.56, length=0.9, horn=0.2, metres=0.02),
        "wasp": dict(coat_c="yellow lemon", mark_c="black", wing="clear", span=0.8, banded=True, waist=True, width=0.27, length=1.2, horn=0.26, metres=0.02),
        "housefly": dict(coat_c="charcoal slate", mark_c="charcoal", wing="clear", span=0.75, waist=True, width=0.42, length=0.8, eye=0.1, eye_c="red brick", horn=0.05, metres=0.008),
        "mosquito": dict(coat_c="ash", mark_c="ash", wing="clear", span=0.75, width=0.15, head=0.07, eye=0.04, horn=0.4, reach=0.5, leg_w=0.025, metres=0.006),
        "dragonfly": dict(coat_c="teal blue", mark_c="teal", wing_c="glass", wing="long", width=0.16, length=1.35, head=0.13, eye=0.1, eye_c="leaf forest", horn=0.0, reach=0.1, metres=0.08),
        "damselfly": dict(coat_c="turquoise crimson", mark_c="black", wing_c="mint glass", wing="long", span=0.7, banded=True, width=0.09, length=1.5, head=0.1, eye=0.07, horn=0.0, reach=0.1, metres=0.05),
        "ladybird": dict(coat_c="red crimson", mark_c="black", leg_c="black", wing="dots", width=0.85, length=0.95, head=0.17, reach=0.2, horn=0.12, metres=0.007),
        "stag beetle": dict(coat_c="cocoa umber", mark_c="umber", wing="seam", width=0.55, jaw=0.42, head=0.19, horn=0.0, length=1.1, metres=0.06),
        "scarab beetle": dict(coat_c="forest teal", mark_c="leaf", leg_c="forest", wing="lines", width=0.75, head=0.17, club=True, horn=0.18, metres=0.02),
        "rhinoceros beetle": dict(coat_c="black umber", mark_c="black", wing="seam", width=0.72, head=0.2, jaw=0.22, reach=0.3, leg_w=0.07, horn=0.0, metres=0.05),
        "potato beetle": dict(coat_c="cream lemon", mark_c="umber", wing="lines", width=0.78, length=0.95, head=0.17, horn=0.18, metres=0.01),
        "sexton beetle": dict(coat_c="orange", mark_c="black", leg_c="black", wing="bars", width=0.55, length=1.15, club=True, horn=0.24, metres=0.02),
        "ant": dict(coat_c="rust umber", mark_c="rust umber", leg_c="umber", wing="ant", waist=True, width=0.26, length=1.1, head=0.15, reach=0.32, leg_w=0.04, jaw=0.12, horn=0.3, metres=0.008, flies=0.0),
        "garden spider": dict(coat_c="brown caramel", mark_c="cream", leg_c="brown", legs=4, wing="ant", waist=True, banded=True, width=0.55, length=0.9, head=0.15, reach=0.48, leg_w=0.05, horn=0.0, metres=0.02, flies=0.0),
        "tarantula": dict(coat_c="umber cocoa", mark_c="umber cocoa", leg_c="cocoa umber", legs=4, wing="ant", waist=True, fuzzy=True, width=0.6, length=0.9, head=0.18, reach=0.44, leg_w=0.13, horn=0.0, metres=0.12, flies=0.0),
    },
    dict(animate=1.0, natural=1.0, moves=1.0, flies=0.8), floats=True,
)


def _smile(s, x, y, r, iris=C["black"]):
    for f in (-1, 1):
        s.eye(x + f * r, y, r * 0.42, True, iris)


def sea(s, p):
    """Creatures of sea and shore, one drawing per body plan."""
    coat, mark, belly = p.coat_c, p.mark_c, p.belly_c
    wave = 0.1 * p.pose
    if p.plan in ("octopus", "squid"):
        n, long = p.arms, 0.9 if p.plan == "squid" else 0.75
        for i in range(n):
            x = (i - (n - 1) / 2) / (n - 1) * p.width
            curl = 0.2 if i % 2 else -0.2
            reach = 1.9 if p.plan == "octopus" else 0.9
            s.limb([(x * 0.7, 0.75), (x * 1.3, 0.45), (x * reach + wave, 0.2), (x * reach + curl * 0.7 + wave, 0.2 - long * 0.15)],
                   [0.24, 0.19, 0.12, 0.04], shade(coat, -0.14 * (i % 2)))
        if p.plan == "squid":
            s.poly([(-0.5, 1.55), (0, 1.95), (0.5, 1.55), (0, 1.35)], shade(coat, -0.1))
            body = s.blob([(-0.26, 0.65), (-0.3, 1.2), (0, 1.9), (0.3, 1.2), (0.26, 0.65)], coat)
        else:
            body = s.blob([(-0.34, 0.6), (-0.52, 1.1), (-0.3, 1.5), (0, 1.58), (0.3, 1.5), (0.52, 1.1), (0.34, 0.6)], coat)
        s.spots(body, mark, 12, 0.05, p.phase)
        _smile(s, 0, 0.82, 0.2, C["umber"])
        s.gloss([(-0.28, 1.25), (-0.16, 1.42)], 0.07, shade(coat, 0.5))
    elif p.plan == "jellyfish":
        for i in range(7):
            x = (i - 3) * 0.17
            s.limb([(x, 0.95), (x + 0.07 + wave, 0.65), (x - 0.07 + wave, 0.35), (x + 0.05 - wave, 0.02)], [0.09, 0.06, 0.05, 0.02], mark if i % 2 else coat)
        bell = s.blob([(-0.62, 0.92), (-0.55, 1.3), (0, 1.62), (0.55, 1.3), (0.62, 0.92), (0.3, 0.99), (0, 0.9), (-0.3, 0.99)], coat)
        s.texture(bell, [tube(arc(0, 0.8, 0.12 + 0.17 * i, 0.7, 10, 170), 0.025) for i in range(3)], mark)
        s.gloss(arc(0, 1, 0.42, 0.48, 110, 150), 0.07, shade(coat, 0.6))
    elif p.plan in ("crab", "lobster"):
        long = p.plan == "lobster"
        for i in range(4):
            for f in (-1, 1):
                y = 0.42 - 0.1 * i + (0.2 - 0.1 * i if long else 0)
                s.limb(_flip([(0.2, y), (0.6 - 0.04 * i, y + 0.16), (0.78 - 0.05 * i, y - 0.22)], f), [0.1, 0.08, 0.03], shade(coat, -0.12))
        for f in (-1, 1):
            s.limb(_flip([(0.3, 0.55), (0.72, 0.6 + wave * f), (0.66, 0.88 + wave * f)], f), [0.12, 0.14, 0.16], coat)
            x, y = f * 0.62, 0.98 + wave * f
            claw = p.claw
            s.blob(_flip(np.array([(0.06, -0.1), (0.26, 0.1), (0.14, 0.44), (0.06, 0.2), (-0.06, 0.42), (-0.2, 0.12)]) * claw, f) + (x, y), coat)
            s.limb([(f * 0.1, 0.65), (f * 0.16, 0.85)], 0.05, coat)
            s.eye(f * 0.16, 0.9, 0.055, True)
            if long:
                s.stroke([(f * 0.06, 0.8), (f * 0.3, 1.2), (f * 0.2, 1.55)], 0.025, mark)
        if long:
            for i in range(5):
                s.oval(0, 0.2 - 0.14 * i, 0.25 - 0.02 * i, 0.1, coat)
            for a in (-30, 0, 30):
                s.oval(*turn([(0, -0.16)], a, 0, -0.42)[0], 0.08, 0.16, mark, a)
            shell = s.oval(0, 0.5, 0.28, 0.38, coat)
        else:
            shell = s.blob([(-0.62, 0.5), (-0.4, 0.74), (0, 0.78), (0.4, 0.74), (0.62, 0.5), (0.36, 0.14), (-0.36, 0.14)], coat)
            s.stroke(arc(0, 0.45, 0.18, 0.12, 200, 340, 8), 0.03, shade(coat, -0.5))
        s.spots(shell, mark, 8, 0.03, p.phase)
    elif p.plan in ("starfish", "brittle"):
        n = p.arms
        thin = 0.3 if p.plan == "starfish" else 0.14
        with s.placed(angle=25 * p.pose):
            with s.joined():
                for i in range(n):
                    a = 90 + 360 / n * i
                    s.limb(turn([(0, 0), (0.5, 0.02), (0.95, 0.0)], a), [thin * 2, thin, thin * 0.35], coat)
                s.oval(0, 0, thin * 1.1, thin * 1.1, coat)
            for i in range(n):
                for k in (0.15, 0.32, 0.5, 0.66, 0.8):
                    s.dot(*turn([(k, 0)], 90 + 360 / n * i)[0], 0.05 - 0.03 * k, mark)
    elif p.plan == "seahorse":
        s.limb([(0.1, 0.9), (-0.1, 0.5), (0.02, 0.15), (0.2, 0.02), (0.3, 0.15), (0.2, 0.22)], [0.34, 0.28, 0.17, 0.1, 0.08, 0.05], coat)
        body = s.limb([(-0.02, 1.3), (0.12, 1.0), (0.02, 0.7), (-0.08, 0.45)], [0.2, 0.4, 0.36, 0.22], coat)
        s.stripes(body, mark, 8, 8, 0.25)
        s.blob([(-0.08, 1.0), (-0.35, 1.05 + wave), (-0.38, 0.75 + wave), (-0.1, 0.7)], mark)
        s.limb([(-0.02, 1.4), (0.45, 1.28)], [0.3, 0.1], coat)
        for k in range(4):
            s.poly(turn([(-0.04, 0), (0, 0.14), (0.04, 0)], 30 + 22 * k, -0.02 - 0.06 * k, 1.52 - 0.06 * k), mark)
        s.eye(0.1, 1.42, 0.05, True)
    elif p.plan == "ray":
        s.limb([(0, 0), (0.08 + wave, -0.5), (-0.06, -1.1)], [0.14, 0.06, 0.02], coat)
        body = s.blob([(0, 0.62), (0.4, 0.45), (0.98, 0.15 + wave), (0.5, -0.16), (0, -0.3), (-0.5, -0.16), (-0.98, 0.15 + wave), (-0.4, 0.45)], coat)
        s.spots(body, mark, 22, 0.04, p.phase)
        for f in (-1, 1):
            s.eye(f * 0.17, 0.4, 0.05, True)
    elif p.plan == "urchin":
        for i in range(34):
            a = 5.3 * i * 2
            s.limb(turn([(0.3, 0), (0.72 + 0.12 * (i % 3), 0)], a, 0, 0.5), [0.06, 0.015], shade(coat, -0.25 + 0.15 * (i % 3)))
        ball = s.oval(0, 0.5, 0.46, 0.42, coat)
        s.spots(ball, mark, 16, 0.03, p.phase)
    elif p.plan == "anemone":
        s.blob([(-0.4, 0), (-0.3, 0.45), (-0.45, 0.7), (0.45, 0.7), (0.3, 0.45), (0.4, 0)], mark)
        for i in range(13):
            x = (i - 6) * 0.1
            s.limb([(x * 0.7, 0.7), (x * 1.1, 1.0), (x * 1.6 + wave, 1.2 - x * x * 0.5)], [0.12, 0.11, 0.1], mix(coat, C["white"], 0.15 * (i % 2)))
            s.dot(x * 1.6 + wave, 1.2 - x * x * 0.5, 0.06, shade(coat, 0.5))
    elif p.plan == "clam":
        s.blob([(-0.7, 0.35), (-0.4, 0.05), (0, -0.02), (0.4, 0.05), (0.7, 0.35), (0, 0.3)], shade(coat, -0.1))
        s.oval(0.05, 0.42, 0.13, 0.13, C["snow"])
        fan = s.blob([(0, 0.3), (-0.75, 0.4), (-0.72, 0.85), (-0.4, 1.18), (0, 1.28), (0.4, 1.18), (0.72, 0.85), (0.75, 0.4)], coat)
        s.texture(fan, [tube([(0, 0.3), turn([(1.1, 0)], a, 0, 0.3)[0]], 0.045) for a in range(20, 161, 20)], mark)
        s.oval(0, 0.44, 0.12, 0.12, C["snow"])
    elif p.plan == "snail":
        s.limb([(-0.75, 0.06), (0, 0.1), (0.5, 0.14), (0.72, 0.45)], [0.08, 0.24, 0.26, 0.24], belly)
        for dx in (0.0, 0.16):
            s.limb([(0.7 + dx, 0.5), (0.76 + dx * 1.4, 0.85)], 0.045, belly)
            s.eye(0.76 + dx * 1.4, 0.88, 0.045)
        s.oval(-0.1, 0.55, 0.5, 0.47, coat)
        spiral = [turn([(0.4 * (1 - k / 26), 0)], -k * 34, -0.1, 0.55)[0] for k in range(22)]
        s.stroke(spiral, 0.06, mark)
    elif p.plan == "slug":
        body = s.limb([(-0.9, 0.1), (-0.3, 0.2), (0.3, 0.22), (0.75, 0.32)], [0.1, 0.4, 0.4, 0.28], coat)
        s.stripes(body, mark, 6, 4, 0.4)
        for i in range(6):
            s.limb([(-0.5 + 0.12 * i, 0.35), (-0.56 + 0.12 * i + wave, 0.62)], [0.09, 0.05], mark)
        for dx in (0, 0.14):
            s.limb([(0.7 + dx, 0.42), (0.75 + dx * 1.3, 0.7)], [0.07, 0.05], mark)
        s.eye(0.82, 0.33, 0.04)


SEA = Family(
    "sea creature", "animal", sea,
    dict(coat_c="coral orange", mark_c="cream", belly_c="sand", plan="octopus", arms=8, width=0.8, claw=1.0, metres=0.3),
    {
        "octopus": dict(coat_c="coral rose purple", mark_c="blush", metres=0.8),
        "squid": dict(plan="squid", coat_c="pink coral", mark_c="rose", width=0.36, metres=0.6, edible=0.6),
        "cuttlefish": dict(plan="squid", coat_c="sand tan", mark_c="brown", width=0.6, arms=6, metres=0.4),
        "moon jellyfish": dict(plan="jellyfish", coat_c="glass sky", mark_c="white", metres=0.3),
        "compass jellyfish": dict(plan="jellyfish", coat_c="amber orange", mark_c="brick", metres=0.3),
        "shore crab": dict(plan="crab", coat_c="olive teal", mark_c="sand", claw=0.8, metres=0.1, edible=0.5),
        "red crab": dict(plan="crab", coat_c="red orange", mark_c="crimson", claw=1.25, metres=0.2, edible=0.6),
        "lobster": dict(plan="lobster", coat_c="crimson navy", mark_c="brick", claw=1.1, metres=0.5, edible=0.8),
        "crayfish": dict(plan="lobster", coat_c="rust olive", mark_c="brown", claw=0.65, metres=0.15, edible=0.6),
        "starfish": dict(plan="starfish", coat_c="orange coral violet", mark_c="cream", arms=5, metres=0.2),
        "sunflower star": dict(plan="starfish", coat_c="violet rust", mark_c="amber", arms=11, metres=0.6),
        "brittle star": dict(plan="brittle", coat_c="brown slate", mark_c="cream", arms=5, metres=0.15),
        "seahorse": dict(plan="seahorse", coat_c="amber coral", mark_c="rust", metres=0.15),
        "stingray": dict(plan="ray", coat_c="sand brown", mark_c="blue", metres=1.0),
        "manta ray": dict(plan="ray", coat_c="navy charcoal", mark_c="slate", metres=5.0),
        "sea urchin": dict(plan="urchin", coat_c="purple plum umber", mark_c="lilac", metres=0.1),
        "sea anemone": dict(plan="anemone", coat_c="magenta lime turquoise", mark_c="plum", metres=0.15),
        "scallop": dict(plan="clam", coat_c="blush coral", mark_c="rose", metres=0.1, edible=0.8),
        "garden snail": dict(plan="snail", coat_c="caramel tan", mark_c="brown", belly_c="sand stone", metres=0.04, aquatic=0.1),
        "sea slug": dict(plan="slug", coat_c="indigo violet white", mark_c="orange yellow", metres=0.05),
    },
    dict(animate=1.0, natural=1.0, moves=0.7, aquatic=1.0, edible=0.3, soft=0.6),
)


def reptile(s, p):
    """Reptiles, frogs and dinosaurs, from the side, facing right."""
    coat, mark, belly, l, g, y = p.coat_c, p.mark_c, p.belly_c, p.length, p.girth, p.leg
    r, far = p.head, shade(p.coat_c, -0.25)
    sway = 0.08 * p.pose
    if p.plan == "snake":
        ring = [(-1.1, 0.05 + sway), (-0.75, 0.2), (-0.35, 0.06), (0.05, 0.2), (0.4, 0.12), (0.4, 0.5), (0.62, 0.8)]
        body = s.limb(ring, [0.04, 0.14, 0.19, 0.2, 0.22, 0.2, 0.2], coat)
        s.stripes(body, mark, p.bands, 78, 0.45)
        if p.hood:
            s.blob([(0.45, 0.4), (0.32, 0.7), (0.58, 0.95), (0.86, 0.7), (0.62, 0.4)], coat)
        s.limb([(0.58, 0.86), (0.86, 0.84)], [0.26, 0.16], coat)
        s.stroke([(0.92, 0.8), (1.08, 0.78)], 0.022, C["red"])
        s.eye(0.72, 0.9, 0.045, True)
        return
    neck = turn([(p.neck, 0)], p.rise + 5 * p.tilt, l * 0.42, y + 0.6 * g)[0]
    hx, hy = neck
    for x in (-0.28, 0.3):
        leg = p.arm if x > 0 else 1.0
        s.limb([(x * l + 0.08, y + 0.35 * g), (x * l + 0.14, y * 0.5 + (1 - leg) * y * 0.4), (x * l + 0.18 + sway, 0.03 + (1 - leg) * y)],
               [p.thick * 1.3, p.thick, p.thick * 0.8], far)
    t = p.taillen
    tail = [(-0.3 * l, y + 0.5 * g), (-0.55 * l - 0.2 * t, y + 0.4 * g + p.lift * 0.5), (-0.55 * l - 0.6 * t, y + 0.2 * g + p.lift + sway),
            (-0.55 * l - t, y + 0.25 * g + p.lift * 1.2 + sway)]
    with s.joined():
        tube_ = s.limb(tail, [g * 0.8, g * 0.55, g * 0.26, 0.03], coat)
        body = s.blob([(-0.5 * l, y + 0.5 * g), (-0.25 * l, y + 0.95 * g), (0.15 * l, y + g), (0.48 * l, y + 0.62 * g), (0.35 * l, y + 0.1 * g),
                       (-0.1 * l, y), (-0.4 * l, y + 0.15 * g)], coat)
        s.limb([(0.28 * l, y + 0.55 * g), ((0.4 * l + hx) / 2, (y + 0.65 * g + hy) / 2 - 0.02), (hx, hy)], [g * 0.75, (g * 0.5 + r) / 2, r * 1.3], coat)
        for x in (-0.34, 0.24):
            leg = p.arm if x > 0 else 1.0
            if leg > 0.5:
                s.limb([(x * l, y + 0.4 * g), (x * l + 0.04, y * 0.5), (x * l - sway, 0.04)], [p.thick * 1.7, p.thick * 1.1, p.thick], coat)
                s.oval(x * l + 0.06 - sway, 0.04, p.thick * 0.75, 0.05, coat)
        s.limb([(hx, hy), (hx + r * 0.3 + p.snout, hy - 0.1 * r)], [r * 1.6, r * p.chin], coat)
    if p.arm <= 0.5:
        s.limb([(0.34 * l, y + 0.45 * g), (0.46 * l, y + 0.25 * g), (0.58 * l, y + 0.32 * g)], [0.11, 0.08, 0.06], coat)
    s.texture(body, [np.array([(-2, -1), (-2, y + 0.2 * g), (0, y + 0.28 * g), (3, y + 0.4 * g), (3, -1)])], belly)
    if p.pattern == "stripes":
        s.stripes(body, mark, 6, 95, 0.35, 0.05, True)
        s.stripes(tube_, mark, 9, 95, 0.35, 0, True)
    elif p.pattern == "spots":
        s.spots(body, mark, 18, 0.04, p.phase)
        s.spots(tube_, mark, 10, 0.03, p.phase)
    back = [(-0.5 * l - 0.5 * t, y + 0.45 * g + p.lift), (-0.4 * l, y + 0.85 * g), (-0.1 * l, y + 1.0 * g), (0.2 * l, y + 1.0 * g), (0.42 * l, y + 0.78 * g)]
    if p.back == "shell":
        dome = s.blob([(-0.56 * l, y + 0.25 * g), (-0.5 * l, y + 0.8 * g), (-0.1 * l, y + 1.5 * g), (0.3 * l, y + 1.1 * g), (0.5 * l, y + 0.3 * g), (0, y + 0.18 * g)], mark)
        for x in (-0.32, -0.05, 0.22):
            s.texture(dome, [arc(x * l, y + 0.85 * g, 0.12 * l, 0.2 * g, 0, 300, 6)], shade(mark, 0.2))
        s.limb([(-0.55 * l, y + 0.28 * g), (0, y + 0.18 * g), (0.5 * l, y + 0.3 * g)], 0.07, shade(mark, -0.2))
    elif p.back == "plates":
        for k in range(7):
            q = back[0] + (np.array(back[4]) - back[0]) * (k + 0.5) / 7
            q[1] = np.interp(q[0], [b[0] for b in back], [b[1] for b in back])
            s.poly(turn(np.array([(-0.5, -0.2), (-0.2, 0.6), (0, 1), (0.3, 0.55), (0.5, -0.2)]) * (0.24 + 0.1 * (3 - abs(k - 3))) * p.crest, 12 - 4 * k, *q), mark)
    elif p.back == "sail":
        s.blob([(-0.4 * l, y + 0.8 * g), (-0.25 * l, y + 1.7 * g), (0.05 * l, y + 2.1 * g), (0.3 * l, y + 1.7 * g), (0.4 * l, y + 0.8 * g)], mark)
    elif p.back == "ridge":
        for k in range(11):
            q = back[0] + (np.array(back[4]) - back[0]) * (k + 0.5) / 11
            q[1] = np.interp(q[0], [b[0] for b in back], [b[1] for b in back]) - 0.02
            s.poly([(q[0] - 0.06, q[1]), (q[0], q[1] + 0.1), (q[0] + 0.06, q[1])], mark)
    if p.frill:
        s.blob([(hx - 0.1, hy - r), (hx - 0.25 - r * 0.8, hy), (hx - 0.2 - r * 0.4, hy + 1.6 * r), (hx + 0.15 * r, hy + 1.1 * r)], mark)
        for dx, dy, k in ((0.1, 0.7, 0.42), (0.4, 0.6, 0.42), (p.snout + r * 0.3, 0.35, 0.2)):
            s.limb([(hx + dx * r if k > 0.3 else hx + dx, hy + dy * r), (hx + dx * r + k * 0.9 if k > 0.3 else hx + dx + 0.06, hy + dy * r + k)], [0.1, 0.02], C["ivory"])
    mouth = (hx + r * 0.3 + p.snout, hy - 0.1 * r)
    s.stroke([(mouth[0] + r * p.chin * 0.4, mouth[1] - 0.12 * r), (hx + 0.1 * r, hy - 0.36 * r)], 0.022, shade(coat, -0.55))
    if p.teeth:
        for k in range(5):
            x = hx + 0.3 * r + k * (p.snout + 0.2 * r) / 5
            s.poly([(x, mouth[1] - 0.2 * r), (x + 0.025, mouth[1] - 0.36 * r), (x + 0.05, mouth[1] - 0.2 * r)], C["white"], False, FLAT)
    s.dot(mouth[0] + r * p.chin * 0.3, mouth[1] + 0.2 * r * p.chin, 0.018, shade(coat, -0.6))
    if p.bulge:
        s.oval(hx + 0.1 * r, hy + 0.75 * r, 0.42 * r, 0.4 * r, coat)
    s.eye(hx + 0.15 * r, hy + (0.78 if p.bulge else 0.3) * r, max(0.2 * r, 0.035), True, C["umber"])


REPTILES = Family(
    "reptile", "animal", reptile,
    dict(coat_c="green leaf olive", mark_c="forest", belly_c="cream", plan="four", length=1.0, girth=0.36, leg=0.2, thick=0.12, neck=0.2, rise=25.0,
         head=0.16, snout=0.16, chin=0.9, taillen=0.8, lift=0.0, arm=1.0, pattern="plain", back="", crest=1.0, frill=False, teeth=False, bulge=False,
         hood=False, bands=14, metres=0.6),
    {
        "green iguana": dict(back="ridge", pattern="stripes", taillen=1.2, metres=1.5),
        "gecko": dict(coat_c="lime amber", mark_c="orange", pattern="spots", girth=0.26, leg=0.1, taillen=0.7, head=0.18, bulge=True, metres=0.15),
        "chameleon": dict(coat_c="lime turquoise green", mark_c="teal", pattern="stripes", girth=0.46, leg=0.28, lift=-0.18, head=0.22, snout=0.1, back="ridge", bulge=True, taillen=0.6, metres=0.3),
        "monitor lizard": dict(coat_c="ash olive", mark_c="sand", pattern="spots", taillen=1.4, neck=0.36, rise=15.0, snout=0.24, head=0.13, metres=2.0),
        "crocodile": dict(coat_c="olive forest", mark_c="forest", belly_c="sand", back="ridge", teeth=True, length=1.3, leg=0.12, girth=0.36, snout=0.6, chin=0.8, rise=0.0, taillen=1.1, head=0.18, bulge=True, metres=4.0, aquatic=0.7),
        "tree frog": dict(coat_c="lime green", mark_c="leaf", taillen=0.01, length=0.7, girth=0.5, leg=0.1, thick=0.13, neck=0.1, rise=50.0, head=0.28, snout=0.04, chin=1.3, bulge=True, metres=0.06, aquatic=0.5),
        "toad": dict(coat_c="brown olive", mark_c="umber", pattern="spots", taillen=0.01, length=0.85, girth=0.62, leg=0.06, thick=0.16, neck=0.06, rise=30.0, head=0.3, snout=0.04, chin=1.4, bulge=True, metres=0.1, aquatic=0.4),
        "poison dart frog": dict(coat_c="blue yellow red", mark_c="black", pattern="spots", belly_c="navy", taillen=0.01, length=0.65, girth=0.38, leg=0.24, thick=0.09, neck=0.12, rise=55.0, head=0.22, snout=0.06, chin=1.2, bulge=True, metres=0.04, aquatic=0.3),
        "salamander": dict(coat_c="black umber", mark_c="yellow amber", belly_c="charcoal", pattern="spots", leg=0.08, girth=0.26, rise=5.0, taillen=1.0, head=0.17, chin=1.2, metres=0.2, aquatic=0.5),
        "tortoise": dict(coat_c="olive tan", mark_c="brown olive", back="shell", leg=0.16, thick=0.19, girth=0.42, neck=0.24, taillen=0.16, head=0.15, snout=0.06, metres=0.5),
        "sea turtle": dict(coat_c="sage teal", mark_c="teal forest", back="shell", leg=0.08, thick=0.2, girth=0.3, neck=0.26, rise=12.0, length=1.15, taillen=0.12, snout=0.06, arm=0.9, metres=1.1, aquatic=1.0),
        "rattlesnake": dict(plan="snake", coat_c="sand tan", mark_c="brown", bands=16, metres=1.2),
        "cobra": dict(plan="snake", coat_c="olive brown", mark_c="umber", hood=True, bands=6, metres=1.5),
        "coral snake": dict(plan="snake", coat_c="red", mark_c="black", bands=22, metres=0.8),
        "tyrannosaurus": dict(coat_c="olive rust", mark_c="brown", pattern="stripes", teeth=True, leg=0.62, thick=0.2, girth=0.56, arm=0.4, neck=0.36, rise=52.0, head=0.27, snout=0.28, chin=1.2, taillen=1.1, lift=0.16, metres=12.0),
        "stegosaurus": dict(coat_c="sage tan", mark_c="orange brick", back="plates", leg=0.42, thick=0.18, girth=0.64, neck=0.36, rise=-24.0, head=0.13, taillen=1.0, metres=9.0),
        "triceratops": dict(coat_c="slate tan", mark_c="rust coral", frill=True, leg=0.36, thick=0.22, girth=0.62, neck=0.2, rise=4.0, head=0.25, snout=0.2, chin=0.7, taillen=0.7, metres=8.0),
        "brachiosaurus": dict(coat_c="steel sage", mark_c="slate", pattern="spots", leg=0.66, thick=0.22, girth=0.6, neck=1.35, rise=62.0, head=0.14, snout=0.12, taillen=1.2, metres=22.0),
        "spinosaurus": dict(coat_c="teal brick", mark_c="coral amber", back="sail", teeth=True, leg=0.5, thick=0.17, girth=0.44, arm=0.45, neck=0.4, rise=40.0, head=0.19, snout=0.42, taillen=1.2, lift=0.1, metres=14.0),
    },
    dict(animate=1.0, natural=1.0, moves=0.9, soft=0.1, edible=0.1), faces=True,
)

FAMILIES = (INSECTS, SEA, REPTILES)
