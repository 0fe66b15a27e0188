"""`make proofs`: runs what the README promises and ends with one table of figures, bars and verdicts.

Read promises.py first: it lists the proofs. figures.py reads what each command wrote.
"""
