#!/usr/bin/env python3
"""A page per view: the panel at two sizes, the same figures from the command line, and the tests that show that they are right.

    tests/pages/make_pages.py BUILD OUT [VIEW ...]
        BUILD: a build folder with window and tests (build/dev), OUT: folder for index.html and pictures, VIEW: only these

What each page shows is a row of pages.json: `draw` are arguments of `gatescope screenshot`, `commands` are run as they stand ({a} and {b} are two
recorded runs), `checks` name tests by regular expressions, by the kind of proof. Exit code 1 when a command fails, a test fails or a row names no test.
"""
import html
import json
import os
import pathlib
import re
import subprocess
import sys

SIZES = ["1280x720", "1920x1080"]
PROMPT = ["--prompt", "What is a llama?", "-n", "24", "--greedy"]
SHOWN_LINES = 60
STYLE = """:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:84rem;margin:2rem auto;padding:0 1rem}
h2{margin-top:3rem}img{max-width:100%;border:1px solid #8886}pre{overflow-x:auto;background:#8881;padding:.6rem;max-height:30rem}
.bad{color:#c33;font-weight:bold}td{padding:.1rem .8rem .1rem 0;vertical-align:top}"""


def run(arguments, **more):
    return subprocess.run([str(a) for a in arguments], capture_output=True, text=True, errors="replace", **more)


def with_python(build):
    """What the tests that ask an independent Python program need; its packages are where tests/run.sh put them."""
    return {**os.environ, "GATESCOPE_PYTHON": sys.executable, "PYTHONPATH": str(build.parent / "python")}


class Pages:
    def __init__(self, build, out):
        self.build, self.out, self.problems, self.parts = build, out, [], []
        self.program = build / "app" / "gatescope"
        self.files = {}

    def problem(self, text):
        self.problems.append(text)
        self.parts.append(f'<p class="bad">{html.escape(text)}</p>')

    def record(self):
        for name, policy in [("a", "native"), ("b", "k=2")]:
            self.files[name] = str(self.out / f"{name}.safetensors")
            done = run([self.program, "trace", *PROMPT, "--policy", policy, "--out", self.files[name]])
            if done.returncode != 0:
                sys.exit(f"make_pages: the run under {policy} could not be recorded: {done.stderr.strip()}")

    def filled(self, arguments):
        return [a.format(**self.files) for a in arguments]

    def draw(self, view, arguments):
        for size in SIZES:
            picture = f"{view}-{size}.png"
            done = run([self.program, "screenshot", "--view", view, "--size", size, "--out", self.out / picture, *self.filled(arguments)])
            if done.returncode != 0:
                self.problem(f"screenshot of {view}: {done.stderr.strip()}")
            else:
                self.parts.append(f'<p><a href="{picture}"><img src="{picture}" alt="{view} at {size}"></a></p>')

    def command(self, arguments):
        done = run([self.program, *self.filled(arguments)])
        shown = " ".join(f'"{a}"' if " " in a else a for a in ["gatescope", *arguments])
        lines = done.stdout.splitlines()
        text = "\n".join(lines[:SHOWN_LINES]) + (f"\n… {len(lines) - SHOWN_LINES} more lines" if len(lines) > SHOWN_LINES else "")
        self.parts.append(f"<pre>{html.escape(shown)}\n\n{html.escape(text)}</pre>")
        if done.returncode != 0:
            self.problem(f"{shown}: exit code {done.returncode}: {done.stderr.strip()}")

    def checks(self, view, groups):
        rows = []
        for proof, expressions in groups.items():
            for expression in expressions:
                done = run(["ctest", "--test-dir", self.build, "-R", r"\." + expression, "--no-tests=error"], env=with_python(self.build))
                results = re.findall(r"Test +#\d+: (\S+) \.+ *(?:\*\*\*)?(\w+)", done.stdout)
                passed = sum(word == "Passed" for _, word in results)
                rows.append(f"<tr><td>{html.escape(proof)}</td><td><code>{html.escape(expression)}</code></td><td>{passed} of {len(results)} pass</td></tr>")
                if passed < max(len(results), 1):
                    self.problem(f"{view}: tests {expression}: {'none of that name' if not results else 'failed or skipped'}")
        self.parts.append("<table>" + "".join(rows) + "</table>")

    def page(self, row):
        self.parts.append(f'<h2 id="{row["view"]}">{row["view"]}</h2>')
        self.draw(row["view"], row["draw"])
        for arguments in row["commands"]:
            self.command(arguments)
        self.checks(row["view"], row["checks"])
        print(row["view"], flush=True)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    build, out = (pathlib.Path(a).resolve() for a in sys.argv[1:3])
    wanted = sys.argv[3:]
    rows = json.loads((pathlib.Path(__file__).parent / "pages.json").read_text())
    unknown = set(wanted) - {row["view"] for row in rows}
    if unknown:
        sys.exit(f"make_pages: no such view: {', '.join(sorted(unknown))}; there are {', '.join(row['view'] for row in rows)}")
    rows = [row for row in rows if not wanted or row["view"] in wanted]
    out.mkdir(parents=True, exist_ok=True)
    pages = Pages(build, out)
    pages.record()
    for row in rows:
        pages.page(row)
    links = " · ".join(f'<a href="#{row["view"]}">{row["view"]}</a>' for row in rows)
    body = f"<!doctype html><meta charset=utf-8><title>Gatescope, view by view</title><style>{STYLE}</style><h1>Gatescope, view by view</h1><p>{links}</p>"
    (out / "index.html").write_text(body + "\n".join(pages.parts))
    for text in pages.problems:
        print("make_pages:", text, file=sys.stderr)
    return 1 if pages.problems else 0


if __name__ == "__main__":
    sys.exit(main())
