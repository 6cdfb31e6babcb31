"""Small vocabularies and name lists of published models, as package data; README.md names sources and licences."""
