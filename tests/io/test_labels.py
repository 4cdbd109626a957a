from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_followup.io import write_nifti, write_npz
from napari_followup.io.labels import read_labelled
from napari_followup.series.stack import VisitStack

IMAGES = np.random.default_rng(0).random((3, 2, 8, 8), dtype=np.float32)  # (subject, visit, y, x)


def mask(value: int = 1) -> np.ndarray:
    """(visit, y, x): something at the first visit."""
    found = np.zeros((2, 8, 8), np.uint8)
    found[0, 2:4, 5] = value
    return found


def named(name: str, number: int = 0, **more: Any) -> VisitStack:
    return VisitStack.from_array(IMAGES[number], subject=name, **more)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three subjects in a file each."""
    (tmp_path / "data").mkdir()
    for number, name in enumerate("abc"):
        write_npz(tmp_path / "data" / f"{name}.npz", named(name, number))
    return tmp_path / "data"


def test_masks_go_to_the_subjects_whose_name_they_bear(folder: Path, tmp_path: Path) -> None:
    for name in ("c_mask", "a-seg"):
        tifffile.imwrite(tmp_path / f"{name}.tif", mask(ord(name[0])), metadata={"axes": "TYX"})

    found = read_labelled([folder], [tmp_path / "c_mask.tif", tmp_path / "a-seg.tif"])

    assert (found.by, found.marked) == ("name", 2)
    assert [stack.subject for stack in found.stacks] == ["a", "b", "c"]
    assert found.labels[1] == 0
    for entry, value in ((found.labels[0], ord("a")), (found.labels[2], ord("c"))):
        np.testing.assert_array_equal(entry, mask(value)[:, None])


def test_masks_without_these_names_go_in_order(folder: Path, tmp_path: Path) -> None:
    masks = np.stack([mask(0), mask(1), mask(2)])
    np.savez(tmp_path / "drawn.npz", images=masks, axes="svyx")

    found = read_labelled([folder], [tmp_path / "drawn.npz"])

    assert found.by == "order"
    np.testing.assert_array_equal(np.stack(found.labels)[:, :, 0], masks)


def test_the_truth_of_the_data_is_taken_where_no_masks_are_named(
    folder: Path, tmp_path: Path
) -> None:
    ages = [64.0, 60.0]
    sick = tmp_path / "sick.npz"
    np.savez(sick, images=IMAGES, truth=np.stack([mask()] * 3), ages=[ages] * 3, axes="svyx")
    tifffile.imwrite(tmp_path / "d.tif", IMAGES[0], metadata={"axes": "TYX", "ages": ages})
    tifffile.imwrite(tmp_path / "d_truth.tif", mask(), metadata={"axes": "TYX", "ages": ages})

    found = read_labelled([folder, sick, *tmp_path.glob("d*.tif")])

    assert (found.by, found.marked) == ("truth", 4)
    assert found.labels[:3] == [0, 0, 0]
    for stack, entry in zip(found.stacks[3:], found.labels[3:], strict=True):
        assert stack.ages.tolist() == [60.0, 64.0]
        np.testing.assert_array_equal(entry[1, 0], mask()[0])  # by age, as the images are
        assert not entry[0].any()


def test_a_folder_is_read_without_the_truths_in_it(tmp_path: Path) -> None:
    for name in ("a", "b"):
        tifffile.imwrite(tmp_path / f"{name}.tif", IMAGES[0], metadata={"axes": "TYX"})
    tifffile.imwrite(tmp_path / "b_truth.tif", mask(), metadata={"axes": "TYX"})

    found = read_labelled([tmp_path])

    assert [stack.subject for stack in found.stacks] == ["a", "b"]
    assert found.labels[0] == 0
    assert found.labels[1].shape == (2, 1, 8, 8)


def test_a_split_chooses_among_subjects_and_their_masks(tmp_path: Path) -> None:
    names, split = np.array(["p", "q", "r"]), np.array(["train", "val", "train"])
    cohort = {"images": IMAGES, "subject": names, "axes": "svyx"}
    truth = np.stack([mask(1), mask(2), mask(3)])
    np.savez(tmp_path / "cohort.npz", split=split, **cohort)
    np.savez(tmp_path / "truths.npz", truth=truth, **cohort)

    found = read_labelled([tmp_path / "cohort.npz"], [tmp_path / "truths.npz"], split="train")

    assert [stack.subject for stack in found.stacks] == ["p", "r"]
    assert [entry.max() for entry in found.labels] == [1, 3]


def test_a_truth_may_leave_modalities_and_a_single_plane_out(tmp_path: Path) -> None:
    both = np.stack([IMAGES[:2], IMAGES[1:]], axis=2)[0]  # (visit, modality, y, x)
    for number, truth in enumerate((mask(), mask()[:, None])):
        file = tmp_path / f"{number}.npz"
        write_npz(file, VisitStack.from_array(both, axes="vmyx"), {"truth": truth})
        assert read_labelled([file]).labels[0].shape == (2, 1, 8, 8)


@pytest.mark.parametrize(
    ("images", "more", "problem"),
    [
        (mask()[:1], {}, r"labels of 'a': got shape \(1, 1, 1, 8, 8\); its images want \(2, 1, 1"),
        (np.stack([mask()] * 2, axis=1), {"axes": "vmyx"}, "one mask for all modalities"),
        (mask(), {"ages": [1.0, 2.0]}, r"their ages are \[1.0, 2.0\], those of the images not kn"),
    ],
)
def test_masks_that_do_not_fit_are_refused(
    folder: Path, tmp_path: Path, images: np.ndarray, more: dict[str, Any], problem: str
) -> None:
    write_npz(tmp_path / "a.npz", VisitStack.from_array(images, subject="a", **more))

    with pytest.raises(ValueError, match=problem):
        read_labelled([folder], [tmp_path / "a.npz"])


def test_masks_elsewhere_in_the_world_are_refused(tmp_path: Path) -> None:
    there = np.diag([1.0, 1.0, 1.0, 1.0])[[2, 1, 0, 3]]
    moved = there.copy()
    moved[0, 3] = 5.0
    (tmp_path / "masks").mkdir()
    for affine, images, where in ((there, IMAGES[0], "p.nii"), (moved, mask(), "masks/p.nii.gz")):
        stack = VisitStack.from_array(images[:, None], affine=affine, subject="p")
        write_nifti(tmp_path / where, stack)

    with pytest.raises(ValueError, match="labels of 'p': they lie elsewhere than the images"):
        read_labelled([tmp_path / "p.nii"], [tmp_path / "masks"])


def test_a_truth_beside_a_compressed_nifti_is_found(tmp_path: Path) -> None:
    for images, name in ((IMAGES[0], "p.nii.gz"), (mask(), "p_truth.nii.gz")):
        write_nifti(tmp_path / name, VisitStack.from_array(images[:, None], spacing=(1, 1, 1)))

    assert read_labelled([tmp_path / "p.nii.gz"]).marked == 1


def test_names_that_fit_no_subject_are_told(folder: Path, tmp_path: Path) -> None:
    for name in ("a", "x"):
        write_npz(tmp_path / f"{name}.npz", VisitStack.from_array(mask(), subject=name))

    with pytest.raises(ValueError, match=r"'x' are masks of no subject of the data \('a', 'b', 'c"):
        read_labelled([folder], [tmp_path / "a.npz", tmp_path / "x.npz"])
    with pytest.raises(ValueError, match="or give one for each of the 3 series"):
        read_labelled([folder], [tmp_path / "x.npz"])


def test_names_that_two_series_bear_do_not_say_whose_a_mask_is(
    folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.npz"
    write_npz(other, named("a"), {"truth": mask()})

    with pytest.raises(ValueError, match=r"'a' name more than one series.*or name no masks where"):
        read_labelled([folder, other], [other])


def test_sick_series_without_a_mask_are_refused(folder: Path, tmp_path: Path) -> None:
    write_npz(folder / "d.npz", named("d"), {"kind": np.asarray("darker_line")})
    write_npz(tmp_path / "a.npz", VisitStack.from_array(mask(), subject="a"))

    with pytest.raises(ValueError, match=r"'d\.npz': .* marked as sick .* 'd' has no mask"):
        read_labelled([folder], [tmp_path / "a.npz"])


def test_results_and_missing_truths_are_told(folder: Path, tmp_path: Path) -> None:
    maps = {"mask": mask(), "score": mask(), "provenance": "{}"}
    np.savez(tmp_path / "result.npz", images=IMAGES[0], **maps)

    with pytest.raises(ValueError, match=r"'result\.npz': is a result of napari-followup"):
        read_labelled([folder], [tmp_path / "result.npz"])
    with pytest.raises(ValueError, match="labels: no file of the data holds a truth"):
        read_labelled([folder])
    np.savez(folder / "a.npz", images=IMAGES, axes="svyx", truth=mask())
    with pytest.raises(ValueError, match=r"'a\.npz': truth: "):
        read_labelled([folder])
