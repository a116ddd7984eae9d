"""Grids of runs that survive: on one machine or a Ray cluster, resumed after any end, each cell once."""
