"""The paths that the documents name exist."""
import re

FOLDERS = ("src", "include", "tests", "scripts", "certs", "docs", "config", "bench", "dist", ".ci")
# A path of the repository as words name it; one with more before it (build/run/certs) is another.
PATH = re.compile(r"(?<![\w./<>~-])((?:\./)?(?:" + "|".join(re.escape(f) for f in FOLDERS) +
                  r")/[\w./*-]*)(<?)")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")


def documents(root):
    return sorted(root.glob("*.md")) + sorted(root.glob("docs/*.md")) + sorted(
        root.glob("certs/*.md"))


def path_is_there(root, path, cut):
    """cut: a placeholder such as <module> follows, so that the folder alone can be asked for."""
    path = path.rstrip(".")
    if cut:
        path = path.rpartition("/")[0]
    if "*" in path:
        return any(root.glob(path))
    return (root / path).exists()


def check(root, _options):
    complaints = []
    files = documents(root)
    if not files:
        return ["nothing to check"]
    for file in files:
        name = file.relative_to(root)
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            for match in PATH.finditer(line):
                if not path_is_there(root, match.group(1), match.group(2)):
                    complaints.append(f"{name}:{number}: {match.group(1)} does not exist")
            for target in LINK.findall(line):
                if "://" in target or target.startswith("mailto:"):
                    continue
                if not (file.parent / target).exists():
                    complaints.append(f"{name}:{number}: link to {target}, which does not exist")
    return complaints


def clean(root, put):
    put(root, "src/core/session.c", "")
    put(root, "tests/unit/test_buf.c", "")
    put(root, "docs/architecture.md",
        "See src/core/session.c, `src/core/`, tests/unit/test_<module>.c, src/core/*.c.\n"
        "Not ours: build/run/certs/ca.pem, /etc/config/x, https://example.org/docs/y.\n"
        "[the readme](../README.md#first)\n")
    put(root, "README.md", "[how](docs/architecture.md) and [out](https://example.org/)\n")


def seeds(put):
    def text(path, line):
        return lambda root: put(root, path, line)

    return [
        ("a file that is not there", text("docs/a.md", "\nIn src/core/gone.c it\n"),
         "docs/a.md:2: src/core/gone.c does not exist"),
        ("the same in the readme", text("README.md", "`scripts/gone.sh`\n"), "scripts/gone.sh"),
        ("a path that ends a sentence", text("docs/a.md", "In include/esclusa/gone.h.\n"),
         "include/esclusa/gone.h"),
        ("a pattern that nothing matches", text("docs/a.md", "src/core/*.cc"), "src/core/*.cc"),
        ("a placeholder in a folder that is not there", text("docs/a.md", "tests/u/test_<m>.c"),
         "tests/u/"),
        ("a dead link", text("docs/a.md", "[x](gone.md)\n"), "link to gone.md"),
        ("a dead link in the readme", text("README.md", "[x](docs/gone.md#y)\n"), "docs/gone.md"),
    ]
