"""The built-in plugins, one folder each; found through the same entry points as everyone's."""
