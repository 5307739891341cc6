"""Settings: flag over environment over pyproject.toml over default, and a sentence for a value nobody can mean."""

import errno
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from vm import errors
from vm.errors import SettingsError
from vm.settings import Settings, default_cache


def project(directory: Path, text: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "pyproject.toml").write_text(text)
    return directory


def test_nothing_set_gives_the_defaults(tmp_path: Path) -> None:
    settings = Settings.load(environment={}, directory=tmp_path)
    assert (settings.mirror, settings.accel, settings.offline) == (None, "auto", False)
    assert default_cache() == settings.cache


def test_a_flag_beats_the_environment_and_that_beats_the_project(tmp_path: Path) -> None:
    directory = project(
        tmp_path,
        '[tool.uring-matrix]\nmirror = "http://project/debian"\naccel = "tcg"\noffline = true\ncache = "sub"\n',
    )
    environment = {"URING_MATRIX_MIRROR": "http://environment/debian", "URING_MATRIX_ACCEL": "auto"}
    settings = Settings.load(
        {"mirror": "http://flag/debian", "accel": None}, environment=environment, directory=directory
    )
    assert settings == Settings("http://flag/debian", tmp_path / "sub", "auto", True)


def test_the_project_is_found_from_a_folder_below_it(tmp_path: Path) -> None:
    project(tmp_path, '[tool.uring-matrix]\naccel = "tcg"\n')
    below = project(tmp_path / "a" / "b", "[tool.other]\nx = 1\n")
    assert Settings.load(environment={}, directory=below).accel == "tcg"


def test_an_empty_variable_is_one_that_is_not_set(tmp_path: Path) -> None:
    environment = {
        "URING_MATRIX_MIRROR": "",
        "URING_MATRIX_ACCEL": "",
        "URING_MATRIX_OFFLINE": "",
        "URING_MATRIX_CACHE": "",
    }
    assert Settings.load(environment=environment, directory=tmp_path) == Settings(cache=default_cache())


@pytest.mark.parametrize(("word", "expected"), [("1", True), ("true", True), ("0", False), ("no", False)])
def test_offline_is_a_word_for_yes_or_no(word: str, expected: bool, tmp_path: Path) -> None:
    assert Settings.load(environment={"URING_MATRIX_OFFLINE": word}, directory=tmp_path).offline is expected


def test_a_mirror_may_come_with_its_security_archive(tmp_path: Path) -> None:
    settings = Settings.load({"mirror": " http://a/debian/  http://b/security/ "}, environment={}, directory=tmp_path)
    assert settings.mirror == "http://a/debian http://b/security"


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("URING_MATRIX_ACCEL", "fast", "has to be one of auto, kvm, tcg"),
        ("URING_MATRIX_OFFLINE", "maybe", "has to be 1 or 0"),
        ("URING_MATRIX_MIRROR", "example", "has to be the URI of a Debian archive"),
        ("URING_MATRIX_MIRROR", "http://a http://b http://c", "has to be the URI of a Debian archive"),
    ],
)
def test_a_bad_value_is_named_with_where_it_came_from(variable: str, value: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(errors.SettingsError, match=expected) as caught:
        Settings.load(environment={variable: value}, directory=tmp_path)
    assert str(caught.value).startswith(variable)


def test_a_bad_value_in_the_project_names_the_file(tmp_path: Path) -> None:
    project(tmp_path, "[tool.uring-matrix]\ncache = 3\n")
    with pytest.raises(errors.SettingsError, match=r"pyproject\.toml: tool\.uring-matrix\.cache is 3"):
        Settings.load(environment={}, directory=tmp_path)


def test_a_broken_project_file_is_an_error_only_if_it_speaks_of_us(tmp_path: Path) -> None:
    directory = project(tmp_path, "this is [not toml")
    assert Settings.load(environment={}, directory=directory).accel == "auto"
    project(tmp_path, "[tool.uring-matrix]\naccel = ")
    with pytest.raises(errors.SettingsError, match="cannot be read"):
        Settings.load(environment={}, directory=directory)


@pytest.mark.parametrize(
    "text",
    [
        "[tool.uring-matrix\noffline = true",
        '[ tool . "uring-matrix" ]\noffline = ',
        "tool.uring-matrix.offline = ",
        "[tool]\nuring-matrix = {",
    ],
)
def test_a_broken_table_of_ours_is_not_ignored(tmp_path: Path, text: str) -> None:
    with pytest.raises(errors.SettingsError, match=r"pyproject\.toml cannot be read: .*; mend the file"):
        Settings.load(environment={}, directory=project(tmp_path, text))


def test_who_only_depends_on_us_does_not_speak_of_settings(tmp_path: Path) -> None:
    directory = project(tmp_path, 'dependencies = [\n"uring-matrix>=1",\n"uring-matrix"\n"uring-matrix==1",\n')
    assert not Settings.load(environment={}, directory=directory).offline


def test_a_project_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the directory itself it may have settings of ours; further up it is as far from us as any other."""

    def refuse(path: Path) -> bytes:
        if path.parent == tmp_path:
            raise PermissionError(errno.EACCES, "Permission denied")
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(errors.SettingsError, match="Permission denied"):
        Settings.load(environment={}, directory=tmp_path)
    (tmp_path / "below").mkdir()
    assert not Settings.load(environment={}, directory=tmp_path / "below").offline


def test_a_directory_of_that_name_has_no_settings(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").mkdir()
    assert not Settings.load(environment={}, directory=tmp_path).offline


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('miror = "http://a/debian"', r"tool\.uring-matrix\.miror is no setting; did you mean 'mirror'\?"),
        ("Accel = 'tcg'", "did you mean 'accel'"),
        ("colour = 'red'", "there are mirror, cache, accel, offline, packages, env"),
        ("mirror = ['http://a/debian']", "mirror is .* it has to be the URI"),
        ("accel = ['tcg']", "accel is .* has to be one of auto, kvm, tcg"),
        ("offline = 'perhaps'", "offline is 'perhaps'; it has to be 1 or 0"),
        ("packages = 'hypothesis'", "packages is 'hypothesis'; it has to be a list of distributions"),
        ("packages = [1]", "packages is .* has to be a list of distributions"),
        ("packages = ['./mine']", "packages has './mine'; it has to be the name of an installed distribution"),
        ("env = {NAME = 'VALUE'}", "env is .* has to be a list of variables"),
        ("env = ['=VALUE']", "env has '=VALUE'; it has to be NAME or NAME=VALUE"),
    ],
)
def test_what_a_project_sets_is_a_setting_or_an_error(text: str, sentence: str, tmp_path: Path) -> None:
    project(tmp_path, f"[tool.uring-matrix]\n{text}\n")
    with pytest.raises(errors.SettingsError, match=sentence):
        Settings.load(environment={}, directory=tmp_path)


@pytest.mark.parametrize(
    "name", ["tool.uring_matrix", "tool.uringmatrix", "tool.Uring-Matrix", "tool.uring-matrx", "uring-matrix"]
)
def test_a_table_that_is_ours_but_for_its_name_is_an_error(name: str, tmp_path: Path) -> None:
    project(tmp_path, f"[{name}]\noffline = true\n")
    with pytest.raises(errors.SettingsError, match=r"the table of uring-matrix is \[tool\.uring-matrix\]"):
        Settings.load(environment={}, directory=tmp_path / "below")


def test_tables_of_others_are_theirs(tmp_path: Path) -> None:
    project(tmp_path, "[project]\nname = 'uring-matrix'\n[tool.uring]\nmiror = 1\n[tool.matrix]\n[tool.ring-metrics]\n")
    assert Settings.load(environment={}, directory=tmp_path) == Settings(cache=default_cache())


@pytest.mark.parametrize(
    ("variable", "sentence"),
    [
        ("URING_MATRIX_MIROR", "did you mean 'URING_MATRIX_MIRROR'"),
        ("URING_MATRIX_CACHE_DIR", "did you mean 'URING_MATRIX_CACHE'"),
        ("URING_MATRIX_PACKAGES", "or with --guest-package"),
        ("URING_MATRIX_ENV", "or with --guest-env"),
    ],
)
def test_a_variable_that_begins_as_ours_is_a_setting_or_an_error(variable: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(errors.SettingsError, match=f"{variable} is no setting.*{sentence}"):
        Settings.load(environment={variable: "1"}, directory=tmp_path)
    assert Settings.load(environment={variable: ""}, directory=tmp_path) == Settings(cache=default_cache())


def test_tests_of_this_project_have_variables_of_their_own(tmp_path: Path) -> None:
    environment = {"URING_MATRIX_TEST_CACHE": "/x", "URING_MATRIX_GUEST": "1", "URING_MATRIX_FAULT_TEST": "y"}
    assert Settings.load(environment=environment, directory=tmp_path) == Settings(cache=default_cache())


def test_what_guests_get_is_what_the_project_says_and_the_options_add(tmp_path: Path) -> None:
    project(tmp_path, "[tool.uring-matrix]\npackages = ['hypothesis']\nenv = ['LANG', 'LEVEL=1']\n")
    settings = Settings.load(
        {"packages": ["numpy", "hypothesis"], "env": ("LEVEL=2",)}, environment={}, directory=tmp_path
    )
    assert (settings.packages, settings.env) == (("hypothesis", "numpy"), ("LANG", "LEVEL=1", "LEVEL=2"))
    with pytest.raises(errors.SettingsError, match="--guest-env has '1A'"):
        Settings.load({"env": ["1A"]}, environment={}, directory=tmp_path)


def test_an_unknown_override_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.SettingsError, match="'colour' is not a setting"):
        Settings.load({"colour": "red"}, environment={}, directory=tmp_path)


@pytest.mark.parametrize("home", [None, "", "/nonexistent"])
def test_without_a_home_the_cache_is_in_the_temporary_directory(home: str | None) -> None:
    """Also for a user without a password entry, as containers make them; then `~` stands for nothing."""
    environment = {key: value for key, value in os.environ.items() if key not in {"HOME", "XDG_CACHE_HOME"}}
    environment |= {"HOME": home} if home is not None else {}
    code = "import pwd, os\npwd.getpwuid = lambda uid: (_ for _ in ()).throw(KeyError(uid))\n"
    code += "from vm.settings import Settings\nprint(Settings.load({}, directory=None).cache)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    expected = Path(tempfile.gettempdir()) / f"uring-matrix-{os.getuid()}"
    assert str(expected) == done.stdout.strip()


def test_every_error_survives_pickling() -> None:
    """Test workers and process pools carry errors from one process to another."""
    for kind in [value for value in vars(errors).values() if isinstance(value, type)]:
        copy = pickle.loads(pickle.dumps(kind("what happened")))
        assert (kind, "what happened") == (type(copy), str(copy))
    gone = pickle.loads(pickle.dumps(errors.PackageGoneError("gone", ("a=1",))))
    assert gone.packages == ("a=1",)


@pytest.mark.parametrize("value", ["'known.toml'", "['known.toml']"])
def test_known_issues_lie_in_the_projects_folder_and_options_add_to_them(value: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.uring-matrix]\nknown-issues = {value}\n")
    (tmp_path / "below").mkdir()
    found = Settings.load({"known-issues": ["mine.toml"]}, environment={}, directory=tmp_path / "below")
    assert found.known_issues == (tmp_path / "known.toml", Path("mine.toml"))


@pytest.mark.parametrize("value", ["3", "''", "[1]", "['']"])
def test_known_issues_are_files(value: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.uring-matrix]\nknown-issues = {value}\n")
    with pytest.raises(SettingsError, match="known-issues"):
        Settings.load(environment={}, directory=tmp_path)


def test_a_variable_for_known_issues_is_none(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--known-issues on the command line"):
        Settings.load(environment={"URING_MATRIX_KNOWN_ISSUES": "x"}, directory=tmp_path)
