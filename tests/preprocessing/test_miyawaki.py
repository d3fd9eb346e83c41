import numpy as np
import pytest
from conftest import ROOT
from fakes import miyawaki as fake
from neurovis.preprocessing.miyawaki import FIGURES
from PIL import Image

from neurovis.cli import main
from neurovis.config import resolve
from neurovis.datasets import Dataset, load_datasets
from neurovis.errors import NeurovisError, UsageError
from neurovis.manifest import read_manifest
from neurovis.prepare import prepare
from neurovis.records import Split, Stimuli, Trials

load_datasets()


def dataset(**options):
    return resolve(Dataset, {"name": "miyawaki", **options})


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return fake.write(tmp_path_factory.mktemp("figures"))


def test_every_trial_is_its_figure_in_the_files_order(root):
    made = dataset()
    voxels = made.voxels(root, "01")
    assert voxels.roi["V1"].all()
    recordings = made.recordings(root)
    assert [r.run for r in recordings] == ["01", "02", "03", "04"]
    which = fake.order()
    for repeat, recording in enumerate(recordings):
        found = made.responses(root, recording, voxels)
        rows = np.r_[5 * repeat : 5 * repeat + 5, 20 + 5 * repeat : 25 + 5 * repeat]
        assert found.image.tolist() == [FIGURES[i] for i in which[rows]]
        assert found.onset.tolist() == rows.tolist()
        planted = np.stack([fake.response(i) for i in which[rows]]) + 0.01 * rows[:, None]
        np.testing.assert_allclose(found.signal, planted, rtol=1e-6)
    some = made.responses(root, recordings[2], voxels.take(np.array([7, 2]))).signal
    np.testing.assert_array_equal(
        some, made.responses(root, recordings[2], voxels).signal[:, [7, 2]]
    )


def test_pictures_are_written_as_they_were_seen(root, tmp_path):
    folder = prepare(dataset(), root, tmp_path, quiet=True)
    stimuli = Stimuli.read(folder / "stimuli.csv")
    assert stimuli.image.tolist() == list(FIGURES)
    for row, figure in enumerate(fake.figures()):
        (file,) = stimuli.files(row)
        assert file.parent == folder / "pictures"
        pixels = np.asarray(Image.open(file))
        np.testing.assert_array_equal(pixels, np.kron(255 * figure, np.ones((16, 16))))
    again = prepare(dataset(), root, tmp_path, quiet=True)
    assert again == folder


def test_repeats_are_left_out_in_turn(root, tmp_path):
    folder = prepare(dataset(), root, tmp_path, quiet=True)
    folds = Split.read_folds(folder)
    assert [fold.test for fold in folds] == [(f"ses-01_run-{i:02d}",) for i in range(1, 5)]
    trials = Trials.open(folder / "sub-01" / "trials.h5")
    assert trials.signal.shape == (40, fake.N_VOXELS, 1)
    assert trials.unit
    for fold in folds:
        tested = trials.image[fold.rows("test", trials)]
        assert sorted(tested) == sorted(FIGURES)
        assert len(fold.rows("train", trials)) == 20
    planted = np.stack([fake.response(FIGURES.index(i)) for i in trials.image])
    np.testing.assert_allclose(
        trials.read()[:, :, 0], planted + 0.01 * trials.onset[:, None], rtol=1e-5, atol=1e-6
    )
    trials.close()


def test_two_repeats_together(root):
    made = dataset(recipe="two-repeats")
    recordings = made.recordings(root)
    assert [r.run for r in recordings] == ["01to02", "03to04"]
    found = made.responses(root, recordings[1], made.voxels(root, "01"))
    assert found.onset.tolist() == [*range(10, 20), *range(30, 40)]
    assert [r.run for r in dataset(together=3).recordings(root)] == ["01to03", "04"]


def test_figures_are_left_out_in_turn(root, tmp_path):
    folder = prepare(dataset(recipe="new-figure"), root, tmp_path, quiet=True)
    folds = Split.read_folds(folder)
    assert [fold.test for fold in folds] == [(name,) for name in FIGURES]
    for fold in folds:
        assert fold.protocol == "new-figure"
        assert len(fold.train) == 8
        assert not {*fold.train, *fold.validation} & {*fold.test}


def test_only_predictions_that_are_pictures_are_drawn(root, tmp_path):
    """A tower that learned similarities alone gives vectors of no length; its baseline is drawn."""
    folder = prepare(dataset(), root, tmp_path, quiet=True)
    words = ["train", ROOT / "experiments" / "miyawaki.yaml", "--quiet", f"data.path={folder}"]
    words += ["device=cpu", "brain=inverted", "train.epochs=1", "targets.pixels.encoder.side=4"]
    drawn = {}
    for loss, projection in (("clip", "linear"), ("mse", "none")):
        out = tmp_path / loss
        options = [f"loss={loss}", f"projection={projection}", "--out", out]
        assert main([*map(str, words + options)]) == 0
        (run,) = (out / "runs").iterdir()
        drawn[loss] = {p.parent.name for p in run.glob("systems/*/reconstruction.h5")}
        assert main(["report", str(run), "--quiet"]) == 0
        page = (run / "report.html").read_text(encoding="utf-8")
        assert "Seen and reconstructed" in page
        assert ("Tower predicts no pictures: these are by ridge." in page) == (loss == "clip")
    assert drawn == {"clip": {"ridge", "shuffled"}, "mse": {"ridge", "shuffled", "tower"}}


@pytest.mark.parametrize("name", ["data.npz", "arrays.npy"])
def test_the_same_from_other_files(root, tmp_path, name):
    fake.write(tmp_path, name)
    files = {"arrays": ("R2.npy", "I2.npy")} if name.endswith("npy") else {}
    other = dataset(file=name, **files).shown(tmp_path)
    expected = dataset().shown(root)
    np.testing.assert_array_equal(other.response, expected.response)
    np.testing.assert_array_equal(other.figures, expected.figures)
    np.testing.assert_array_equal(other.which, fake.order())


def test_rows_first_and_figures_without_names(root, tmp_path):
    made = dataset(order="C", names=("a", "b"))
    shown = made.shown(root)
    np.testing.assert_array_equal(shown.figures, fake.figures().transpose(0, 2, 1))
    assert shown.names.tolist()[:2] == ["figure001", "figure002"]


def test_wrong_arrays_are_said(tmp_path):
    data = fake.arrays()
    cases = [
        ({"I2": data["I2"].T}, r"R2 has shape \(12, 40\) and I2 \(40, 16\)"),
        ({"I2": data["I2"][:15]}, "I2 has 15 pixels, expected a square"),
        ({"I2": 255 * data["I2"]}, "I2 holds 0 to 255, expected 0"),
    ]
    for change, says in cases:
        fake.write(tmp_path, **change)
        with pytest.raises(NeurovisError, match=says):
            dataset().recordings(tmp_path)
    fake.write(tmp_path)
    with pytest.raises(NeurovisError, match="R3"):
        dataset(arrays=("R3", "I2")).recordings(tmp_path)
    with pytest.raises(NeurovisError, match=r"gone.mat: no such file"):
        dataset(file="gone.mat").recordings(tmp_path)
    with pytest.raises(UsageError, match=r"expected .mat, .npz or two .npy, found 'a.csv'"):
        dataset(file="a.csv").recordings(tmp_path)
    whole = (tmp_path / "V1_mean_figure.mat").read_bytes()
    (tmp_path / "V1_mean_figure.mat").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(NeurovisError, match=r"V1_mean_figure.mat"):
        dataset().recordings(tmp_path)


def test_an_array_of_objects_is_not_unpickled(tmp_path):
    fake.write(tmp_path, "a.npy")
    np.save(tmp_path / "R2.npy", np.array([{"a": 1}], object))
    with pytest.raises(NeurovisError, match=r"R2.npy: no whole plain array"):
        dataset(file="a.npy", arrays=("R2.npy", "I2.npy")).recordings(tmp_path)


def test_scaling_by_training_trials_is_refused_with_left_out_repeats(root, tmp_path):
    with pytest.raises(UsageError, match="standardise=none"):
        prepare(dataset(fmri={"standardise": "run"}), root, tmp_path, quiet=True)


def test_the_real_file_is_what_the_manifest_says(real_data):
    source = real_data / "fmri_miyawaki"
    if not source.is_dir():
        pytest.skip("no fmri_miyawaki")
    manifest = read_manifest("miyawaki")
    assert set(manifest.protocols) == set(type(dataset()).recipes)
    shown = dataset().shown(source)
    facts = manifest.facts
    assert shown.response.shape == (facts["n_voxels"], facts["n_trials"])
    assert shown.figures.shape == (facts["n_images"], 10, 10)
    assert np.unique(np.bincount(shown.which)).tolist() == [facts["n_repeats"]]
    # letters stand upright: an n is open below, a u above, an e and an r on the right
    letter = dict(zip(shown.names.tolist(), shown.figures))
    n, u = letter["letter-n"], letter["letter-u"]
    np.testing.assert_array_equal(n[2:7], u[2:7][::-1])
    assert n[2, 3:7].tolist() == [1, 1, 1, 1]
    assert n[6, 3:7].tolist() == [1, 0, 0, 1]
    assert letter["letter-r"][2:7, 3].tolist() == [1] * 5
    assert letter["letter-r"][4, 4:].sum() == 0
