"""A simulated visual cortex in voxels: where regions lie, and what each voxel responds to.

Comes in: source features. Goes out: a `Cortex`: the voxels of a brain, regions, receptive fields and
weights on the features. Two half-ellipsoids stand for the hemispheres. Early regions are maps of the
visual field that mirror each other where they meet; behind them come patches that prefer kinds of
things. What changes along the cortex does so smoothly, so that neighbouring voxels are alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurovis.world.features import CENTRES, Features

CENTRE = np.array([0.0, -15.0, 8.0])
RADII = np.array([66.0, 82.0, 58.0])
"""Centre and half axes of the brain, mm: x to the right, y to the front, z up."""
FIELD = np.array([[-72.0, 72.0], [-100.0, 0.0], [-56.0, 48.0]])
"""What the scanner's field of view covers, mm: the front and the top of the brain are left out."""
THICKNESS = 0.86
"""Grey matter lies beyond this share of the brain's radius."""
SMOOTHNESS = 9.0
"""How far along the cortex preferences stay alike: standard deviation of their Gaussian covariance, mm."""
SHARED = 0.7
"""Share of the variance of voxels' preferences that subjects have in common."""
ALONG = np.deg2rad(65)
"""Longitude from the occipital pole up to which the visual field is mapped."""
EDGES = np.deg2rad([11, 19, 26, 36])
"""Latitudes at which V1, V2, V3 and V4 end."""
PICTURE = 8.0
"""Width of a picture, degrees of visual angle."""

# region: shares of early, intermediate and late features; response to any picture; receptive field
# (size in the centre, growth with eccentricity; half picture widths)
MAPS = {
    "V1": ((1.0, 0.0, 0.0), 2.0, (0.10, 0.12)),
    "V2": ((0.9, 0.1, 0.0), 1.8, (0.13, 0.18)),
    "V3": ((0.7, 0.3, 0.0), 1.5, (0.18, 0.25)),
    "V4": ((0.35, 0.55, 0.1), 1.2, (0.30, 0.35)),
}
# region: longitude, latitude and radius (degrees), and the superclasses that it prefers
PATCHES = {
    "objects": (82, 6, 15, ("tool", "furniture", "kitchenware", "toy and music", "vehicle")),
    "animals": (84, -24, 16, ("animal",)),
    "food": (66, -50, 14, ("food",)),
    "places": (30, -54, 14, ("building", "plant")),
}
NATURAL = ("animal", "food", "plant")
"""Superclasses whose pictures drive modulated voxels one way, and all others the other way."""
MODULATED = 0.6
"""Share of the variance of modulated voxels that depends on both a picture's look and what it shows."""
PATCH = ((0.0, 0.25, 0.75), 0.9)
RESPONSES = {name: (shares, always) for name, (shares, always, _) in MAPS.items()}
RESPONSES |= dict.fromkeys(PATCHES, PATCH)
"""Shares of features, and response to any picture, of every region."""


@dataclass(frozen=True)
class Cortex:
    """The voxels of one subject's brain.

    Parameters
    ----------
    index : array of int (voxel, 3)
        Place in the volume, in C order.
    shape : tuple of int
        Of the volume.
    affine : array (4, 4), mm
    region : array of str (voxel,)
        Empty for voxels that do not respond.
    grey : array of bool (voxel,)
    centre, size : array (voxel, 2), array (voxel,), degrees of visual angle
        Receptive field; NaN outside the maps.
    weight : array (voxel, feature) float32, % of the voxel's mean signal
        Peak of the response per unit of each feature.
    constant : array (voxel,), %
        Response to any picture at all.
    """

    index: np.ndarray
    shape: tuple[int, ...]
    affine: np.ndarray
    region: np.ndarray
    grey: np.ndarray
    centre: np.ndarray
    size: np.ndarray
    weight: np.ndarray
    constant: np.ndarray

    @property
    def position(self) -> np.ndarray:
        """Where voxels are, mm (voxel, 3)."""
        return self.index @ self.affine[:3, :3].T + self.affine[:3, 3]

    @property
    def responds(self) -> np.ndarray:
        """Rows of the voxels of named regions."""
        return np.flatnonzero(self.region != "")

    @property
    def name(self) -> np.ndarray:
        """Names as fMRI preprocessing gives them: ``v`` and the flat index in the volume."""
        flat = np.ravel_multi_index(tuple(self.index.T), self.shape)
        return np.array([f"v{i:07d}" for i in flat])

    def image(self, values: np.ndarray, fill: float = 0) -> np.ndarray:
        """Values of voxels as a volume."""
        volume = np.full(self.shape, fill, np.asarray(values).dtype)
        volume[tuple(self.index.T)] = values
        return volume


def make_cortex(
    features: Features, voxel_size: float, seed: int, subject: int, modulated: tuple[str, ...] = ()
) -> Cortex:
    """Build one subject's cortex; weights have unit drive, levels are set by the caller.

    Parameters
    ----------
    features : Features
    voxel_size : float, mm
    seed : int
        Of the study: what all subjects share depends on it alone.
    subject : int
    modulated : tuple of str
        Maps whose response to a picture's look depends on what it shows; `features` are then those
        of `neurovis.world.features.modulated`.
    """
    common = np.random.default_rng([seed, 41])
    own = np.random.default_rng([seed, 43, subject])
    index, shape, affine = _brain(voxel_size)
    position = index @ affine[:3, :3].T + affine[:3, 3]
    away = (position - CENTRE) / RADII
    grey = np.linalg.norm(away, axis=1) > THICKNESS
    # longitude from the occipital pole along either side, latitude; borders wander a little
    longitude = np.arctan2(np.abs(away[:, 0]), -away[:, 1])
    latitude = np.arctan2(away[:, 2], np.hypot(away[:, 0], away[:, 1]))
    wander = np.deg2rad(1.5) * smooth(position, 2, 18.0, own)
    longitude, latitude = longitude + wander[:, 0], latitude + wander[:, 1]
    region, centre, size = _maps(longitude, latitude, np.where(away[:, 0] < 0, 1.0, -1.0))
    for name, (lon, lat, radius, _) in PATCHES.items():
        apart = _angle(longitude, latitude, *np.deg2rad([lon, lat]))
        region[(apart < np.deg2rad(radius)) & (region == "")] = name
    region[~grey] = ""
    mapped = np.isin(region, list(MAPS))
    centre[~mapped], size[~mapped] = np.nan, np.nan

    rows = np.flatnonzero(region != "")
    weight = np.zeros((len(index), features.z.shape[1]), np.float32)
    constant = np.zeros(len(index))
    drive, always = _preferences(
        features, position[rows], region[rows], centre[rows], size[rows], common, own, modulated
    )
    weight[rows], constant[rows] = drive, always
    width = PICTURE / 2
    return Cortex(
        index, shape, affine, region, grey, width * centre, width * size, weight, constant
    )


def smooth(
    position: np.ndarray, n_fields: int, length: float, rng: np.random.Generator
) -> np.ndarray:
    """Random functions of place, unit variance, alike within about `length` (mm).

    Sums of random cosines: Gaussian random fields with a Gaussian covariance (Rahimi & Recht 2007).

    Parameters
    ----------
    position : array (voxel, 3), mm
    n_fields : int
    length : float, mm
    rng : numpy.random.Generator

    Returns
    -------
    array (voxel, field)
    """
    n_waves = 300
    wave = rng.standard_normal((3, n_waves)) / length
    phase = rng.uniform(0, 2 * np.pi, n_waves)
    turn = rng.standard_normal((n_waves, n_fields)) * np.sqrt(2 / n_waves)
    return np.cos(position @ wave + phase) @ turn


def _brain(voxel_size: float) -> tuple[np.ndarray, tuple[int, ...], np.ndarray]:
    """Voxels of the brain within the field of view: index, shape, affine."""
    shape = tuple(int(n) for n in np.ceil((FIELD[:, 1] - FIELD[:, 0]) / voxel_size))
    affine = np.diag([voxel_size, voxel_size, voxel_size, 1.0])
    affine[:3, 3] = FIELD[:, 0] + voxel_size / 2
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, 3)
    away = (grid @ affine[:3, :3] + affine[:3, 3] - CENTRE) / RADII
    return grid[np.linalg.norm(away, axis=1) <= 1], shape, affine


def _angle(longitude: np.ndarray, latitude: np.ndarray, lon: float, lat: float) -> np.ndarray:
    """Angle on the sphere between places and a point."""
    cosine = np.sin(latitude) * np.sin(lat)
    cosine += np.cos(latitude) * np.cos(lat) * np.cos(longitude - lon)
    return np.arccos(np.clip(cosine, -1, 1))


def _maps(
    longitude: np.ndarray, latitude: np.ndarray, side: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Regions of the early maps, and centre and size of receptive fields in half picture widths.

    The fovea is at the pole and eccentricity grows exponentially along the longitude. V1 lies around
    the equator with the lower field above; V2 and V3 flank it, each a mirror image of its
    neighbour; V4, below, has the whole half field. The left hemisphere (`side` 1) sees the right.
    """
    far, height = np.clip(longitude / ALONG, 0, None), np.abs(latitude)
    one, two, three, four = EDGES
    eccentricity = 1.1 * np.expm1(2 * far) / np.expm1(2)
    quarter = np.pi / 2
    # angle from the horizontal meridian, positive in the upper field
    down = -np.sign(latitude)
    angle = np.select(
        [height < one, height < two, height < three],
        [
            -latitude / one * quarter,
            down * quarter * (1 - (height - one) / (two - one)),
            down * quarter * (height - two) / (three - two),
        ],
        quarter * (1 - 2 * (height - three) / (four - three)),
    )
    region = np.select(
        [height < one, height < two, height < three, (height < four) & (latitude < 0)],
        ["V1", "V2", "V3", "V4"],
        "",
    ).astype("U16")
    region[far > 1] = ""
    centre = eccentricity[:, None] * np.stack([side * np.cos(angle), np.sin(angle)], 1)
    size = np.full(len(region), np.nan)
    for name, (_, _, (least, growth)) in MAPS.items():
        mine = region == name
        size[mine] = least + growth * eccentricity[mine]
    return region, centre, size


def _preferences(
    features: Features,
    position: np.ndarray,
    region: np.ndarray,
    centre: np.ndarray,
    size: np.ndarray,
    common: np.random.Generator,
    own: np.random.Generator,
    modulated: tuple[str, ...],
) -> tuple[np.ndarray, np.ndarray]:
    """Weights (voxel, feature) and constants (voxel,) of voxels that respond."""

    def mixed(n_fields: int, length: float) -> np.ndarray:
        shared = smooth(position, n_fields, length, common)
        return np.sqrt(SHARED) * shared + np.sqrt(1 - SHARED) * smooth(
            position, n_fields, length, own
        )

    n_voxels, stage = len(position), features.stage
    together = np.corrcoef(features.z.T)
    weight = np.zeros((n_voxels, len(stage)))
    n_maps = int((stage == "early").sum()) // len(CENTRES)
    gain = mixed(n_maps, SMOOTHNESS)
    gain[:, 1] += 0.7  # contrast drives every early voxel
    field = features.field[stage == "early"]
    apart = np.linalg.norm(centre[:, None] - CENTRES, axis=2)
    pooled = np.exp(-0.5 * (apart / np.hypot(size, 0.15)[:, None]) ** 2)
    early = np.repeat(gain, len(CENTRES), 1) * np.nan_to_num(pooled)[:, field]
    middle = mixed(int((stage == "intermediate").sum()), SMOOTHNESS)
    late = mixed(int((stage == "late").sum()), SMOOTHNESS)
    for name, (_, _, _, kinds) in PATCHES.items():
        mine = region == name
        late[mine] += 1.5 * prototype(kinds, late.shape[1])
    shares = np.array([RESPONSES[name][0] for name in region])
    for part, name, share in zip(
        (early, middle, late), ("early", "intermediate", "late"), shares.T
    ):
        rows = stage == name
        spread = np.sqrt(np.einsum("vf,fg,vg->v", part, together[np.ix_(rows, rows)], part))
        weight[:, rows] = part * (np.sqrt(share) / np.maximum(spread, 1e-6))[:, None]
    mine = np.isin(region, modulated)
    if mine.any():
        look = weight[np.ix_(mine, stage == "early")]
        rows = stage == "modulated"
        spread = np.sqrt(np.einsum("vf,fg,vg->v", look, together[np.ix_(rows, rows)], look))
        weight[mine] *= np.sqrt(1 - MODULATED)
        weight[np.ix_(mine, rows)] = look * (np.sqrt(MODULATED) / spread)[:, None]
    spread = np.sqrt(np.einsum("vf,fg,vg->v", weight, together, weight))
    # some voxels respond much, others little
    strength = np.exp(0.4 * mixed(1, 8.0)[:, 0] + 0.3 * own.standard_normal(n_voxels))
    weight *= (strength / np.maximum(spread, 1e-6))[:, None]
    always = np.array([RESPONSES[name][1] for name in region])
    return weight.astype(np.float32), always * strength * (1 + 0.2 * mixed(1, 8.0)[:, 0])


def prototype(kinds: tuple[str, ...], n_late: int) -> np.ndarray:
    """What things of some superclasses mean, beside all others: unit vector (late feature,)."""
    from neurovis.world import scenes

    meaning = np.zeros(n_late)
    mean = np.mean(
        [scenes.semantics(c.name) for c in scenes.concepts() if c.superclass in kinds], 0
    )
    meaning[: len(mean)] = mean[:n_late]
    return meaning / np.linalg.norm(meaning) * np.sqrt(n_late / 4)
