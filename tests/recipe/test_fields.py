from __future__ import annotations

from dataclasses import dataclass, field, fields

from napari_followup.recipe.fields import form_text


@dataclass(frozen=True, kw_only=True)
class Used:
    speed: int = field(default=3, metadata=form_text("How fast", label="pace", between=(0, 9)))


def test_what_a_form_says_stays_with_the_field() -> None:
    (speed,) = fields(Used)

    assert Used().speed == 3
    assert dict(speed.metadata) == {
        "tip": "How fast",
        "label": "pace",
        "between": (0, 9),
    }


def test_what_is_not_given_is_left_to_the_form() -> None:
    assert form_text("Tip") == {"tip": "Tip"}
    assert form_text("Tip", between=(1, 15), step=2)["step"] == 2
