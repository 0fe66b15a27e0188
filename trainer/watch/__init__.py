"""The watch: what the evidence of models at work says about them.

drift  whether the fleet has changed so that its model no longer fits
"""
