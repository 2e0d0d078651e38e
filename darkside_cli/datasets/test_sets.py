"""Test sets, by their old place."""

from darkside_cli.datasets.catalog import TEST_SETS as TEST_SETS
from darkside_cli.datasets.catalog import TestSet as TestSet
from darkside_cli.datasets.catalog import check_test_set as check_test_set
