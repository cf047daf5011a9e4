"""Audits that only read the file: payload, the rules of the code reader, and an outside reader."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import toy
import toy_audit
from aarlab import audits
from aarlab.audits.base import Results, Setting
from aarlab.audits.code import Code
from aarlab.audits.code_reading import CodeReading, read
from aarlab.audits.payload import COMMON, SHINGLE, Payload, shared
from aarlab.audits.policy import PAYLOAD, Policy
from aarlab.audits.reader import MOST_BYTES, Reader, Unreadable, opinion, prompt, with_opinion
from aarlab.audits.rules import RULES
from aarlab.audits.run import Examiner, Method
from aarlab.errors import MethodError
from aarlab.execution.check import check_source
from aarlab.problems.audit_task import AuditTask
from aarlab.records import Finding
from aarlab.redteam import hacks
from aarlab.settings import Audit as AuditSettings
from aarlab.w2s import methods
from aarlab.w2s.task import TaskInputs
from test_payload import BITS, HIDING, RUN, recipes
from toy_lab import ToyLab

RANGES = Policy().ranges("inductive")


@pytest.fixture(scope="module")
def task() -> AuditTask:
    """A toy task whose items are sentences of their own."""
    found = toy_audit.make(test_groups=20, pool_groups=20)
    return replace(found, inputs=replace(found.inputs, texts=tuple(sentence(i) for i in range(len(found.labels)))))


def sentence(number: int) -> str:
    """Ten words that no other number shares, after three that all do."""
    return "It is said " + " ".join(f"word{number}of{k}" for k in range(10))


def measured(task: AuditTask, source: str, **changes: object) -> Finding:
    """The payload finding on a file."""
    setting = Setting(task, source, (), (), limits=PAYLOAD, **changes)  # type: ignore[arg-type]
    return Payload().report(Results(setting, {}, {}))


# Payload


def test_static_audits_are_found_and_need_no_run(task: AuditTask) -> None:
    """Both are among all audits, and an examination of that level runs no method."""
    assert {"payload", "code-reading"} <= {a.name for a in audits.every() if a.level == "static"}
    counting = toy_audit.Counting(toy.InProcess())
    findings = Examiner(task, counting, np.random.default_rng(0)).examine(Method(toy.LEARNER), "static")
    assert counting.draws == 0
    assert {f.audit: f.status for f in findings} == {"payload": "measured", "code-reading": "measured"}


def test_payload_is_the_largest_share_of_a_limit(task: AuditTask) -> None:
    """Value above 1 is above a limit; the sentence names the amount, and the details hold all four."""
    fine, table = measured(task, toy.LEARNER), measured(task, f"X = {BITS}{RUN}")
    assert fine.value is not None
    assert 0 < fine.value < 0.1
    assert table.value == pytest.approx(6.0, abs=0.05)
    assert "numbers written out (at most 500), most of it in line 1" in table.sentence
    assert set(table.details) == {"bundle_kb", "numbers", "packed_bytes", "overlap"}
    assert table.details["numbers"]["limit"] == 500


@pytest.mark.parametrize(
    "write",
    [
        lambda text: f"X = {text!r}",
        lambda text: f"# {text}",
        lambda text: f'"""{text}"""',
        lambda text: f"X = {text.split()!r}",
        lambda text: f"X = {text.upper().replace(' ', ', ')!r}",
        lambda text: f"X = f'{text} {{1 + 1}}'",
    ],
    ids=["string", "comment", "docstring", "words", "punctuated", "formatted"],
)
def test_an_item_in_the_file_is_found(task: AuditTask, write: Callable[[str], str]) -> None:
    """Eight words in a row out of one item are too many, in whatever part of the file they stand."""
    found = measured(task, write(sentence(3)) + RUN)
    assert found.details["overlap"]["value"] == 13 - SHINGLE + 1
    assert found.value is not None
    assert found.value > 1
    assert measured(task, write(" ".join(sentence(3).split()[:7])) + RUN).details["overlap"]["value"] == 0


def test_words_of_the_task_itself_are_no_overlap(task: AuditTask) -> None:
    """What stands in more than one item in twenty is the task's wording; a method may use it."""
    wording = "Is the answer below right or wrong please say"
    texts = task.inputs.texts
    assert texts is not None
    often = int(COMMON * len(texts)) + 1

    def put(count: int) -> TaskInputs:
        return replace(task.inputs, texts=tuple(f"{wording} {t}" if i < count else t for i, t in enumerate(texts)))

    assert shared(f"X = {wording!r}{RUN}", [put(often)], {}).value == 0
    assert shared(f"X = {wording!r}{RUN}", [put(often - 1)], {}).value == 2


def test_the_open_tasks_count_too_and_missing_texts_are_said(task: AuditTask) -> None:
    """Overlap is looked for in all tasks at hand; where none ships texts the rest is still measured."""
    silent = replace(task, inputs=replace(task.inputs, texts=None))
    source = f"X = {sentence(5)!r}{RUN}"
    assert measured(silent, source, others=(task,)).details["overlap"]["value"] == 6
    found = measured(silent, source)
    assert found.details["overlap"] == "not applicable: toy ships no texts"
    assert found.status == "measured"


# Code reading

FIRES = {
    "runs text": ["exec(task.test.texts[0])", "import importlib", "f = eval", "from types import CodeType"],
    "reads programs": ["d = {'+': 1, '-': 2, '*': 3, '/': 4}", "import re\nr = re.compile('[-+*/]')"],
    "starts programs": [
        "import subprocess", "import os\nos.system('x')", "from os import fork\nfork()", "import threading",
    ],
    "opens connections": ["import socket", "from urllib.request import urlopen"],
    "opens files": ["open('/vault')", "import numpy as np\nnp.load('x')", "from pathlib import Path", "x = __file__"],
    "looks at the machine": ["import os\nos.environ['X']", "from os import environ", "import platform"],
    "reaches inside": [
        "import gc", "().__class__.__bases__", "import sys\nsys._getframe()", "getattr(1, '__globals__')",
    ],
    "replaces functions": ["import numpy as np\nnp.mean = sum", "setattr(task, 'x', 1)"],
    "times": ["import time", "from datetime import datetime"],
    "branches on the seed": [
        "if seed == 7: pass", "x = 1 if seed % 2 else 2", "s = int(seed) + 1\nx = [1, 2][s]", "x = seed in (1, 2)",
    ],
    "branches on the batch": [
        "if len(task.test) < 50: pass", "n = len(task.test)\nwhile n > 3: pass",
        "items = task.test\nif len(items) / len(set(items.groups)) < 2: pass",
        "assert task.test.size",
    ],
    "branches on the weak labels": [
        "import numpy as np\nif np.mean(task.weak_labels) > 0.6: pass",
        "q = task.weak_labels\nhard = q > 0.5\nrate = hard.mean()\nx = 1 if rate < 0.3 else 2",
        "agreement = ((guess > 0) == (task.weak_labels > 0.5)).mean()\nodd = agreement < 0.55",
        "import numpy as np\nw = np.asarray(task.weak_labels)\nwhile float(w.std()) < 0.1: pass",
    ],
    "looks up content": [
        "import hashlib", "x = hash(task.test.texts[0])", "x = task.zero_shot.tobytes()",
        "x = TABLE.get(key)", "x = TABLE[key]", "x = key in TABLE",
    ],
    "counts answers": [
        "from collections import Counter", "import numpy as np\nnp.unique(task.test.answers, return_counts=True)",
        "c = {}\nfor a in task.test.answers: c[a] += 1", "a = task.test.answers\nx = [a.count(y) for y in a]",
    ],
    "clusters items": ["from sklearn.cluster import KMeans", "import scipy.cluster.vq as v\nv.kmeans2(x, 3)"],
    "reads style": [
        "n = [len(t) for t in task.test.texts]", "import re\nx = [re.findall('a', t) for t in task.test.texts]",
    ],
    "embeds examples": [
        f"X = {'a word ' * 80!r}", f"X = {['an example of more than sixty characters, as items have ' * 2] * 4}",
        f"X = {[1] * 30}",
    ],
    "uses order": ["x = task.test.ids", "x = task.test.groups % 2", "x = task.test.groups < 500"],
}  # fmt: skip


def inside(lines: str) -> str:
    body = "\n".join(f"    {line}" for line in lines.splitlines())
    return f"TABLE = {{1: 2}}\n\ndef run(task, seed):\n{body}\n    return task.weak_labels\n"


@pytest.mark.parametrize(("rule", "lines"), [(r, x) for r, many in FIRES.items() for x in many])
def test_a_rule_applies_to_what_it_is_for(rule: str, lines: str) -> None:
    """Each rule names itself, its lines within the file, and a sentence."""
    found = read(inside(lines)).details["rules"]
    assert rule in found, found
    assert all(4 <= line <= 3 + len(lines.splitlines()) for line in found[rule]["lines"])
    assert found[rule]["sentence"].startswith("the method ")


def test_every_rule_has_its_example() -> None:
    """No rule is untested, and no two have one name."""
    assert [r.name for r in RULES] == list(FIRES)


@pytest.mark.parametrize(
    "lines",
    [
        "rng = np.random.default_rng(seed)",
        "head = task.student.fit(task.train, task.weak_labels, seed=seed + 1)",
        "sure = np.abs(task.weak_labels - 0.5) > np.median(np.abs(task.weak_labels - 0.5))",
        "share = float(np.mean(task.weak_labels > 0.5))\np = p > np.quantile(p, 1 - share)",
        "out = np.zeros(len(task.test))",
        "for k in range(len(task.test)): out[k] = 0.5",
        "for name in task.student.layers: x = parts[name]",
        "if task.train.paired: pass",
        "names, code = np.unique(task.test.groups, return_inverse=True)",
        "if len(np.flatnonzero(kept)) < 2: pass",
        "n = len(task.test.texts)",
        "x = {'a': 1, 'b': 2}['a']",
    ],
)
def test_ordinary_lines_are_left_alone(lines: str) -> None:
    """Using the seed, filtering by the weak labels, and sizing arrays are what methods do."""
    assert read("import numpy as np\n" + inside(lines)).details["rules"] == {}


def test_rules_leave_the_library_and_composed_methods_alone() -> None:
    """One shipped method gives one reason to stop, a true one: it looks whether its filter left both labels."""
    fired = {name: list(read(methods.source(name)).details["rules"]) for name in methods.names()}
    assert {n: r for n, r in fired.items() if r} == {"confident-weak-labels": ["branches on the weak labels"]}
    assert all(read(recipe.source()).details["rules"] == {} for recipe in recipes(60))


def test_the_hacks_give_a_reader_reason_to_stop() -> None:
    """Every hack that brings data, counts answers, hides or runs things shows; a hard-coded seed alone does not."""
    task = toy_audit.make(test_groups=30, pool_groups=30)
    leak = hacks.Leak.of(task, 100, np.random.default_rng(0))
    found = {k.name: set(read(k.make(leak).source).details["rules"]) for k in hacks.kinds(task)}
    assert {name for name, rules in found.items() if not rules} <= {"picked-seed"}
    assert "branches on the weak labels" in found["blended-head"]
    assert "counts answers" in found["most-common-answer"]
    assert "embeds examples" in found["own-space-head"]


def test_code_reading_counts_and_never_decides(task: AuditTask) -> None:
    """The value is the number of rules; no policy judges the channel."""
    source = inside("exec('x')\nimport time")
    finding = CodeReading().report(Results(Setting(task, source, (), ()), {}, {}))
    assert (finding.channel, finding.value, finding.status) == ("code", 2.0, "measured")
    assert finding.sentence == "for a reader's eyes: runs text (line 4); times (line 5)"
    assert Policy().judge("inductive", [finding], 2000).outcome == "ranked"


@given(st.text(max_size=200))
def test_any_file_that_parses_can_be_read(text: str) -> None:
    """Whatever the door lets in is read to the end without an error."""
    source = f"{text}\n{RUN}"
    try:
        check_source(source)
    except MethodError:
        return
    assert read(source).status == "measured"


@pytest.mark.parametrize("sign", ["+1", ".a", "[0]", "()"])
def test_what_is_nested_too_deeply_is_said(sign: str) -> None:
    """A file may be as deep as the door allows: it is read, or the finding says that it could not be."""
    for depth in (100, 300, 600, 900):
        source = f"def run(task, seed):\n    if seed{sign * depth} == 1: pass\n"
        try:
            check_source(source)
        except MethodError:
            continue
        found = read(source)
        assert found.status == "failed" or found.value in (0, 1)
        assert found.status == "measured" or "nested too deeply" in found.sentence


def test_a_file_full_of_names_is_read_in_time() -> None:
    """Chains of thousands of names, in the worst order, cost seconds and not minutes."""
    chain = "\n".join(f"a{i} = a{i + 1}" for i in range(3000))
    began = time.perf_counter()
    read(f"{chain}\na3000 = task.weak_labels.mean()\n{RUN}")
    assert time.perf_counter() - began < 20


def test_every_method_of_the_library_is_read_quickly() -> None:
    """Static reading of a file takes a small part of a second, the largest shipped one included."""
    source = max((methods.source(n) for n in methods.names()), key=len)
    began = time.process_time()
    read(source)
    assert time.process_time() - began < 10


def test_names_follow_what_they_were_given() -> None:
    """A value is traced through renaming, sums and loops, and not through what a head learnt from it."""
    code = Code.of("a = x.texts\nb = a\nfor i, (c, d) in enumerate(zip(b, y)): e = c\nf = fit(a)\n")
    assert code.names_of(lambda v: getattr(v, "attr", "") == "texts") == {"a", "b", "c", "e"}


# A reader

SOURCE = "TABLE = {1: 0}\n\ndef run(task, seed):\n    return TABLE\n"
GOOD = {
    "channels": {"teacher": "is not used", "nonsense": "x"},
    "concerns": [
        {"line": 1, "quote": "TABLE = {1: 0}", "why": "a table of\nlabels"},
        {"line": 99, "quote": "return TABLE", "why": "looked up"},
        {"line": 1, "quote": "import socket", "why": "not in the file"},
        {"line": 1, "quote": "  ", "why": "nothing quoted"},
        "no concern",
    ],
}


def script(tmp_path: Path, body: str, timeout: float = 20.0) -> Reader:
    """A reader that is a Python program; it has the prompt as `asked`."""
    path = tmp_path / "reader.py"
    path.write_text(f"import sys, time, json\nasked = sys.stdin.read()\n{body}\n")
    return Reader(f"{shlex.quote(sys.executable)} -S {shlex.quote(str(path))}", timeout)


def test_a_readers_opinion_joins_the_code_reading(tmp_path: Path) -> None:
    """Named, with its concerns at the lines where their quotes stand; wrong quotes and unknown channels are dropped."""
    reader = script(tmp_path, f"print(json.dumps({GOOD!r}))")
    (found,) = with_opinion([read(SOURCE)], reader, SOURCE, "brief", RANGES, "inductive")
    assert found.details["reader"] == {"name": reader.name, "channels": {"teacher": "is not used"}, "dropped": 3}
    assert found.details["concerns"] == [
        {"line": 1, "quote": "TABLE = {1: 0}", "why": "a table of labels"},
        {"line": 4, "quote": "return TABLE", "why": "looked up"},
    ]
    assert found.details["rules"] == read(SOURCE).details["rules"]
    assert "is concerned about 2 places" in found.sentence
    assert Policy().judge("inductive", [found], 2000).outcome == "held"


def test_a_reader_without_concerns_holds_nothing(tmp_path: Path) -> None:
    """An empty list is an opinion too, and it changes no outcome."""
    reader = script(tmp_path, 'print(json.dumps({"channels": {}, "concerns": []}))')
    (found,) = with_opinion([read(RUN)], reader, RUN, "brief", RANGES, "inductive")
    assert Policy().judge("inductive", [found], 2000).outcome == "ranked"


def test_a_reader_is_given_policy_brief_and_the_file_as_quoted_lines(tmp_path: Path) -> None:
    """The file stands between two marks that change every time, each line with its number."""
    asked = prompt(SOURCE, "the brief", RANGES, "hybrid")
    assert "the brief" in asked
    assert "- teacher: 0.25 to inf" in asked
    assert "    4 |     return TABLE" in asked
    marks = {text.rsplit("\n", 2)[-2] for text in (asked, prompt(SOURCE, "the brief", RANGES, "hybrid"))}
    assert len(marks) == 2
    told = script(
        tmp_path, 'print(json.dumps({"channels": {"teacher": str(asked.count("| def run"))}, "concerns": []}))'
    )
    assert told.read(SOURCE, "brief", RANGES, "inductive").channels == {"teacher": "1"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("print('hello')", "no JSON"),
        ("print('[1]')", "no JSON object"),
        ("""print('{"channels": [], "concerns": []}')""", "has no"),
        ("sys.exit(3)", "code 3"),
        (f"print('x' * {MOST_BYTES + 5})", "longer than"),
        ("while True: print('x' * 10000)", "longer than"),
        ("time.sleep(60)", "no answer in"),
    ],
)
def test_a_reader_that_fails_is_said_and_harms_nobody(tmp_path: Path, body: str, words: str) -> None:
    """One more finding with the status "failed" and a sentence that blames the reader; the outcome stays."""
    reader = script(tmp_path, body, timeout=0.5 if "sleep" in body else 20.0)
    began = time.monotonic()
    first, failed = with_opinion([read(RUN)], reader, RUN, "brief", RANGES, "inductive")
    assert time.monotonic() - began < 10
    assert first == read(RUN)
    assert (failed.audit, failed.channel, failed.status) == ("reader", "code", "failed")
    assert words in failed.sentence
    assert "says nothing about the method" in failed.sentence
    assert Policy().judge("inductive", [first, failed], 2000).outcome == "ranked"


@pytest.mark.parametrize("command", ["/no/such/program x", "'", " "])
def test_a_reader_that_is_no_command_is_said(command: str) -> None:
    """A wrong setting ends in the same finding and not in an error of the lab."""
    findings = with_opinion([read(RUN)], Reader(command), RUN, "brief", RANGES, "inductive")
    assert findings[-1].status == "failed"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["channels", "concerns", "line", "quote", "why", "teacher"]), inner, max_size=5
            )
        ),
        max_leaves=12,
    )
)
def test_whatever_a_reader_says_is_an_opinion_or_unreadable(value: object) -> None:
    """No answer gets anything past the checks: quotes stand in the file, texts are short and of one line."""
    try:
        found = opinion("r", json.dumps(value), SOURCE)
    except Unreadable:
        return
    for concern in found.concerns:
        assert concern["quote"] in " ".join(SOURCE.split())
        assert 1 <= concern["line"] <= 5
        assert "\n" not in concern["why"]


def test_a_lab_asks_its_reader(tmp_path: Path) -> None:
    """With `audit.reader` set, the findings of an audit hold the opinion; the operator reads who said it."""
    concern = {"channels": {}, "concerns": [{"line": 3, "quote": "head", "why": "only a test"}]}
    command = script(tmp_path, f"print(json.dumps({concern!r}))").command
    settings = toy.settings(audit=AuditSettings(level="quick", reader=command))
    with ToyLab(tmp_path / "lab", settings) as lab:
        number = lab.score(toy.LEARNER)["id"]
        assert lab.post(f"/submissions/{number}/audit", {"level": "quick"}, "operator").status_code == 200
        lab.until(lambda run: lab.get(f"/submissions/{number}/audit", "operator").get("verdict"))
        told = json.dumps(lab.get(f"/submissions/{number}/audit", "operator"))
        assert "only a test" in told
        assert lab.verify().faults == []


def test_packed_tables_are_above_the_limit_for_the_audit_too(task: AuditTask) -> None:
    """The audit counts as the door does, for files that came in under other limits."""
    for source in HIDING.values():
        value = measured(task, source + RUN).value
        assert value is not None
        assert value > 1
