"""Unpaired lists, by their old place."""

from darkside_cli.datasets import catalog
from darkside_cli.datasets.catalog import check_source as check_source
from darkside_cli.datasets.catalog import lists_of as lists_of

PUBLISHED, LISTS = catalog.PUBLISHED_LISTS, catalog.UNPAIRED_LISTS
