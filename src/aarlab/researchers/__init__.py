"""Researchers: what runs inside a researcher's sandbox and can only speak to the lab's service.

search      no language model: searches the space of recipes from its direction
scripted    plays a list of actions from a file
"""
