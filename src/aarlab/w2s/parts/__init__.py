"""Building blocks of weak-to-strong methods: small functions on arrays, to be read and combined.

A method walks through five stages, one module each:

    spaces    what the head sees: the student's layers, one by one, joined, or squeezed through a bottleneck
    labels    what it is taught: the teacher's labels, the student's own opinion, a mixture, a posterior
    denoise   which of these labels to trust: confidence, out-of-fold agreement, neighbours, learnability
    train     how it is taught: committees of heads, self-training, bagging
    finish    what it says at last: blending with the zero-shot opinion, consistency inside a group, the threshold

`losses` writes other losses as moving targets; `neighbours` tells which items lie near which; `evolution` searches
without gradients. Scores travel between the stages as log-odds ("logits"), labels as P(label = 1). Nothing here ever
sees a true label.
"""

from aarlab.w2s.parts import denoise, evolution, finish, labels, losses, neighbours, spaces, train

__all__ = ["denoise", "evolution", "finish", "labels", "losses", "neighbours", "spaces", "train"]
