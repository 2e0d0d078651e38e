"""Reports for people: HTML files that hold everything they show."""
