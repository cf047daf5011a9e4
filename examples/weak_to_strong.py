# %% [markdown]
"""# Weak-to-strong supervision in one file, without the lab

Run it as a script (`python examples/weak_to_strong.py`) or cell by cell in an editor that knows `# %%`.
It uses the open task of `w2s-math`: is this worked answer to a word problem right?
"""

# %% The open task: real features of a small language model, 32 weak teachers, public labels
from importlib import resources
from pathlib import Path

import numpy as np

from aarlab.w2s import methods
from aarlab.w2s.compose import Recipe
from aarlab.w2s.open_task import OpenTask, load_run
from aarlab.w2s.parts import denoise, finish, labels, spaces, train

folder = Path(str(resources.files("aarlab.problems"))) / "w2s_math" / "pack"
open_task = OpenTask.load(folder)
print(f"floor (teacher) {open_task.floor:.3f}, ceiling (true labels) {open_task.ceiling:.3f}")

# %% What a method is given
task = open_task.view(seed=0)
print(f"{len(task.train)} train items with weak labels, {len(task.test)} test items, layers {task.student.layers}")
print(task.train.texts[0])
print(
    f"the teacher says P(right) = {task.weak_labels[0]:.2f}, the student's own score is {task.train.zero_shot()[0]:.2f}"
)

# %% The shown baselines
for name in methods.SHOWN:
    trial = open_task.evaluate(load_run(methods.source(name), name), seeds=range(5))
    print(
        f"{name:24s} PGR {trial.mean:+.2f} ± {np.std(trial.pgr, ddof=1) / 5**0.5:.2f}, {trial.seconds / 5:.2f} s a seed"
    )


# %% A method of one's own: teacher times zero-shot prior, relabelled out of fold
def run(task, seed):
    """P(label = 1) for every item of task.test."""
    rng = np.random.default_rng(seed)
    views = spaces.joined(task)
    taught = labels.mixture(task, teacher=0.3)
    where = train.folds(task.train.groups, 3, rng)
    taught = denoise.relabelled(views, taught, where)
    return finish.probabilities(train.committee(views, taught))


print(f"mine                     PGR {open_task.evaluate(run, seeds=range(5)).mean:+.2f}")

# %% The same as a recipe, and the file it writes: this is what search researchers submit
recipe = Recipe(labels="mixture", teacher=0.3, denoise="relabelled", folds=3)
print(recipe.source())
