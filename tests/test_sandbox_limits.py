"""Measuring and holding limits, on hosts of every kind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import cast

import pytest

from aarlab.sandbox import limits
from aarlab.sandbox.base import SandboxProcess
from aarlab.sandbox.limits import Cgroup, Limits
from aarlab.sandbox.watch import AT_REST, Watched

SMALL = Limits(memory_mb=64, cpu_seconds=0, processes=8, file_mb=1, disk_mb=1)


def test_a_group_of_cgroup_v2_gets_its_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One folder, memory.max in bytes, no swap, pids.max with room for bwrap's own processes."""
    monkeypatch.setattr(limits, "_parents_v2", lambda: {"memory": tmp_path, "pids": tmp_path})
    group = Cgroup.create(SMALL)
    assert group is not None
    folder = group.folders["memory"]
    assert folder.parent == tmp_path
    assert group.folders["pids"] == folder
    assert (folder / "memory.max").read_text() == str(64 << 20)
    assert (folder / "memory.swap.max").read_text() == "0"
    assert (folder / "pids.max").read_text() == "12"
    assert group.add([os.getpid()])
    (folder / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    (folder / "memory.current").write_text("1000000\n")
    (folder / "memory.stat").write_text("anon 1\ninactive_file 400000\n")
    (folder / "memory.events").write_text("low 0\noom 1\noom_kill 3\n")
    assert (group.cpu_seconds(), group.memory_bytes(), group.oom_kills()) == (2.5, 600000, 3)


def test_a_host_without_cgroups_has_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is assumed: without a memory controller of ours there is no group, and others hold the limits."""
    monkeypatch.setattr(limits, "_parents_v2", dict)
    monkeypatch.setattr(limits, "_parents_v1", dict)
    assert Cgroup.create(SMALL) is None


def test_a_controller_that_refuses_leaves_no_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group whose memory limit cannot be written is removed and not used."""
    monkeypatch.setattr(limits, "_parents_v2", dict)
    monkeypatch.setattr(limits, "_parents_v1", lambda: {"memory": tmp_path})
    monkeypatch.setattr(limits, "_write", lambda path, text: False)
    assert Cgroup.create(SMALL) is None
    assert list(tmp_path.iterdir()) == []


def test_groups_of_dead_processes_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only empty groups whose owner is gone: a killed lab leaves some behind."""
    monkeypatch.setattr(limits, "_parents_v2", lambda: {"memory": tmp_path})
    monkeypatch.setattr(limits, "_parents_v1", dict)
    dead, alive, other = tmp_path / "aarlab-99999999-0", tmp_path / f"aarlab-{os.getpid()}-0", tmp_path / "else"
    for folder in (dead, alive, other):
        folder.mkdir()
    limits.remove_stale_groups()
    assert sorted(tmp_path.iterdir()) == sorted([alive, other])


def test_processes_are_found_below_their_parent_and_measured() -> None:
    """descendants, CPU time and memory of a small tree; a name with brackets and spaces confuses nothing."""
    code = """
import ctypes, os, time
ctypes.CDLL(None).prctl(15, b"odd) R (name", 0, 0, 0)
if os.fork() == 0:
    start = time.process_time()
    while time.process_time() - start < 0.3:
        pass
    print("done", flush=True)
kept = bytearray(os.urandom(1 << 20) * 80)
print("done", flush=True)
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        for _ in range(3):
            assert process.stdout.readline() == b"done\n"
        pids = limits.descendants(process.pid)
        assert pids[0] == process.pid
        assert len(pids) == 2
        assert 0.3 <= limits.cpu_seconds(pids) < 20
        assert 150 << 20 < limits.memory_bytes(pids) < 400 << 20
    finally:
        for pid in limits.descendants(process.pid):
            os.kill(pid, 9)
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]
    assert limits.descendants(process.pid) == [process.pid]
    assert limits.cpu_seconds([process.pid]) == 0


def test_deleted_files_in_use_are_counted(tmp_path: Path) -> None:
    """An unlinked file that is open, and one that is only mapped, still take disk."""
    code = """
import mmap, os, sys, time
f = open("a", "wb"); f.write(bytes(1 << 20)); f.flush(); os.unlink("a")
g = open("b", "w+b"); g.write(bytes(1 << 20)); g.flush(); m = mmap.mmap(g.fileno(), 1 << 20); os.unlink("b"); g.close()
print(flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        device = os.stat(tmp_path).st_dev
        assert limits.deleted_bytes([process.pid], device) >= 2 << 20
        process.kill()
        process.wait()
    assert limits.deleted_bytes([process.pid], device) == 0


def test_counting_stops_early(tmp_path: Path) -> None:
    """A tree far above the limit is not walked to its end."""
    for n in range(300):
        (tmp_path / str(n)).touch()
    start = time.process_time()
    assert 40_000 <= limits.disk_bytes(tmp_path, 40_000) <= 50_000
    assert time.process_time() - start < 5


class Counted:
    """A process whose CPU time is what the test says; it counts how often it is measured."""

    def __init__(self, ran: float | None) -> None:
        self.ran, self.measured = ran, 0

    def exact_cpu_seconds(self) -> float | None:
        return self.ran

    def pids(self) -> list[int]:
        self.measured += 1
        return []

    def cpu_seconds(self) -> float:
        return self.ran or 0.0


def watched(process: Counted) -> Watched:
    return Watched(cast(SandboxProcess, process), 0, SMALL, workspace=None, memory_is_held=True)


def looks(one: Watched, times: int) -> None:
    for _ in range(times):
        one.due = 0.0
        one.look()


def test_a_sandbox_in_which_nothing_ran_is_not_measured_again() -> None:
    """Its CPU time tells; the least that runs in it, and in any case a while, makes it be measured. It rests on."""
    one = watched(process := Counted(1.0))
    looks(one, 5)
    assert (process.measured, one.rests) == (1, True)
    process.ran = 1.000001
    looks(one, 5)
    assert process.measured == 2
    one.measured -= AT_REST
    looks(one, 1)
    assert (process.measured, one.rests) == (3, True)


def test_without_an_exact_count_every_look_measures() -> None:
    """Clock ticks are too coarse to tell that nothing ran."""
    one = watched(process := Counted(None))
    looks(one, 5)
    assert (process.measured, one.rests) == (5, False)
