"""No number in a written page is typed by hand."""

from polarity_lib.study import pages


def test_the_pages_are_what_the_tables_say():
    assert pages.out_of_date() == []  # else: python -m polarity_lib pages
