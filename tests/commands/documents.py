"""Finds the commands in the project's Markdown: fenced blocks of shell, and code spans that begin with a command."""

import dataclasses
import re

from markdown_it import MarkdownIt

# Languages of fenced blocks that hold commands. Any other block holds none.
SHELL = {"", "sh", "bash", "shell", "console"}

# Tables whose first column leaves the command's beginning out, by the header of that column.
SYNOPSES = {"command": "reelay --stack <stack> ", "option of cargo run": "cargo run -- "}

# What stands for the names in those columns.
VALUES = {"N": "2", "S": "failed", "T": "2026-01-01T10:00:00Z", "TIME": "2026-01-01T10:00:00Z", "URL": "http://127.0.0.1:3000"}


@dataclasses.dataclass(frozen=True)
class Command:
    document: str
    line: int
    text: str
    is_block: bool

    @property
    def place(self):
        return f"{self.document}:{self.line}"


def commands(document, markdown, starts):
    """The commands of a document, in its order. `starts` tells of a code span's first word whether it is a command."""
    found, header, cell, line = [], "", 0, 1
    defined = set()
    for token in MarkdownIt("commonmark").enable("table").parse(markdown):
        line = token.map[0] + 1 if token.map else line
        match token.type:
            case "fence" if token.info.strip() in SHELL:
                defined |= set(re.findall(r"^(\w+)\(\) *\{", token.content, re.MULTILINE))
                found.append(Command(document, line + 1, token.content, True))
            case "tr_open" | "table_close":
                cell = 0
            case "th_open" | "td_open":
                cell += 1
                is_header = token.type == "th_open"
            case "inline":
                spans = [child.content for child in token.children if child.type == "code_inline"]
                if cell == 1 and is_header:
                    header = "".join(child.content for child in token.children)
                prefix = SYNOPSES.get(header) if cell == 1 else None
                found += [Command(document, line, text, False) for text in inline(spans, prefix, starts, defined)]
    return found


def inline(spans, prefix, starts, defined):
    subcommand = []
    for span in spans:
        words = span.split()
        program = next((word for word in words if not re.fullmatch(r"[A-Z_]+=\S*", word)), "")
        if starts(program) or program in defined:
            # One word names the program.
            if len(words) > 1 or "/" in program:
                yield span
        elif prefix and words:
            # `reconcile --user U`, `--zoom A/U`: the second is another form of the first.
            if not words[0].startswith("-"):
                subcommand, words = words[:1], words[1:]
            yield prefix + whole(" ".join(subcommand + words))


def whole(synopsis):
    """A synopsis as a command with all of its options, the first of alternatives, and a value for each name in capitals."""
    words = re.sub(r"\|[^\s\]]+", "", synopsis).replace("[", "").replace("]", "").split()
    return " ".join(VALUES.get(word, word) for word in words)
