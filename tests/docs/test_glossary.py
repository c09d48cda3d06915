"""The glossary has every term; no page and no module uses a word that it retired."""

from __future__ import annotations

import re
import subprocess

from foreman.config.managed_model import ManagedModel
from foreman.config.settings import Settings
from tests.docs.pages import DOCS, FENCE, page
from tests.domain.test_errors import every_error
from tests.support.foreman import ROOT

GLOSSARY = "docs/glossary.md"
RETIRED = "whoever|bells?|desk|house|patience|lookout|talks"
CLEAN = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs", "foreman")  # where no retired word may stand

# English, or a name that the field knows without Foreman. A term of Foreman's own is never here.
PLAIN = frozenset(
    re.findall(
        r"\w+",
        """
        a acceptable access addr address after again all allow allowed alone am among an and another api are as
        ask at away
        back backup be before begins behind body box breaks broken by
        caddy cannot celery cert chain change chat check clear client clock close closed cloud codes completion
        concurrency config connections containers content copy counting crashed cut
        data database demo description dir disconnects disk do docker docs
        each embedded encoding ended env evened exceeded exit explanation
        failed fails fast field file find finding first folder follow follows for foreman format found friends
        from full further
        get give go goes gone growing
        happens has have header headers here history hold host hosts how
        i id idle illegal in inline inputs insecure internal interrupted interval invalid is it
        json
        keep keeping kept key keys
        laptop large leave left level life limit limited limits list listen litellm llama load locks log logs
        long look loop
        machine machines many max may meet memory messages methods mismatch misrouted
        name next nginx night not nothing
        oddities of office ollama on once one open openai opens or order other others out over
        packages per port post previous private process program programs promises prompts proof ps pull
        query
        range reaches read receive reference refused rejected release requested required restart retention
        reverse rm routes run
        s said same satisfiable script secret secrets see send serve served server servers service set setting
        settings shape share show shutdown signs slow something start starting starves stop stopping streaming
        submit swap systemd
        table terminal that the them things this through timeout timeouts tls to told tonight too tree tried try
        twice two type
        unauthorized unavailable unknown unreadable unusable up upgrading url use
        vllm
        wait waiting warm was watch watching way what when where which who whoami with without work wrong
        you
    """,
    )
)


def test_every_term_of_headings_settings_and_error_codes_is_in_the_glossary() -> None:
    """A term is a word of a heading, a setting's name or an error code that is not plain English."""
    terms = words_of_headings() | words_of_names()
    assert len(terms) > 200
    defined = {singular(word) for term in defined_terms() for word in term.lower().split()}
    assert sorted(word for word in terms - PLAIN if singular(word) not in defined) == []


def test_plain_words_are_not_kept_for_nothing() -> None:
    assert PLAIN - words_of_headings() - words_of_names() == set()


def test_each_term_is_defined_once() -> None:
    terms = defined_terms()
    assert len(terms) > 80
    assert sorted({term for term in terms if terms.count(term) > 1}) == []


def test_retired_words_are_not_used() -> None:
    command = ["git", "grep", "-nwiE", RETIRED, "--", *CLEAN, f":!{GLOSSARY}"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode in (0, 1), found.stderr
    assert found.stdout == ""


def defined_terms() -> list[str]:
    current = page(GLOSSARY).text.partition("\n## Old words")[0]
    cells = re.findall(r"^\| ([^|]+) \| [^|]+ \|$", current, re.MULTILINE)
    return [term for cell in cells if cell != "term" for term in cell.split(", ")]


def words_of_headings() -> set[str]:
    pages = [page for page in DOCS if not page.name.startswith("docs/adr/") and page.name != GLOSSARY]
    headings = [
        heading for page in pages for heading in re.findall(r"^##+ (.+)$", FENCE.sub("", page.text), re.MULTILINE)
    ]
    return {word for heading in headings for word in re.findall(r"[a-z]+", re.sub("`.*?`", "", heading).lower())}


def words_of_names() -> set[str]:
    names = [*Settings.model_fields, *ManagedModel.model_fields, *(error.code for error in every_error())]
    return {word for name in names for word in name.split("_")}


def singular(word: str) -> str:
    """Return the word without the endings of a plural: deliveries, classes, jobs."""
    for ending, instead in (("ies", "y"), ("sses", "ss"), ("s", "")):
        if word.endswith(ending) and not word.endswith("ss"):
            return word.removesuffix(ending) + instead
    return word
