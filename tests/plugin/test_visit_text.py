from __future__ import annotations

from napari_followup.plugin.visit_text import visit_line


def test_a_visit_is_said_with_its_age() -> None:
    assert visit_line({"ages": [60, 61.24]}, {"v": 1}, 2) == "visit 2 of 2, age 61.2"


def test_ages_that_were_made_up_are_not_said() -> None:
    said = {"ages": [0, 1], "ages_known": False}

    assert visit_line(said, {"v": 1}, 2) == "visit 2 of 2"
    assert visit_line({"ages": None}, {"v": 1}, 2) == "visit 2 of 2"


def test_a_visit_that_was_not_observed_is_said() -> None:
    said = {"ages": [60, 61], "is_observed": [True, False]}

    assert visit_line(said, {"v": 1}, 2) == "visit 2 of 2, age 61.0, not observed"


def test_a_subject_of_a_cohort_is_named_with_its_own_age() -> None:
    said = {
        "ages": [[60, 61], [70, 71]],
        "is_observed": [[True, True], [True, False]],
        "subject": ["anna", "bert"],
    }

    assert visit_line(said, {"s": 1, "v": 0}, 2) == "bert, visit 1 of 2, age 70.0"
    assert visit_line(said, {"s": 1, "v": 1}, 2) == "bert, visit 2 of 2, age 71.0, not observed"


def test_a_cohort_can_share_its_ages() -> None:
    assert visit_line({"ages": [60, 61]}, {"s": 1, "v": 0}, 2) == "visit 1 of 2, age 60.0"
