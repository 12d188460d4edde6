"""docs/troubleshooting.md: every message with a code, gathered from the code that raises it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

PACKAGE = Path(__file__).parent
GAP = "…"  # stands for what a message fills in
EFFECTS = {
    "DataError": "that patient is quarantined, the others go on",
    "UsageError": "the command stops, nothing is changed",
    "IntegrityError": "the job or command stops, nothing is guessed",
    "Interrupted": "the job stops with its state saved",
}
ROOMS = {
    "study": "Table, registry and split",
    "workflow": "Plan, run and cluster",
    "commands": "Commands",
    "imaging": "Images and masks",
    "network": "Training and scores",
    "fusion": "Fusion",
    "evaluation": "Statistics",
    "report": "Report",
    "model": "Locked model",
    "centres": "Several hospitals",
    "hospital": "In and out of the hospital",
    "phantom": "Phantom",
    "core": "Files and records",
    "": "Configuration",
}
HEAD = """# Troubleshooting

Every message of promet has a code. Find yours below; `…` stands for what the message fills in. This page is generated from the code.

Where messages are: on the terminal; for a quarantined patient in `promet status` and on the report's first page; for a
failed job in its log, `logs/<room>/<rule>/…`, whose last line is the message.

After you have corrected the data or the table: `promet check`, `promet intake`, `promet run`. What changed is built again by itself. Where
registered files were away for a while (`E_SOURCE_GONE`), nobody is quarantined: `promet run` goes on when they are back. To try the
quarantined again with a newer promet: `promet retry`.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | a job of a run failed; its message stands on the terminal and ends its log |
| 2 | refused, or faults found, with one of the messages below |
| 70 | an error that promet did not foresee: please report it, with the text after `PROMET_DEBUG=1` |
| 75 | interrupted with its state saved, or no room on the disk, or no answer from it: start the same command again |
"""


@dataclass(frozen=True, order=True)
class Message:
    """One way in which a code is raised."""

    room: str
    code: str
    kind: str
    found: str
    expected: str
    remedy: str


Names = dict[str, list[str]]


def messages() -> list[Message]:
    """All messages of the package, by room and code."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
    makers = {
        (path, function.name): function
        for path, tree in trees.items()
        for function in tree.body
        if isinstance(function, ast.FunctionDef) and list(_errors(function))
    }
    shared = {name: function for (_, name), function in makers.items()}
    found: dict[tuple[str, str], Message] = {}
    for path, tree in trees.items():
        inside = path.relative_to(PACKAGE).parts
        room = inside[0] if len(inside) > 1 else ""
        imports = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
        imported = {alias.name for node in imports for alias in node.names}
        for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
            names = _local(function)
            calls = [(node, names) for node in _errors(function)]
            for node in ast.walk(function):
                # A function that makes the error: its parameters are what this call gives it.
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    name = node.func.id
                    maker = makers.get((path, name)) or (shared.get(name) if name in imported else None)
                    if maker is not None:
                        bound = {**_local(maker), **_bound(maker, node, names)}
                        calls += [(error, bound) for error in _errors(maker)]
            for error, known in calls:
                for message in _of_call(room, error, known):
                    # The fullest wording of a code stands for all.
                    key = (room, message.code)
                    if key not in found or len(_cells(message)) > len(_cells(found[key])):
                        found[key] = message
    return sorted(found.values())


def _errors(function: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in EFFECTS:
            yield node


def _local(function: ast.FunctionDef) -> Names:
    """Texts that are given names inside a function: by assignment, as defaults, or in a loop over written-out rows."""
    names: Names = {}
    arguments = function.args.args
    defaults = function.args.defaults
    for argument, default in zip(arguments[len(arguments) - len(defaults) :], defaults, strict=True):
        names[argument.arg] = _texts(default, {})
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            texts = _texts(node.value, {})
            if texts != [GAP]:
                names.setdefault(node.targets[0].id, []).extend(texts)
        if (
            isinstance(node, ast.For)
            and isinstance(node.target, ast.Tuple)
            and isinstance(node.iter, ast.Tuple)
        ):
            rows = [row.elts for row in node.iter.elts if isinstance(row, ast.Tuple)]
            for place, target in enumerate(node.target.elts):
                if isinstance(target, ast.Name):
                    names[target.id] = [_texts(row[place], {})[0] for row in rows]
    return names


def _bound(maker: ast.FunctionDef, call: ast.Call, names: Names) -> Names:
    given = dict(zip((argument.arg for argument in maker.args.args), call.args, strict=False))
    given |= {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    return {name: _texts(value, names) for name, value in given.items()}


def _of_call(room: str, call: ast.Call, known: Names) -> Iterator[Message]:
    fields = ("code", "found", "expected", "remedy")
    given = dict(zip(fields, call.args, strict=False)) | {k.arg: k.value for k in call.keywords if k.arg}
    texts = [list(dict.fromkeys(_texts(given[field], known))) if field in given else [""] for field in fields]
    # Several codes and as many wordings of one call belong together in their order.
    alike = len(texts[0])
    columns = [column if len(column) == alike else column[:1] * alike for column in texts]
    for code, *rest in zip(*columns, strict=True):
        if code.startswith("E_") and GAP not in code:
            yield Message(room, code, call.func.id, *rest)  # type: ignore[attr-defined]


def _texts(node: ast.expr, names: Names) -> list[str]:
    """The texts that an expression can give."""
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    if isinstance(node, ast.Name):
        return names.get(node.id) or [GAP]
    if isinstance(node, ast.IfExp):
        return [*_texts(node.body, names), *_texts(node.orelse, names)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [a + b for a, b in product(_texts(node.left, names), _texts(node.right, names))]
    if isinstance(node, ast.FormattedValue):
        return [text or GAP for text in _texts(node.value, names)]
    if isinstance(node, ast.JoinedStr):
        return ["".join(parts) for parts in product(*(_texts(part, names) for part in node.values))]
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "count" and len(node.args) > 1:
        nouns = [_texts(argument, names)[0] for argument in node.args[1:]]
        return [f"{GAP} {nouns[1] if len(nouns) > 1 else nouns[0] + 's'}"]
    return [GAP]


def _cells(message: Message) -> str:
    parts = [message.found.rstrip(".")]
    if message.expected.strip(GAP):
        parts.append(f"Expected: {message.expected.rstrip('.')}")
    if message.remedy.strip(GAP):
        parts.append(f"**{message.remedy.rstrip('.')}**")
    return ". ".join(parts).replace("|", "\\|").replace("\n", " ") + "."


def page() -> str:
    """The text of docs/troubleshooting.md."""
    lines = [HEAD]
    known = messages()
    for room, title in ROOMS.items():
        here = [message for message in known if message.room == room]
        for kind, effect in EFFECTS.items():
            rows = [f"| `{m.code}` | {_cells(m)} |" for m in here if m.kind == kind]
            if rows:
                lines += [f"## {title}: {effect}\n", "| code | message |\n|---|---|", *rows, ""]
    return "\n".join(lines)
