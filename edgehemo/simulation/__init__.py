"""The simulated microscope's physics: smear fields drawn from a blood count, with known truth.

Nothing simulated is ever quoted as accuracy of the real thing; see `panels`, `field`.
"""
