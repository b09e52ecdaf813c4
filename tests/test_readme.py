"""No number in the README is typed by hand."""

from polarity_lib import readme


def test_the_readme_is_what_the_tables_say():
    text = readme.README.read_text()
    assert readme.filled(text) == text  # else: python -m polarity_lib.readme
