"""Names of files: an allowlist of suffixes, after all decoding."""

from __future__ import annotations

import pytest

from chalicelib import filenames
from chalicelib.errors import Refused


@pytest.mark.parametrize(
    "name",
    [
        *("", "a.csv", "a.CSV", "a.csv.", "a.csv. ", ".csv", "a b.c.tsv", "a.exe.csv", "people.csv.gz", "a.xlsx"),
        *("people", "version 1.2", "v1.2 final", "../../a.csv", "<img src=x onerror=alert(1)>.csv", "\u202ea.csv"),
        *("a%20b.csv", "100%.csv", "été.csv"),
    ],
)
def test_a_name_of_a_file_that_can_be_loaded_is_taken(name: str) -> None:
    filenames.refuse(name)


@pytest.mark.parametrize(
    "name",
    [
        *("a.csv.exe", "a.exe", "a.EXE", "a.exe.", "a.exe . .", "a.csv%2eexe", "a.csv%252eexe", "a.exe::$DATA"),
        *(
            "a.exe%00.csv",
            "a.exe\0.csv",
            "a\r\nb.csv",
            "a%0d%0a.csv",
            "a.xlsm",
            "a.xls",
            "a.html",
            "a.zip",
            "a.csv;.php",
        ),
    ],
)
def test_any_other_is_refused_by_name(name: str) -> None:
    with pytest.raises(Refused) as refused:
        filenames.refuse(name)
    assert (refused.value.code, refused.value.status) == ("filename_refused", 422)
    assert refused.value.errors[0]["column"] == "filename"
