"""`esclusa top`: in a terminal, which is tmux, and as text."""

import http.server
import itertools
import json
import os
import pty
import re
import signal
import subprocess
import threading
import time
import unittest

from admin import AdminCase
from harness import ESCLUSA, STEP, Case, certificate, end_process, free_port, need, until
from peers import Upstream, connect, echo, server_context
from test_reload import ConfigGateway, service, services
from test_view import view

NAMES = (f"esclusa-test-{os.getpid()}-{n}" for n in itertools.count())


def cpu_s(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_alive(pid):
    """A zombie is not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


class Terminal:
    """A tmux server of its own with one window, in which one command runs; pid: its process."""

    def __init__(self, folder, command, width=120, height=30, **environment):
        self.tmux = need("tmux")
        self.status = os.path.join(folder, "status")  # tmux 3.3a forgets it now and then
        with open(self.status, "w", encoding="ascii"):
            pass
        self.name = next(NAMES)
        # tmux leaves its socket behind: it goes with the folder.
        self.environment = {**os.environ, "LC_ALL": "C", "TMUX_TMPDIR": folder, **environment}
        for name in ("TMUX", "NO_COLOR"):
            if name not in environment:
                self.environment.pop(name, None)
        self("-f", "/dev/null", "start-server", ";", "set", "-g", "remain-on-exit", "on", ";",
             "new-session", "-d", "-x", width, "-y", height,
             f"{command}; echo $? >{self.status}")
        shell = int(self.asked("#{pane_pid}"))
        self.pid = int(until(lambda: self.children(shell), what="the program to begin")[0])

    @staticmethod
    def children(pid):
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return file.read().split()

    def __call__(self, *words):
        done = subprocess.run([self.tmux, "-L", self.name, *map(str, words)], env=self.environment,
                              timeout=STEP, text=True, capture_output=True, check=False)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def asked(self, what):
        return self("display-message", "-p", what).strip()

    def screen(self, *options):
        return self("capture-pane", "-p", *options)

    def wait(self, pattern, timeout=STEP):
        """What is seen once it matches."""
        seen = ""

        def matches():
            nonlocal seen
            seen = self.screen()
            return re.search(pattern, seen, re.MULTILINE)
        try:
            return until(matches, timeout, pattern)
        except AssertionError as why:
            raise AssertionError(f"{why}; the screen:\n{seen}") from None

    def keys(self, *names):
        self("send-keys", *names)

    def kill(self):
        subprocess.run([self.tmux, "-L", self.name, "kill-server"], env=self.environment,
                       timeout=STEP, capture_output=True, check=False)

    def end(self):
        """Also of a program that a fault would let live on."""
        self.kill()
        if is_alive(self.pid):
            time.sleep(0.2)
            try:
                os.kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def wait_exit(self):
        """The program's exit status, as the shell has it: 128 + the number of a signal."""
        def told():
            with open(self.status, encoding="ascii") as file:
                return file.read().strip()
        return int(until(told, what="the program to end"))


class TopCase(Case):
    def setUp(self):
        super().setUp()
        self.admin_port = free_port()

    def top(self, *options, width=120, height=30, **environment):
        words = " ".join(map(str, options)) or "--interval 0.2"
        return self.terminal(f"{os.path.abspath(ESCLUSA)} top --admin {self.admin_port} {words}",
                             width, height, **environment)

    def terminal(self, command, *size, **environment):
        made = Terminal(self.scratch(), command, *size, **environment)
        self.addCleanup(made.end)
        return made

    def two_services(self):
        """One that serves, and one that nobody is behind."""
        upstream = self.closing(Upstream(echo, server_context()))
        self.good, self.bad = free_port(), free_port()
        self.text = f'admin = "127.0.0.1:{self.admin_port}"; watch = false;\n' + services(
            service("apple", self.good, upstream.url(), f'ca = "{certificate("ca")}";',
                    'server_name = "localhost";'),
            service("zebra", self.bad, f"tls://127.0.0.1:{free_port()}", "required = false;"))
        return self.start()

    def start(self):
        gateway = ConfigGateway(self.scratch(), self.text)
        self.addCleanup(lambda: gateway.process.poll() is None and gateway.stop())
        return gateway

    def kill(self, gateway):
        gateway.signal(signal.SIGKILL)
        gateway.process.wait(STEP)

    def visit(self, port):
        consumer = connect(("127.0.0.1", port))
        try:
            consumer.send(b"hello")
            return consumer.read_exactly(5)
        except (OSError, AssertionError, EOFError):
            return None
        finally:
            consumer.close()

    def traffic(self):
        """Without an end, until the test has one."""
        over = threading.Event()

        def visit():
            while not over.wait(0.02):
                try:
                    self.visit(self.good)
                except OSError:
                    pass  # the gateway is not there for a while
        thread = threading.Thread(target=visit)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(over.set)


class Screen(TopCase):
    def test_services_rates_and_order(self):
        self.two_services()
        self.visit(self.bad)
        self.traffic()
        top = self.top()
        top.wait(r"^esclusa \d+\.\d+\.\d+  127\.0\.0\.1:\d+  generation 1  up \d+s  ready")
        # SERVICE STATE SESS NEW/S HS/S P50 P99 UP DOWN FAILED FAIL/S EXPIRES
        row = (r"^> apple +ok +\d+ +(?!0 )[\d.]+ +(?!0 )[\d.]+ +(?!0 )[\d.]+ +[\d.]+ +[\d.]+k? +[\d.]+k? "
               r"+0 +0  \d+d \d+h")
        top.wait(row)
        top.wait(r"^soonest expiry \d+d \d+h.*apple: ")
        top.wait(r"^sessions \d+ of \d+  new (?!0/)[\d.]+/s")
        top.wait(r"SERVICE\*(.*\n)+> apple(.*\n)+  zebra +part .* 1 +0  -")
        top.keys("r")
        top.wait(r"SERVICE\^(.*\n)+  zebra(.*\n)+> apple")  # selected is the service, not the line
        top.keys("r", "<", "<", "<")
        top.wait(r"FAILED\*(.*\n)+  zebra(.*\n)+> apple")
        top.keys("s")
        top.wait(r"FAIL/S\*")
        top.keys("q")
        self.assertEqual(top.wait_exit(), 0)

    def test_into_a_service_and_back(self):
        self.two_services()
        self.visit(self.good)
        self.visit(self.bad)
        top = self.top()
        top.wait("^> apple +ok")
        top.keys("j")
        top.wait("^> zebra")
        top.keys("Enter")
        top.wait(r"^Upstreams\n  tls://127\.0\.0\.1:\d+  failing\n +good never; failed \d+s ago with "
                 r"connect_failed, 1 in a row")
        top.wait(r"^Last failures\n  \d+s ago  connect_failed  phase connect  tls://")
        top.wait("^ +remedy: check that the upstream listens there")
        top.keys("Escape")
        top.wait("^> zebra")
        top.keys("Up", "Enter")
        top.wait(r"^ +its certificate expires in \d+d \d+h")
        top.wait("^  none is remembered")
        top.wait(r"^handshakes with upstream: p50 [\d.]+ ms")
        top.keys("G")
        top.wait(r"^Certificates\n  \d+d \d+h +upstream anchor ca  CN=")
        top.keys("BSpace")
        top.wait("^> apple")
        top.keys("?")
        top.wait("^esclusa top: keys")
        top.keys("Escape")
        top.wait("^> apple")

    def test_resize(self):
        self.two_services()
        top = self.top(width=130, height=20)
        top.wait("DOWN B/S")
        for width, height in ((60, 12), (130, 40), (20, 3), (1, 1), (130, 8)):
            top("resize-window", "-x", width, "-y", height)
            if height < 8:
                continue
            last = re.escape(" q quit  Enter details")
            top.wait(r"\A(.*\n){%d}%s" % (height - 1, last))
            self.assertEqual("DOWN B/S" in top.screen(), width > 100)
            self.assertIn("> apple", top.screen())
        top.keys("q")
        self.assertEqual(top.wait_exit(), 0)

    def test_small_screen_scrolls(self):
        self.text = f'admin = "127.0.0.1:{self.admin_port}"; watch = false;\n' + services(
            *(service(f"service-{n:02}", free_port(), f"tcp://127.0.0.1:{free_port()}")
              for n in range(30)))
        self.start()
        top = self.top(height=15)
        top.wait("^> service-00")
        top.keys("End")
        top.wait("^> service-29")
        self.assertNotIn("service-00", top.screen())
        top.keys("PageUp", "PageUp", "PageUp", "PageUp", "PageUp", "PageUp")
        top.wait("^> service-00")

    def test_killed_and_restarted(self):
        gateway = self.two_services()
        self.traffic()
        top = self.top()
        top.wait("^> apple +ok")
        self.kill(gateway)
        top.wait(r"^NO ANSWER for \d+s, trying on: cannot reach 127\.0\.0\.1:\d+")
        top.wait(r"^NO ANSWER for [2-9]s")  # it counts on
        top.wait("^> apple")                # what was known is there
        self.start()
        top.wait("^the gateway was restarted; rates begin anew")
        top.wait(r"^> apple +ok +\d+ +(?!0 )[\d.]+ ")
        seen = top.screen()
        self.assertNotIn("NO ANSWER", seen)
        self.assertNotRegex(seen, r" -\d")

    def test_begins_without_a_gateway(self):
        top = self.top()
        top.wait("^NO ANSWER yet, trying on: cannot reach")
        self.two_services()
        top.wait("^> apple")

    def test_one_that_hangs_keeps_no_key_waiting(self):
        gateway = self.two_services()
        top = self.top()
        top.wait("^> apple")
        gateway.freeze()
        self.addCleanup(gateway.signal, signal.SIGCONT)
        top.wait("^NO ANSWER for [1-9]")
        # An answer is waited for 5 s. Those that a test loses to a busy machine come not three times.
        for key, words in (("?", "^esclusa top: keys"), ("Escape", "^> apple"), ("Enter", "^apple$")):
            top.keys(key)
            top.wait(words, 4)
        gateway.signal(signal.SIGCONT)
        until(lambda: "NO ANSWER" not in top.screen(), what="the gateway to be heard again")

    def test_colours_or_none(self):
        self.two_services()
        for _ in range(3):
            self.visit(self.bad)
        red = "\x1b[1m\x1b[31mDOWN"
        top = self.top()
        top.wait("^  zebra +DOWN")
        self.assertIn(red, top.screen("-e"))
        for settings in ({"NO_COLOR": "1"}, {"TERM": "vt100"}):
            # tmux sets TERM for what runs in it.
            words = " ".join(f"{name}={value}" for name, value in settings.items())
            plain = self.terminal(f"env {words} {os.path.abspath(ESCLUSA)} top --admin "
                                  f"{self.admin_port}")
            plain.wait("^  zebra +DOWN")
            self.assertNotIn("[31m", plain.screen("-e"))
            self.assertIn("DOWN", plain.screen("-e"))


class Ends(TopCase):
    def test_no_busy_loop(self):
        gateway = self.two_services()
        top = self.top("--interval 1")
        top.wait("^> apple")
        for _ in range(2):
            before, since = cpu_s(top.pid), time.monotonic()
            time.sleep(2)
            self.assertLess(cpu_s(top.pid) - before, 0.4 * (time.monotonic() - since))
            self.kill(gateway)  # and now with nobody who answers
            top.wait("^NO ANSWER")

    def test_tmux_is_killed(self):
        self.two_services()
        # With SIGHUP comes SIGCONT, which takes away the SIGSTOP by which LeakSanitizer attaches to
        # a process that ends: it would wait for that for ever.
        quick = ":".join(filter(None, [os.environ.get("ASAN_OPTIONS"), "detect_leaks=0"]))
        top = self.top(ASAN_OPTIONS=quick)
        top.wait("^> apple")
        top.kill()
        until(lambda: not is_alive(top.pid), what="top to end with its terminal")

    def test_the_terminal_is_gone_without_a_signal(self):
        """As under nohup: what its terminal says is all there is."""
        self.two_services()
        for immune in (False, True):
            mine, its = pty.openpty()
            process = subprocess.Popen(
                [ESCLUSA, "top", "--admin", str(self.admin_port)], stdin=its, stdout=its,
                env={**os.environ, "TERM": "xterm"},
                preexec_fn=(lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)) if immune else None)
            self.addCleanup(end_process, process, signal.SIGKILL)
            os.close(its)
            seen = b""
            while b"apple" not in seen:
                seen += os.read(mine, 65536)
            os.close(mine)
            self.assertEqual(process.wait(STEP), 0)

    def test_signals(self):
        self.two_services()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            top = self.top()
            top.wait("^> apple")
            os.kill(top.pid, number)
            self.assertEqual(top.wait_exit(), 0)

    def test_the_terminal_is_as_before(self):
        self.two_services()
        program = f"{os.path.abspath(ESCLUSA)} top --admin {self.admin_port}"
        for key in ("q", "C-c"):
            # An interactive shell would set it right. Where that is a signal, it is for top alone.
            top = self.terminal(f"trap : INT; {program}; echo ended $?; stty -a; sleep 60")
            top.wait("^> apple")
            top.keys(key)
            seen = top.wait(r"^ended 0(.*\n)+.*\becho\b")
            for word in ("icanon", "echo", "icrnl", "isig", "onlcr"):
                self.assertRegex(seen.string, rf"(^|\s){word}\b")
            self.assertNotIn("apple", seen.string)

    def test_stopped_and_continued(self):
        self.two_services()
        shell = self.terminal("bash --norc --noprofile -i")
        shell.wait(r"bash.*[$#]$")
        shell.keys(f"{os.path.abspath(ESCLUSA)} top --admin {self.admin_port}", "Enter")
        shell.wait("^> apple")
        shell.keys("C-z")
        shell.wait("Stopped")
        shell.keys("fg", "Enter")
        shell.wait("^> apple(.*\n)+ q quit")
        shell.keys("q")
        shell.keys("echo status $?", "Enter")
        shell.wait("^status 0")


class Pretender(http.server.BaseHTTPRequestHandler):
    answers = {}

    def do_GET(self):
        body = self.answers.get(self.path, "").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Once(TopCase, AdminCase):
    def test_table(self):
        self.two_services()
        self.traffic()
        done = view("top", "--once", "--interval=0.5", "--admin", self.admin_port)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"\Aesclusa \d")
        self.assertRegex(done.stdout, r"(?m)^  SERVICE\* +STATE +SESS +NEW/S +HS/S +P50 MS .* EXPIRES$")
        self.assertRegex(done.stdout, r"(?m)^  apple +ok +\d+ +(?!0 )[\d.]+ +(?!0 )[\d.]+ +[\d.]+ ")
        self.assertNotIn("\x1b", done.stdout)
        self.assertNotRegex(done.stdout, r"(?m) $")

    def test_over_a_unix_socket(self):
        upstream = self.closing(Upstream(echo))
        self.start_one(upstream)
        done = view("top", "--once", "--interval", "0.1", "--admin", "unix:" + self.admin)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"(?m)^  default ")

    def start_one(self, upstream):
        AdminCase.start(self, upstream.url(), admin=self.scratch() + "/admin")

    def test_no_answer(self):
        done = view("top", "--once", "--admin", self.admin_port)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertRegex(done.stderr, r"\Aesclusa: cannot reach 127\.0\.0\.1:\d+: .*\n\Z")

    def test_no_terminal(self):
        self.two_services()
        done = view("top", "--admin", self.admin_port)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("--once", done.stderr)
        mine, its = pty.openpty()
        try:
            done = subprocess.run([ESCLUSA, "top", "--admin", str(self.admin_port)], stdin=its,
                                  stdout=its, stderr=subprocess.PIPE, text=True, timeout=STEP,
                                  env={**os.environ, "TERM": "no-such-terminal"}, check=False)
        finally:
            os.close(its)
            os.close(mine)
        self.assertEqual(done.returncode, 1)
        self.assertIn("TERM", done.stderr)
        self.assertIn("--once", done.stderr)

    def test_wrong_words(self):
        for words in (("--interval", "0"), ("--interval", "x"), ("--json",), ("5",), ("--interval",)):
            done = view("top", "--admin", self.admin_port, *words)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertEqual(done.stderr.count("\n"), 1)

    def pretend(self, status, metrics, failures=""):
        answers = {"/status": json.dumps(status), "/metrics": metrics, "/failures": failures}
        server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", self.admin_port), type("This", (Pretender,), {"answers": answers}))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)

    def test_what_others_say_drives_no_terminal(self):
        evil = "a\x1b[2J\x1b]0;x\x07\x9bc\n\x7f\u202eb"
        self.pretend({"version": evil, "state": evil, "started_seconds": 5, "not_ready": [evil],
                      "config": {"reload_ok": False, "reload_error": evil},
                      "services": [{"name": evil, "usable": True,
                                    "upstreams": [{"address": evil, "state": evil,
                                                   "last_reason": evil}],
                                    "certificates": [{"subject": evil, "use": evil,
                                                      "not_after_seconds": 9}]}]},
                     "esclusa_start_time_seconds 5\n",
                     json.dumps({"failures": [{"service": evil, "reason": evil, "error": evil,
                                               "remedy": evil}]}))
        done = view("top", "--once", "--interval", "0.1", "--admin", self.admin_port)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual([c for c in done.stdout if c != "\n" and not " " <= c <= "~"], [])
        self.assertIn("a\\x1b[2J\\x1b]0;x", done.stdout)
        top = self.top()
        top.wait(r"^> a\\x1b\[2J")
        top.keys("Enter")
        top.wait(r"^ +remedy: a\\x1b\[2J")

    def test_not_an_admin_endpoint(self):
        for status in ({}, {"services": {}}, []):
            self.pretend(status, "<html>\x1b[2J")
            done = view("top", "--once", "--interval", "0.1", "--admin", self.admin_port)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn("is it esclusa's admin endpoint?", done.stderr)
            self.doCleanups()
        self.pretend({"services": [{}]}, "<html>\x1b[2J")  # an older one, or a newer
        done = view("top", "--once", "--interval", "0.1", "--admin", self.admin_port)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertNotIn("\x1b", done.stdout)


if __name__ == "__main__":
    unittest.main()
