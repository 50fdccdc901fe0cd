"""`petdiffusion bench PAPER`: a paper's own tables on digital patients that everyone has alike, and on real scans.

The data flow is `run.bench`: patients -> tuning -> cases -> summary -> files. A paper is one module in `papers/`.
"""
