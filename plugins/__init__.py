"""Built-in generators, installed as augment.plugins and found through entry points like anyone's."""
