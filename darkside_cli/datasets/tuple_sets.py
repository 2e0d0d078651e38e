"""Training sets, by their old place."""

from pathlib import Path

from darkside_cli.datasets.catalog import TRAINING_SETS
from darkside_cli.datasets.catalog import check_training_data as check_training_data
from darkside_cli.datasets.catalog import published_name as published_name

PUBLISHED = {entry.name: entry.database for entry in TRAINING_SETS}


def asset_of(name: str) -> str:
    """See the catalog."""
    return TRAINING_SETS.get(name).asset


def image_asset_of(name: str) -> str:
    """See the catalog."""
    return TRAINING_SETS.get(name).image_asset


def database_file(train: Path, name: str) -> Path:
    """See the catalog."""
    return TRAINING_SETS.get(name).database_file(train)


def images_folder(train: Path, name: str) -> Path:
    """See the catalog."""
    return TRAINING_SETS.get(name).images(train)
