"""The published results of the 2026 study, read from its files and measured as this laboratory measures.

read.py      the condensed JSON format and the released cache folder, as `Domain`s
measure.py   one row a method: PGR against fixed floor and ceiling, intervals, the best of m
show.py      the table
"""
