import pytest

from hiperceiver.data.packages import import_extra


def test_a_package_that_is_there_is_imported() -> None:
    import PIL.Image

    assert import_extra("PIL.Image", extra="data") is PIL.Image


def test_a_missing_part_of_a_package_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"^the package 'nothing_here' is missing: pip install 'hiperceiver\[earth\]'$"
    ):
        import_extra("nothing_here.inside", extra="earth")
