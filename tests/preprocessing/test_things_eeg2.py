import pickle
import shutil
import sys

import mne
import numpy as np
import pytest
from fakes import things_eeg2 as fake
from fakes.things_eeg2 import IMAGES, NAMES, write_preprocessed, write_things_eeg2

from neurovis.config import resolve
from neurovis.datasets import Dataset, load_datasets
from neurovis.errors import NeurovisError, UsageError
from neurovis.manifest import read_manifest
from neurovis.prepare import main, prepare
from neurovis.records import Split, Stimuli, Trials
from neurovis.store import read_json

ThingsEeg2 = load_datasets()["things_eeg2"]
module = sys.modules[ThingsEeg2.__module__]
PLAIN = {"sfreq": None, "whiten": "none", "baseline": None}


def made(root, out, subject=None, **options):
    dataset = resolve(Dataset, {"name": "things_eeg2", **options})
    return prepare(dataset, root, out, subject=subject, quiet=True)


def opened(folder, subject="01"):
    return Trials.open(folder / f"sub-{subject}" / "trials.h5")


def shown(part, session, seed=1):
    """Pictures of one session in order, and the samples at which they came."""
    _, sample = fake.raw_session(part, session, seed)
    code = fake.codes(part, session, seed)
    keep = code != fake.TARGET
    return IMAGES[part][code[keep] - 1], sample[keep]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_things_eeg2(tmp_path_factory.mktemp("eeg2") / "raw")


@pytest.fixture
def copy(root, tmp_path):
    return shutil.copytree(root, tmp_path / "copy")


@pytest.fixture(scope="module")
def plain(root, tmp_path_factory):
    """Trials at the recorded rate, nothing done to them."""
    return opened(made(root, tmp_path_factory.mktemp("plain"), steps=PLAIN))


def test_every_presentation_in_order_with_its_picture_to_the_sample(plain):
    expected = 4 * (fake.N_TRAIN // 2 * fake.TWICE + 2) + 4 * (fake.N_TEST * fake.TWENTY + 1)
    assert len(plain) == expected
    assert plain.channel_name.tolist() == NAMES
    assert plain.sfreq == 1000
    assert plain.unit == "V"
    for session in range(1, 5):
        for part in ("training", "test"):
            rows = np.flatnonzero((plain.session == f"{session:02d}") & (plain.run == part))
            image, sample = shown(part, session)
            assert plain.image[rows].tolist() == image.tolist()
            np.testing.assert_array_equal(
                np.round(plain.onset[rows] * fake.SFREQ).astype(int), sample
            )
            assert set(plain.set[rows]) == {"train" if part == "training" else "test"}
            content, _ = fake.raw_session(part, session, 1)
            found = plain.read(rows[[0, -1]])
            for row, start in zip(found, sample[[0, -1]]):
                cut = content["raw_eeg_data"][:-1, start - 200 : start + 1000]
                np.testing.assert_allclose(row, cut, rtol=1e-5, atol=1e-9)


def test_each_picture_has_its_own_response_at_its_time(plain):
    rows = np.flatnonzero(plain.run == "training")
    signal = plain.read(rows)
    # responses of neighbours begin fake.SOA later: before that the picture's own stands alone
    window = (plain.times > fake.PEAK - 0.05) & (plain.times < fake.SOA)
    at = np.abs(plain.times - fake.PEAK).argmin()
    patterns = np.stack([fake.pattern("training", i, NAMES) for i in range(fake.N_TRAIN)])
    for number, image in enumerate(IMAGES["training"]):
        mean = signal[plain.image[rows] == image].mean(axis=0)
        mean -= mean[:, :200].mean(axis=1, keepdims=True)
        similar = [np.corrcoef(mean[:, at], other)[0, 1] for other in patterns]
        assert np.argmax(similar) == number
        strength = patterns[number] @ mean[:, window]
        assert plain.times[window][strength.argmax()] == pytest.approx(fake.PEAK, abs=0.01)


def test_stimuli_and_split_are_the_owners(root, tmp_path):
    folder = made(root, tmp_path, steps={**PLAIN, "picks": ("Oz",)})
    stimuli = Stimuli.read(folder / "stimuli.csv")
    assert stimuli.image.tolist() == [*IMAGES["training"], *IMAGES["test"]]
    assert stimuli.concept[0] == "kind00"
    assert stimuli.concept[-1] == "novel02"
    assert all(stimuli.files(i)[0].is_file() for i in range(len(stimuli)))
    assert set(stimuli.width) == {12}
    assert all(stimuli.sha256)
    split = Split.read(folder / "split.json")
    assert sorted(split.test) == sorted(IMAGES["test"])
    assert len(split.validation) == 1
    assert split.protocol == "clean"
    notes = " ".join(
        n for run in read_json(folder / "sub-01" / "qc.json")["runs"] for n in run["notes"]
    )
    assert "3 target trials left out" in notes
    assert "2 pictures shown more than 2 times: 2 trials kept" in notes
    assert "1 pictures shown more than 20 times: 1 trials kept" in notes


def test_pictures_may_be_absent(tmp_path):
    root = write_things_eeg2(tmp_path / "raw", sessions=1, pictures=False)
    folder = made(root, tmp_path, sessions=(1,), steps={**PLAIN, "picks": ("Oz",)})
    stimuli = Stimuli.read(folder / "stimuli.csv")
    assert set(stimuli.sha256) == {""}
    assert stimuli.path[-1][0].endswith(f"images/test_images/00003_novel02/{fake.TEST_FILES[-1]}")


def owners_way(part, session, names, tmax, decim, h_freq, width):
    """The owners' steps by MNE and scikit-learn: trials of one session (picture, repeat, channel, time)."""
    from sklearn.utils import shuffle

    content, _ = fake.raw_session(part, session, 1)
    info = mne.create_info(content["ch_names"], content["sfreq"], content["ch_types"])
    raw = mne.io.RawArray(content["raw_eeg_data"], info, verbose="error")
    events = mne.find_events(raw, stim_channel="stim", verbose="error")
    events = events[events[:, 2] != fake.TARGET]
    raw.pick(list(names))
    raw.filter(None, h_freq, h_trans_bandwidth=width, verbose="error")
    epochs = mne.Epochs(
        raw, events, tmin=-0.2, tmax=tmax - decim / fake.SFREQ, baseline=None, decim=decim,
        preload=True, verbose="error",
    )  # fmt: skip
    # the owners subtract the baseline before they resample
    epochs.apply_baseline((None, 0), verbose="error")
    data, code = epochs.get_data(), epochs.events[:, 2]
    conditions = np.unique(code)
    repeats = fake.TWENTY if part == "test" else fake.TWICE
    chosen = [
        shuffle(np.flatnonzero(code == c), random_state=20200220, n_samples=repeats)
        for c in conditions
    ]
    return conditions, chosen, data[:, :, 50:] if decim == 4 else data


def noise(data, chosen):
    from sklearn.discriminant_analysis import _cov

    return np.mean(
        [np.mean([_cov(data[i].T, "auto") for i in rows], axis=0) for rows in chosen], axis=0
    )


@pytest.mark.parametrize(
    ("recipe", "names", "decim", "tmax"),
    [("paper", fake.SEVENTEEN, 10, 0.8), ("atm", NAMES, 4, 1.0)],
)
def test_recipes_equal_the_owners_steps_in_mne_and_scikit_learn(
    root, tmp_path, recipe, names, decim, tmax
):
    from scipy.linalg import fractional_matrix_power

    h_freq = 0.4 * fake.SFREQ / decim
    width = 0.5 * fake.SFREQ / decim - h_freq
    trials = opened(made(root, tmp_path, recipe=recipe))
    assert sorted(trials.channel_name) == sorted(names)
    assert trials.unit == "1"
    assert trials.tmin == (0.0 if recipe == "atm" else -0.2)
    assert len(trials) == 4 * (fake.N_TRAIN // 2 * fake.TWICE + fake.N_TEST * fake.TWENTY)
    for session in (1, 4):
        parts = {
            part: owners_way(part, session, trials.channel_name, tmax, decim, h_freq, width)
            for part in ("training", "test")
        }
        sigma = noise(parts["training"][2], parts["training"][1])
        if recipe == "paper":
            sigma = (sigma + noise(parts["test"][2], parts["test"][1])) / 2
        inverse = fractional_matrix_power(sigma, -0.5)
        for part, (conditions, chosen, data) in parts.items():
            rows = np.flatnonzero((trials.session == f"{session:02d}") & (trials.run == part))
            kept = np.sort(np.concatenate(chosen))
            expected = inverse @ data[kept]
            found = trials.read(rows)
            assert found.shape == expected.shape
            error = np.abs(found - expected).max() / np.abs(expected).max()
            assert error < 1e-5
            number = dict(zip(kept, range(len(kept))))
            for condition, members in zip(conditions, chosen):
                there = trials.image[rows[[number[i] for i in members]]]
                assert set(there) == {IMAGES[part][condition - 1]}


def test_clean_whitens_by_training_pictures_alone(root, tmp_path):
    first = opened(made(root, tmp_path / "a"))
    changed = shutil.copytree(root, tmp_path / "changed")
    file = changed / "sub-01" / "ses-01" / "raw_eeg_test.npy"
    content = np.load(file, allow_pickle=True).item()
    content["raw_eeg_data"][:-1] *= 3
    np.save(file, content, allow_pickle=True)
    second = opened(made(changed, tmp_path / "b"))
    train = np.flatnonzero(first.run == "training")
    np.testing.assert_array_equal(first.read(train), second.read(train))
    paper = [
        opened(made(where, tmp_path / name, recipe="paper", steps={"picks": ("O1", "Oz", "O2")}))
        for where, name in ((root, "c"), (changed, "d"))
    ]
    train = np.flatnonzero((paper[0].run == "training") & (paper[0].session == "01"))
    assert np.abs(paper[0].read(train) - paper[1].read(train)).max() > 0.1


def test_channels_and_rates(root, tmp_path):
    for sfreq, samples in ((100.0, 120), (250.0, 300), (1000.0, 1200)):
        steps = {"sfreq": sfreq, "picks": module.OCCIPITO_PARIETAL}
        trials = opened(made(root, tmp_path, steps=steps, sessions=(2,)))
        assert trials.signal.shape[1:] == (17, samples)
        assert np.isfinite(trials.channel_position).all()
        back = trials.channel_position[:, 1]
        assert (back < 0).all()
    assert set(module.OCCIPITO_PARIETAL) == set(fake.SEVENTEEN)
    assert set(trials.session) == {"02"}


@pytest.mark.parametrize(
    ("kind", "recipe", "tolerance"),
    [("owners", "paper-files", 1e-6), ("copies", "atm-files", 1e-6), ("torch", "atm-files", 2e-3)],
)
def test_what_others_made_keeps_its_rows_and_times(tmp_path, kind, recipe, tolerance):
    root = write_preprocessed(tmp_path / "made", kind)
    folder = made(root, tmp_path, recipe=recipe)
    trials = opened(folder)
    names = fake.SEVENTEEN if kind == "owners" else fake.ORDER_OF_COPIES
    assert trials.channel_name.tolist() == names
    assert trials.sfreq == pytest.approx(100 if kind == "owners" else 250)
    assert trials.tmin == pytest.approx(-0.2 if kind == "owners" else 0.0, abs=1e-9)
    assert trials.unit == "1"
    assert len(trials) == 4 * fake.N_TRAIN + 80 * fake.N_TEST
    for part, repeats in (("training", 4), ("test", 80)):
        rows = np.flatnonzero(trials.run == part)
        assert trials.image[rows].tolist() == np.repeat(IMAGES[part], repeats).tolist()
        expected = fake.made_trials(part, names, trials.times, repeats)
        expected = expected.reshape(-1, *expected.shape[2:])
        found = trials.read(rows)
        assert np.abs(found - expected).max() < tolerance * np.abs(expected).max()
    sessions = {"01", "02", "03", "04"} if kind == "torch" else {"all"}
    assert set(trials.session) == sessions


def test_blocks_across_pictures_are_the_same_however_they_are_read(tmp_path):
    root = write_preprocessed(tmp_path / "made", "copies")
    (file,) = root.glob("*/sub-01/preprocessed_eeg_training.npy")
    content = pickle.loads(file.read_bytes())
    data = content["preprocessed_eeg_data"].reshape(-1, 63, 250)
    content["preprocessed_eeg_data"] = np.ascontiguousarray(content["preprocessed_eeg_data"])
    mapped = module.Repeats(module.opened(file, "preprocessed_eeg_data")[0])
    turned = module.Repeats(np.asfortranarray(content["preprocessed_eeg_data"]))
    for rows in (slice(0, 3), slice(2, 9), slice(40, 99), slice(5, 5), slice(0, 20, 3)):
        np.testing.assert_array_equal(mapped[rows], data[rows])
        np.testing.assert_array_equal(turned[rows], data[rows])
    assert isinstance(mapped.signal, np.memmap)


def test_raw_signals_are_not_loaded(root, tmp_path):
    dataset = ThingsEeg2()
    recording = dataset.recordings(root)[0]
    continuous, events = dataset.read(root, recording)
    assert isinstance(continuous.signal, np.memmap)
    assert events.image.tolist() == shown("training", 1)[0].tolist()


def spoil(root, change, part="training", session=1):
    """Change one raw file."""
    file = root / "sub-01" / f"ses-{session:02d}" / f"raw_eeg_{part}.npy"
    content = np.load(file, allow_pickle=True).item()
    np.save(file, change(content) or content, allow_pickle=True)
    return file


def set_to(key, value):
    return lambda content: content.update({key: value})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda c: {"eeg": c["raw_eeg_data"]},
            "expected a dict with raw_eeg_data and ch_names, found",
        ),
        (set_to("ch_names", ["Oz"]), r"one name and type per channel.*found \(64, .*1 names"),
        (set_to("sfreq", 500), "sfreq is 500 Hz, expected 1000 Hz"),
        (lambda c: c["raw_eeg_data"].__imul__(1e6) * 0, "neighbouring samples differ"),
        (lambda c: c["raw_eeg_data"][-1].__imul__(0), "marks no picture"),
    ],
)
def test_bad_raw_files_are_named_in_one_sentence(copy, tmp_path, change, says):
    def apply(content):
        made_of_it = change(content)
        return made_of_it if isinstance(made_of_it, dict) else None

    if "neighbouring" in says:

        def apply(content):
            content["raw_eeg_data"][:-1] *= 1e6

    file = spoil(copy, apply)
    with pytest.raises(NeurovisError, match=rf"raw_eeg_training\.npy: .*{says}") as error:
        made(copy, tmp_path)
    assert "\n" not in str(error.value)
    assert file.name in str(error.value)


def test_codes_of_another_part_are_refused(copy, tmp_path):
    folder = copy / "sub-01" / "ses-01"
    (folder / "raw_eeg_test.npy").write_bytes((folder / "raw_eeg_training.npy").read_bytes())
    with pytest.raises(
        NeurovisError, match=r"raw_eeg_test\.npy: event code \d+ at .* expected 1 to 3"
    ):
        made(copy, tmp_path)


def test_one_broken_subject_leaves_the_others_going(tmp_path):
    root = write_things_eeg2(tmp_path / "raw", ("01", "02"))
    file = root / "sub-01" / "ses-02" / "raw_eeg_training.npy"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    words = ["--root", str(root), "--out", str(tmp_path), "--quiet", "--picks", "[Oz, O1, O2]"]
    assert main("things_eeg2", words) == 1
    with pytest.raises(NeurovisError) as error:
        made(root, tmp_path, steps={"picks": ("Oz", "O1", "O2")})
    assert "1 of 2 subjects failed" in str(error.value) or "1 of 1 subjects" in str(error.value)
    assert (
        "raw_eeg_training.npy: expected a whole pickle of arrays, found a damaged or truncated"
        in str(error.value)
    )
    (partial,) = tmp_path.glob("prepared/*")
    assert (partial / "sub-02" / "qc.json").is_file()
    assert not (partial / "sub-01" / "trials.h5").exists()


def test_missing_and_misnamed_files(copy, tmp_path):
    folder = copy / "sub-01" / "ses-03"
    (folder / "raw_eeg_training.npy").rename(folder / "raw_eeg_train.npy")
    says = (
        r"ses-03/raw_eeg_training\.npy: no such file, found raw_eeg_test\.npy, raw_eeg_train\.npy"
    )
    with pytest.raises(NeurovisError, match=says):
        made(copy, tmp_path)
    shutil.rmtree(folder)
    with pytest.raises(NeurovisError, match=r"ses-03/.*no such file, found sessions \[1, 2, 4\]"):
        made(copy, tmp_path)
    trials = opened(made(copy, tmp_path, sessions=(1, 2, 4), steps={"picks": ("Oz",), **PLAIN}))
    assert set(trials.session) == {"01", "02", "04"}


def test_wrong_roots(copy, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(NeurovisError, match=r"expected sub-01/ses-01/raw_eeg_training\.npy or"):
        made(tmp_path / "empty", tmp_path)
    (copy / "images" / "image_metadata.npy").rename(tmp_path / "image_metadata.npy")
    with pytest.raises(
        NeurovisError, match=r"no image_metadata\.npy, without which no row has a name"
    ):
        made(copy, tmp_path)


def test_a_root_one_or_two_folders_up_will_do(root, tmp_path):
    up = tmp_path / "up" / "data" / "raw"
    up.parent.mkdir(parents=True)
    up.symlink_to(root)
    assert ThingsEeg2().place(tmp_path / "up")[0] == "raw"
    for name in ("Preprocessed_data_100Hz", "Preprocessed_data_250Hz"):
        (tmp_path / "two" / name / "sub-01").mkdir(parents=True)
        (tmp_path / "two" / name / "sub-01" / "train.pt").touch()
    with pytest.raises(UsageError, match="Preprocessed_data_100Hz and in Preprocessed_data_250Hz"):
        ThingsEeg2().place(tmp_path / "two")


def change_metadata(root, change):
    file = root / "images" / "image_metadata.npy"
    content = np.load(file, allow_pickle=True).item()
    change(content)
    np.save(file, content, allow_pickle=True)


def test_lists_of_pictures_that_cannot_be_right(copy, tmp_path):
    def twice(content):
        content["test_img_files"] = [*content["test_img_files"][:-1], content["train_img_files"][0]]

    change_metadata(copy, twice)
    with pytest.raises(NeurovisError, match="picture 'kind00_01b' is listed 2 times"):
        made(copy, tmp_path)
    change_metadata(copy, lambda c: c.update(test_img_files=fake.TEST_FILES[:2]))
    with pytest.raises(NeurovisError, match="test_img_concepts has 3 entries, test_img_files 2"):
        made(copy, tmp_path)
    change_metadata(copy, lambda c: c.pop("test_img_files"))
    with pytest.raises(
        NeurovisError, match="expected a dict with test_img_concepts and test_img_files"
    ):
        made(copy, tmp_path)


def test_a_test_concept_in_training_is_refused(copy, tmp_path):
    def leak(content):
        content["test_img_concepts"] = ["00001_kind00", *content["test_img_concepts"][1:]]

    change_metadata(copy, leak)
    with pytest.raises(NeurovisError, match=r"Split: .*kind00.*test"):
        made(copy, tmp_path)


@pytest.mark.parametrize("kind", ["owners", "copies", "torch"])
def test_whitening_twice_is_refused(tmp_path, kind):
    root = write_preprocessed(tmp_path / "made", kind)
    with pytest.raises(UsageError, match=r"whitened already.*use --recipe paper-files"):
        made(root, tmp_path)
    with pytest.raises(
        NeurovisError, match=r"expected sub-01/ses-01/raw_eeg_training\.npy under it"
    ):
        made(root, tmp_path, recipe="paper-files", source="raw")


def test_made_files_that_do_not_fit_the_list(tmp_path):
    root = write_preprocessed(tmp_path / "made", "copies")
    (file,) = root.glob("*/sub-01/preprocessed_eeg_training.npy")
    content = pickle.loads(file.read_bytes())
    good, data = dict(content), content["preprocessed_eeg_data"]
    for key, value, says in (
        ("preprocessed_eeg_data", data[:-1], "holds 11 pictures, .* lists 12"),
        ("preprocessed_eeg_data", data[:, 0], "expected trials .picture, rep"),
        ("times", good["times"][:200], "times has 200 entries for 250 samples"),
        (
            "times",
            good["times"] + 0.1,
            "times has 300 .* without the first 50 it begins at 0.100 s",
        ),
        ("times", good["times"] ** 3, "times is not evenly spaced"),
    ):
        file.write_bytes(pickle.dumps({**good, key: value}, 4))
        with pytest.raises(NeurovisError, match=rf"preprocessed_eeg_training\.npy: {says}"):
            made(root, tmp_path, recipe="atm-files")
    file.unlink()
    with pytest.raises(
        NeurovisError, match=r"preprocessed_eeg_training\.npy: no such file .nor train"
    ):
        made(root, tmp_path, recipe="atm-files")


def test_names_inside_a_file_are_compared_with_the_list(tmp_path):
    root = write_preprocessed(tmp_path / "made", "torch")

    def swap(content):
        files = list(content["train_img_files"])
        content["train_img_files"] = [files[1], files[0], *files[2:]]

    change_metadata(root, swap)
    says = (
        r"train\.pt: row 0 is 'kind00_01b', image_metadata\.npy lists 'kind01_02b' there \(2 rows"
    )
    with pytest.raises(NeurovisError, match=says):
        made(root, tmp_path, recipe="atm-files")


class Runs:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_crafted_files_run_nothing(copy, tmp_path):
    canary = tmp_path / "canary"
    spoil(copy, set_to("raw_eeg_data", Runs(canary)))
    with pytest.raises(
        NeurovisError, match=r"raw_eeg_training\.npy: .*found .*open; nothing was run"
    ):
        made(copy, tmp_path)
    change_metadata(copy, set_to("train_img_files", Runs(canary)))
    with pytest.raises(NeurovisError, match=r"image_metadata\.npy: .*open; nothing was run"):
        made(copy, tmp_path)
    assert not canary.exists()


def test_the_manifest_says_what_the_code_does():
    manifest = read_manifest("things-eeg2")
    assert set(manifest.protocols) == set(ThingsEeg2.recipes)
    assert manifest.reader == "things_eeg2"
    facts = manifest.facts
    train = facts["n_train_images"] * facts["train_repeats"]
    assert train + facts["n_test_images"] * facts["test_repeats"] == facts["n_trials"]
    assert facts["n_chans"] == len(NAMES) == len(set(NAMES) & set(fake.ORDER_OF_COPIES))
    assert facts["train_repeats_per_session"] == fake.TWICE
    assert facts["test_repeats_per_session"] == fake.TWENTY
