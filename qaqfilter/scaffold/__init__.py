"""`qaqfilter plugins new`: a project, or a file, for a plugin that somebody is about to write.

names.py     what a plugin may be called, and the names that follow from it
project.py   templates ─▶ files, written whole or not at all
templates/   `any` for every kind, and a folder for each kind
"""
