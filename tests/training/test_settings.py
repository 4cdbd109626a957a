from __future__ import annotations

import pytest

from napari_followup.methods.anofpdm import AnoFPDM
from napari_followup.methods.sadm import SADM, SADMConfig
from napari_followup.methods.sdm import COMPACT, SDM
from napari_followup.methods.vae3d import VAE3D, VAE3DConfig
from napari_followup.training.settings import (
    chosen_config,
    form_of,
    read_setting,
)

SHAPE = (3, 2, 1, 100, 300)


def test_a_preset_takes_modalities_and_size_from_the_series() -> None:
    config = chosen_config("sdm", "compact", {}, SHAPE)

    assert config.modalities == 2
    assert config.image_size == (48, 128)
    assert config.channels == COMPACT.channels


def test_a_deep_network_gets_sides_it_can_halve() -> None:
    assert chosen_config("disyre", "published", {}, (2, 1, 1, 48, 80)).image_size == (64, 64)
    assert chosen_config("disyre", "compact", {}, (2, 1, 1, 48, 80)).image_size == (48, 80)


def test_any_field_can_be_another() -> None:
    given = {"channels": [8, 16], "image_size": (32, 32), "value_range": (-1, 1), "dropout": 0}

    config = chosen_config("sdm", "compact", given, SHAPE)

    assert (config.channels, config.image_size) == ((8, 16), (32, 32))
    assert config.value_range == (-1.0, 1.0)
    assert config.dropout == 0.0


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"colour": 3}, "sdm has no colour; it has modalities, image_size"),
        ({"channels": (8.5, 16)}, r"channels is like \(64, 96, 96\), got \(8.5, 16\)"),
        ({"encoder_pool": 1}, "encoder_pool is like False, got 1"),
        ({"steps": "many"}, "steps is like 1000, got 'many'"),
        ({"beta_range": (0.5, 0.1)}, "beta_range must rise"),
    ],
)
def test_fields_are_checked_against_the_configuration(
    settings: dict[str, object], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        chosen_config("sdm", "compact", settings, SHAPE)


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="has no preset 'huge'; it has thesis, compact"):
        chosen_config("sdm", "huge", {}, SHAPE)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("channels=32,64", ("channels", (32, 64))),
        ("dropout = 0.5", ("dropout", 0.5)),
        ("encoder_pool=true", ("encoder_pool", True)),
        ("prediction=clean", ("prediction", "clean")),
        ("age_range=none", ("age_range", None)),
    ],
)
def test_settings_are_read_from_words(text: str, found: tuple[str, object]) -> None:
    assert read_setting(text) == found


def test_a_word_without_a_value_is_no_setting() -> None:
    with pytest.raises(ValueError, match="set: got 'channels'; give name=value"):
        read_setting("channels")


def test_samples_are_those_of_the_method_its_configuration_or_labels() -> None:
    plain = SDM(chosen_config("sdm", "compact", {"image_size": (16, 16)}, SHAPE))
    told = AnoFPDM(chosen_config("anofpdm", "compact", {"image_size": (16, 16)}, SHAPE))
    deep = VAE3D(VAE3DConfig(image_size=(16, 16), depth=8, channels=(8, 8), code_features=4))

    assert form_of(plain).kind == "planes"
    assert form_of(plain).depth is None
    assert (form_of(told).kind, form_of(told, labelled=True).kind) == ("planes", "labelled")
    assert form_of(SADM(SADMConfig(base="vae3d", base_preset="compact")), labelled=True).kind == (
        "planes"
    )
    assert (form_of(deep).kind, form_of(deep).depth) == ("volumes", 8)
