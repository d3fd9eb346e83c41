"""Places and lights behind the objects: a name in, a painted canvas out.

Every backdrop is drawn for every light from the same small vocabulary (gradients, ridges, discs)
in frame fractions, x to the right and y down. Colours are hazed towards the sky so that the
object in front stays the most saturated thing in the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .drawing import COLOURS as C
from .drawing import mix, shade


@dataclass(frozen=True)
class Light:
    """Colours of the sky, tint of the light, and how much darker than the object the place is."""

    top: tuple
    bottom: tuple
    tint: tuple
    dim: float
    phrase: str


LIGHTS = {
    "morning": Light((158, 204, 236), (253, 230, 200), (1.04, 1.0, 0.95), 0.0, "in the morning"),
    "noon": Light((92, 168, 228), (208, 234, 244), (1.03, 1.03, 1.0), 0.0, "at noon"),
    "overcast": Light((166, 178, 190), (216, 220, 220), (0.95, 0.97, 1.0), 0.03, "on a grey day"),
    "sunset": Light((116, 96, 160), (252, 178, 122), (1.06, 0.94, 0.87), 0.04, "at dusk"),
    "night": Light((26, 32, 70), (74, 84, 132), (0.8, 0.85, 1.02), 0.24, "at night"),
}


RAMP = np.linspace(0, 1, 48)[:, None]
ACROSS = np.linspace(0, 1, 33)


class Place:
    """A canvas, its light and its chance: what a backdrop draws with."""

    def __init__(self, canvas, light, rng):
        from PIL import ImageDraw

        self.canvas, self.light, self.rng = canvas, light, rng
        self.side = canvas.size[0]
        self.pen = ImageDraw.Draw(canvas)
        self.night = light.dim > 0.2
        self.chance = iter(rng.random(400).tolist())

    def u(self, low=0.0, high=1.0):
        """A random number between low and high."""
        return low + (high - low) * next(self.chance)

    def pick(self, *names):
        """One of several named colours."""
        return C[names[int(self.u(0, len(names)) * 0.999)]]

    def ink(self, colour, haze=0.12):
        """A colour in this light, faded by haze, as the canvas takes it."""
        return (*mix(colour, self.light.bottom, haze), 0)

    def gradient(self, y0, y1, top, bottom, x0=0.0, x1=1.0, haze=0.12):
        """A band whose colour goes from `top` to `bottom`."""
        from PIL import Image

        top, bottom = np.array(self.ink(top, haze)), np.array(self.ink(bottom, haze))
        rows = (top + RAMP * (bottom - top)).astype(np.uint8)
        a, b = round(y0 * self.side), round(y1 * self.side)
        left, right = round(x0 * self.side), round(x1 * self.side)
        if b > a and right > left:
            band = Image.frombytes("CMYK", (1, 48), rows.tobytes())
            band = band.resize((right - left, b - a), Image.Resampling.NEAREST)
            self.canvas.paste(band, (left, a))

    def poly(self, points, colour, haze=0.12):
        """A filled polygon; points in shares of the frame."""
        points = np.asarray(points, float) * self.side
        self.pen.polygon(points.ravel().tolist(), self.ink(colour, haze))

    def box(self, x0, y0, x1, y1, colour, haze=0.12):
        """A filled rectangle."""
        s = self.side
        self.pen.rectangle((x0 * s, y0 * s, x1 * s, y1 * s), self.ink(colour, haze))

    def disc(self, x, y, r, colour, ry=None, haze=0.12):
        """A filled ellipse."""
        s, ry = self.side, r if ry is None else ry
        box = ((x - r) * s, (y - ry) * s, (x + r) * s, (y + ry) * s)
        self.pen.ellipse(box, self.ink(colour, haze))

    def ridge(self, y, height, colour, waves=2.0, sharp=False, to=1.0, haze=0.12):
        """Hills (or peaks) from the frame's left to its right, filled down to `to`."""
        x = ACROSS
        p, q = self.u(0, 6.3), self.u(0, 6.3)
        if sharp:
            saw = np.abs(((x * waves + p) % 2) - 1) + 0.35 * np.abs(((x * waves * 2.7 + q) % 2) - 1)
            line = y - height * saw
        else:
            wave = np.sin(x * waves * 3.1 + p) + 0.45 * np.sin(x * waves * 7.3 + q)
            line = y - height * 0.5 * (1 + wave)
        points = np.empty((len(x) + 2, 2))
        points[:-2, 0], points[:-2, 1] = x, line
        points[-2:] = (1, to), (0, to)
        self.poly(points, colour, haze)

    def sky(self, horizon):
        """Gradient, a sun or moon, clouds or stars, down to the horizon."""
        self.gradient(0, horizon, self.light.top, self.light.bottom, haze=0)
        self.gradient(horizon, horizon + 0.2, self.light.bottom, self.light.bottom, haze=0)
        x, y = self.u(0.1, 0.9), self.u(0.06, 0.2)
        if self.night:
            for _ in range(14):
                self.disc(self.u(), self.u(0, horizon), self.u(0.002, 0.005), C["cream"])
            self.disc(x, y, 0.05, C["cream"])
            self.disc(x + 0.018, y - 0.012, 0.042, self.light.top, haze=0)
            return
        if self.light.dim < 0.03:
            self.disc(x, y, 0.085, mix(self.light.top, C["cream"], 0.4), haze=0)
            self.disc(x, y, 0.055, C["cream"], haze=0)
        elif self.light.dim > 0.035:
            self.disc(x, horizon - 0.02, 0.13, mix(self.light.bottom, C["amber"], 0.4), haze=0)
            self.disc(x, horizon - 0.02, 0.09, C["lemon"], haze=0.3)
        white = mix(self.light.bottom, C["snow"], 0.6)
        for _ in range(int(self.u(1, 4))):
            x, y, w = self.u(), self.u(0.05, horizon * 0.6), self.u(0.06, 0.12)
            for dx, dy, k in ((0, 0, 0.5), (-0.6, 0.1, 0.34), (0.65, 0.12, 0.38), (0.1, 0.16, 0.9)):
                self.disc(x + dx * w, y + dy * w, w * k, white, w * min(k, 0.5) * 0.75, haze=0)

    def tufts(self, y0, y1, colour, n=14):
        """Grass, drawn larger towards the viewer."""
        for _ in range(n):
            x, y = self.u(), self.u(y0, y1)
            h = 0.012 + 0.05 * (y - y0)
            points = [
                (x - h * 0.6, y),
                (x - h * 0.5, y - h),
                (x - h * 0.1, y - h * 0.3),
                (x, y - h * 1.3),
            ]
            self.poly(
                [*points, (x + h * 0.2, y - h * 0.3), (x + h * 0.6, y - h), (x + h * 0.5, y)],
                colour,
            )

    def pine(self, x, y, h, colour, haze=0.2):
        """A conifer."""
        self.box(x - 0.02 * h, y - 0.2 * h, x + 0.02 * h, y, C["brown"], haze)
        for a, b, w in ((0.1, 0.6, 0.24), (0.35, 0.8, 0.19), (0.58, 1.0, 0.13)):
            self.poly(
                [(x - w * h, y - a * h), (x, y - b * h), (x + w * h, y - a * h)], colour, haze
            )

    def bush(self, x, y, r, colour, haze=0.15):
        """A bush."""
        for dx, dy, k in ((0, -0.5, 1), (-0.9, -0.2, 0.7), (0.9, -0.25, 0.75)):
            self.disc(x + dx * r, y + dy * r, r * k, shade(colour, -0.08 * dx), haze=haze)

    def window(self, x, y, w, h, frame):
        """A window onto the sky of the scene's light."""
        self.box(x - 0.02, y - 0.02, x + w + 0.02, y + h + 0.03, frame)
        self.gradient(y, y + h, self.light.top, self.light.bottom, x, x + w, haze=0)
        self.ridge_in(x, y + h, w, 0.3 * h)
        self.box(x + w / 2 - 0.007, y, x + w / 2 + 0.007, y + h, frame)
        self.box(x, y + h * 0.45 - 0.006, x + w, y + h * 0.45 + 0.006, frame)

    def ridge_in(self, x, y, w, h):
        """Hills across a part of the frame."""
        t = np.linspace(0, 1, 12)
        line = np.stack([x + t * w, y - h * (0.6 + 0.4 * np.sin(t * 5 + self.u(0, 6)))], 1)
        self.poly([*line.tolist(), (x + w, y), (x, y)], C["sage"], 0.3)


def studio(p):
    """A plain wall and floor."""
    colour = p.pick("sage", "sky", "blush", "sand", "lilac", "mint", "silver", "cream", "coral")
    if p.night:
        colour = mix(colour, C["navy"], 0.5)
    p.gradient(0, 0.72, shade(colour, -0.12), shade(colour, 0.3))
    p.gradient(0.72, 1, shade(colour, 0.12), shade(colour, -0.14))
    for k in range(6):  # the rounded transition of a paper roll
        p.gradient(0.68 + k * 0.014, 0.695 + k * 0.014, shade(colour, 0.28 - 0.025 * k),
                   shade(colour, 0.26 - 0.025 * k))  # fmt: skip


def meadow(p):
    """Grass under a sky."""
    p.sky(0.6)
    p.ridge(0.6, 0.12, mix(C["sage"], p.light.bottom, 0.4), 1.2)
    p.ridge(0.63, 0.07, C["sage"], 1.7)
    p.gradient(0.64, 1, C["lime"], C["green"])
    for _ in range(3):
        p.bush(p.u(), p.u(0.63, 0.67), p.u(0.02, 0.05), C["green"])
    p.tufts(0.66, 1, C["leaf"])
    bloom = p.pick("rose", "lemon", "white", "violet")
    for _ in range(9):
        y = p.u(0.68, 0.99)
        p.disc(p.u(), y, 0.004 + 0.012 * (y - 0.6), bloom)


def beach(p):
    """Sand, water and a sky."""
    p.sky(0.5)
    p.gradient(0.5, 0.66, mix(C["blue"], p.light.top, 0.4), C["turquoise"])
    for y in (0.54, 0.58, 0.62):
        x = p.u(-0.2, 0.6)
        p.box(x, y, x + p.u(0.2, 0.5), y + 0.004, C["white"], 0.3)
    p.ridge(0.67, 0.03, C["white"], 1.1)
    p.ridge(0.69, 0.03, C["sand"], 1.1)
    p.gradient(0.7, 1, shade(C["sand"], 0.15), C["sand"])
    for _ in range(8):
        p.disc(p.u(), p.u(0.74, 1), p.u(0.004, 0.012), shade(C["sand"], -0.14), 0.004)
    x, y = p.u(0.05, 0.95), p.u(0.78, 0.98)
    p.disc(x, y, 0.025, C["coral"], 0.016)
    p.disc(x, y, 0.014, C["cream"], 0.01)


def street(p):
    """Houses along a road."""
    p.sky(0.55)
    x = -0.05
    while x < 1:
        w, h = p.u(0.12, 0.24), p.u(0.25, 0.5)
        wall = p.pick("stone", "brick", "sand", "slate", "sage", "blush", "silver")
        p.gradient(
            0.66 - h, 0.67, shade(wall, 0.06), shade(wall, -0.08), max(x, 0), min(x + w, 1), 0.3
        )
        glow = C["amber"] if p.night else shade(C["window"], -0.1)
        for i in range(int(w / 0.05)):
            for j in range(int(h / 0.08)):
                lit = glow if not p.night or (i * 7 + j * 5 + int(x * 90)) % 3 else C["navy"]
                a, b = x + 0.018 + i * 0.05, 0.68 - h + j * 0.08
                p.box(a, b, a + 0.024, b + 0.042, lit, 0.2)
        x += w
    p.gradient(0.66, 0.72, C["silver"], C["stone"])
    p.gradient(0.72, 1, shade(C["slate"], -0.06), shade(C["slate"], -0.25))
    for k in range(3):
        a = 0.1 + 0.36 * k + p.u(-0.03, 0.03)
        p.poly([(a, 0.83), (a + 0.16, 0.83), (a + 0.17, 0.85), (a - 0.01, 0.85)], C["cream"])


def mountains(p):
    """Peaks behind a plain."""
    p.sky(0.62)
    far = mix(C["slate"], p.light.bottom, 0.45)
    p.ridge(0.6, 0.3, mix(far, C["snow"], 0.35), 2.4, sharp=True)
    p.ridge(0.64, 0.22, far, 2.9, sharp=True)
    p.ridge(0.67, 0.12, mix(C["forest"], p.light.bottom, 0.35), 2.1)
    for _ in range(6):
        p.pine(p.u(), p.u(0.68, 0.72), p.u(0.08, 0.15), mix(C["forest"], C["slate"], 0.3), 0.25)
    p.gradient(0.7, 1, C["sage"], C["olive"])
    for _ in range(6):
        x, y = p.u(), p.u(0.73, 0.99)
        p.disc(x, y, 0.022, C["stone"], 0.013)
        p.disc(x, y - 0.003, 0.018, shade(C["stone"], 0.2), 0.008)


def desert(p):
    """Dunes under a sky."""
    p.sky(0.58)
    p.ridge(0.58, 0.09, mix(C["rust"], p.light.bottom, 0.5), 1.6)
    p.ridge(0.66, 0.11, mix(C["sand"], C["amber"], 0.35), 0.9)
    p.ridge(0.75, 0.1, mix(C["sand"], C["amber"], 0.15), 0.8)
    p.gradient(0.76, 1, mix(C["sand"], C["amber"], 0.15), C["tan"])
    for _ in range(5):
        x, y = p.u(-0.1, 0.8), p.u(0.78, 0.98)
        p.disc(x + 0.15, y, 0.15, shade(C["sand"], -0.12), 0.004)


def snow(p):
    """A snowy field with hills."""
    p.sky(0.6)
    p.ridge(0.62, 0.14, mix(C["steel"], p.light.bottom, 0.5), 1.5)
    for _ in range(6):
        p.pine(p.u(), p.u(0.62, 0.68), p.u(0.1, 0.2), mix(C["teal"], C["snow"], 0.45))
    p.ridge(0.68, 0.06, C["snow"], 1.0, haze=0.05)
    p.gradient(0.69, 1, C["snow"], mix(C["sky"], C["snow"], 0.5), haze=0.08)
    for _ in range(22):
        p.disc(p.u(), p.u(), p.u(0.003, 0.007), C["snow"], haze=0)


def forest(p):
    """Trunks and undergrowth."""
    p.gradient(
        0, 0.7, mix(p.light.top, C["sage"], 0.4), mix(p.light.bottom, C["lime"], 0.3), haze=0
    )
    for depth, base in ((0.55, 0.66), (0.32, 0.7), (0.14, 0.74)):
        trunk = mix(C["brown"], p.light.bottom, depth)
        for _ in range(4):
            x, w = p.u(), 0.045 - 0.045 * depth
            p.poly(
                [(x - w * 0.5, -0.1), (x + w * 0.5, -0.1), (x + w, base), (x - w, base)], trunk, 0
            )
        p.ridge(base, 0.07, mix(C["forest"], p.light.bottom, depth * 0.9), 3.5, haze=0)
    for _ in range(7):
        p.disc(
            p.u(), p.u(-0.06, 0.08), p.u(0.07, 0.15), mix(C["leaf"], p.light.bottom, 0.25), haze=0
        )
    p.gradient(0.74, 1, C["leaf"], mix(C["forest"], C["brown"], 0.35))
    p.tufts(0.77, 1, C["forest"], 10)


def lake(p):
    """Water before a far shore."""
    p.sky(0.5)
    p.ridge(0.52, 0.16, mix(C["sage"], p.light.bottom, 0.45), 1.6)
    p.ridge(0.54, 0.05, C["leaf"], 3.0)
    p.gradient(0.54, 0.76, mix(C["water"], p.light.bottom, 0.5), mix(C["blue"], p.light.top, 0.5))
    for _ in range(8):
        x, y = p.u(-0.1, 0.9), p.u(0.57, 0.74)
        p.box(x, y, x + p.u(0.05, 0.22), y + 0.004, C["white"], 0.4)
    p.ridge(0.79, 0.04, C["sand"], 1.4)
    p.gradient(0.8, 1, C["lime"], C["leaf"])
    p.tufts(0.82, 1, C["forest"], 12)


def garden(p):
    """Bushes, a fence and flowers."""
    p.sky(0.6)
    for _ in range(5):
        p.bush(p.u(), 0.56, p.u(0.06, 0.12), p.pick("leaf", "forest", "green", "sage"))
    fence = p.pick("white", "oak", "sky")
    p.box(0, 0.5, 1, 0.52, shade(fence, -0.1))
    p.box(0, 0.6, 1, 0.62, shade(fence, -0.1))
    for k in range(13):
        x = k / 12.5
        p.poly([(x, 0.67), (x, 0.47), (x + 0.02, 0.445), (x + 0.04, 0.47), (x + 0.04, 0.67)], fence)
    p.gradient(0.67, 1, C["green"], C["leaf"])
    for _ in range(10):
        x, bloom = p.u(), p.pick("rose", "lemon", "white", "violet", "coral")
        p.disc(x, p.u(0.64, 0.7), 0.013, bloom)
    p.poly([(0.3, 0.67), (0.45, 0.67), (0.95, 1), (0.2, 1)], C["stone"])
    p.tufts(0.7, 1, C["forest"], 8)


def living_room(p):
    """A wall, a floor and a window."""
    wall = p.pick("sage", "blush", "sand", "sky", "cream", "lilac", "teal")
    p.gradient(0, 0.68, shade(wall, 0.1), wall)
    left = p.u(0.06, 0.2)
    p.window(left, 0.12, 0.26, 0.3, C["white"])
    x, y = left + 0.42 + p.u(0, 0.1), p.u(0.12, 0.2)
    p.box(x, y, x + 0.2, y + 0.22, C["oak"])
    p.box(x + 0.018, y + 0.018, x + 0.182, y + 0.202, C["cream"])
    p.disc(x + 0.1, y + 0.11, 0.055, p.pick("coral", "teal", "amber", "indigo"))
    p.box(0, 0.655, 1, 0.68, C["white"])
    floor = p.pick("oak", "wood", "tan")
    p.gradient(0.68, 1, shade(floor, 0.08), shade(floor, -0.1))
    for k in range(-2, 9):
        a = k / 7
        p.poly([(a, 0.68), (a + 0.004, 0.68), (1.7 * a - 0.345, 1), (1.7 * a - 0.355, 1)],
               shade(floor, -0.18))  # fmt: skip
    p.disc(p.u(0.4, 0.6), 0.88, 0.42, p.pick("brick", "slate", "sage", "plum"), 0.09, haze=0.25)


def kitchen(p):
    """Tiles and a worktop."""
    wall = p.pick("cream", "mint", "sky", "blush")
    p.gradient(0, 0.64, wall, shade(wall, -0.05))
    for k in range(11):
        p.box(k / 10, 0.3, k / 10 + 0.004, 0.64, C["white"])
    for k in range(4):
        p.box(0, 0.3 + k * 0.1, 1, 0.304 + k * 0.1, C["white"])
    p.window(p.u(0.1, 0.55), 0.05, 0.34, 0.2, C["white"])
    shelf = p.u(0.0, 0.5)
    p.box(shelf, 0.47, shelf + 0.45, 0.485, C["wood"])
    for k in range(4):
        x = shelf + 0.06 + 0.1 * k
        p.box(x, 0.4, x + 0.05, 0.47, p.pick("coral", "teal", "amber", "white", "sage"), 0.3)
    top = p.pick("oak", "wood", "white", "tan")
    p.gradient(0.64, 0.67, shade(top, 0.25), shade(top, 0.1))
    p.gradient(0.67, 1, top, shade(top, -0.12))
    for k in range(6):
        y = 0.7 + 0.055 * k
        p.disc(p.u(), y, p.u(0.1, 0.3), shade(top, -0.1), 0.003)


def library(p):
    """Shelves of books."""
    p.gradient(0, 0.7, C["cocoa"], C["brown"])
    for row in range(3):
        y = 0.2 + row * 0.22
        x = 0.0
        while x < 1:
            w, h = p.u(0.03, 0.06), p.u(0.12, 0.17)
            book = p.pick("brick", "teal", "navy", "olive", "plum", "tan", "cream")
            p.box(x, y - h, x + w - 0.006, y, mix(book, C["cocoa"], 0.25))
            x += w
        p.box(0, y, 1, y + 0.03, C["wood"])
    p.gradient(0.7, 1, C["chestnut"], C["cocoa"])
    p.disc(0.5, 0.9, 0.5, C["brick"], 0.1)
    p.disc(0.5, 0.9, 0.45, C["tan"], 0.088)
    p.disc(0.5, 0.9, 0.43, C["brick"], 0.083)


def harbour(p):
    """Water with boats before a shore."""
    p.sky(0.5)
    p.ridge(0.5, 0.07, mix(C["slate"], p.light.bottom, 0.55), 2.0)
    p.gradient(0.5, 0.72, mix(C["water"], p.light.bottom, 0.4), mix(C["teal"], p.light.top, 0.4))
    for _ in range(2):
        x, y = p.u(0.05, 0.95), p.u(0.52, 0.58)
        p.poly(
            [(x - 0.05, y), (x + 0.05, y), (x + 0.035, y + 0.022), (x - 0.035, y + 0.022)],
            C["brick"],
        )
        p.poly([(x, y - 0.01), (x, y - 0.12), (x + 0.05, y - 0.01)], C["white"])
    for _ in range(6):
        x, y = p.u(-0.1, 0.9), p.u(0.6, 0.71)
        p.box(x, y, x + p.u(0.05, 0.2), y + 0.004, C["white"], 0.4)
    p.gradient(0.72, 1, C["oak"], shade(C["wood"], -0.1))
    for k in range(6):
        y = 0.72 + 0.045 * k + 0.004 * k * k
        p.box(0, y, 1, y + 0.006, shade(C["wood"], -0.3))
    for x in (0.06, 0.9):
        p.box(x, 0.6, x + 0.05, 0.76, shade(C["wood"], -0.15))
        p.disc(x + 0.025, 0.6, 0.025, C["oak"], 0.01)


# name: (painter, phrase for captions)
BACKDROPS = {
    "studio": (studio, "on a plain backdrop"), "meadow": (meadow, "in a meadow"),
    "beach": (beach, "on a beach"), "street": (street, "in a street"),
    "mountains": (mountains, "in the mountains"), "desert": (desert, "in the desert"),
    "snow": (snow, "on a snowy hill"), "forest": (forest, "in a forest"),
    "lake": (lake, "by a lake"), "garden": (garden, "in a garden"),
    "living room": (living_room, "in a living room"), "kitchen": (kitchen, "on a kitchen table"),
    "library": (library, "in a library"), "harbour": (harbour, "at a harbour"),
}  # fmt: skip


def paint_backdrop(canvas, background, light, rng):
    """Fill a canvas with a place in a light; `rng` decides the details."""
    BACKDROPS[background][0](Place(canvas, LIGHTS[light], rng))
