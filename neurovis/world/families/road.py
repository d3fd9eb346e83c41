"""Cars, lorries and buses, cycles; all face right."""

# One line per concept and per stroke: tables of coordinates read better in rows.
# ruff: noqa: C408, E741
# fmt: off

import numpy as np

from ..concepts import Family
from ..drawing import COLOURS as C
from ..drawing import FLAT, arc, shade, turn


def wheel(s, x, r, hub=C["silver"], spokes=0):
    """A tyre that stands on the ground at x."""
    s.oval(x, r, r, r, C["charcoal"])
    s.oval(x, r, 0.58 * r, 0.58 * r, hub)
    for i in range(spokes):
        s.stroke([(x, r), turn([(0.55 * r, 0)], 360 / spokes * i + 15, x, r)[0]], 0.09 * r, shade(hub, -0.35))
    s.dot(x, r, 0.18 * r, C["slate"])


def pane(s, points):
    """A window with a reflection."""
    pane = s.poly(points, C["window"], lift=-4)
    low, high = pane.min(0), pane.max(0)
    w = high[0] - low[0]
    s.texture(pane, [np.array([(low[0] + 0.2 * w, low[1]), (low[0] + 0.5 * w, high[1]), (low[0] + 0.72 * w, high[1]), (low[0] + 0.42 * w, low[1])])], C["glass"])


def car(s, p):
    """Bonnet, cabin and boot over two wheels; proportions make the type."""
    l, r, y, body = p.length / 2, p.wheel, p.clear, p.body_c
    h, top = y + p.belt, y + p.belt + p.roof
    a, b, c, d = (-l + p.boot, -l + p.boot + p.rake_back, l - p.hood - p.rake, l - p.hood)
    if p.open:
        s.poly([(c + 0.1, h), (c - 0.12, top), (c - 0.06, top), (d, h)], C["glass"])
        for x in (a + 0.25, (a + c) / 2 + 0.15):
            s.box(x, h - 0.1, x + 0.16, h + 0.22, p.trim_c, 0.06)
    with s.joined():
        shell = s.blob([(-l, y + 0.05), (-l - 0.02, y + p.belt * 0.7), (-l + 0.06, h - 0.02), (a - 0.1, h + 0.02), (0, h + 0.02), (d, h), (l - 0.12, h - p.nose),
                        (l + 0.02, y + p.belt * 0.45), (l, y + 0.03), (0, y - 0.02)], body)
        if not p.open:
            s.poly([(a - 0.06, h - 0.05), (b, top - 0.03), (b + 0.1, top), (c - 0.08, top), (c + 0.02, top - 0.03), (d + 0.05, h - 0.05)], body)
    if p.stripe:
        s.texture(shell, [np.array([(-2, y + p.belt * 0.38), (2, y + p.belt * 0.38), (2, y + p.belt * 0.6), (-2, y + p.belt * 0.6)])], p.trim_c)
    if p.wood:
        s.texture(shell, [np.array([(a - 0.2, y + 0.08), (c, y + 0.08), (c, h - 0.06), (a - 0.2, h - 0.06)])], C["wood"])
    if not p.open:
        n, g = p.windows, 0.05
        for i in range(n):
            t0, t1 = i / n, (i + 1) / n
            lo0, lo1 = a + g + (d - a - 2 * g) * t0, a + g + (d - a - 2 * g) * t1
            hi0, hi1 = b + 0.07 + (c - b - 0.14) * t0, b + 0.07 + (c - b - 0.14) * t1
            pane(s, [(lo0 + 0.02, h), (lo1 - 0.02, h), (hi1 - 0.015, top - 0.06), (hi0 + 0.015, top - 0.06)])
    for t in range(1, p.doors + 1):
        x = a + (d - a) * t / (p.doors + 1)
        s.stroke([(x, y + 0.06), (x, h - 0.01)], 0.018, shade(body, -0.4))
        s.stroke([(x - 0.14, h - 0.09), (x - 0.06, h - 0.09)], 0.03, C["silver"])
    if p.bed:
        s.box(-l, h - 0.04, a - 0.08, h + 0.02, shade(body, -0.3))
        s.box(-l + 0.06, h - 0.01, a - 0.12, h + 0.02, shade(body, -0.55), line=False)
    for x in (-l + p.wheel_back, l - p.wheel_front):
        s.poly(arc(x, r, r * 1.2, r * 1.2, 0, 180), shade(body, -0.45), False, FLAT)
        wheel(s, x, r)
    s.oval(l - 0.06, y + p.belt * 0.6, 0.06, 0.07, C["lemon"])
    s.box(-l - 0.01, y + p.belt * 0.55, -l + 0.07, y + p.belt * 0.75, C["red"], 0.02)
    s.limb([(l - 0.08, y + 0.04), (l + 0.05, y + 0.05)], 0.08, C["silver"])
    s.limb([(-l - 0.04, y + 0.04), (-l + 0.1, y + 0.04)], 0.08, C["silver"])
    if p.spoiler:
        s.limb([(-l + 0.05, h), (-l - 0.02, h + 0.16), (-l + 0.24, h + 0.18)], 0.05, p.trim_c)
    x = (b + c) / 2
    if p.top == "taxi":
        s.box(x - 0.16, top, x + 0.16, top + 0.13, C["white"], 0.03)
    elif p.top == "siren":
        s.box(x - 0.16, top, x, top + 0.1, C["red"], 0.03)
        s.box(x, top, x + 0.16, top + 0.1, C["blue"], 0.03)
    elif p.top == "rack":
        s.box(b + 0.02, top + 0.03, c - 0.02, top + 0.07, C["charcoal"])
        s.box(b + 0.1, top + 0.07, x, top + 0.24, C["chestnut"], 0.03)
        s.box(x + 0.04, top + 0.07, c - 0.08, top + 0.19, C["teal"], 0.03)
    elif p.top == "board":
        s.limb([(b - 0.25, top + 0.08), (c + 0.25, top + 0.08)], [0.03, 0.04], C["coral"])
        s.oval(x, top + 0.09, 0.62, 0.05, C["coral"])


VIVID_CAR = "red orange yellow lime teal sky blue violet white silver charcoal coral"
CARS = Family(
    "car", "vehicle", car,
    dict(body_c=VIVID_CAR, trim_c="white charcoal", length=2.1, wheel=0.22, clear=0.2, belt=0.34, roof=0.36, hood=0.55, boot=0.42, rake=0.28, rake_back=0.2, nose=0.08,
         wheel_back=0.42, wheel_front=0.42, windows=2, doors=2, open=False, bed=False, wood=False, stripe=False, spoiler=False, top="", metres=4.4),
    {
        "saloon car": dict(),
        "hatchback": dict(length=1.75, boot=0.05, rake_back=0.12, hood=0.45, roof=0.4, wheel_back=0.34),
        "estate car": dict(length=2.2, boot=0.04, rake_back=0.16, windows=3, top="rack"),
        "wood-panelled wagon": dict(length=2.2, boot=0.04, rake_back=0.1, windows=3, wood=True, body_c="cream teal olive"),
        "off-roader": dict(length=1.9, wheel=0.3, clear=0.3, belt=0.4, roof=0.42, hood=0.5, boot=0.05, rake=0.1, rake_back=0.04, nose=0.02, windows=3),
        "jeep": dict(length=1.65, wheel=0.29, clear=0.28, belt=0.32, roof=0.4, open=True, boot=0.1, nose=0.02, body_c="olive sand forest"),
        "sports car": dict(length=2.1, wheel=0.23, clear=0.12, belt=0.26, roof=0.24, hood=0.7, boot=0.2, rake=0.42, rake_back=0.5, nose=0.14, windows=1, doors=1, spoiler=True),
        "convertible": dict(length=2.0, clear=0.15, belt=0.3, roof=0.26, hood=0.68, open=True, nose=0.1),
        "race car": dict(length=2.2, wheel=0.25, clear=0.1, belt=0.24, roof=0.16, hood=0.95, boot=0.4, rake=0.1, rake_back=0.3, nose=0.16, windows=1, doors=0, spoiler=True, stripe=True),
        "pickup truck": dict(length=2.3, wheel=0.27, clear=0.26, belt=0.34, boot=0.95, rake_back=0.06, windows=1, doors=1, bed=True, hood=0.5, metres=5.2),
        "minivan": dict(length=2.05, clear=0.18, belt=0.4, roof=0.42, hood=0.28, boot=0.02, rake=0.34, rake_back=0.08, windows=3),
        "camper van": dict(length=2.0, clear=0.2, belt=0.5, roof=0.46, hood=0.06, boot=0.02, rake=0.14, rake_back=0.06, windows=4, doors=1, stripe=True, top="board"),
        "taxi": dict(body_c="yellow amber", top="taxi", stripe=True, trim_c="charcoal"),
        "police car": dict(body_c="white", trim_c="navy blue", stripe=True, top="siren"),
        "limousine": dict(length=3.4, body_c="charcoal white black", windows=6, doors=4, wheel_back=0.5, metres=8.0),
        "bubble car": dict(length=1.15, wheel=0.18, clear=0.16, belt=0.3, roof=0.42, hood=0.12, boot=0.1, rake=0.22, rake_back=0.24, windows=1, doors=1, wheel_back=0.25, wheel_front=0.25, metres=2.5),
        "vintage car": dict(length=1.9, wheel=0.29, clear=0.28, belt=0.3, roof=0.46, hood=0.75, boot=0.2, rake=0.05, rake_back=0.04, nose=-0.03, windows=2, body_c="crimson forest navy cream"),
        "hearse": dict(length=2.5, body_c="black charcoal", boot=0.02, rake_back=0.06, roof=0.42, windows=4),
    },
    dict(moves=1.0, wheels=1.0), faces=True, free=True,
)


def truck(s, p):
    """Lorries, buses and machines: a cab, a load and many wheels."""
    l, r, body, load = p.length / 2, p.wheel, p.body_c, p.load_c
    y, cab = r * 0.95, p.cab
    front, x0, x1 = l, -l, l - cab - 0.06
    h = p.tall
    if p.load != "bus":
        s.box(-l, y, l - 0.1, y + 0.14, C["charcoal"], 0.02)
    if p.load == "box":
        shape = s.box(x0, y + 0.12, x1, y + h, load, 0.03)
        s.stripes(shape, shade(load, -0.1), 9, 90, 0.08)
        if p.sign == "cross":
            for w, t in ((0.08, 0.24), (0.24, 0.08)):
                s.box((x0 + x1) / 2 - w, y + h * 0.6 - t, (x0 + x1) / 2 + w, y + h * 0.6 + t, C["red"], line=False)
        elif p.sign == "cone":
            s.poly([(-0.5, y + 0.6), (-0.2, y + 0.6), (-0.35, y + 0.22)], C["tan"])
            s.oval(-0.35, y + 0.66, 0.18, 0.16, C["pink"])
        elif p.sign == "band":
            s.texture(shape, [np.array([(-3, y + h * 0.45), (3, y + h * 0.45), (3, y + h * 0.62), (-3, y + h * 0.62)])], body)
    elif p.load == "bus":
        shape = s.box(-l, y, l, y + h, body, 0.12)
        for d in range(p.decks):
            top = y + h - 0.14 - d * (h - 0.1) / p.decks
            low = top - p.window
            for i in range(p.windows):
                w = (2 * l - 0.24) / p.windows
                pane(s, [(-l + 0.1 + i * w, low), (-l + 0.04 + (i + 1) * w, low), (-l + 0.04 + (i + 1) * w, top), (-l + 0.1 + i * w, top)])
        s.texture(shape, [np.array([(-3, y + 0.1), (3, y + 0.1), (3, y + 0.2), (-3, y + 0.2)])], load)
        s.box(l - 0.38, y + 0.03, l - 0.16, y + 0.55, shade(body, -0.2))
        pane(s, [(l - 0.35, y + 0.12), (l - 0.19, y + 0.12), (l - 0.19, y + 0.5), (l - 0.35, y + 0.5)])
        if p.sign == "stop":
            s.poly([turn([(0.12, 0)], 22.5 + 45 * k, -0.2, y + 0.3)[0] for k in range(8)], C["red"])
        s.oval(l - 0.02, y + 0.16, 0.05, 0.07, C["lemon"])
    elif p.load == "tank":
        shape = s.box(x0, y + 0.1, x1, y + h, load, h * 0.44)
        s.stripes(shape, body, 3, 90, 0.14)
        s.gloss([(x0 + 0.25, y + h * 0.8), (x1 - 0.25, y + h * 0.8)], 0.07, shade(load, 0.5))
    elif p.load == "dump":
        s.poly([(x0 - 0.05, y + h), (x0 + 0.16, y + 0.14), (x1, y + 0.14), (x1 + 0.02, y + h * 0.9)], load)
        s.blob([(x0, y + h), (x0 + 0.3, y + h + 0.26), (x0 + 0.7, y + h + 0.18), (x1 - 0.1, y + h + 0.24), (x1, y + h * 0.9), (0, y + h * 0.9)], C["brown"])
        s.shapes.append(s.shapes.pop(-2))
    elif p.load == "drum":
        drum = s.blob([(x0, y + 0.4), (x0 + 0.1, y + h * 0.9), (x0 + 0.55, y + h), (x1 - 0.05, y + h * 0.7), (x1, y + 0.3), (x0 + 0.5, y + 0.14)], load)
        s.stripes(drum, body, 4, 65 + 20 * p.pose, 0.36)
    elif p.load == "ladder":
        s.box(x0, y + 0.12, x1, y + h * 0.62, body, 0.03)
        for i in range(4):
            x = x0 + 0.1 + i * (x1 - x0 - 0.1) / 4
            s.box(x, y + 0.2, x + (x1 - x0) / 5, y + h * 0.5, C["silver"], 0.02)
        for dy in (0, 0.12):
            s.limb([(x0 - 0.15, y + h * 0.72 + dy), (l - 0.1, y + h * 1.0 + dy)], 0.045, C["silver"])
        for t in np.linspace(0, 1, 9):
            x = x0 - 0.15 + t * (l + 0.05 - x0)
            s.stroke([(x, y + h * (0.72 + 0.28 * t)), (x, y + h * (0.72 + 0.28 * t) + 0.13)], 0.03, C["silver"])
    elif p.load == "cars":
        for x in (x0 + 0.35, x0 + 1.05):
            s.box(x - 0.3, y + 0.3, x + 0.3, y + 0.5, load, 0.08)
            s.poly([(x - 0.18, y + 0.5), (x - 0.1, y + 0.66), (x + 0.1, y + 0.66), (x + 0.2, y + 0.5)], C["window"])
            for dx in (-0.16, 0.16):
                s.oval(x + dx, y + 0.26, 0.09, 0.09, C["charcoal"])
        s.limb([(x0, y + 0.16), (x1, y + 0.16)], 0.05, body)
    elif p.load == "logs":
        for k in range(4):
            s.limb([(x0 + 0.06, y + 0.24 + 0.2 * k), (x1 - 0.08, y + 0.24 + 0.2 * k)], 0.2, shade(C["wood"], -0.1 * (k % 2)))
            s.oval(x0 + 0.04, y + 0.24 + 0.2 * k, 0.08, 0.1, C["sand"])
        for x in (x0 + 0.25, x1 - 0.25):
            s.box(x, y, x + 0.06, y + 1.0, C["charcoal"])
    elif p.load == "arm":
        s.box(-l + 0.1, y + 0.12, 0.2, y + 0.6, body, 0.06)
        up = 10 * p.pose
        elbow = turn([(0.95, 0)], 58 + up, 0.1, y + 0.4)[0]
        wrist = turn([(0.8, 0)], -50 + up, *elbow)[0]
        s.limb([(0.1, y + 0.4), elbow], [0.22, 0.16], body)
        s.limb([elbow, wrist], [0.16, 0.12], body)
        s.poly(turn(np.array([(-0.15, 0.1), (0.3, 0.1), (0.24, -0.25), (-0.25, -0.28)]), -15, *wrist), C["slate"])
        front = 0.15
    elif p.load == "crane":
        s.box(x0, y + 0.12, x1, y + 0.34, body)
        s.limb([(x0 + 0.4, y + 0.3), (l + 0.2, y + 1.5 + 0.1 * p.pose)], [0.2, 0.1], load)
        s.stroke([(l + 0.2, y + 1.5 + 0.1 * p.pose), (l + 0.2, y + 0.75)], 0.025, C["charcoal"])
        s.limb(arc(l + 0.2, y + 0.68, 0.08, 0.09, 90, -150), 0.05, C["charcoal"])
    elif p.load == "farm":
        s.box(-0.1, r * 1.1, l - 0.05, r * 1.1 + 0.42, body, 0.08)
        s.box(l - 0.4, r * 1.1 + 0.4, l - 0.32, r * 1.1 + 0.8, C["charcoal"])
        front = 0.0
    elif p.load == "push":
        s.box(-l + 0.2, y + 0.1, l - 0.5, y + 0.5, body, 0.05)
        s.blob([(l - 0.28, y + 0.6), (l - 0.12, y + 0.2), (l - 0.2, -0.02 + 0.05), (l - 0.38, 0.1), (l - 0.36, y + 0.5)], C["silver"])
        front = 0.25
    if p.load not in ("bus",):
        c0, top = front - cab, y + p.cab_tall
        s.poly([(c0, y - 0.02), (c0, top), (front - 0.14, top), (front - 0.02, y + 0.42), (front, y - 0.02)], body)
        pane(s, [(c0 + 0.1, y + p.cab_tall * 0.52), (front - 0.12, y + p.cab_tall * 0.52), (front - 0.2, top - 0.08), (c0 + 0.1, top - 0.08)])
        s.stroke([(c0 + 0.1, y + 0.1), (c0 + 0.1, y + p.cab_tall * 0.45)], 0.02, shade(body, -0.4))
        if p.load not in ("arm", "farm", "push"):
            s.oval(front - 0.03, y + 0.16, 0.05, 0.06, C["lemon"])
            s.limb([(front - 0.3, y - 0.02), (front + 0.03, y - 0.02)], 0.08, C["silver"])
        if p.sign in ("cross", "siren"):
            s.box(c0 + 0.12, top, c0 + 0.3, top + 0.12, C["blue"], 0.04)
    if p.tracks:
        s.box(-l + 0.1, 0, l - 0.35, 2 * r, C["charcoal"], r)
        for x in np.linspace(-l + 0.1 + r, l - 0.35 - r, 4):
            s.oval(x, r, r * 0.62, r * 0.62, C["slate"])
        return
    if p.load == "farm":
        wheel(s, -0.42, 0.46, p.load_c)
        wheel(s, l - 0.28, 0.26, p.load_c)
        return
    for x in p.axles:
        wheel(s, x * l, r)


TRUCKS = Family(
    "lorry or bus", "vehicle", truck,
    dict(body_c=VIVID_CAR, load_c="white silver cream", length=2.4, wheel=0.22, tall=0.95, cab=0.6, cab_tall=0.85, load="box", axles=(-0.7, -0.4, 0.72), decks=1, windows=5,
         window=0.3, sign="", tracks=False, metres=8.0),
    {
        "box lorry": dict(sign="band"),
        "articulated lorry": dict(length=3.3, tall=1.05, axles=(-0.85, -0.68, -0.5, 0.42, 0.82), sign="", metres=16.0),
        "ice cream van": dict(length=1.9, body_c="pink sky mint", sign="cone", tall=1.0, axles=(-0.6, 0.66)),
        "ambulance": dict(length=2.0, body_c="white", load_c="white", sign="cross", axles=(-0.6, 0.66), metres=6.0),
        "fire engine": dict(body_c="red crimson", load="ladder", sign="siren"),
        "tanker": dict(load="tank", load_c="silver white", length=2.8, axles=(-0.8, -0.6, 0.3, 0.78), metres=12.0),
        "dump truck": dict(load="dump", load_c="amber yellow orange", tall=0.75, wheel=0.28),
        "cement mixer": dict(load="drum", tall=1.15),
        "car transporter": dict(load="cars", length=2.8, load_c="red sky lime", axles=(-0.8, -0.6, 0.3, 0.78), metres=15.0),
        "logging truck": dict(load="logs", length=2.8, axles=(-0.8, -0.6, 0.3, 0.78), metres=14.0),
        "crane truck": dict(load="crane", body_c="yellow orange", load_c="yellow orange"),
        "double-decker bus": dict(load="bus", body_c="red teal blue", tall=1.65, decks=2, window=0.4, length=2.4, axles=(-0.6, 0.6), metres=11.0),
        "city bus": dict(load="bus", tall=0.95, length=2.7, windows=6, axles=(-0.6, 0.62), metres=12.0),
        "school bus": dict(load="bus", body_c="amber yellow", load_c="charcoal", tall=0.9, length=2.4, windows=6, sign="stop", axles=(-0.6, 0.62), metres=11.0),
        "tractor": dict(load="farm", body_c="green red blue", load_c="yellow amber", length=1.5, cab=0.62, cab_tall=1.05, metres=4.0),
        "excavator": dict(load="arm", body_c="amber yellow orange", length=2.0, tracks=True, cab=0.5, cab_tall=0.95, wheel=0.2),
        "bulldozer": dict(load="push", body_c="amber yellow", length=2.0, tracks=True, cab=0.55, cab_tall=1.0, wheel=0.24),
    },
    dict(moves=1.0, wheels=1.0, tool=0.4), faces=True, free=True,
)


def cycle(s, p):
    """Two wheels, more or less, and a frame."""
    frame, seat, r, b = p.frame_c, p.seat_c, p.wheel, p.base / 2
    wheels = [(x * b, k * r) for x, k in p.axles]
    for x, k in wheels:
        if p.fat:
            wheel(s, x, k, C["silver"], 5)
        else:
            s.stroke(arc(x, k, k * 0.93, k * 0.93, 0, 352, 26), 0.07, C["charcoal"])
            for a in range(0, 180, 30):
                s.stroke([turn([(k * 0.9, 0)], a, x, k)[0], turn([(-k * 0.9, 0)], a, x, k)[0]], 0.012, C["silver"])
            s.dot(x, k, 0.06, C["slate"])
    (x0, r0), (x1, r1) = wheels[0], wheels[-1]
    if p.plan == "uni":
        s.limb([(x0, r0), (x0, r0 * 2 + 0.45)], 0.07, frame)
        s.limb([(x0 - 0.18, r0 * 2 + 0.5), (x0 + 0.2, r0 * 2 + 0.52)], 0.12, seat)
        s.limb([(x0 - 0.16, r0 - 0.2), (x0 + 0.16, r0 + 0.2)], 0.05, C["slate"])
    elif p.plan == "scooter":
        s.limb([(x0, r0 + 0.05), (x1 - 0.15, r1 + 0.05), (x1, r1 + 0.05)], 0.09, frame)
        s.limb([(x1, r1), (x1 - 0.14, r1 + p.bars)], 0.07, frame)
        s.limb([(x1 - 0.34, r1 + p.bars), (x1 + 0.05, r1 + p.bars + 0.03)], 0.07, seat)
    elif p.plan in ("motor", "moped"):
        s.limb([(x1, r1), (x1 - 0.26, r1 + 0.55), (x1 - 0.34, r1 + 0.75)], 0.08, C["silver"])
        s.limb([(x1 - 0.52, r1 + 0.82), (x1 - 0.3, r1 + 0.72)], 0.06, C["charcoal"])
        s.limb([(x0 - 0.1, r0 - 0.02), (x1 - 0.5, r0 - 0.08)], [0.13, 0.08], C["silver"])
        if p.plan == "moped":
            s.blob([(x0 - 0.3, r0 + 0.1), (x0 - 0.26, r0 + 0.5), (x0 + 0.4, r0 + 0.5), (x0 + 0.46, r0 + 0.05), (x1 - 0.45, r0 + 0.0), (x1 - 0.32, r1 + 0.62), (x1 - 0.18, r1 + 0.62), (x1 - 0.28, r0 - 0.18), (x0 + 0.3, r0 - 0.16)], frame)
            s.limb([(x0 - 0.26, r0 + 0.56), (x0 + 0.4, r0 + 0.58)], 0.15, seat)
            s.blob(arc(x1, r1, r1 * 1.1, r1 * 1.12, 20, 170, 7), frame)
        else:
            s.box(-0.28, r0 - 0.12, 0.22, r0 + 0.3, C["slate"], 0.08)
            for k in range(4):
                s.stroke([(-0.2, r0 + 0.0 + 0.07 * k), (0.14, r0 + 0.0 + 0.07 * k)], 0.025, C["silver"])
            s.limb([(x0 - 0.3, r0 + 0.42), (x0 + 0.1, r0 + 0.36), (-0.1, r0 + 0.36)], [0.1, 0.16, 0.12], seat)
            s.blob([(-0.2, r0 + 0.34), (-0.12, r0 + 0.62), (0.25, r0 + 0.68), (0.42, r0 + 0.45), (0.2, r0 + 0.3)], frame)
        s.oval(x1 - 0.2, r1 + 0.6, 0.1, 0.1, C["lemon"])
    else:
        hub, saddle, head = (-0.06, r0 * 0.95), (-0.26, r0 + p.seat), (x1 - 0.22, r1 + p.bars * 0.78)
        for a, c in (((x0, r0), hub), ((x0, r0), saddle), (hub, saddle), (hub, head), (saddle, head), ((x1, r1), head)):
            s.limb([a, c], 0.065, frame)
        s.limb([saddle, (saddle[0] - 0.03, saddle[1] + 0.14)], 0.045, C["silver"])
        s.limb([(saddle[0] - 0.18, saddle[1] + 0.17), (saddle[0] + 0.16, saddle[1] + 0.15)], [0.13, 0.07], seat)
        s.limb([head, (head[0] - 0.05, head[1] + 0.2), (head[0] + (-0.22 if p.seat < 0.5 else 0.16), head[1] + 0.24)], 0.05, C["slate"])
        s.oval(*hub, 0.1, 0.1, C["slate"])
        s.limb([turn([(0.22, 0)], 90 * p.pose, *hub)[0], turn([(-0.22, 0)], 90 * p.pose, *hub)[0]], 0.04, C["slate"])
        if p.basket:
            s.poly([(x1 - 0.1, head[1] + 0.25), (x1 + 0.32, head[1] + 0.25), (x1 + 0.24, head[1] - 0.1), (x1 - 0.04, head[1] - 0.1)], C["wood"])
            s.bricks(s.shapes[-1].points, shade(C["wood"], -0.3), 4)


CYCLES = Family(
    "cycle", "vehicle", cycle,
    dict(frame_c="red teal sky yellow lime violet charcoal coral", seat_c="umber charcoal chestnut", plan="bike", wheel=0.42, base=1.3, axles=((-1, 1.0), (1, 1.0)), seat=0.5, bars=0.6, fat=False,
         basket=False, metres=1.7),
    {
        "bicycle": dict(seat=0.48, bars=0.66),
        "racing bicycle": dict(seat=0.56, bars=0.5, frame_c="red turquoise yellow white"),
        "shopping bicycle": dict(basket=True, seat=0.45, bars=0.7),
        "penny-farthing": dict(axles=((-0.75, 0.5), (0.35, 1.9)), seat=1.1, bars=1.0, frame_c="charcoal black"),
        "tricycle": dict(axles=((-1, 0.7), (-0.8, 0.7), (1, 1.0)), base=1.0, seat=0.3, bars=0.55, metres=0.9),
        "tandem": dict(axles=((-1, 0.9), (1, 0.9)), base=2.1, seat=0.5, metres=2.5),
        "unicycle": dict(plan="uni", axles=((0, 1.0),)),
        "kick scooter": dict(plan="scooter", wheel=0.2, base=1.1, bars=1.0, fat=True, metres=0.9),
        "motorcycle": dict(plan="motor", wheel=0.36, base=1.4, fat=True, metres=2.1),
        "moped": dict(plan="moped", wheel=0.25, base=1.2, fat=True, frame_c="mint coral sky cream red"),
    },
    dict(moves=1.0, wheels=1.0), faces=True, free=True,
)

FAMILIES = (CARS, TRUCKS, CYCLES)
