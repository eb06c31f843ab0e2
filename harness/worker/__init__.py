"""What runs outside of the parent: the fork server, a keeper for each cell, the child, and the judge.

parent ──JSON lines──▶ server (imports heavy modules once, single-threaded, never touches CUDA)
                         └─fork─▶ keeper (subreaper: time and memory limits, clocks, ends the whole tree)
                                    └─fork─▶ child (the method; sees the question's files and nothing else)
parent ──JSON lines──▶ judge  (draws questions, keeps the truth, scores answers)
"""
