"""Files from elsewhere: downloaded, checked, unpacked, imported, kept in the data folder and looked after."""
