"""What a program does to the files of one folder, call by call: strace's record, and its replay."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_CALLS = (
    "openat,open,creat,lseek,write,writev,pwrite64,pwritev,pwritev2,rename,renameat,renameat2,unlink,"
    "unlinkat,mkdir,mkdirat,rmdir,fsync"
)
_LINE = re.compile(
    r"(?P<thread>\d+) +(?P<name>\w+)\((?P<arguments>.*?)(?:\) += (?P<result>-?\d+).*| <unfinished \.\.\.>)$"
)
_RESUMED = re.compile(
    r"(?P<thread>\d+) +<\.\.\. (?P<name>\w+) resumed>(?P<arguments>.*)\) += (?P<result>-?\d+).*$"
)
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_DESCRIPTOR = re.compile(r"^\d+<([^>]*)>")


@dataclass(frozen=True)
class Call:
    """One successful call that changes the folder, or makes a change of it durable.

    Args:
        name: `create`, `write`, `rename`, `unlink`, `mkdir`, `rmdir` or `fsync`.
        path: relative to the folder; `.` is the folder.
        to: where a rename leads.
        data: what a write puts into the file.
        at: where.
    """

    name: str
    path: str
    to: str = ""
    data: bytes = b""
    at: int = 0


def strace_works() -> bool:
    """Whether strace is there and allowed."""
    return (
        shutil.which("strace") is not None
        and subprocess.run(["strace", "-f", "-o", "/dev/null", "true"], capture_output=True).returncode == 0
    )


def record(program: str, folder: Path, log: Path) -> list[Call]:
    """Run a Python program under strace; its calls on files below `folder`.

    Raises:
        subprocess.CalledProcessError: the program failed.
    """
    command = [
        "strace",
        "-f",
        "--seccomp-bpf",
        "-y",
        "-xx",
        "-s",
        "67108864",
        "-e",
        f"trace={_CALLS}",
        "-o",
        log,
    ]
    done = subprocess.run([*map(str, command), sys.executable, "-c", program], capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"{done.returncode}: {done.stderr[-3000:]}")
    return list(_calls(log, str(folder)))


def _calls(log: Path, folder: str) -> Iterator[Call]:
    unfinished: dict[str, str] = {}
    places: dict[str, int] = {}  # of open files: a name is open once at a time
    with log.open() as lines:
        for line in lines:
            line = line.rstrip("\n")
            match = _RESUMED.match(line)
            if match:
                arguments = unfinished.pop(match["thread"]) + match["arguments"]
            else:
                match = _LINE.match(line)
                if match is None:
                    continue
                arguments = match["arguments"]
                if match["result"] is None:
                    unfinished[match["thread"]] = arguments
                    continue
            if int(match["result"]) >= 0:
                call = _call(match["name"], arguments, int(match["result"]), folder, places)
                if call is not None:
                    yield call


def _call(name: str, arguments: str, result: int, folder: str, places: dict[str, int]) -> Call | None:
    texts = [bytes.fromhex(text.replace("\\x", "")) for text in _TEXT.findall(arguments)]

    def inside(path: str) -> str | None:
        if path == folder:
            return "."
        return path[len(folder) + 1 :] if path.startswith(folder + "/") else None

    if name in ("lseek", "write", "writev", "pwrite64", "pwritev", "pwritev2", "fsync"):
        descriptor = _DESCRIPTOR.match(arguments)
        path = inside(_plain(descriptor[1])) if descriptor else None
        if path is None:
            return None
        assert name in ("lseek", "write", "fsync"), (
            "something else than a Spool, or publish, writes a file of the run"
        )
        if name == "fsync":
            return Call(name, path)
        if name == "lseek":
            places[path] = result
            return None
        at = places[path]
        places[path] += result
        return Call("write", path, data=b"".join(texts)[:result], at=at)
    paths = [inside(text.decode()) for text in texts]
    if not paths or paths[0] is None:
        return None
    if name.startswith("open") or name == "creat":
        places[paths[0]] = 0
        return Call("create", paths[0]) if "O_CREAT" in arguments and "O_TMPFILE" not in arguments else None
    if name.startswith("rename"):
        return Call("rename", paths[0], to=str(paths[1]))
    if name == "unlinkat" and "AT_REMOVEDIR" in arguments:
        return Call("rmdir", paths[0])
    return Call({"unlinkat": "unlink", "mkdirat": "mkdir"}.get(name, name), paths[0])


def _plain(path: str) -> str:
    return bytes.fromhex(path.replace("\\x", "")).decode() if path.startswith("\\x") else path


def replay(calls: Sequence[Call], folder: Path) -> Iterator[Call]:
    """Do the calls again in another folder; gives each after it was done."""
    for call in calls:
        path = folder / call.path
        if call.name == "create":
            path.write_bytes(b"")
        elif call.name == "write":
            with path.open("r+b") as file:
                file.seek(call.at)
                file.write(call.data)
        elif call.name == "rename":
            path.replace(folder / call.to)
        elif call.name == "unlink":
            path.unlink()
        elif call.name == "mkdir":
            path.mkdir()
        elif call.name == "rmdir":
            path.rmdir()
        if call.name != "fsync":
            yield call


def after_power_loss(calls: Sequence[Call], folder: Path, drop: Sequence[bool]) -> None:
    """Build the folder as a disk may hold it when the power fails after these calls.

    What was not made durable by an fsync may be lost: the content of a file, and every change of a
    folder's names, each by itself.

    Args:
        calls: all that came before.
        folder: an empty one, where to.
        drop: for every call, whether it is lost if it may be.
    """
    last_sync: dict[str, int] = {}
    names: dict[str, int] = {}  # as the program saw them: name -> file
    synced_files: set[int] = set()
    for number, call in enumerate(calls):
        if call.name == "create":
            names[call.path] = number
        elif call.name == "rename" and call.path in names:
            names[call.to] = names.pop(call.path)
        elif call.name == "fsync":
            last_sync[call.path] = number
            if call.path in names:
                synced_files.add(names[call.path])
    files: dict[str, int] = {}
    contents: dict[int, bytes] = {}
    current: dict[str, int] = {}
    for number, call in enumerate(calls):
        where = str(Path(call.to or call.path).parent)
        lost = drop[number] and number > last_sync.get(where, -1)
        if call.name == "create":
            current[call.path] = number
            contents[number] = b""
            if not lost:
                files[call.path] = number
        elif call.name == "write":
            before = contents[current[call.path]].ljust(call.at, b"\0")
            end = call.at + len(call.data)
            contents[current[call.path]] = before[: call.at] + call.data + before[end:]
        elif call.name == "rename":
            current[call.to] = current.pop(call.path)
            if not lost:
                files.pop(call.path, None)
                files[call.to] = current[call.to]
        elif call.name == "unlink":
            current.pop(call.path, None)
            if not lost:
                files.pop(call.path, None)
        elif call.name == "mkdir" and not lost:
            (folder / call.path).mkdir(parents=True, exist_ok=True)
    folder.mkdir(exist_ok=True)
    for name, file in files.items():
        content = contents[file] if file in synced_files or not any(drop) else b""
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
