"""A zip of extended XYZ files, such as MPtrj's (one file a material), read without unpacking it."""

import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from esen.data.readers.extxyz import text_records
from esen.data.readers.frame import Record
from esen.errors import InputError

_SUFFIXES = (".xyz", ".extxyz")


def zip_records(path: Path) -> Iterator[Record]:
    """The text of each frame of each file in the zip, in its order.

    Raises:
        InputError: it is no zip, is damaged, has no extended XYZ, or a file in it is not divided into frames.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(_SUFFIXES)]
            names = [name for name in names if not name.startswith("__MACOSX/")]
            if not names:
                raise InputError(f"{path}: the zip holds no *.xyz or *.extxyz")
            for number, name in enumerate(names, start=1):
                where = f"{path}/{name}"
                try:
                    text = archive.read(name).decode()
                except (zipfile.BadZipFile, zlib.error, UnicodeDecodeError, RuntimeError) as error:
                    raise InputError(f"{where}: cannot be unpacked ({error})") from error
                for record in text_records(text, where):
                    yield replace(record, done=number / len(names))
    except zipfile.BadZipFile as error:
        raise InputError(f"{path}: is no zip, or was cut off ({error})") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
