"""Files that are in the wrong place, damaged, of another version or taken away; and stores by URL."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from seawall.durable import EmbeddedStore, StoreError, open_store
from seawall.durable import embedded_place as place
from seawall.durable.schema import VERSION
from tests.durable.stores.words import (
    every,
    keys_in,
    looking,
    put,
    putting,
    until,
)

ROOT = os.name == "posix" and os.geteuid() == 0
FAT = "x" * 100_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is."""
    return tmp_path / "seawall.db"


@contextlib.contextmanager
def read_only(path: Path) -> Iterator[None]:
    """Lets a file and its folder be read and not written, by root either."""
    if ROOT and sys.platform == "linux":
        folder = str(path.parent)
        bound = subprocess.run(["mount", "--bind", folder, folder], capture_output=True, check=False).returncode == 0
        if not bound:
            pytest.skip("needs the right to mount, as root may always write")
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
        try:
            yield
        finally:
            subprocess.run(["umount", "-l", folder], check=True)
        return
    path.chmod(0o400)
    path.parent.chmod(0o500)
    try:
        yield
    finally:
        path.parent.chmod(0o700)
        path.chmod(0o600)


class TestWrongFiles:
    """What is no place for a store is refused with what would be right, and nothing is changed."""

    @pytest.mark.parametrize(
        ("given", "kind", "says"),
        [
            ("", ValueError, "names no file"),
            (" ", ValueError, "names no file"),
            ("a\0b", ValueError, "names no file"),
            (7, TypeError, "is no path"),
            (b"x.db", TypeError, "is no path"),
            (":memory:", ValueError, "in_memory"),
            ("file:x.db?mode=ro", ValueError, "open_store"),
            ("sqlite:///x.db", ValueError, "open_store"),
        ],
    )
    def test_what_is_no_path_is_refused_at_once(self, given: Any, kind: type[Exception], says: str) -> None:
        """At construction."""
        with pytest.raises(kind, match=says):
            EmbeddedStore(given)

    @pytest.mark.parametrize(
        "options",
        [
            {"synchronous": "off"},
            {"busy_timeout": -1},
            {"busy_timeout": "5"},
            {"effect_timeout": 0},
            {"clock": "now"},
        ],
    )
    def test_wrong_arguments_are_refused_at_once(self, path: Path, options: Any) -> None:
        """By name."""
        with pytest.raises((TypeError, ValueError), match=next(iter(options))):
            EmbeddedStore(path, **options)

    def test_a_folder_that_is_not_there(self, path: Path) -> None:
        """Is not made; once it is there, the store works."""
        store = EmbeddedStore(path.parent / "later" / "seawall.db")
        with pytest.raises(StoreError, match=r"no folder.*later"):
            store.run(every)
        (path.parent / "later").mkdir()
        assert [] == store.run(every)
        store.close()

    def test_a_folder_in_place_of_the_file(self, path: Path) -> None:
        """Is no file."""
        path.mkdir()
        with pytest.raises(StoreError, match="is a folder"):
            EmbeddedStore(path).run(every)

    def test_a_file_that_is_no_database(self, path: Path) -> None:
        """Stays as it is."""
        path.write_bytes(b"Dear diary, today I wrote to a file.\n" * 300)
        before = path.read_bytes()
        with pytest.raises(StoreError, match="no SQLite database"):
            EmbeddedStore(path).run(every)
        assert before == path.read_bytes()

    def test_a_file_that_cannot_be_written(self, path: Path) -> None:
        """Is told as such; also where its folder is read-only."""
        with EmbeddedStore(path) as store:
            store.run(putting("k"))
        with read_only(path), pytest.raises(StoreError, match=r"cannot be (written|opened)"):
            EmbeddedStore(path).run(every)
        assert ["k"] == keys_in(path)

    def test_a_damaged_file(self, path: Path) -> None:
        """Is told as such, by the first who meets the damage."""
        with EmbeddedStore(path) as store:
            for number in range(200):
                store.run(putting(f"{number:0100}"))
        damaged = bytearray(path.read_bytes())
        for page in range(2, len(damaged) // 4096):
            damaged[page * 4096 : page * 4096 + 200] = b"\xff" * 200
        path.write_bytes(damaged)
        store = EmbeddedStore(path)
        with pytest.raises(StoreError, match="damaged"):
            store.run(every)
        store.close()

    def test_tables_of_a_newer_seawall(self, path: Path) -> None:
        """Are not touched; both versions are named, and that a newer one is needed."""
        with EmbeddedStore(path):
            pass
        with looking(path) as other:
            other.execute("INSERT INTO seawall_schema VALUES (?, 0)", (VERSION + 1,))
        with pytest.raises(StoreError, match=f"version {VERSION + 1}.*only version {VERSION}"):
            EmbeddedStore(path).run(every)

    def test_the_applications_own_tables_and_version_are_left_alone(self, path: Path) -> None:
        """The file may be the application's: its `user_version` is its own."""
        with looking(path) as other:
            other.execute("CREATE TABLE account (name TEXT)")
            other.execute("PRAGMA user_version = 17")
        with EmbeddedStore(path) as store:
            store.run(putting("k"))
        with looking(path) as other:
            assert [(17,)] == other.execute("PRAGMA user_version").fetchall()
            assert [] == other.execute("SELECT * FROM account").fetchall()

    @pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "9p"])
    def test_a_network_file_system_is_refused(self, path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
        """SQLite's log needs memory that all processes share."""
        device = os.stat(path.parent).st_dev
        number = f"{os.major(device)}:{os.minor(device)}"
        mounts = path.parent / "mountinfo"
        mounts.write_text(
            f"22 1 {number} / / rw shared:1 - ext4 /dev/vda rw\n"
            f"98 22 0:99 / /other rw - proc proc rw\n"
            f"99 22 {number} /export {path.parent} rw,noatime shared:2 - {kind} server:/export rw\n"
        )
        monkeypatch.setattr(place, "MOUNTS", mounts)
        with pytest.raises(StoreError, match=f"network file system .{kind}.*PostgreSQL"):
            EmbeddedStore(path).run(every)
        assert False is path.exists()

    def test_a_local_file_system_is_known_as_what_it_is(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """And where it cannot be told, nothing is refused."""
        if sys.platform == "linux":
            assert isinstance(place.file_system(path.parent), str)
        monkeypatch.setattr(place, "MOUNTS", path.parent / "no such file")
        assert None is place.file_system(path.parent)
        with EmbeddedStore(path) as store:
            assert [] == store.run(every)


class TestReplaced:
    """A file that is taken away or replaced under an open store."""

    def test_a_file_that_was_removed_is_made_anew(self, path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """With a warning: what is written must not go into a file that nobody can find."""
        with EmbeddedStore(path) as store:
            store.run(putting("lost"))
            for each in path.parent.iterdir():
                each.unlink()
            until(lambda: store.run(putting("kept")) and path.exists())
            assert ["kept"] == store.run(every)
        assert ["kept"] == keys_in(path)
        assert "removed or replaced" in caplog.text

    def test_a_file_that_was_restored_is_the_one_that_is_used(self, path: Path) -> None:
        """A backup that was put in its place."""
        with EmbeddedStore(path) as store:
            store.run(putting("old"))
        backup = path.with_name("backup")
        shutil.copy(path, backup)
        with EmbeddedStore(path) as store:
            store.run(putting("new"))
            os.replace(backup, path)
            for beside in ("-wal", "-shm"):
                Path(f"{path}{beside}").unlink()
            until(lambda: store.run(every) == ["old"])


class TestUrls:
    """Stores by URL."""

    def test_a_relative_and_an_absolute_path(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Three slashes and four."""
        monkeypatch.chdir(path.parent)
        for url in ("sqlite:///seawall.db", f"sqlite:///{path}"):
            store = open_store(url, busy_timeout=1)
            assert f"sqlite:///{path}" == store.name
            store.run(partial(put, url))
            store.close()
        assert 2 == len(keys_in(path))

    @pytest.mark.parametrize(
        ("url", "says"),
        [
            ("sqlite://", "memory keeps nothing"),
            ("sqlite:///", "memory keeps nothing"),
            ("sqlite:///:memory:", "memory keeps nothing"),
            ("sqlite://shop.db", "three slashes"),
            ("sqlite:///shop.db?mode=ro", "options"),
            ("shop.db", "no scheme"),
            ("postgres://u:SECRET@h/d", "did you mean postgresql"),
            ("mysql://u:SECRET@h/d", "is no kind of store"),
        ],
    )
    def test_what_names_no_store_is_refused(self, url: str, says: str) -> None:
        """With what would be right, and no password."""
        with pytest.raises(StoreError, match=says) as caught:
            open_store(url)
        assert "SECRET" not in str(caught.value)

    def test_arguments_are_those_of_the_store(self) -> None:
        """A wrong one is named."""
        with pytest.raises(TypeError, match="busy_timeout"):
            open_store("sqlite:///x.db", busy_time=3)
        with pytest.raises(TypeError, match="url=7"):
            open_store(7)  # type: ignore[arg-type]

    @pytest.mark.parametrize(("scheme", "extra"), [("postgresql", "sql"), ("redis", "redis")])
    def test_a_missing_library_is_named_with_its_extra(self, scheme: str, extra: str) -> None:
        """In a process that lacks it."""
        library = {"sql": "sqlalchemy", "redis": "redis"}[extra]
        code = (
            f"import sys; sys.modules[{library!r}] = None\n"
            "from seawall.durable import StoreError, open_store\n"
            f"try: open_store({scheme + '://h/d'!r})\n"
            "except StoreError as error: print(error)\n"
        )
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert f"pip install seawall[{extra}]" in ran.stdout, ran.stderr
