"""Scripted attackers on a lab, each with the outcome it must have (`aarlab redteam`)."""
