"""A small drawing vocabulary: shapes in, a display list out, then pixels.

A `Sketch` collects shapes (ovals, smooth blobs, limbs, polygons, clipped textures) in local
coordinates, x to the right and y up with the ground at 0. `paint` fits the list into a frame and
rasterises it with Pillow on a four-band canvas: red, green, blue and a *height* that `finish`
turns into soft relief, so every object is shaded the same cheap way whatever it is made of.
Everything is in fractions of the frame, hence the same picture at every size.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import lru_cache

import numpy as np

COLOURS = {
    "red": (214, 62, 54), "crimson": (176, 36, 56), "brick": (176, 88, 66), "coral": (240, 124, 100),
    "orange": (238, 142, 48), "amber": (244, 178, 62), "yellow": (248, 212, 82),
    "lemon": (250, 228, 96), "lime": (172, 204, 76), "green": (92, 164, 80), "leaf": (74, 140, 66),
    "forest": (48, 104, 66), "olive": (136, 140, 70), "sage": (146, 172, 132),
    "mint": (148, 212, 176), "teal": (46, 148, 148), "turquoise": (78, 196, 200),
    "sky": (128, 190, 232), "blue": (66, 122, 204), "navy": (44, 66, 124),
    "indigo": (84, 84, 168), "violet": (136, 94, 186), "lilac": (184, 158, 218),
    "purple": (122, 60, 140), "plum": (118, 52, 88), "magenta": (206, 66, 140),
    "pink": (244, 160, 184), "rose": (226, 102, 130), "blush": (248, 204, 200),
    "white": (246, 244, 238), "snow": (252, 252, 250), "cream": (248, 234, 204),
    "ivory": (240, 228, 196), "sand": (224, 196, 148), "tan": (204, 160, 108),
    "honey": (226, 164, 78), "caramel": (196, 128, 66), "rust": (184, 92, 48),
    "russet": (204, 98, 46), "chestnut": (146, 82, 50), "brown": (122, 78, 52),
    "cocoa": (92, 58, 44), "umber": (74, 56, 48), "wood": (176, 122, 74), "oak": (198, 148, 92),
    "grey": (150, 152, 156), "silver": (194, 200, 206), "slate": (104, 116, 130),
    "stone": (176, 170, 158), "ash": (124, 120, 118), "charcoal": (70, 72, 80),
    "black": (46, 46, 54), "steel": (142, 160, 178), "gold": (226, 180, 70),
    "brass": (206, 164, 84), "copper": (190, 112, 76), "glass": (190, 222, 234),
    "window": (150, 196, 222), "water": (92, 162, 204), "skin": (238, 196, 164),
    "bread": (222, 166, 94), "crust": (190, 122, 60), "cheese": (250, 206, 90),
}  # fmt: skip
VIVID = "red orange amber yellow lime green teal turquoise sky blue indigo violet magenta pink coral white"
FLAT, RAISED = 0, 7  # how much a shape lifts the relief above what was drawn before it
GROUND = 100  # the relief of the first shape; the background lies at 0


def shade(colour, amount):
    """Darken (amount < 0) or lighten (amount > 0) a colour by a fraction of the way, -1 to 1."""
    # Shadows drift to blue, as they do outdoors; plain darkening looks dirty.
    return (
        mix(colour, (30, 22, 52), -amount) if amount < 0 else mix(colour, (255, 255, 255), amount)
    )


def mix(first, second, weight=0.5):
    """Mix two colours; `weight` is the share of the second."""
    (r, g, b), (x, y, z) = first, second
    return int(r + (x - r) * weight), int(g + (y - g) * weight), int(b + (z - b) * weight)


@lru_cache(maxsize=256)
def _spline(n, k, closed):
    """Matrix (sample, point) of a Catmull-Rom curve with k samples per segment."""
    segments = n if closed else n - 1
    t = np.arange(k) / k
    basis = 0.5 * np.stack(
        [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2], 1
    )
    matrix = np.zeros((segments * k + (not closed), n))
    for i in range(segments):
        for j in range(4):
            at = i + j - 1
            at = at % n if closed else min(max(at, 0), n - 1)
            matrix[i * k : (i + 1) * k, at] += basis[:, j]
    if not closed:
        matrix[-1, -1] = 1
    return matrix


@lru_cache(maxsize=2048)
def _circle(n, start=0.0, stop=2 * np.pi, end=False):
    """Unit vectors (point, 2) along an arc."""
    t = np.linspace(start, stop, n, endpoint=end)
    return np.stack([np.cos(t), np.sin(t)], 1)


def smooth(points, closed=True, k=5):
    """Points (sample, 2) of a smooth curve through the given points (point, 2)."""
    return _spline(len(points), k, closed) @ np.asarray(points, float)


def turn(points, angle, x=0.0, y=0.0):
    """Rotate points (point, 2) by an angle in degrees about the origin, then shift them."""
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return np.asarray(points, float) @ np.array([[c, s], [-s, c]]) + (x, y)


def arc(x, y, rx, ry, start, stop, n=14):
    """Points (point, 2) on an elliptic arc, angles in degrees, anticlockwise from the right."""
    unit = _circle(n, float(np.radians(start)), float(np.radians(stop)), True)
    return unit * (rx, ry) + (x, y)


def tube(points, widths):
    """Outline (point, 2) of a smooth tapered stroke with round ends.

    Parameters
    ----------
    points : array (point, 2)
        Centre line.
    widths : float or array (point,)
        Full width at each point.
    """
    n = len(points)
    line = np.empty((n, 3))
    line[:, :2] = points
    line[:, 2] = widths
    if n > 2:
        line = _spline(n, 4, False) @ line
    step = np.empty((len(line), 2))
    step[1:-1] = line[2:, :2] - line[:-2, :2]
    step[0] = line[1, :2] - line[0, :2]
    step[-1] = line[-1, :2] - line[-2, :2]
    length = np.sqrt(step[:, 0] ** 2 + step[:, 1] ** 2) + 1e-9
    step *= (line[:, 2] / (2 * length))[:, None]
    m = len(line)
    outline = np.empty((2 * m + 6, 2))
    right, left = outline[:m], outline[m + 3 : 2 * m + 3]
    right[:, 0] = line[:, 0] + step[:, 1]
    right[:, 1] = line[:, 1] - step[:, 0]
    left[::-1, 0] = line[:, 0] - step[:, 1]
    left[::-1, 1] = line[:, 1] + step[:, 0]
    for rows, end, sign in ((slice(m, m + 3), -1, 1), (slice(2 * m + 3, None), 0, -1)):
        (x, y), (dx, dy) = line[end, :2], sign * step[end]
        outline[rows] = _CAP @ ((dx, dy), (-dy, dx)) + (x, y)
    return outline


_CAP = _circle(5, -np.pi / 2, np.pi / 2, True)[1:-1]


class Shape:
    """One entry of the display list: outline (point, 2), colours, relief, marks inside it."""

    __slots__ = ("fill", "group", "line", "marks", "points", "relief")

    def __init__(self, points, fill, line, relief, group, marks=()):
        self.points, self.fill, self.line = points, fill, line
        self.relief, self.group, self.marks = relief, group, marks


class Sketch:
    """A display list with a vocabulary to fill it; see the module's docstring.

    Colours are (red, green, blue). `line` is the outline's colour: None for a darker shade of the
    fill, False for no outline. `lift` says how far a shape stands out from what is behind it.
    """

    def __init__(self):
        self.shapes = []
        self._relief = GROUND
        self._group = 0
        self._joining = False

    def poly(self, points, fill, line=None, lift=RAISED):
        """Polygon through points (point, 2); returns the outline for textures."""
        points = np.asarray(points, float)
        if not self._joining:
            self._group += 1
            self._relief = min(self._relief + lift, 255)
        if line is None:
            line = shade(fill, -0.5)
        self.shapes.append(Shape(points, fill, line, self._relief, self._group))
        return points

    def blob(self, points, fill, line=None, lift=RAISED):
        """Smooth closed shape through points (point, 2)."""
        return self.poly(smooth(points), fill, line, lift)

    def oval(self, x, y, rx, ry, fill, angle=0.0, line=None, lift=RAISED):
        """Ellipse with centre, radii and rotation in degrees."""
        points = _circle(24 if rx + ry > 0.2 else 12) * (rx, ry)
        points = turn(points, angle, x, y)
        return self.poly(points, fill, line, lift)

    def box(self, x0, y0, x1, y1, fill, round=0.0, line=None, lift=RAISED):
        """Upright rectangle, its corners rounded with radius `round`."""
        if not round:
            return self.poly([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], fill, line, lift)
        r = min(round, abs(x1 - x0) / 2, abs(y1 - y0) / 2)
        corner = _circle(6, 0.0, np.pi / 2, True) * r
        x, y = corner[:, 0], corner[:, 1]
        points = np.concatenate([
            np.stack([x1 - r + x, y1 - r + y], 1),
            np.stack([x0 + r - y, y1 - r + x], 1),
            np.stack([x0 + r - x, y0 + r - y], 1),
            np.stack([x1 - r + y, y0 + r - x], 1),
        ])  # fmt: skip
        return self.poly(points, fill, line, lift)

    def limb(self, points, widths, fill, line=None, lift=RAISED):
        """Smooth tapered stroke with round ends: legs, tails, handles, branches."""
        return self.poly(tube(points, widths), fill, line, lift)

    def stroke(self, points, width, fill):
        """Thin line without outline that lies flat on what is below it."""
        return self.poly(tube(points, width), fill, False, FLAT)

    def dot(self, x, y, r, fill):
        """Small flat disc without outline."""
        return self.poly(_circle(10) * r + (x, y), fill, False, FLAT)

    def eye(self, x, y, r, white=False, iris=(46, 46, 54)):
        """Eye with a glint; `white` gives it a white of its own."""
        if white:
            self.oval(x, y, r * 1.7, r * 1.7, (250, 250, 248), lift=FLAT)
        self.dot(x, y, r, iris)
        if iris != COLOURS["black"]:
            self.dot(x, y, r * 0.55, (30, 30, 36))
        self.dot(x + r * 0.3, y + r * 0.35, r * 0.36, (255, 255, 255))

    def texture(self, shape, marks, fill):
        """Flat marks, a list of outlines (point, 2), seen only inside `shape` (point, 2)."""
        self._group += 0 if self._joining else 1
        self.shapes.append(Shape(shape, fill, False, self._relief, self._group, list(marks)))

    def stripes(self, shape, fill, n=6, angle=90.0, duty=0.5, bend=0.0, taper=False):
        """`n` parallel bands across a shape; angle 90 stands them upright."""
        low, high = shape.min(0), shape.max(0)
        centre, reach = (low + high) / 2, np.abs(high - low).max() * 0.75
        a = np.radians(angle)
        span = abs((high - low)[0] * np.sin(a)) + abs((high - low)[1] * np.cos(a))
        step = span / n
        marks = []
        for i in range(n):
            at = (i + 0.5) * step - span / 2
            w = step * duty / 2
            e = 0.2 * w if taper else w
            band = [(-reach, at - e), (0, at - w + bend), (reach, at - e)]
            band += [(reach, at + e), (0, at + w + bend), (-reach, at + e)]
            marks.append(turn(band, angle, *centre))
        self.texture(shape, marks, fill)

    def spots(self, shape, fill, n=14, size=0.08, phase=0.0, squash=1.0):
        """About `n` spots scattered evenly over a shape's box."""
        low, high = shape.min(0), shape.max(0)
        i = np.arange(n)
        at = np.stack([(i + 0.5) / n, (i * 0.618034 + phase) % 1], 1)
        at[:, 0] += 0.25 / n * np.sin(i * 2.4)
        at = low + at * (high - low)
        radius = size * (0.8 + 0.4 * ((i * 0.7548 + phase) % 1))
        unit = _circle(8) * (1, squash)
        self.texture(shape, [unit * r + p for r, p in zip(radius, at)], fill)

    def strokes(self, shape, fill, n=24, length=0.12, angle=-70.0, width=0.014, phase=0.0):
        """Short hairs scattered over a shape: fur, grass, bark."""
        low, high = shape.min(0), shape.max(0)
        i = np.arange(n)
        at = np.stack([(i + 0.5) / n, (i * 0.618034 + phase) % 1], 1)
        at = low + at * (high - low)
        w, h = width / 2, length / 2
        hair = np.array([(-h, 0), (0, -w), (h, 0), (0, w)])
        marks = [turn(hair, angle + 24 * np.sin(k * 3.7), *p) for k, p in zip(i, at)]
        self.texture(shape, marks, fill)

    def bricks(self, shape, fill, rows=8, line=0.014, running=True):
        """Joints of masonry, planks or tiles over a shape."""
        (x0, y0), (x1, y1) = shape.min(0), shape.max(0)
        step = (y1 - y0) / rows
        marks = []
        for r in range(rows + 1):
            y = y0 + r * step
            marks.append(
                [(x0, y - line / 2), (x1, y - line / 2), (x1, y + line / 2), (x0, y + line / 2)]
            )
            if running and r < rows:
                for x in np.arange(x0 + (r % 2) * step, x1, 2 * step):
                    marks.append([(x, y), (x + line, y), (x + line, y + step), (x, y + step)])
        self.texture(shape, [np.array(m) for m in marks], fill)

    def gloss(self, points, width=0.05, strength=None):
        """Highlight along a line, for glass, metal and fruit."""
        self.poly(tube(points, width), strength or (255, 252, 244), False, FLAT)

    @contextmanager
    def joined(self, lift=RAISED):
        """Shapes drawn inside share one outline and one relief: a body made of several parts."""
        self._group += 1
        self._relief = min(self._relief + lift, 255)
        self._joining = True
        try:
            yield
        finally:
            self._joining = False

    @contextmanager
    def placed(self, x=0.0, y=0.0, scale=1.0, angle=0.0, flip=False):
        """Shapes drawn inside are scaled, flipped, turned by degrees, then shifted."""
        first = len(self.shapes)
        yield
        c, s = np.cos(np.radians(angle)) * scale, np.sin(np.radians(angle)) * scale
        matrix = np.array([[-c, -s] if flip else [c, s], [-s, c]])
        for shape in self.shapes[first:]:
            shape.points = shape.points @ matrix + (x, y)
            shape.marks = [np.asarray(m) @ matrix + (x, y) for m in shape.marks]

    def bounds(self):
        """Lowest and highest corner, two arrays (2,)."""
        points = np.concatenate([s.points for s in self.shapes])
        return points.min(0), points.max(0)


def paint(canvas, sketch, scale, x, y, mirrored=False, width=0.011):
    """Rasterise a sketch on a canvas of `new_canvas`.

    Parameters
    ----------
    canvas : PIL image, four bands
    sketch : Sketch
    scale : float
        Frame fractions per unit of the sketch.
    x, y : float
        Where the sketch's origin lands, frame fractions from the top left corner.
    mirrored : bool
        Flip left and right.
    width : float
        Width of outlines, frame fractions.
    """
    from PIL import Image, ImageChops, ImageDraw

    side = canvas.size[0]
    draw = ImageDraw.Draw(canvas)
    pixels = []
    factor = np.array([-scale if mirrored else scale, -scale]) * side
    origin = np.array([x, y]) * side
    stroke = max(1, round(2 * width * side))
    joint = "curve" if side > 384 else None  # gaps between segments show in large pictures alone
    shapes = sketch.shapes
    everything = np.concatenate([s.points for s in shapes]) * factor + origin
    stop = 0
    for shape in shapes:
        start, stop = stop, stop + len(shape.points)
        pixels.append(everything[start:stop])
    i = 0
    while i < len(shapes):
        j = i + 1
        while j < len(shapes) and shapes[j].group == shapes[i].group:
            j += 1
        for k in range(i, j):  # all outlines of a group lie under all its fills
            if shapes[k].line:
                ring = pixels[k].ravel().tolist()
                draw.line(ring + ring[:4], (*shapes[k].line, shapes[k].relief), stroke, joint)
        for k in range(i, j):
            shape, points = shapes[k], pixels[k]
            ink = (*shape.fill, shape.relief)
            if not shape.marks:
                draw.polygon(points.ravel().tolist(), ink)
                continue
            low = np.maximum(np.floor(points.min(0)), 0).astype(int)
            high = np.minimum(np.ceil(points.max(0)) + 1, side).astype(int)
            if (high <= low).any():
                continue
            box = tuple((high - low).tolist())
            inside, marked = Image.new("L", box), Image.new("L", box)
            ImageDraw.Draw(inside).polygon((points - low).ravel().tolist(), 255)
            pen = ImageDraw.Draw(marked)
            for mark in shape.marks:
                pen.polygon((mark * factor + (origin - low)).ravel().tolist(), 255)
            canvas.paste(ink, tuple(low.tolist()), ImageChops.multiply(inside, marked))
        i = j


def new_canvas(size):
    """Empty four-band canvas, supersampled, for a picture of `size` pixels, and its factor."""
    from PIL import Image

    factor = 3 if size <= 128 else 2
    # CMYK stands for "four bands": Pillow would premultiply RGBA and mix height into colour.
    return Image.new("CMYK", (size * factor, size * factor)), factor


@lru_cache(maxsize=8)
def _grain(size):
    """Fixed paper grain, array (size, size), about -1 to 1, the same field at every size."""
    from PIL import Image

    noise = np.random.default_rng(7).standard_normal((64, 64)).astype(np.float32)
    field = np.asarray(Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC))
    y, x = np.mgrid[0 : 1 : size * 1j, 0 : 1 : size * 1j]
    vignette = 1 - 0.28 * ((x - 0.5) ** 2 + (y - 0.5) ** 2)
    return (vignette * (1 + 0.016 * field)).astype(np.float32)[..., None]


def finish(canvas, factor, shadows, side, tint, dim):
    """Relief, cast shadows and light: a canvas becomes a picture.

    Parameters
    ----------
    canvas : PIL image, four bands
    factor : int
        Supersampling of the canvas.
    shadows : list of (x, y, rx, ry)
        Soft ground shadows, frame fractions.
    side : float
        Where the light comes from, -1 left to 1 right.
    tint : tuple of 3 floats
        Colour of the light, multiplied onto everything.
    dim : float
        How much darker the background is than the object, 0 to 1.

    Returns
    -------
    array (size, size, 3) uint8
    """
    from PIL import Image, ImageDraw, ImageFilter

    small = canvas.reduce(factor)
    size = small.size[0]
    pixels = np.asarray(small)
    mask = np.minimum(pixels[..., 3].astype(np.float32) * (1 / GROUND), 1)
    fine = small.getchannel(3).filter(ImageFilter.BoxBlur(0.018 * size))
    broad = fine.filter(ImageFilter.BoxBlur(0.055 * size))
    # The slope of the blurred relief towards the light is a cheap, pleasant hemisphere of light.
    relief = _slope(broad, side, 0.035 * size) * np.float32(0.0042)
    relief += _slope(fine, side, 0.012 * size) * np.float32(0.003)
    gain = 1 + mask * np.clip(relief, -0.42, 0.3)
    half = size / 2
    veil = Image.new("L", (size // 2, size // 2))
    pen = ImageDraw.Draw(veil)
    for x, y, rx, ry in shadows:
        pen.ellipse(((x - rx) * half, (y - ry) * half, (x + rx) * half, (y + ry) * half), 150)
    veil = veil.filter(ImageFilter.BoxBlur(0.02 * half)).filter(ImageFilter.BoxBlur(0.02 * half))
    veil = np.asarray(veil.resize((size, size), Image.Resampling.BILINEAR), np.float32)
    gain -= (1 - mask) * (veil * np.float32(0.62 / 255) + np.float32(dim))
    light = np.array(tint, np.float32) * _grain(size)
    light *= gain[..., None]
    light *= pixels[..., :3]
    return np.minimum(light, 255, out=light).astype(np.uint8)


def _slope(height, side, reach):
    """Difference (y, x) of an image across `reach` pixels away from a light above and aside."""
    from PIL import ImageChops

    dx, dy = round(reach * side), max(1, round(reach))
    away = np.asarray(ImageChops.offset(height, dx, -dy), np.int16)
    towards = np.asarray(ImageChops.offset(height, -dx, dy), np.int16)
    return away - towards
