# name: topological-filter
# family: data filtering
# track: inductive
# origin: Wu et al. 2020; EleutherAI w2s, 2024
# claim: probe-based filters gave no consistent gain over 21 NLP data sets (EleutherAI)
"""Topological filter: only the main body of each class is taught, without the outliers inside it.

    graph: train items joined where either is among the other's 20 nearest
    C = the largest connected part of each class of 1[q > 1/2]
    K = {i in C : at least half of the 32 items of C nearest to i have its class}
    minimise  mean_{i in K} CE(q_i, h(x_i)) + ridge |h|^2

Wu et al. 2020, "A Topological Filter for Learning with Label Noise": the graph and the second step are theirs, with
their 32 neighbours. They repeat it while a network trains, and join 4 neighbours; the untrained features that it runs
on here cluster by question rather than by class, so that 4 leave half of a class unconnected. The 20 are those of
EleutherAI's w2s, which asks for paths in both directions (w2s-math would lose most of its items) and drops a fixed
tenth. Features are the layers the student reads, standardised.
"""

import numpy as np

from aarlab.w2s.parts import neighbours, spaces
from aarlab.w2s.task import Floats, Ints, W2STask

JOINED, ASKED = 20, 32


def run(task: W2STask, seed: int) -> Floats:
    """P(label = 1) for every item of task.test, shape (n_test,)."""
    q = task.weak_labels
    keep = kept(spaces.joined(task)[0].train, q)
    return task.student.fit(task.train[keep], q[keep], seed=seed).predict(task.test)


def kept(a: Floats, q: Floats, joined: int = JOINED, asked: int = ASKED) -> Ints:
    """Rows that are taught, ascending. a: features (n, d); q: labels (n,)."""
    near, yes = neighbours.nearest(a, joined), q > 0.5
    body = np.flatnonzero(neighbours.largest_component(near, yes) | neighbours.largest_component(near, ~yes))
    alike = yes[body][:, None] == yes[body][neighbours.nearest(a[body], asked)]
    found: Ints = body[alike.mean(1) >= 0.5]
    return found
