"""A source file that outgrows 600 lines has two jobs."""
MAX_LINES = 600


def check(root, _options):
    files = sorted(root.glob("src/**/*.[ch]")) + sorted(root.glob("include/**/*.h"))
    if not files:
        return ["nothing to check"]
    complaints = []
    for file in files:
        with open(file, encoding="utf-8") as text:
            lines = sum(1 for _ in text)
        if lines > MAX_LINES:
            complaints.append(f"{file.relative_to(root)}: {lines} lines, more than {MAX_LINES}")
    return complaints


def clean(root, put):
    put(root, "src/base/buf.c", "\n" * MAX_LINES)


def seeds(put):
    return [("a file too long", lambda root: put(root, "src/core/x.c", "\n" * (MAX_LINES + 1)),
             f"src/core/x.c: {MAX_LINES + 1} lines")]
