"""Bridges to other libraries, each thin and removable: nothing else of the package imports them."""
