"""The table of all checks."""

from __future__ import annotations

from token2wave.auditing.duplicate_checks import (
    find_contradictions,
    find_duplicates,
    find_groups,
    find_leaks,
    find_near_duplicates,
)
from token2wave.auditing.findings import ERROR, INFO, WARNING, Check
from token2wave.auditing.label_checks import find_confused, find_rare, find_unrecognised, find_variants
from token2wave.auditing.text_checks import (
    find_broken_encodings,
    find_emails,
    find_empty,
    find_html,
    find_long,
    find_novel,
    find_other_languages,
    find_secrets,
    find_single_characters,
)

# fmt: off
CHECKS = (
    Check("contradictions", "Same text, other label", ERROR,
          "Decide on one label for each text, or drop the others.", find_contradictions),
    Check("leaks", "Test rows that are also training rows", ERROR,
          "Remove them from the training rows; until then the test flatters the model.", find_leaks),
    Check("secrets", "Keys, passwords or card numbers", ERROR,
          "Remove them, and revoke the keys: a model file holds words of its training texts.", find_secrets),
    Check("groups", "Columns whose rows belong together", WARNING,
          "Train with --group-column and this column, or validation flatters the model.", find_groups),
    Check("label-variants", "Labels that look like one label", WARNING,
          "Join them with --normalise-labels, or rename them.", find_variants),
    Check("unrecognised-classes", "Classes that are never recognised", WARNING,
          "Add rows, or merge the class with another.", find_unrecognised),
    Check("confused-classes", "Classes that cannot be told apart", WARNING,
          "Merge the two, or write down what makes the difference and label them again.", find_confused),
    Check("rare-classes", "Classes of few rows", WARNING,
          "Add rows, or merge the class with another.", find_rare),
    Check("broken-encodings", "Broken characters", WARNING,
          "Read the source again in its true encoding; ftfy repairs many such texts.", find_broken_encodings),
    Check("empty", "Empty texts", WARNING,
          "Fill them in or drop them.", find_empty),
    Check("single-characters", "Texts of one character", WARNING,
          "Drop them, unless such texts are what you classify.", find_single_characters),
    Check("duplicates", "Same text more than once", INFO,
          "Keep one of each; training keeps them on one side of every split.", find_duplicates),
    Check("near-duplicates", "Nearly the same text", INFO,
          "Keep one of each if they are copies; training keeps them on one side of every split.",
          find_near_duplicates),
    Check("novel", "Rows unlike all others", INFO,
          "Look whether they belong to your data.", find_novel),
    Check("other-languages", "Other languages or scripts", INFO,
          "Look whether they belong to your data, and if so, add more of them.", find_other_languages),
    Check("very-long", "Very long texts", INFO,
          "Look whether several texts were joined.", find_long),
    Check("html", "HTML in texts", INFO,
          "Strip tags and entities before training and before prediction, or in neither.", find_html),
    Check("e-mails", "E-mail addresses", INFO,
          "Replace them by a word if they are personal data.", find_emails),
)
# fmt: on
"""What an audit looks for, the gravest first."""
