"""Images against nibabel's own reading, and images that do not fit."""

import gzip
import tracemalloc

import nibabel
import numpy as np
import pytest

from neurovis.errors import NeurovisError, UsageError
from neurovis.signals.fmri import volumes
from neurovis.signals.fmri.volumes import (
    brain_mask,
    fill,
    grid,
    n_volumes,
    read_map,
    read_series,
    repetition_time,
    tsnr,
    voxels_in,
)

SHAPE = (7, 6, 5)
AFFINE = np.array([[-3.0, 0, 0, 60], [0, 2, 0, -35], [0, 0.5, 2, -20], [0, 0, 0, 1]])


def save(path, data, dtype=np.float32, affine=AFFINE, tr=None, unit="sec", slope=None):
    image = nibabel.Nifti1Image(np.asarray(data).astype(dtype), affine, dtype=dtype)
    image.header.set_data_dtype(dtype)
    if slope is not None:
        image.header.set_slope_inter(*slope)
    if tr is not None:
        image.header.set_zooms((*image.header.get_zooms()[:3], tr))
        image.header.set_xyzt_units("mm", unit)
    nibabel.save(image, path)
    return path


@pytest.fixture
def mask(tmp_path):
    inside = np.random.default_rng(0).random(SHAPE) < 0.4
    return save(tmp_path / "mask.nii.gz", inside, np.uint8), inside


@pytest.mark.parametrize("name", ["bold.nii", "bold.nii.gz", "bold.mgz", "bold.img"])
@pytest.mark.parametrize("block", [1, 3 * 210 * 4, 1 << 25])
def test_series_equal_nibabels_whole_array(tmp_path, mask, name, block, monkeypatch):
    data = np.random.default_rng(1).normal(500, 50, (*SHAPE, 11))
    path = tmp_path / name
    kind = {".mgz": nibabel.MGHImage, ".img": nibabel.Nifti1Pair}.get(path.suffix)
    if kind is None:
        image = nibabel.Nifti1Image(data, AFFINE, dtype=np.int16)
        image.header.set_data_dtype(np.int16)
    else:
        image = kind(data.astype(np.float32), AFFINE)
    nibabel.save(image, path)
    monkeypatch.setattr(volumes, "BLOCK", block)
    voxels = voxels_in(mask[0], grid(path))
    expected = np.asarray(nibabel.load(path).dataobj)[mask[1]].T
    found = read_series(path, voxels)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert np.ptp(expected) > 100
    if kind is None:
        assert nibabel.load(path).dataobj.slope != 1


def test_voxels_know_their_place_and_regions(tmp_path, mask):
    labels = np.random.default_rng(2).integers(0, 4, SHAPE)
    atlas = save(tmp_path / "atlas.nii.gz", labels, np.int16)
    one = save(tmp_path / "one.nii.gz", np.where(labels == 1, 0.7, np.nan))
    rois = {"V1": (atlas, (1,)), "early": (atlas, (1, 2)), "same": one, "any": atlas}
    voxels = voxels_in(mask[0], grid(mask[0]), rois)
    index = np.argwhere(mask[1])
    assert len(voxels) == mask[1].sum()
    assert voxels.name[5] == f"v{np.ravel_multi_index(index[5], SHAPE):07d}"
    expected = nibabel.affines.apply_affine(AFFINE, index) / 1000
    np.testing.assert_allclose(voxels.position, expected, atol=1e-7)
    inside = labels[mask[1]]
    np.testing.assert_array_equal(voxels.roi["V1"], inside == 1)
    np.testing.assert_array_equal(voxels.roi["early"], np.isin(inside, (1, 2)))
    np.testing.assert_array_equal(voxels.roi["same"], inside == 1)
    np.testing.assert_array_equal(voxels.roi["any"], inside != 0)
    np.testing.assert_array_equal(voxels.select(("early", "-V1")), np.flatnonzero(inside == 2))
    np.testing.assert_array_equal(voxels.select(("-any",)), np.flatnonzero(inside == 0))
    assert len(voxels.select(())) == len(voxels)
    with pytest.raises(UsageError, match="did you mean 'early'"):
        voxels.select(("earli",))
    with pytest.raises(UsageError, match="no voxel is in V1, -early"):
        voxels.select(("V1", "-early"))
    few = voxels.take([4, 2])
    assert few.name.tolist() == voxels.name[[4, 2]].tolist()
    assert few.roi["any"].tolist() == voxels.roi["any"][[4, 2]].tolist()
    volume = fill(few, np.array([1.0, 2.0]))
    assert volume[tuple(index[2])] == 2
    assert np.isnan(volume).sum() == volume.size - 2


def test_an_image_of_another_shape_or_place_is_refused_with_both_named(tmp_path, mask):
    bold = save(tmp_path / "bold.nii.gz", np.ones((*SHAPE, 3)))
    other = save(tmp_path / "other.nii.gz", np.ones((7, 6, 4)))
    with pytest.raises(
        NeurovisError, match=r"other.nii.gz: shape 7 x 6 x 4, expected 7 x 6 x 5.*bold"
    ):
        voxels_in(other, grid(bold))
    with pytest.raises(NeurovisError, match=r"bold.nii.gz: shape 7 x 6 x 5, expected 7 x 6 x 4"):
        read_series(bold, voxels_in(other, grid(other)))
    moved = AFFINE.copy()
    moved[0, 3] += 1.5
    other = save(tmp_path / "moved.nii.gz", np.ones(SHAPE), affine=moved)
    with pytest.raises(
        NeurovisError, match=r"moved.nii.gz: its corners lie up to 1.5 mm from.*mask"
    ):
        voxels_in(mask[0], grid(mask[0]), {"V1": other})
    turned = AFFINE.copy()
    turned[:, 0] *= -1
    other = save(tmp_path / "turned.nii.gz", np.ones(SHAPE), affine=turned)
    with pytest.raises(NeurovisError, match=r"turned.nii.gz: its corners lie up to 36 mm"):
        voxels_in(other, grid(bold))
    empty = save(tmp_path / "empty.nii.gz", np.zeros(SHAPE))
    with pytest.raises(NeurovisError, match=r"empty.nii.gz: no voxel is in it"):
        voxels_in(empty, grid(bold))
    with pytest.raises(NeurovisError, match="expected one volume"):
        read_map(bold)


def test_damaged_and_missing_files_are_named(tmp_path, mask):
    data = np.random.default_rng(0).integers(0, 99, (*SHAPE, 40))
    path = save(tmp_path / "bold.nii.gz", data, np.int16)
    voxels = voxels_in(mask[0], grid(path))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(NeurovisError, match=r"bold.nii.gz: (cut short|cannot be read)"):
        read_series(path, voxels)
    plain = tmp_path / "bold.nii"
    plain.write_bytes(gzip.decompress(whole)[:-1000])
    with pytest.raises(NeurovisError, match=r"bold.nii: cut short in volume 37 of 40"):
        read_series(plain, voxels)
    path.write_bytes(b"not an image")
    with pytest.raises(NeurovisError, match=r"bold.nii.gz: cannot be read as an image"):
        grid(path)
    with pytest.raises(NeurovisError, match="no such image"):
        grid(tmp_path / "none.nii.gz")


def test_tr_from_the_header(tmp_path):
    data = np.ones((*SHAPE, 2))
    assert repetition_time(save(tmp_path / "a.nii", data, tr=2.5)) == 2.5
    milli = save(tmp_path / "b.nii", data, tr=1333.0, unit="msec")
    assert repetition_time(milli) == pytest.approx(1.333)
    assert repetition_time(save(tmp_path / "c.nii", data, tr=0.0)) is None
    assert repetition_time(save(tmp_path / "d.nii", data[..., 0])) is None
    assert n_volumes(tmp_path / "a.nii") == 2
    assert n_volumes(tmp_path / "d.nii") == 1


def test_memory_is_bounded_by_a_block(tmp_path, mask, monkeypatch):
    shape = (32, 32, 16)
    data = np.random.default_rng(0).integers(0, 99, (*shape, 200)).astype(np.int16)
    path = save(tmp_path / "bold.nii.gz", data, np.int16)
    inside = np.zeros(shape, bool)
    inside[10:14, 10:14, 8] = True
    voxels = voxels_in(inside, grid(path))
    monkeypatch.setattr(volumes, "BLOCK", 1 << 18)
    tracemalloc.start()
    found = read_series(path, voxels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.4 * data.nbytes
    np.testing.assert_array_equal(found, data[inside].T)


def test_tsnr_is_mean_over_sd_without_the_trend():
    rng = np.random.default_rng(3)
    noise = rng.standard_normal((200, 50))
    series = (800 + 20 * noise).astype(np.float32)
    drifting = series + 3 * np.arange(200, dtype=np.float32)[:, None]
    assert np.median(tsnr(series)) == pytest.approx(40, rel=0.03)
    assert np.median(tsnr(drifting)) == pytest.approx(40 * (800 + 300) / 800, rel=0.04)
    times = np.arange(200)
    rest = series - np.array([np.polyval(np.polyfit(times, s, 1), times) for s in series.T]).T
    expected = series.mean(axis=0) / np.sqrt((rest**2).sum(axis=0) / 198)
    np.testing.assert_allclose(tsnr(series), expected, rtol=1e-4)
    series[:, 3] = 11.0
    assert tsnr(series)[3] == 0


def test_a_brain_mask_is_found_without_one(tmp_path):
    rng = np.random.default_rng(4)
    x, y, z = np.mgrid[:20, :20, :16]
    brain = ((x - 9.5) ** 2 + (y - 9.5) ** 2 + 1.5 * (z - 7.5) ** 2) < 55
    data = np.where(brain[..., None], 900, 20) + rng.normal(0, 10, (20, 20, 16, 5))
    path = save(tmp_path / "bold.nii.gz", data, affine=np.diag([3.0, 3, 3, 1]))
    found = brain_mask(path)
    overlap = 2 * (found & brain).sum() / (found.sum() + brain.sum())
    assert overlap > 0.9
