"""An include points down only; a third-party library is met in one room; only the top logs."""
import re

RANK = {
    "main": 9,
    "core": 8,
    "view": 8,
    "policy": 7,
    "config": 6,
    "relay": 5,
    "transport": 4,
    "tls": 3,
    "http": 3,
    "net": 2,
    "dialogue": 2,
    "event": 2,
    "sandbox": 2,
    "base": 1,
}
# Public headers by name where that is not the layer's own.
HEADER_LAYER = {
    "error": "base",
    "launcher": "sandbox",
    "file": "base",
    "inherit": "net",
    "proxy_header": "net",
    "sock_options": "net",
    "str": "base",
    "clock": "base",
    "random": "base",
    "buf": "base",
    "log": "base",
    "text": "base",
    "json": "base",
    "reason": "core",
    "manual": "config",
}
# A relay is moved bytes and ends of streams: it sees transports, not what they are made of.
# What looks at the gateway from outside is another program.
ONLY = {"relay": {"relay", "transport", "base"}, "view": {"view", "base"}}
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)
LOGGING = re.compile(r"\blog_(?:begin|end|message)\s*\(")


def header_layer(name):
    layer = HEADER_LAYER.get(name, name)
    return layer if layer in RANK and layer != "main" else None


def file_layer(path):
    """path: relative to the root."""
    if path.parts[0] == "include":
        return header_layer(path.stem)
    if len(path.parts) == 2:
        return "main"
    return path.parts[1] if path.parts[1] in RANK else None


def library_complaint(path, name):
    text = path.as_posix()
    if name.startswith("openssl/"):
        if not (text.startswith("src/tls/") or text == "src/transport/tp_tls.c"):
            return "OpenSSL is met only under src/tls and in src/transport/tp_tls.c"
    if name == "libconfig.h" and text != "src/config/parse.c":
        return "libconfig is met only in src/config/parse.c"
    if name == "seccomp.h" and text != "src/sandbox/seccomp.c":
        return "libseccomp is met only in src/sandbox/seccomp.c"
    if name == "linux/landlock.h" and text != "src/sandbox/landlock.c":
        return "Landlock is met only in src/sandbox/landlock.c"
    if name == "microhttpd.h" and text != "src/http/http.c":
        return "libmicrohttpd is met only in src/http/http.c"
    if name in ("ares.h", "ares_dns.h", "ares_nameser.h") and text != "src/policy/ares.c":
        return "c-ares is met only in src/policy/ares.c"
    if name.startswith("curl/") and text != "src/view/fetch.c":
        return "libcurl is met only in src/view/fetch.c"
    if name == "jansson.h" and text not in ("src/view/model.c", "src/view/model_status.c"):
        return "libjansson is met only in src/view/model.c and model_status.c"
    if name in ("curses.h", "ncurses.h", "term.h") and text != "src/view/top_screen.c":
        return "ncurses is met only in src/view/top_screen.c"
    if path.parts[:2] == ("src", "relay") and name in ("sys/socket.h", "sys/epoll.h"):
        return "the relay knows no sockets and no epoll"
    return None


def include_complaint(root, path, layer, quote, name):
    if quote == '"':
        if "/" in name:
            return f'"{name}" leaves its folder: a private header is its folder\'s own'
        if not (root / path.parent / name).is_file():
            return f'"{name}" is not in {path.parent.as_posix()}/'
        return None
    if not name.startswith("esclusa/"):
        return library_complaint(path, name)
    stem = name[len("esclusa/"):-len(".h")]
    target = header_layer(stem)
    if target is None:
        return f"<{name}> has no layer: name it in tests/tools/layers.py"
    if target == layer:
        return None
    if RANK[target] >= RANK[layer]:
        return f"<{name}> points up: {target} is not below {layer}"
    if layer in ONLY and target not in ONLY[layer]:
        return f"<{name}>: {layer} may see {', '.join(sorted(ONLY[layer]))} only"
    return None


def check(root, _options):
    complaints = []
    files = sorted(root.glob("src/**/*.[ch]")) + sorted(root.glob("include/esclusa/*.h"))
    if not files:
        return ["nothing to check"]
    for file in files:
        path = file.relative_to(root)
        text = file.read_text(encoding="utf-8")
        layer = file_layer(path)
        if layer is None:
            complaints.append(f"{path}: has no layer: name it in tests/tools/layers.py")
            continue
        for match in INCLUDE.finditer(text):
            complaint = include_complaint(root, path, layer, *match.groups())
            if complaint:
                line = text.count("\n", 0, match.start()) + 1
                complaints.append(f"{path}:{line}: {complaint}")
        in_log = path.as_posix() in ("src/base/log.c", "include/esclusa/log.h")
        if RANK[layer] < RANK["core"] and not in_log and LOGGING.search(text):
            complaints.append(f"{path}: logs; layers below core return errors")
    return complaints


def clean(root, put):
    for name in ("error", "log", "event", "net", "tls", "transport", "relay", "config", "policy",
                 "reason", "core"):
        put(root, f"include/esclusa/{name}.h", "#include <stddef.h>\n")
    put(root, "src/main.c", "#include <esclusa/core.h>\n#include <esclusa/log.h>\n")
    put(root, "src/core/session.h", "#include <esclusa/policy.h>\n")
    put(root, "src/core/session.c",
        '#include "session.h"\n#include <esclusa/reason.h>\nvoid f(void) { log_begin(0); }\n')
    put(root, "src/transport/tp_tls.c", "#include <openssl/ssl.h>\n#include <esclusa/tls.h>\n")
    put(root, "src/tls/verify.c", "#include <openssl/x509.h>\n#include <esclusa/error.h>\n")
    put(root, "src/config/parse.c", "#include <libconfig.h>\n")
    put(root, "src/http/http.c", "#include <microhttpd.h>\n#include <esclusa/net.h>\n")
    put(root, "src/relay/pump.c", "#include <esclusa/transport.h>\n")


def seeds(put):
    def file(path, text):
        return lambda root: put(root, path, text)

    return [
        ("an include that points up", file("src/net/sock.c", "#include <esclusa/core.h>\n"),
         "src/net/sock.c:1: <esclusa/core.h> points up"),
        ("one to a neighbour", file("src/net/sock.c", "\n# include <esclusa/event.h>\n"),
         "src/net/sock.c:2: <esclusa/event.h> points up"),
        ("a public header that points up", file("include/esclusa/tls.h",
                                                "#include <esclusa/transport.h>\n"),
         "include/esclusa/tls.h:1"),
        ("core from policy", file("src/policy/x.c", "#include <esclusa/reason.h>\n"), "points up"),
        ("OpenSSL elsewhere", file("src/core/x.c", "#include <openssl/ssl.h>\n"), "OpenSSL is met"),
        ("OpenSSL in a neighbour of tp_tls.c", file("src/transport/tp_plain.c",
                                                    "#include <openssl/ssl.h>\n"),
         "OpenSSL is met"),
        ("OpenSSL in a public header", file("include/esclusa/tls.h", "#include <openssl/ssl.h>\n"),
         "OpenSSL is met"),
        ("another program's layer", file("src/view/x.c", "#include <esclusa/net.h>\n"),
         "view may see base, view only"),
        ("libcurl elsewhere", file("src/view/x.c", "#include <curl/curl.h>\n"), "libcurl is met"),
        ("libjansson elsewhere", file("src/core/x.c", "#include <jansson.h>\n"),
         "libjansson is met"),
        ("ncurses elsewhere", file("src/view/x.c", "#include <curses.h>\n"), "ncurses is met"),
        ("libconfig elsewhere", file("src/config/schema.c", "#include <libconfig.h>\n"),
         "libconfig is met"),
        ("libseccomp elsewhere", file("src/core/x.c", "#include <seccomp.h>\n"),
         "libseccomp is met"),
        ("Landlock elsewhere", file("src/sandbox/x.c", "#include <linux/landlock.h>\n"),
         "Landlock is met"),
        ("libmicrohttpd elsewhere", file("src/core/admin.c", "#include <microhttpd.h>\n"),
         "libmicrohttpd is met"),
        ("c-ares elsewhere", file("src/policy/resolve.c", "#include <ares.h>\n"),
         "c-ares is met"),
        ("another folder's private header", file("src/core/x.c",
                                                 '#include "../tls/tls_internal.h"\n'),
         "leaves its folder"),
        ("a private header that is not there", file("src/tls/x.c", '#include "session.h"\n'),
         "is not in src/tls/"),
        ("TLS in the relay", file("src/relay/relay.c", "#include <esclusa/tls.h>\n"),
         "relay may see"),
        ("sockets in the relay", file("src/relay/relay.c", "#include <sys/socket.h>\n"),
         "no sockets"),
        ("a header of no layer", file("include/esclusa/stuff.h", "\n"), "has no layer"),
        ("a folder of no layer", file("src/misc/x.c", "\n"), "has no layer"),
        ("a log line below core", file("src/tls/x.c", "void f(void) { log_message (1); }\n"),
         "src/tls/x.c: logs"),
    ]
