"""The frozen files; see MANIFEST.toml beside this module."""
