"""Load the plugin in a checkout, whether or not the package is installed."""

pytest_plugins = ["reconeval.plugin"]
