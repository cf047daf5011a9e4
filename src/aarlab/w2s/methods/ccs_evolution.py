# name: ccs-evolution
# family: evolutionary
# track: inductive
# origin: agents, 2026 study
# claim: PGR 0.93 on chat preference
"""CCS and evolution: an unsupervised truth probe resamples the weak labels; the warmed-up student is then evolved.

    contrast    f_i = features of a comparison, -f_i of its mirror image; of single items, features minus the mean of
                the group, so that an answer is contrasted with the other answers to its question
    probe       minimise over w:  mean_i min(p_i, 1 - p_i)^2 + 0.005 |w|^2,   p_i = expit(w . f_i),   per layer
    weights     P_i = p_i if the teacher says 1, else 1 - p_i;  16 times, n items are drawn in proportion to P
    warm-up     the student is fitted briefly on the drawn items, and on their mirror images with the opposite labels
    evolution   v <- v + rate * mean_j (R(v + s e_j) - R(v - s e_j)) e_j,   e_j Gaussian, v the student's parameters,
                R = mean_i |2 p_i - 1| - inconsistency,  on 200 train items without labels
                inconsistency of comparisons: |p(x) + p(mirror x) - 1|; of answers: equal ones that differ, and how
                far answers that exclude each other sum to more than 1
    answer      log-odds averaged over both orders, then the trimmed mean over the 16

Contrast-consistent search: Burns et al. 2022, "Discovering Latent Knowledge in Language Models Without Supervision";
evolution strategy: Salimans et al. 2017. Found by the agents of "Automated Weak-to-Strong Researcher" (Wen et al.,
April 2026), which publishes no code; this is a reading of its text, not a reproduction.

From the text: a CCS probe of the best layer, its sign by agreement with the teacher, weighs a resampling; short
warm-up on swap-augmented data; gradient-free search for confident, order-symmetric answers on 200 unlabelled train
items; 16 seeds, averaged over swaps, trimmed mean in logit space.
Decided here: reflected features are consistent of themselves, which leaves CCS its confidence and the penalty that
keeps it from growing w without end, and makes losses of two layers incomparable: so a layer keeps the half of its 10
restarts with the lowest loss, the best layer is the one whose lowest-loss probe correlates most with the teacher, and
of that layer's half the most correlated probe is taken (a rule found by trial on the open tasks). P weighs the
teacher's label, not confidence alone. The search runs in 16 random directions. Logits are brought back to the
warm-up's mean and spread before R is read, or scaling alone would raise it. Logic of answers stands in for order where
items have no order. A student that is not linear in its parameters is asked 320 times per seed for the 200 items, and
needs memory for 16 copies of what it trains.
"""

import numpy as np

from aarlab.w2s.components import principal
from aarlab.w2s.heads import expit, logit
from aarlab.w2s.parts import labels
from aarlab.w2s.parts.evolution import evolve, random_plane
from aarlab.w2s.students.base import Head
from aarlab.w2s.task import Floats, Ints, Items, W2STask

SEEDS = 16
TRIMMED = 2  # seeds left out at either end, item by item
COMPONENTS, RESTARTS, STEPS, RATE, DECAY = 32, 10, 100, 0.05, 0.01  # of the probe
WARM_UP = 2 / 5  # 2 of the usual 5 epochs
UNLABELLED, DIRECTIONS = 200, 16  # of the search


def run(task: W2STask, seed: int) -> Floats:
    """P(label = 1) for every item of task.test, shape (n_test,)."""
    rng = np.random.default_rng(seed)
    taught = labels.hard(task.weak_labels)
    truth = truth_probe(task, rng)
    weights = taught * truth + (1 - taught) * (1 - truth)
    said = []
    for _ in range(SEEDS):
        head = warmed_up(task, taught, weights, rng)
        head = evolved(head, task.train[unlabelled(task.train, rng)], rng)
        said.append(both_orders(head, task.test))
    middle = np.sort(np.stack(said), axis=0)[TRIMMED : SEEDS - TRIMMED]
    return expit(middle.mean(0))


def truth_probe(task: W2STask, rng: np.random.Generator) -> Floats:
    """P(true) of every train item by contrast-consistent search, (n_train,); the teacher picks layer and sign."""
    teacher = labels.rank_logit(logit(task.weak_labels, 0.01), task.train.paired)
    best: tuple[float, Floats] = (-1.0, teacher)
    for layer in task.student.layers:
        odds, loss = contrast_consistent(contrasts(task, layer), rng)
        agreement = np.array([correlation(column, teacher) for column in odds.T])
        kept = np.argsort(loss, kind="stable")[: RESTARTS // 2]
        if abs(agreement[kept[0]]) > best[0]:
            chosen = kept[np.argmax(np.abs(agreement[kept]))]
            best = (abs(agreement[kept[0]]), odds[:, chosen] * np.float32(np.sign(agreement[chosen])))
    return expit(best[1])


def contrasts(task: W2STask, layer: str) -> Floats:
    """Features whose reflection says the opposite, (n_train, d)."""
    x = task.student.features(task.train, layer)
    if task.train.paired:
        return x
    _, code = np.unique(task.train.groups, return_inverse=True)
    order = np.argsort(code, kind="stable")
    starts = np.flatnonzero(np.diff(code[order], prepend=-1))
    mean = np.add.reduceat(x[order], starts) / np.bincount(code)[:, None].astype(np.float32)
    apart: Floats = (x - mean[code]).astype(np.float32)
    return apart


def contrast_consistent(x: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Log-odds (n, RESTARTS) and losses (RESTARTS,) of probes on contrasts x (n, d), all restarts at once by Adam."""
    a = x / (np.sqrt(np.mean(x**2, axis=0)) + np.float32(1e-6))
    a = a @ principal(a, COMPONENTS, power=0)
    a /= np.sqrt(np.mean(a**2)) + np.float32(1e-6)
    w = rng.standard_normal((a.shape[1], RESTARTS), np.float32)
    w /= np.linalg.norm(w, axis=0)
    first, second = np.zeros((2, *w.shape), np.float32)
    for step in range(1, STEPS + 1):
        p = expit(a @ w)
        least = np.minimum(p, 1 - p)
        slope = 2 * least * np.where(p < 0.5, 1, -1).astype(np.float32) * p * (1 - p)
        gradient = a.T @ slope / np.float32(len(a)) + np.float32(DECAY) * w
        first = np.float32(0.9) * first + np.float32(0.1) * gradient
        second = np.float32(0.999) * second + np.float32(0.001) * gradient**2
        w = w - np.float32(RATE / (1 - 0.9**step)) * first / (np.sqrt(second / np.float32(1 - 0.999**step)) + 1e-8)
    odds = a @ w
    p = expit(odds)
    loss: Floats = np.mean(np.minimum(p, 1 - p) ** 2, axis=0) + np.float32(DECAY / 2) * np.sum(w**2, axis=0)
    return odds, loss


def correlation(a: Floats, b: Floats) -> float:
    """Pearson's, 0 where one of the two (n,) is constant."""
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-12))


def warmed_up(task: W2STask, taught: Floats, weights: Floats, rng: np.random.Generator) -> Head:
    """The student after a short training on n items drawn in proportion to their weights (n_train,)."""
    drawn = rng.multinomial(len(weights), weights.astype(np.float64) / weights.sum(dtype=np.float64))
    rows = np.flatnonzero(drawn)
    items, targets, times = task.train[rows], taught[rows], drawn[rows]
    if items.paired:
        items, targets = items + items.mirror(), np.concatenate([targets, 1 - targets])
        times = np.concatenate([times, times])
    return task.student.fit(items, targets, times, seed=int(rng.integers(2**31)), effort=WARM_UP)


def unlabelled(items: Items, rng: np.random.Generator) -> Ints:
    """Rows of whole groups, until there are UNLABELLED of them: their answers can be held against each other."""
    names, code = np.unique(items.groups, return_inverse=True)
    order = np.argsort(rng.permutation(len(names))[code], kind="stable")
    return np.sort(order[:UNLABELLED])


def evolved(head: Head, items: Items, rng: np.random.Generator) -> Head:
    """The head after the search for confident and consistent answers to unlabelled items."""
    plane = random_plane(head, DIRECTIONS, rng)
    logits = plane.logits(items + items.mirror() if items.paired else items)
    warm = logits(np.zeros((1, DIRECTIONS), np.float32))
    judge = symmetric if items.paired else Logic(items)
    return plane.at(evolve(lambda steps: judge(scaled(logits(steps), warm, items.paired)), DIRECTIONS, rng))


def scaled(odds: Floats, warm: Floats, paired: bool) -> Floats:
    """Log-odds (m, n) with the spread of those of the warm-up (1, n), and but for comparisons with their mean."""
    spread = np.maximum(odds.std(1, keepdims=True), 1e-6) / np.float32(max(float(warm.std()), 1e-6))
    middle = 0 if paired else odds.mean(1, keepdims=True)
    same: Floats = (odds - middle) / spread + (0 if paired else warm.mean())
    return same


def symmetric(odds: Floats) -> Floats:
    """Reward (m,) of comparisons followed by their mirror images, log-odds (m, 2 n)."""
    one, other = np.split(odds, 2, axis=1)
    sure = np.abs(2 * expit((one - other) / 2) - 1).mean(1)
    reward: Floats = sure - np.abs(expit(one) + expit(other) - 1).mean(1)
    return reward


class Logic:
    """Reward of single items: confidence, less what breaks the logic of their answers."""

    def __init__(self, items: Items) -> None:
        """Averaging and adding up are matrices: answers (n, k), and of exclusive ones groups (k, g)."""
        self.answers: Floats | None = None
        if items.answers is None:
            return
        _, group = np.unique(items.groups, return_inverse=True)
        _, answer = np.unique(np.asarray(items.answers), return_inverse=True)
        names, self.cell = np.unique(group * (answer.max() + 1) + answer, return_inverse=True)
        members = np.eye(len(names), dtype=np.float32)[self.cell]
        self.answers = (members / members.sum(0)).astype(np.float32)
        groups = np.eye(group.max() + 1, dtype=np.float32)[names // (answer.max() + 1)]
        self.groups = groups if items.exclusive else 0 * groups

    def __call__(self, odds: Floats) -> Floats:
        """Reward (m,) of log-odds (m, n)."""
        p = expit(odds)
        sure: Floats = np.abs(2 * p - 1).mean(1)
        if self.answers is None:
            return sure
        judged = p @ self.answers
        unequal = np.abs(p - judged[:, self.cell]).mean(1)
        beyond = np.maximum(judged @ self.groups - 1, 0).mean(1)
        reward: Floats = sure - unequal - beyond
        return reward


def both_orders(head: Head, items: Items) -> Floats:
    """Log-odds of the items, of comparisons averaged with those of their mirror images, (n,)."""
    if not items.paired:
        return head.logits(items)
    both: Floats = (head.logits(items) - head.logits(items.mirror())) / np.float32(2)
    return both
