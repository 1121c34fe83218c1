"""A page on which a model answers: what it asks and shows, how it is built, and the server that gives it out.

It knows no model: `hip serve` gives it something that answers.
"""
