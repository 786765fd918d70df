"""Pollock's 2,290 polluted files (Vitagliano et al., VLDB 2023), by their two scores: in process, or the whole way.

`files` is what the checkout holds, `reader` what our reader makes of a file in process, `pipeline` what comes of it
when an account uploads it into a running cloud; `scoring` judges both alike, `kept` holds results of runs in pieces.
"""
