"""What query mapping does to a reference, and what difference it makes how a query is mapped.

`trainings` has the trainings, `checks` what is asked of them, `entries` the rows that come of it,
`runs` the way from a model's name to them. Nothing here knows of pytest.
"""
