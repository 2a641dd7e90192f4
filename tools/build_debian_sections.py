#!/usr/bin/env python3
"""Build the built-in corpus ``debian-sections`` from Debian's own package index.

The task of the corpus: *which section of the archive does this software belong to, judged by its
description?*  One row stands for one source package of the area ``main``; its text is the synopsis and
the long English description of one of its binary packages, its label is that binary package's section.

Run on any machine that has apt and the wanted release among its configured sources::

    python tools/build_debian_sections.py

The index is fetched into a private, temporary state directory, so the machine's own package lists stay
as they are; apt checks the index's signature as usual.  Only the release itself is read (not its update
or security suites), and always for the same architecture, so that the outcome changes only when the
release gets a new point release.  ``--save-index DIR`` keeps the three files that were read, and
``--index DIR`` builds from such a directory without any network; the same index always gives the same
bytes.

Note on the source of the texts: ``apt-cache dumpavail`` prints the package records without the long
descriptions where the archive keeps those in a separate file, as Debian does.  The two indices are
therefore read as they are (``Packages`` and ``Translation-en``) and joined by the ``Description-md5``.

Only the standard library is needed.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import tempfile
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

NAME = "debian-sections"
SECTIONS = (
    "database",
    "editors",
    "electronics",
    "fonts",
    "games",
    "graphics",
    "hamradio",
    "mail",
    "math",
    "net",
    "science",
    "sound",
    "text",
    "vcs",
    "video",
    "x11",
)
MAX_ROWS_PER_SECTION = 1000
MIN_CHARS = 60
MAX_CHARS = 800
SHINGLE_WORDS = 5
MAX_JACCARD = 0.5
TEST_SHARE = 0.2
SPLITS = ("train", "test")
ARCHITECTURE = "amd64"
APT_HELPER = "/usr/lib/apt/apt-helper"
DEFAULT_OUTPUT = Path(__file__).resolve().parents[1] / "src/token2wave/data/corpus" / NAME

CAVEAT = (
    "Each label is the one section that the package's maintainers chose; neighbouring sections overlap "
    "(science with math and graphics, net with mail and hamradio), so some labels are arguable."
)

# Binary packages that only accompany another one; their descriptions say little about the software.
_COMPANION = re.compile(r"-(?:dev|dbg|dbgsym|doc|docs|data|common|examples?|tests?|l10n|i18n|locales?|dkms)$")
_DUMMY = re.compile(
    r"^[^.]*\b(?:transition(?:al)?|dummy|meta-?packages?|debug(?:ging)? symbols)\b"
    r"|\b(?:is|as) (?:a|an|the) (?:(?:empty|dummy|transitional|virtual|meta)[ -]?)+package",
    re.IGNORECASE,
)
# Addresses: with a scheme, with a telling first part, mail addresses, and bare domain names.
_ADDRESS = re.compile(
    r"[a-z][a-z0-9+.-]*://|\bwww\d?\.|\bftp\.|[\w.+-]+@[\w-]+\.\w"
    r"|\b[a-z0-9-]+\.(?:com|org|net|edu|gov|info|io|eu|uk|de|fr|at|ch|nl|it|jp|ru|us|dev|me|tv|fm)\b",
    re.IGNORECASE,
)
_BULLET = re.compile(r"^(?:[*+•·]|[-–—]+|o(?= ))\s*(?=\S)")
# Not after a single letter or a number, as in "e.g." or "3." before a list's item.
_SENTENCE_END = re.compile(r"(?:(?<=[^\W\d]{2})|(?<=\)))[.!?](?=\s)")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Binary:
    """One binary package of the index, with its cleaned description."""

    name: str
    source: str
    section: str
    text: str


@dataclass(frozen=True)
class Row:
    """One row of the corpus."""

    text: str
    label: str
    source: str

    def to_json(self) -> str:
        """Return the row as one line of JSON, keys in the documented order."""
        fields = {"text": self.text, "label": self.label, "source": self.source}
        return json.dumps(fields, ensure_ascii=False)


@dataclass(frozen=True)
class Index:
    """The three files the corpus is built from, as text."""

    packages: str
    translation: str
    release: str


# --------------------------------------------------------------------------- reading the index


def parse_stanzas(text: str) -> Iterator[dict[str, str]]:
    """Yield the stanzas of a Debian control file; continuation lines keep their line breaks."""
    for block in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        key = ""
        for line in block.splitlines():
            if line[:1] in (" ", "\t"):
                if key:
                    fields[key] += "\n" + line
            elif ":" in line:
                key, _, value = line.partition(":")
                fields[key] = value.strip()
        if fields:
            yield fields


def clean_description(raw: str, max_chars: int = MAX_CHARS) -> str:
    """Turn a ``Description`` field (synopsis, then indented lines) into one line of plain sentences."""
    synopsis, *lines = (line.strip() for line in raw.split("\n"))
    body = [_BULLET.sub("- ", line) for line in lines if _WORD.search(line)]
    synopsis = " ".join(synopsis.split())
    if body and synopsis and synopsis[-1] not in ".!?:":
        synopsis += "."
    return shorten(" ".join(" ".join([synopsis, *body]).split()), max_chars)


def shorten(text: str, max_chars: int) -> str:
    """Cut a text after its last whole sentence within the limit, or else after its last whole word."""
    if len(text) <= max_chars:
        return text
    ends = [match.end() for match in _SENTENCE_END.finditer(text, 0, max_chars + 1)]
    if ends and ends[-1] >= max_chars // 2:
        return text[: ends[-1]]
    return text[: max_chars + 1].rsplit(" ", 1)[0].rstrip(" ,;:-(")[:max_chars]


def long_descriptions(translation: str) -> dict[tuple[str, str], str]:
    """Map (package, md5 of the description) to the full English description."""
    return {
        (stanza["Package"], stanza.get("Description-md5", "")): stanza["Description-en"]
        for stanza in parse_stanzas(translation)
        if "Package" in stanza and "Description-en" in stanza
    }


def read_binaries(packages: str, translation: str = "") -> list[Binary]:
    """Read every binary package of the area ``main`` that has a long description."""
    long_of = long_descriptions(translation)
    binaries = []
    for stanza in parse_stanzas(packages):
        name, section = stanza.get("Package", ""), stanza.get("Section", "")
        raw = stanza.get("Description-en") or stanza.get("Description", "")
        raw = long_of.get((name, stanza.get("Description-md5", "")), raw)
        if not name or not section or "/" in section or "\n" not in raw:
            continue
        source = (stanza.get("Source") or name).split()[0]
        binaries.append(Binary(name, source, section, clean_description(raw)))
    return binaries


# --------------------------------------------------------------------------- choosing and filtering rows


def is_companion(binary: Binary) -> bool:
    """Tell whether the package only accompanies another one (headers, data, documentation, ...)."""
    return bool(_COMPANION.search(binary.name))


def is_dummy(binary: Binary) -> bool:
    """Tell whether the package is transitional, empty, or only pulls in others."""
    return bool(_DUMMY.search(binary.text))


def choose_binary(binaries: Iterable[Binary]) -> Binary | None:
    """Choose the one binary package that speaks for its source package, or none.

    The package named like the source wins, else the one with the longest description; ties go to the
    name that sorts first.
    """
    candidates = [b for b in binaries if not is_dummy(b) and not is_companion(b)]
    if not candidates:
        return None
    return min(candidates, key=lambda b: (b.name != b.source, -len(b.text), b.name, b.text))


def has_address(text: str) -> bool:
    """Tell whether the text contains a web, file-transfer or mail address, or a domain name."""
    return bool(_ADDRESS.search(text))


def digest(source: str) -> bytes:
    """Return the SHA-256 of a source package's name, from which order and split are taken."""
    return hashlib.sha256(source.encode()).digest()


def split_of(source: str) -> str:
    """Return ``train`` or ``test``, from the last bytes of the hash (the order uses the first ones)."""
    share = int.from_bytes(digest(source)[-8:], "big") / 2**64
    return "test" if share < TEST_SHARE else "train"


def select_rows(binaries: Iterable[Binary], sections: Iterable[str] = SECTIONS) -> list[Row]:
    """Pick one package per source from the wanted sections, in the fixed shuffled order."""
    wanted = set(sections)
    by_source: dict[str, list[Binary]] = {}
    for binary in binaries:
        if binary.section in wanted:
            by_source.setdefault(binary.source, []).append(binary)
    rows = []
    for source in sorted(by_source, key=lambda name: (digest(name), name)):
        chosen = choose_binary(by_source[source])
        if chosen and len(chosen.text) >= MIN_CHARS and not has_address(chosen.text):
            rows.append(Row(chosen.text, chosen.section, source))
    return rows


def shingles(text: str, mask_numbers: bool = False, size: int = SHINGLE_WORDS) -> frozenset[int]:
    """Return the text's runs of ``size`` words as stable 64-bit hashes; case does not count.

    With ``mask_numbers`` all numbers are the same word, so that versions of one text look alike.
    """
    words = ["0" if mask_numbers and word.isdigit() else word for word in _WORD.findall(text.casefold())]
    runs = {" ".join(words[i : i + size]) for i in range(max(1, len(words) - size + 1))}
    return frozenset(int.from_bytes(hashlib.blake2b(r.encode(), digest_size=8).digest(), "big") for r in runs)


def drop_near_duplicates(
    rows: Iterable[Row], mask_numbers: bool = False, limit: float = MAX_JACCARD
) -> list[Row]:
    """Keep a row only if its shingles' Jaccard similarity to every kept row is below the limit.

    The first row of a group in the given order stays, whatever its section.  An inverted index over the
    shingles finds every pair that shares one, so the comparison is exact.
    """
    kept: list[Row] = []
    sizes: list[int] = []
    owners: dict[int, list[int]] = {}
    for row in rows:
        mine = shingles(row.text, mask_numbers)
        shared = Counter(other for shingle in mine for other in owners.get(shingle, ()))
        if any(n >= limit * (len(mine) + sizes[other] - n) for other, n in shared.items()):
            continue
        for shingle in mine:
            owners.setdefault(shingle, []).append(len(kept))
        kept.append(row)
        sizes.append(len(mine))
    return kept


def cap_sections(rows: Iterable[Row], limit: int = MAX_ROWS_PER_SECTION) -> list[Row]:
    """Keep at most the first ``limit`` rows of every section."""
    seen: Counter[str] = Counter()
    kept = []
    for row in rows:
        seen[row.label] += 1
        if seen[row.label] <= limit:
            kept.append(row)
    return kept


def build_rows(packages: str, translation: str = "", sections: Iterable[str] = SECTIONS) -> list[Row]:
    """Build all rows of the corpus from the text of the two indices."""
    rows = select_rows(read_binaries(packages, translation), sections)
    for mask_numbers in (False, True):
        rows = drop_near_duplicates(rows, mask_numbers)
    return cap_sections(rows)


def split_rows(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Divide rows into the two splits, keeping their order."""
    parts: dict[str, list[Row]] = {split: [] for split in SPLITS}
    for row in rows:
        parts[split_of(row.source)].append(row)
    return parts


# --------------------------------------------------------------------------- writing


def gzip_bytes(rows: Iterable[Row]) -> bytes:
    """Return the rows as compressed JSON lines, with no time stamp or file name in the header."""
    text = "".join(row.to_json() + "\n" for row in rows)
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=buffer, mtime=0) as stream:
        stream.write(text.encode("utf-8"))
    return buffer.getvalue()


def describe_release(release: str) -> str:
    """Describe the index by its Release file: distribution, version, code name, suite and date."""
    text = re.split(r"\n\s*\n", release, maxsplit=1)[-1] if release.startswith("-----BEGIN") else release
    fields = next(parse_stanzas(text), {})
    get = {key: fields.get(key, "unknown") for key in ("Origin", "Version", "Codename", "Suite", "Date")}
    return (
        f"{get['Origin']} {get['Version']} (code name {get['Codename']}, suite {get['Suite']} when read), "
        f"area main, index of {get['Date']}"
    )


def count_table(parts: dict[str, list[Row]]) -> str:
    """Return the Markdown table of row counts per section and split."""
    counts = {split: Counter(row.label for row in rows) for split, rows in parts.items()}
    lines = ["| section | train | test | all |", "|---|---:|---:|---:|"]
    for label in sorted({label for counter in counts.values() for label in counter}):
        train, test = counts["train"][label], counts["test"][label]
        lines.append(f"| {label} | {train} | {test} | {train + test} |")
    train, test = (len(parts[split]) for split in SPLITS)
    lines.append(f"| **all** | {train} | {test} | {train + test} |")
    return "\n".join(lines)


def wrap(text: str, indent: str = "") -> str:
    """Break a long line of the README."""
    return textwrap.fill(text, 95, subsequent_indent=indent, break_long_words=False)


README = """\
# {name}

Which section of the archive does this software belong to, judged by its description?

This file and the data were written by `tools/build_debian_sections.py`; edit that script, not this file.

## Origin

{origin}.

One row stands for one source package. `text` is the synopsis and the long English description of one of
its binary packages, `label` is that binary package's section, `source` is the source package's name.

## How it was built

    python tools/build_debian_sections.py

- Sections: {sections}.
- Other sections are left out, because they are too small, because they name a programming language or a kind
  of file rather than a subject, or because a reader could hardly tell them from these (`web` and
  `admin` from `net`, `utils` and `misc` from most).
- One binary package per source package, from those in these sections: the one named like the source, else
  the one with the longest description. Transitional, dummy and meta packages are skipped, and so are
  packages that only carry headers, data, documentation and the like (`-dev`, `-dbg`, `-doc`, `-data`,
  `-common`, ...).
- Line breaks and paragraph marks are removed; texts are cut to {max_chars} characters, at the end of a
  sentence where possible. Texts under {min_chars} characters are dropped.
- Texts with a web address, a mail address or a domain name are dropped.
- Of texts whose sets of {shingle}-word runs have a Jaccard similarity of {jaccard} or more (case ignored;
  numbers as they are, and again with all numbers taken as equal), only the first is kept, within and across
  sections and splits.
- At most {cap} rows per section.
- Rows are ordered by the SHA-256 of the source package's name, a fixed shuffle. The same hash decides the
  split: about {test_percent} % of the names are test, for any release.

## Rows

{table}

Files: `train.jsonl.gz` and `test.jsonl.gz`, UTF-8, one JSON object per line, with the keys `text`, `label`
and `source`. The same index gives the same bytes (with the same version of the compression library).

## Licence

The texts are package descriptions, taken from the file `debian/control` of the source packages. They were
written by the maintainers of the packages, often after words of the authors of the software. No single
licence covers all of them: each description is part of its source package and comes under that package's
terms, which are recorded in its `debian/copyright`. All packages are from the area `main`, which holds only
what meets the Debian Free Software Guidelines; these ask that the terms allow use, modification and
redistribution; licences that ask for the same terms again (such as the GNU General Public License) are among
them. The licence of this project's own code does not apply to the texts. `source` names the package that each
text was taken from. The texts were shortened and reformatted as said above. This data set is not made or
endorsed by the Debian project.

## Caveats

- {caveat}
- Sections differ in size; see the table before reading accuracy alone.
- A description often names its own package, and sometimes words that also name a section ("a game", "a mail
  client"); that is how such texts are.
- Descriptions follow a common style; a model trained on them need not do well on other kinds of text.
"""


def readme_text(parts: dict[str, list[Row]], release: str) -> str:
    """Return the data set's README."""
    labels = sorted({row.label for rows in parts.values() for row in rows})
    return README.format(
        name=NAME,
        origin=wrap(f"{describe_release(release)}, architectures {ARCHITECTURE} and all"),
        sections=wrap(", ".join(labels), indent="  "),
        max_chars=MAX_CHARS,
        min_chars=MIN_CHARS,
        shingle=SHINGLE_WORDS,
        jaccard=MAX_JACCARD,
        cap=MAX_ROWS_PER_SECTION,
        test_percent=round(100 * TEST_SHARE),
        table=count_table(parts),
        caveat=wrap(CAVEAT, indent="  "),
    )


def readme_json(parts: dict[str, list[Row]]) -> str:
    """Return the short machine-readable description of the data set."""
    labels = sorted({row.label for rows in parts.values() for row in rows})
    return json.dumps({"name": NAME, "label_names": labels, "caveat": CAVEAT}, indent=2) + "\n"


def write_corpus(output: Path, rows: Iterable[Row], release: str) -> dict[str, list[Row]]:
    """Write the two splits and the two descriptions; return the splits."""
    parts = split_rows(rows)
    output.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        (output / f"{split}.jsonl.gz").write_bytes(gzip_bytes(parts[split]))
    (output / "README.md").write_text(readme_text(parts, release), encoding="utf-8")
    (output / "README.json").write_text(readme_json(parts), encoding="utf-8")
    return parts


# --------------------------------------------------------------------------- getting the index


def apt_options(state: Path) -> list[str]:
    """Return the options that make apt keep everything in a private directory."""
    settings = {
        "Acquire::Languages": "en",
        "APT::Architecture": ARCHITECTURE,
        "APT::Architectures": ARCHITECTURE,
        "Dir::State::Lists": str(state / "lists"),
        "Dir::Cache": str(state / "cache"),
    }
    return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]


def run_text(command: list[str]) -> str:
    """Run a command and return its output; on failure raise with what it said."""
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", env={**os.environ, "LC_ALL": "C.UTF-8"}
    )
    if done.returncode != 0:
        raise SystemExit(f"{command[0]} failed ({done.returncode}):\n{done.stderr}")
    return done.stdout


def fetch_index(codename: str) -> Index:
    """Fetch the index of one release with apt, in a private state directory."""
    with tempfile.TemporaryDirectory(prefix="debian-sections-") as name:
        state = Path(name)
        state.chmod(0o755)  # apt downloads as a user of its own
        for folder in ("lists/partial", "cache/archives/partial"):
            (state / folder).mkdir(parents=True)
        options = apt_options(state)
        run_text(["apt-get", *options, "update"])
        listing = run_text(
            [
                "apt-get",
                *options,
                "indextargets",
                "--format",
                "$(CREATED_BY) $(CODENAME) $(COMPONENT) $(FILENAME)",
            ]
        )
        files = {
            created_by: path
            for created_by, code, area, path in (line.split(" ", 3) for line in listing.splitlines())
            if code == codename and area == "main"
        }
        releases = sorted((state / "lists").glob(f"*_dists_{codename}_*Release"))
        if not {"Packages", "Translations"} <= set(files) or not releases:
            raise SystemExit(f"release {codename} (area main) is not among this machine's package sources")
        packages, translation = (
            run_text([APT_HELPER, "cat-file", files[key]]) for key in ("Packages", "Translations")
        )
        return Index(packages, translation, releases[0].read_text(encoding="utf-8"))


_INDEX_FILES = {"packages": "Packages", "translation": "Translation-en", "release": "Release"}


def load_index(folder: Path) -> Index:
    """Read an index from the three files that ``save_index`` writes."""
    return Index(**{field: (folder / name).read_text("utf-8") for field, name in _INDEX_FILES.items()})


def save_index(index: Index, folder: Path) -> None:
    """Keep the three files an index consists of."""
    folder.mkdir(parents=True, exist_ok=True)
    for field, name in _INDEX_FILES.items():
        (folder / name).write_text(getattr(index, field), encoding="utf-8")


def main(argv: list[str] | None = None) -> None:
    """Build the corpus; see the module's description."""
    parser = argparse.ArgumentParser(description="Build the corpus debian-sections from Debian's index.")
    parser.add_argument("--codename", default="bookworm", help="release to read (default: %(default)s)")
    parser.add_argument("--index", type=Path, help="build from this saved index instead of fetching one")
    parser.add_argument("--save-index", type=Path, help="also keep the index that was read in this folder")
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT, help="folder to write to")
    args = parser.parse_args(argv)
    index = load_index(args.index) if args.index else fetch_index(args.codename)
    if args.save_index:
        save_index(index, args.save_index)
    parts = write_corpus(args.output, build_rows(index.packages, index.translation), index.release)
    size = sum((args.output / f"{split}.jsonl.gz").stat().st_size for split in SPLITS)
    print(count_table(parts))
    print(f"{size} bytes compressed, from {describe_release(index.release)}")


if __name__ == "__main__":
    main()
