# %% Weak-to-strong supervision in a notebook: a weak teacher's labels train a strong student
import altair as alt

from aarlab import w2s
from aarlab.w2s.parts import labels

open_task = w2s.OpenTask.load("w2s-math")  # is this worked answer right? real features, 32 weak teachers
print(f"teacher (floor) {open_task.floor:.3f}, student taught the truth (ceiling) {open_task.ceiling:.3f}")

# %% What a method is given: items, weak labels, a student. No true label is in here
task = open_task.view(seed=0)
print(task.train.texts[0], "| the teacher says P(right) =", task.weak_labels[0].round(2))
head = task.student.fit(task.train, task.weak_labels)
print("P(right) of three test items:", head.predict(task.test[:3]).round(2))


# %% A method of one's own, against a shipped one on the same ten seeds
def run(task, seed):
    """Teach the teacher's opinion times the student's own."""
    return task.student.fit(task.train, labels.mixture(task, teacher=0.3)).predict(task.test)


trials = {
    "weak labels": open_task.evaluate(w2s.method("weak-labels-soft"), seeds=range(10)),
    "teacher times zero-shot": open_task.evaluate(run, seeds=range(10)),
}
for name, trial in trials.items():
    print(f"{name:24} {trial}")
difference = trials["teacher times zero-shot"].minus(trials["weak labels"])
print(f"better by {difference.mean:.2f} [{difference.low:.2f}, {difference.high:.2f}] PGR, paired")

# %% One dot a seed, a bar at the mean (in a notebook: end the cell with `chart`)
rows = [{"method": n, "PGR": p, "seed": s} for n, t in trials.items() for s, p in zip(t.seeds, t.pgr, strict=True)]
base = alt.Chart(alt.Data(values=rows), title="PGR on the open task of w2s-math", width=420, height=80)
base = base.encode(y=alt.Y("method:N", title=None))
chart = base.mark_point().encode(x="PGR:Q") + base.mark_tick(thickness=3).encode(x=alt.X("mean(PGR):Q", title="PGR"))
chart.save("pgr.svg")
