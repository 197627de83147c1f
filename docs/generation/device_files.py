"""What a device is made of and what is written on it: from the installer's tables."""

from __future__ import annotations

import re

from docs.generation.configuration import described
from docs.generation.markdown import cell, code, table
from edgehemo_firmware import layout
from edgehemo_firmware.parts import (
    ONE_EACH,
    PART_SCHEMA,
    PartFile,
    SystemSection,
    read_part,
    shipped_names,
)
from edgehemo_firmware.written_files import (
    FILES,
    MASKED,
    MASKED_WITHOUT_NETWORK_TIME,
    PACKAGES,
    PRINTER_PACKAGES,
    READ_ONLY_PACKAGES,
    SCREEN_PACKAGES,
)


def device_files_page() -> str:
    """Parts, their keys, files, units that do not run, packages, places and users."""
    return "\n".join(
        [
            "# What is written on a device",
            "",
            "Made from the tables that `edgehemo device install` goes by. How a device is put in "
            "service is told in [Putting a device in service](../using/device.md).",
            "",
            "## Parts of a device profile",
            "",
            parts_table(),
            "## Keys of a part",
            "",
            f"One TOML file of the schema `{PART_SCHEMA}`. Keys that are not known are refused. A "
            f"device has one {', '.join(ONE_EACH[:-1])} and {ONE_EACH[-1]}; of the other parts a "
            "later one lies over an earlier one.",
            "",
            _keys(),
            "## Files",
            "",
            "Each is made from a template and filled from the device configuration. A file that "
            "was changed by hand is kept and named, when it is installed again and when removed.",
            "",
            table(
                ("file", "from", "what it does"),
                (
                    (
                        code(row.path),
                        code(row.template),
                        cell(row.meaning + _when(row.when.__name__)),
                    )
                    for row in FILES
                ),
            ),
            "## Units of the system that do not run",
            "",
            table(
                ("unit", "why"),
                ((code(name), cell(why)) for name, why in (*MASKED, MASKED_WITHOUT_NETWORK_TIME)),
            ),
            "## Packages of the distribution",
            "",
            table(("package", "what for", "when"), _packages()),
            "## Places on the data partition",
            "",
            table(
                ("folder", "owner", "mode"),
                (
                    (code(each.path), cell(f"{each.owner}:{each.group}"), code(f"{each.mode:o}"))
                    for each in layout.FOLDERS
                ),
            ),
        ]
    )


def parts_table() -> str:
    """Every part that comes with edgehemo."""
    rows = []
    for name, kind in shipped_names().items():
        content = read_part(name).content
        lines = ", ".join(code(line) for line in content.system.config_txt)
        rows.append((cell(kind), code(name), cell(content.title), cell(content.runs), lines))
    return table(("kind", "name", "what it is", "what runs there", "lines of config.txt"), rows)


def _keys() -> str:
    rows = [("", key, meaning) for key, meaning in described(PartFile).items()]
    rows += [("system", key, meaning) for key, meaning in described(SystemSection).items()]
    return table(
        ("section", "key", "meaning"),
        [(cell(section), code(key), cell(meaning)) for section, key, meaning in rows],
    )


def _when(name: str) -> str:
    """Of a row of the table that not every device has."""
    word = re.sub(r"^_", "", name).replace("_", " ")
    return "" if word == "<lambda>" else f" (where there is: {word})"


def _packages() -> list[tuple[str, str, str]]:
    rows = [
        *((name, what, "always") for name, what in PACKAGES),
        *((name, what, "with a screen") for name, what in SCREEN_PACKAGES),
        *((name, what, "with a read-only system") for name, what in READ_ONLY_PACKAGES),
        *((name, what, "where `[kiosk] printer` is named") for name, what in PRINTER_PACKAGES),
    ]
    for name, kind in shipped_names().items():
        rows += [
            (package, read_part(name).content.title, f"{kind} {name}")
            for package in read_part(name).content.system.packages
        ]
    return [(code(name), cell(what), cell(when)) for name, what, when in rows]
