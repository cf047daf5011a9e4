"""Critic training from end to end: does the reward rise, and do the critiques help the teacher and the student?

    python examples/critic_training.py                    a random two-block model and the toy teacher: about a minute
    python examples/critic_training.py --pair smollm2     SmolLM2-135M helps its own lower third on sums: half an hour
    python examples/critic_training.py --pair qwen        the 2026 study's pair and settings: needs a GPU and the models

`--objection` rewards as the study's code does, without a label; `--plot FILE.png` draws the reward of each step.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import altair as alt

from aarlab.w2s import critic, toy
from aarlab.w2s.open_task import OpenTask
from aarlab.w2s.students.lora import LoraStudent, configuration
from aarlab.w2s.students.lora.teacher import LoraTeacher
from aarlab.w2s.students.reinforcement import Reinforcement

COPIES = 2

options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
options.add_argument("--pair", choices=("tiny", "smollm2", "qwen"), default="tiny")
options.add_argument("--problem", default="w2s-math", help="whose open task, with SmolLM2 and Qwen")
options.add_argument("--part", type=float, help="share of the open task's groups (SmolLM2: 0.1, Qwen: 1)")
options.add_argument("--steps", type=int, help="steps of reinforcement")
options.add_argument("--objection", action="store_true", help="reward without labels")
options.add_argument("--seed", type=int, default=0)
options.add_argument("--plot", help="where to draw the reward of each step")
chosen = options.parse_args()

if chosen.pair == "tiny":
    open_task, student = toy.make(groups=60), LoraStudent("tiny")
    teacher = toy.AttentiveTeacher("e", enough=8)
    settings = Reinforcement(steps=12, prompts=13, group=8, tokens=12, rate=4e-2, kl=0.01, micro=104)
elif chosen.pair == "smollm2":
    open_task = OpenTask.load(chosen.problem).part(chosen.part or 0.1)
    student = LoraStudent("smollm2-135m")
    teacher = LoraTeacher(student.smaller(1 / 3))
    settings = Reinforcement(steps=10, prompts=4, group=4, tokens=24, rate=1e-3, kl=0.0)
else:
    open_task = OpenTask.load(chosen.problem).part(chosen.part or 1.0)
    student = LoraStudent(configuration("qwen3-4b-base", context=2048))
    teacher = LoraTeacher(LoraStudent(configuration("qwen1.5-0.5b-chat", context=2048)))
    settings = Reinforcement(tokens=256)
if chosen.steps:
    settings = replace(settings, steps=chosen.steps)

began = time.monotonic()


def say(what: str) -> None:
    print(f"{time.monotonic() - began:6.0f} s  {what}", flush=True)


# A share of the train items becomes the teacher's own labelled set.
drawn = open_task.draw(chosen.seed)
task = critic.with_teacher(open_task, chosen.seed, teacher, own=0.1 if chosen.pair == "tiny" else 0.4, student=student)
say(f"{len(task.extras['own_items'])} own items of the teacher, {len(task.train)} to train, {len(task.test)} to test")
lesson = (critic.by_objection if chosen.objection else critic.lesson)(task, settings, chosen.seed)
say(f"the teacher has learnt to read critiques; the critic learns on {len(lesson.prompts)} prompts")
taught = student.reinforce(
    lesson.prompts, lesson.reward, chosen.seed, settings, lambda what, done, total: say(f"{what} {done}/{total}")
)

low, high = float(taught.rewards.min()), float(taught.rewards.max())
print("\nstep  mean reward  mean length (tokens)")
for step, (value, length) in enumerate(zip(taught.rewards, taught.lengths, strict=True), 1):
    print(f"{step:4d}  {value:11.3f}  {length:11.1f}  {'#' * round(40 * (value - low) / (high - low or 1))}")
print(f"\nbefore: {student.generate(lesson.prompts[:1], settings.tokens)[0]!r}")
print(f"after:  {taught.writer.generate(lesson.prompts[:1], settings.tokens)[0]!r}\n")

say("the teacher's accuracy on the test items (test labels of an open task are public)")
for name, output in {
    "alone": lesson.teacher.predict(task.test),
    "with the untrained student's critiques": critic.relabelled(
        lesson.teacher, task.test, critic.write(student, task.test, settings.tokens, COPIES, chosen.seed)
    ),
    "with the trained critic's": critic.relabelled(
        lesson.teacher, task.test, critic.write(taught.writer, task.test, settings.tokens, COPIES, chosen.seed)
    ),
}.items():
    print(f"{open_task.accuracy(output, drawn):9.3f}  {name}")

copies = critic.write(taught.writer, task.train, settings.tokens, COPIES, chosen.seed)
helped = critic.relabelled(lesson.teacher, task.train, copies)
say("the student's, trained on the teacher's labels")
for name, labels in {"weak labels": task.weak_labels, "helped labels": helped}.items():
    head = student.fit(task.train, labels > 0.5, seed=chosen.seed)
    print(f"{open_task.accuracy(head.predict(task.test), drawn):9.3f}  {name}", flush=True)

if chosen.plot:
    rows = [{"step": step, "mean reward": float(value)} for step, value in enumerate(taught.rewards, 1)]
    chart = alt.Chart(alt.Data(values=rows)).mark_line(point=True)
    chart.encode(x="step:O", y="mean reward:Q").properties(width=420, height=220).save(chosen.plot)
say("done")
