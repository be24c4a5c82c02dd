"""The name of a model that comes with osteon, or a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from osteon.errors import InputError
from osteon.tables import shipped
from osteon.tables.shipped import find_model, shipped_folder, shipped_models


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "package" / "models"
    made.mkdir(parents=True)
    for name in ("zebra.safetensors", "bone-pores.safetensors", "README.md"):
        (made / name).touch()
    monkeypatch.setattr(shipped, "shipped_folder", lambda: made)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return made


def test_the_folder_is_in_the_package() -> None:
    import osteon

    assert shipped_folder() == Path(osteon.__file__).parent / "models"
    assert (shipped_folder() / "README.md").is_file()


def test_names_are_those_of_the_files(folder: Path) -> None:
    assert list(shipped_models()) == ["bone-pores", "zebra"]
    assert find_model("zebra") == folder / "zebra.safetensors"
    assert find_model() == folder / "bone-pores.safetensors"


def test_a_name_wins_over_a_file_and_a_path_does_not(folder: Path) -> None:
    Path("zebra").touch()
    assert find_model("zebra") == folder / "zebra.safetensors"
    assert find_model("./zebra") == Path("zebra")
    assert find_model(Path("zebra")) == Path("zebra")


@pytest.mark.usefixtures("folder")
def test_all_else_is_a_file() -> None:
    Path("mine").touch()
    for name in ("mine", "run/model", "gone.safetensors", "model.pth"):
        assert find_model(name) == Path(name)


@pytest.mark.usefixtures("folder")
def test_an_unknown_name_lists_those_there_are() -> None:
    with pytest.raises(InputError, match=r"no model 'bone-pore'.*\(bone-pores, zebra\)") as caught:
        find_model("bone-pore")
    assert "did you mean bone-pores?" in str(caught.value.mend)


def test_without_any_model_it_says_how_to_fit_one(folder: Path) -> None:
    for path in folder.glob("*.safetensors"):
        path.unlink()
    with pytest.raises(InputError, match="without the model 'bone-pores'") as caught:
        find_model()
    assert "osteon fit" in str(caught.value.mend)
    with pytest.raises(InputError, match=r"\(none\)"):
        find_model("anything")
