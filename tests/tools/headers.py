"""Each public header compiles alone, and twice."""
import subprocess

FLAGS = ["-std=c17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only",
         "-x", "c", "-"]


def check(root, options):
    complaints = []
    headers = sorted(root.glob("include/esclusa/*.h"))
    if not headers:
        return ["nothing to check"]
    for header in headers:
        # The second time shows a missing guard; the declaration is for -Wpedantic.
        include = f"#include <esclusa/{header.name}>\n"
        done = subprocess.run([options.compiler, f"-I{root / 'include'}", *FLAGS],
                              input=include * 2 + "extern int one_declaration;\n",
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            complaints.append(f"{header.relative_to(root)}: does not compile alone:\n{done.stderr}")
    return complaints


def clean(root, put):
    put(root, "include/esclusa/good.h",
        "#ifndef GOOD_H\n#define GOOD_H\n#include <stddef.h>\nstruct good { size_t n; };\n#endif\n")


def seeds(put):
    return [
        ("a header that leans on its includer",
         lambda root: put(root, "include/esclusa/bad.h",
                          "#ifndef BAD_H\n#define BAD_H\nextern size_t bad;\n#endif\n"),
         "include/esclusa/bad.h: does not compile alone"),
        ("a header without a guard",
         lambda root: put(root, "include/esclusa/twice.h", "struct twice { int n; };\n"),
         "include/esclusa/twice.h: does not compile alone"),
    ]
