"""What a reader of a method file would stop at: one small function a rule, giving the lines where it applies.

The rules read the syntax tree and execute nothing. They are for people: a method may have a good reason for any of
these, and a method that hides can avoid all of them. So no rule decides anything.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from aarlab.audits.code import Code, mentions

Lines = Iterator[int]

CONTENT = ("texts", "answers", "passages")
"""Attributes of items that hold what they say."""


@dataclass(frozen=True)
class Rule:
    """One rule. `sentence` ends "the method ..."."""

    name: str
    sentence: str
    find: Callable[[Code], Lines]

    def lines(self, code: Code) -> list[int]:
        """Where the rule applies, ascending."""
        return sorted(set(self.find(code)))


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _imports(code: Code, *modules: str) -> Lines:
    """Lines that import one of these modules, or anything from one."""
    for line, name in code.modules:
        if any(name == m or name.startswith(f"{m}.") for m in modules):
            yield line


def _called(code: Code, *names: str, methods: Iterable[str] = ()) -> Lines:
    """Lines that call one of these by full name, or a method of such a name of anything."""
    ends = tuple(methods)
    for call, name in code.calls:
        if name in names or ("." in name and name.rpartition(".")[2] in ends):
            yield call.lineno


def _line(node: ast.AST) -> int:
    return int(getattr(node, "lineno", 0))


# What runs


def runs_text(code: Code) -> Lines:
    yield from _called(code, "exec", "eval", "compile", "__import__", "pandas.eval")
    yield from _imports(
        code, "importlib", "runpy", "code", "codeop", "ast", "dis", "marshal", "pickle", "dill", "cloudpickle",
        "types.FunctionType", "types.CodeType", "numexpr", "builtins", "zipimport",
    )  # fmt: skip
    yield from (_line(n) for n in code.nodes if isinstance(n, ast.Name) and n.id in ("__builtins__", "exec", "eval"))


SYNTAX = _words("+ - * / // % ** == != < > <= >= = ( ) [ ] : , def return if elif else for while lambda and or not in")
"""Strings that whoever takes programs or sums apart compares with."""

FEW_SIGNS = 4


def reads_programs(code: Code) -> Lines:
    signs = [(line, text) for line, text in code.strings if text in SYNTAX]
    if len({text for _, text in signs} - {",", ":", "=", "(", ")"}) >= FEW_SIGNS:
        yield from (line for line, _ in signs)
    yield from (line for line, text in code.strings if "[-+*/" in text or r"[+\-*/" in text)


def starts_programs(code: Code) -> Lines:
    yield from _imports(
        code, "subprocess", "multiprocessing", "pty", "joblib", "concurrent", "threading", "_thread", "asyncio",
    )  # fmt: skip
    starts = ("system", "popen", "fork", "forkpty", "posix_spawn", "posix_spawnp", "startfile")
    for call, name in code.calls:
        last = name.removeprefix("os.")
        if name.startswith("os.") and (last in starts or last.startswith(("exec", "spawn"))):
            yield call.lineno


def opens_connections(code: Code) -> Lines:
    yield from _imports(
        code, "socket", "ssl", "urllib", "http", "requests", "httpx", "aiohttp", "ftplib", "smtplib", "xmlrpc",
        "socketserver", "huggingface_hub", "datasets",
    )  # fmt: skip


def opens_files(code: Code) -> Lines:
    yield from _called(
        code, "open", "io.open", "os.open", "os.listdir", "os.scandir", "os.walk", "os.stat", "numpy.load",
        "numpy.save", "numpy.savez", "numpy.savez_compressed", "numpy.memmap", "numpy.fromfile", "numpy.loadtxt",
        "numpy.genfromtxt", "numpy.savetxt", "pandas.read_csv", "pandas.read_json", "pandas.read_parquet",
        methods=("read_text", "read_bytes", "write_text", "write_bytes", "tofile", "iterdir", "rglob"),
    )  # fmt: skip
    yield from _imports(
        code, "pathlib", "shutil", "glob", "mmap", "tempfile", "sqlite3", "fileinput", "linecache", "zipfile",
        "tarfile", "io.open",
    )  # fmt: skip
    yield from (_line(n) for n in code.nodes if isinstance(n, ast.Name) and n.id == "__file__")


def looks_at_the_machine(code: Code) -> Lines:
    yield from _imports(code, "platform", "psutil", "resource", "getpass", "pwd", "os.environ", "os.getenv", "sys.argv")
    yield from _called(code, "os.getenv", "os.getpid", "os.getppid", "os.uname", "os.cpu_count", "os.getcwd")
    for node in code.nodes:
        if isinstance(node, ast.Attribute) and code.full(node) in ("os.environ", "sys.argv"):
            yield node.lineno


INSIDES = _words(
    "__subclasses__ __globals__ __code__ __closure__ __mro__ __bases__ __builtins__ __loader__ __spec__ __dict__ "
    "__getattribute__ f_back f_globals f_locals gi_frame cr_frame tb_frame ag_frame co_consts func_globals"
)
"""Attributes that lead from any object to all of the interpreter."""


def reaches_inside(code: Code) -> Lines:
    yield from _imports(code, "gc", "inspect", "ctypes", "_ctypes", "cffi", "faulthandler", "tracemalloc", "atexit")
    yield from _called(
        code, "globals", "sys._getframe", "sys.settrace", "sys.setprofile", "sys.addaudithook", "sys.exc_info",
        "object.__setattr__",
    )  # fmt: skip
    for node in code.nodes:
        if isinstance(node, ast.Attribute) and (node.attr in INSIDES or code.full(node) == "sys.modules"):
            yield node.lineno
    yield from (line for line, text in code.strings if text in INSIDES)


def replaces_functions(code: Code) -> Lines:
    for node in code.nodes:
        targets = node.targets if isinstance(node, (ast.Assign, ast.Delete)) else []
        yield from (_line(t) for t in targets if isinstance(t, ast.Attribute) and _root(t) in code.imported)
    yield from _called(code, "setattr", "delattr")


def _root(node: ast.expr) -> str:
    """The first name of `a.b.c`."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def times(code: Code) -> Lines:
    yield from _imports(code, "time", "datetime", "signal", "sched", "timeit")
    yield from _called(code, "os.times")


# What it looks at


def branches_on_seed(code: Code) -> Lines:
    seeds = {a.arg for n in code.nodes if isinstance(n, ast.arguments) for a in n.args if a.arg == "seed"}
    for function in code.tree.body:
        if isinstance(function, ast.FunctionDef) and function.name == "run" and len(function.args.args) > 1:
            seeds.add(function.args.args[1].arg)
    names = code.names_of(lambda value: False, frozenset(seeds))
    yield from (_line(test) for test in code.conditions if _bare(test, names))
    for node in code.nodes:
        asked = (node.left, *node.comparators) if isinstance(node, ast.Compare) else ()
        asked = (node.slice,) if isinstance(node, ast.Subscript) else asked
        if any(_bare(value, names) for value in asked):
            yield _line(node)


def _bare(node: ast.expr, names: frozenset[str]) -> bool:
    """Whether a value is one of the names, or sums and comparisons with it; not a call that is merely given it."""
    if isinstance(node, ast.Name):
        return node.id in names
    if isinstance(node, ast.Call):
        return (
            isinstance(node.func, ast.Name)
            and node.func.id in ("int", "str", "hash")
            and any(_bare(a, names) for a in node.args)
        )
    return any(_bare(child, names) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr))


def branches_on_batch(code: Code) -> Lines:
    """How many test items there are, or how many of each group, decides something."""
    tests = code.names_of(lambda value: isinstance(value, ast.Attribute) and value.attr == "test")

    def size(node: ast.AST) -> bool:
        if isinstance(node, ast.Call) and code.full(node.func) == "len":
            return any(_of_test(a, tests) for a in node.args)
        return isinstance(node, ast.Attribute) and node.attr in ("size", "shape") and _of_test(node.value, tests)

    names = code.names_of(lambda value: any(size(n) for n in ast.walk(value)) and not _builds_array(value))
    for test in code.conditions:
        if mentions(test, names) or any(size(n) for n in ast.walk(test)):
            yield _line(test)


def _of_test(node: ast.AST, names: frozenset[str]) -> bool:
    return mentions(node, names, ("test",))


def _builds_array(value: ast.AST) -> bool:
    """np.zeros(len(task.test)) is no size."""
    return isinstance(value, ast.Call) and not (isinstance(value.func, ast.Name) and value.func.id in ("len", "int"))


REDUCES = _words(
    "mean std var sum median quantile percentile min max any all ptp corrcoef entropy count_nonzero average dot "
    "nanmean cov float"
)


def branches_on_weak_labels(code: Code) -> Lines:
    """A number that sums up the weak labels, or how something agrees with them, is held against a limit."""
    weak = code.names_of(lambda value: mentions(value, attributes=("weak_labels",)) and _elementwise(value))

    def summary(node: ast.AST) -> bool:
        return (
            isinstance(node, ast.Call)
            and code.full(node.func).rpartition(".")[2] in REDUCES
            and mentions(node, weak, ("weak_labels",))
        )

    names = code.names_of(lambda value: summary(value) or any(summary(n) for n in _sums(value)))

    def known(node: ast.expr) -> bool:
        return mentions(node, names) or any(summary(n) for n in ast.walk(node))

    yield from (_line(test) for test in code.conditions if known(test))
    for node in code.nodes:
        if isinstance(node, ast.Compare):
            sides = (node.left, *node.comparators)
            if any(isinstance(s, ast.Constant) for s in sides) and any(_number(s, summary, names) for s in sides):
                yield node.lineno


def _elementwise(value: ast.AST) -> bool:
    """Not what a head learnt from the labels, only the labels themselves, rounded, shifted or chosen from."""
    called = {n.func.attr for n in ast.walk(value) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)}
    own = {n.func.id for n in ast.walk(value) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    return not own and called <= {"astype", "round", "abs", "clip", "hard", "soft", "copy", "asarray", "array", "log"}


def _sums(value: ast.AST) -> Iterator[ast.AST]:
    """The parts of a sum, a product or a tuple."""
    if isinstance(value, ast.BinOp):
        yield from _sums(value.left)
        yield from _sums(value.right)
    elif isinstance(value, ast.UnaryOp):
        yield from _sums(value.operand)
    elif isinstance(value, ast.Tuple):
        for part in value.elts:
            yield from _sums(part)
    else:
        yield value


def _number(node: ast.expr, summary: Callable[[ast.AST], bool], names: frozenset[str]) -> bool:
    return any(summary(part) or (isinstance(part, ast.Name) and part.id in names) for part in _sums(node))


def looks_up_content(code: Code) -> Lines:
    """Items are recognised: hashed, or looked up in a table that stands in the file."""
    yield from _imports(code, "hashlib", "zlib", "binascii", "xxhash", "mmh3", "base64")
    yield from _called(code, "hash", methods=("tobytes", "tostring", "hexdigest", "digest"))
    tables = _tables(code)
    for node in code.nodes:
        if isinstance(node, ast.Subscript) and mentions(node.value, tables) and not _fixed(node.slice):
            yield node.lineno
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.In, ast.NotIn)):
            yield from (node.lineno for table in node.comparators[:1] if mentions(table, tables))
    for call, name in code.calls:
        if name.rpartition(".")[2] == "get" and name.rpartition(".")[0] in tables:
            yield call.lineno


def _tables(code: Code) -> frozenset[str]:
    """Names of mappings and sets made at the top of the file."""
    kinds = (ast.Dict, ast.Set, ast.DictComp, ast.SetComp)
    found = []
    for node in code.tree.body:
        if isinstance(node, ast.Assign):
            made = isinstance(node.value, ast.Call) and code.full(node.value.func) in ("dict", "set", "frozenset")
            if made or isinstance(node.value, kinds):
                found += [t.id for t in node.targets if isinstance(t, ast.Name)]
    return frozenset(found)


def _fixed(index: ast.expr) -> bool:
    return isinstance(index, (ast.Constant, ast.Slice))


def counts_answers(code: Code) -> Lines:
    """How often a text or an answer occurs is counted."""
    said = code.names_of(lambda value: mentions(value, attributes=CONTENT))
    yield from _imports(code, "collections.Counter", "statistics.mode", "statistics.multimode", "scipy.stats.mode")
    yield from _called(code, "collections.Counter", methods=("most_common", "value_counts", "multimode"))
    for call, _ in code.calls:
        if any(k.arg == "return_counts" for k in call.keywords) and mentions(call, said, CONTENT):
            yield call.lineno
    for node in code.nodes:
        tallied = isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Subscript)
        if tallied and mentions(node.target.slice, said, CONTENT):  # type: ignore[attr-defined]
            yield _line(node)
    for call, name in code.calls:
        if name.endswith(".count") and any(mentions(a, said, CONTENT) for a in call.args):
            yield call.lineno


CLUSTERS = _words(
    "KMeans MiniBatchKMeans BisectingKMeans GaussianMixture BayesianGaussianMixture DBSCAN HDBSCAN OPTICS MeanShift "
    "AgglomerativeClustering SpectralClustering AffinityPropagation Birch kmeans kmeans2 linkage fcluster "
    "LatentDirichletAllocation"
)


def clusters_items(code: Code) -> Lines:
    yield from (call.lineno for call, name in code.calls if name.rpartition(".")[2] in CLUSTERS)
    yield from (line for line, name in code.modules if name.rpartition(".")[2] in CLUSTERS)


TAKES_APART = _words(
    "split splitlines findall search match fullmatch finditer fit_transform startswith endswith count "
    "isupper find encode"
)


def reads_style(code: Code) -> Lines:
    """Texts are measured or taken apart: their length, their signs, patterns in them."""
    said = code.names_of(lambda value: mentions(value, attributes=CONTENT))
    for call, name in code.calls:
        about = (*call.args, call.func.value) if isinstance(call.func, ast.Attribute) else call.args
        measured = name == "len" and isinstance(call.args[0], ast.Name)  # one text, not how many there are
        taken_apart = "." in name and name.rpartition(".")[2] in TAKES_APART
        if (measured or taken_apart) and any(mentions(a, said, ("texts", "passages")) for a in about):
            yield call.lineno


LONG_TEXT = 400
MANY_TEXTS, A_TEXT = 4, 60
MANY_NUMBERS = 24


def embeds_examples(code: Code) -> Lines:
    """Long texts, several texts of an item's length, or a row of numbers stand in the file."""
    yield from (line for line, text in code.strings if len(text) >= LONG_TEXT)
    texts = [line for line, text in code.strings if len(text) >= A_TEXT]
    if len(texts) >= MANY_TEXTS:
        yield from texts
    for node in code.nodes:
        if isinstance(node, (ast.List, ast.Tuple, ast.Set, ast.Dict)):
            inner = [n for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, (int, float))]
            if len(inner) >= MANY_NUMBERS:
                yield node.lineno


ORDER = _words("ids rows _rows _ids _inputs inputs")


def uses_order(code: Code) -> Lines:
    """The names of items, their row numbers, or sums and comparisons with the numbers of their groups."""
    for node in code.nodes:
        if isinstance(node, ast.Attribute):
            found = node.attr in ORDER and mentions(node.value, attributes=("test", "train"))
        elif isinstance(node, ast.BinOp):
            found = isinstance(node.op, (ast.Mod, ast.FloorDiv)) and mentions(node.left, attributes=("groups",))
        elif isinstance(node, ast.Compare):
            limit = isinstance(node.ops[0], (ast.Lt, ast.LtE, ast.Gt, ast.GtE))
            found = limit and isinstance(node.comparators[0], ast.Constant) and _is_groups(node.left)
        else:
            continue
        if found:
            yield node.lineno


def _is_groups(node: ast.expr) -> bool:
    """`items.groups` itself, not how large the groups are."""
    return isinstance(node, ast.Attribute) and node.attr == "groups"


RULES: tuple[Rule, ...] = (
    Rule("runs text", "runs text as a program, or brings what could", runs_text),
    Rule("reads programs", "takes programs or sums apart", reads_programs),
    Rule("starts programs", "starts programs or threads", starts_programs),
    Rule("opens connections", "opens connections", opens_connections),
    Rule("opens files", "opens files", opens_files),
    Rule("looks at the machine", "looks at the machine it runs on", looks_at_the_machine),
    Rule("reaches inside", "reaches into the interpreter", reaches_inside),
    Rule("replaces functions", "replaces functions of others", replaces_functions),
    Rule("times", "looks at the clock or waits", times),
    Rule("branches on the seed", "chooses its path by the seed", branches_on_seed),
    Rule("branches on the batch", "chooses its path by how many test items there are", branches_on_batch),
    Rule(
        "branches on the weak labels",
        "chooses its path by a number taken from the weak labels",
        branches_on_weak_labels,
    ),
    Rule("looks up content", "recognises items by their content", looks_up_content),
    Rule("counts answers", "counts how often an answer or text occurs", counts_answers),
    Rule("clusters items", "sorts items into clusters", clusters_items),
    Rule("reads style", "looks at how the texts are written", reads_style),
    Rule("embeds examples", "brings examples or numbers along", embeds_examples),
    Rule("uses order", "looks at names, rows or group numbers of items", uses_order),
)
"""All rules, in the order in which they are shown."""
