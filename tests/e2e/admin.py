"""A client of the admin endpoint, and a gateway that has one."""
import http.client
import json
import re
import shutil
import socket
import subprocess

from harness import STEP, Case, free_port, until
from peers import Connection  # noqa: F401  (for those who build on this)

SAMPLE = re.compile(r'^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (-?[\d.e+]+|[+-]Inf|NaN)$')
LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=STEP)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(STEP)
        self.sock.connect(self.path)


def ask(address, path, method="GET", headers=None, body=None):
    """The status, the headers and the text of an answer."""
    link = (http.client.HTTPConnection(*address, timeout=STEP) if isinstance(address, tuple)
            else UnixConnection(address))
    try:
        link.request(method, path, body=body, headers=headers or {})
        answer = link.getresponse()
        return answer.status, answer.headers, answer.read().decode("ascii")
    finally:
        link.close()


def parse_metrics(text):
    """{(name, ((label, value), ...)): number}; refuses what Prometheus would."""
    samples, types, helped = {}, {}, set()
    open_family = None
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name = line.split(" ", 3)[2]
            assert name not in helped and len(line.split(" ", 3)) == 4, line
            helped.add(name)
            continue
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name in helped and name not in types, line
            assert kind in ("counter", "gauge", "histogram"), line
            types[name] = kind
            open_family = name
            continue
        match = SAMPLE.match(line)
        assert match, line
        name, labels, value = match.groups()
        family = re.sub(r"_(bucket|sum|count)$", "", name) if name not in types else name
        assert family == open_family, f"{line}: not with its family {open_family}"
        assert (types[family] == "counter") == name.endswith("_total"), line
        pairs = LABEL.findall(labels or "")
        assert labels is None or LABEL.sub("", labels) == "", line
        entry = (name, tuple(sorted(pairs)))
        assert entry not in samples, f"{line}: twice"
        samples[entry] = float(value)
    return samples, types


def check_histograms(samples, types):
    for name in (name for name, kind in types.items() if kind == "histogram"):
        counts = {labels: value for (metric, labels), value in samples.items()
                  if metric == name + "_count"}
        for labels, count in counts.items():
            buckets = [(float(dict(with_le)["le"]), value)
                       for (metric, with_le), value in samples.items() if metric == name + "_bucket"
                       and tuple(p for p in with_le if p[0] != "le") == labels]
            values = [value for _, value in sorted(buckets)]
            assert values == sorted(values) and values[-1] == count, (name, labels, buckets)
            assert buckets[-1][0] == float("inf")


class AdminCase(Case):
    """The gateway's admin address is self.admin."""

    def start(self, connect, *options, admin=None, **settings):
        self.admin = admin or ("127.0.0.1", free_port())
        text = ":".join(map(str, self.admin)) if isinstance(self.admin, tuple) else "unix:" + self.admin
        made = self.gateway(connect, "--admin", text, *options, **settings)
        return made

    def get(self, path, status=200, method="GET", **settings):
        got, headers, text = ask(self.admin, path, method, **settings)
        self.assertEqual(got, status, text)
        self.assertEqual(headers["Connection"], "close")
        if headers["Content-Type"] != "application/json":
            return text
        return json.loads(text)

    def metrics(self):
        """All samples; checked by our own parser, and by promtool where there is one."""
        text = self.get("/metrics")
        samples, types = parse_metrics(text)
        check_histograms(samples, types)
        promtool = shutil.which("promtool")
        if promtool:
            done = subprocess.run([promtool, "check", "metrics"], input=text, text=True, timeout=STEP,
                                  capture_output=True, check=False)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
        return samples

    def metric(self, name, **labels):
        """One sample of all those that have these labels at least: their sum; None: there is none."""
        wanted = set(labels.items())
        found = [value for (metric, pairs), value in self.metrics().items()
                 if metric == "esclusa_" + name and wanted <= set(pairs)]
        return sum(found) if found else None

    def until_metric(self, value, name, **labels):
        until(lambda: self.metric(name, **labels) == value,
              what=f"{name}{labels} to be {value}, not {self.metric(name, **labels)}")
