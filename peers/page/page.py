"""What the status page shows, compared with what its endpoints and pyvmomi say: called as page.py VSPHERE-SIM [FOLDER]."""

import html
import http.server
import json
import pathlib
import sys
import tempfile
import threading
import urllib.error
import urllib.request

from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl

from browser import Browser, origin_of
from peer import MIB, Peer, changed_areas, disks_of, snapshot
from simulator import Simulator, expect, expect_fault, run_checks

MACHINES = 240
OPTIONS = ["--vms", str(MACHINES), "--hosts", "3", "--clusters", "2", "--datastores", "2", "--networks", "2", "--folders", "3",
           "--pools", "1"]
HOSTILE = "<script>window.hacked=1</script><img src=x onerror=hacked=2> & \"co\""
KEY = 2000
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


class Visit:
    """The simulator, a session of pyvmomi with it, and the page in a browser."""

    def __init__(self, simulator, browser):
        self.simulator, self.browser = simulator, browser
        self.peer = Peer(simulator)
        self.tab = browser.tab()
        self.tab.look(1280)
        # Machines of which each check has its own.
        self.tracked = self.peer.tracked()
        self.branched = self.peer.tracked()
        self.off = self.peer.machine()
        self.hostile = self.peer.machine()
        for machine, name in ((self.hostile, HOSTILE), (self.tracked, "web-01"), (self.branched, "db-01"), (self.off, "build-agent")):
            WaitForTask(machine.Rename_Task(name))
        self.first = self.grow(self.tracked)
        self.branch(self.branched)
        self.tab.open(simulator.control + "/")
        self.tab.until("document.querySelector('[role=treeitem]')", "the page shows no inventory")

    def grow(self, machine):
        """Three snapshots with writes before each, and none after the last."""
        first = None
        for number, (name, places) in enumerate([("nightly", [(0, MIB), (300 * MIB, 64 << 10)]),
                                                 ("before the upgrade", [(500 * MIB, 32 * MIB), (4096, 4096)]),
                                                 ("weekly", [(900 * MIB, 4096), (40 * MIB, 8 * MIB)])]):
            for place, length in places:
                self.simulator.guest_write(machine, KEY, place, length, number)
            made = snapshot(machine, name)
            first = first or made
        return first

    def branch(self, machine):
        """A snapshot, writes, another one, then back to the first and on from there."""
        self.simulator.guest_write(machine, KEY, 0, 16 * MIB, 1, force=True)
        root = snapshot(machine, "root")
        self.simulator.guest_write(machine, KEY, 100 * MIB, 48 * MIB, 2, force=True)
        snapshot(machine, "one way")
        WaitForTask(root.RevertToSnapshot_Task())
        self.simulator.guest_write(machine, KEY, 700 * MIB, 80 * MIB, 3, force=True)

    def told(self, path):
        with urllib.request.urlopen(f"{self.simulator.control}/v1/{path}", timeout=60) as answer:
            return json.load(answer)

    def choose(self, machine):
        """Looks for a machine by its id and clicks on it."""
        self.tab.write("#filter", machine._moId)
        item = f"[role=treeitem][data-id='{machine._moId}'] .line"
        self.tab.until(f"document.querySelector(\"{item}\") && document.querySelectorAll('[role=treeitem]').length === 1",
                       f"the filter does not find {machine._moId}")
        self.tab.click(item)
        self.tab.until(f"document.querySelector('#disk-{KEY} .map') && document.querySelector('.facts').textContent.includes('{machine._moId}')",
                       f"{machine._moId} is not shown")
        self.tab.write("#filter", "")
        self.tab.run("document.querySelector('#filter').value = ''; document.querySelector('#filter').dispatchEvent(new Event('input'))")
        self.tab.until("document.querySelector('[role=treeitem]').dataset.id.startsWith('datacenter')", "the tree does not come back")

    def bars(self):
        """Of the first disk's bars: what they are of, and the cells that are marked."""
        return self.tab.run(f"""[...document.querySelectorAll("#disk-{KEY} [data-link], #disk-{KEY} [data-row]")].map((found) => {{
            const map = found.querySelector(".map");
            const marks = map ? [...map.querySelectorAll("rect[class^=step]")].flatMap((mark) => {{
                const [x, width] = ["x", "width"].map((name) => Number(mark.getAttribute(name)));
                return [...Array(width).keys()].map((at) => x + at);
            }}) : null;
            return {{ name: found.dataset.link ?? found.dataset.row, bytes: map && Number(map.dataset.bytes),
                      areas: map && Number(map.dataset.areas), marks, text: found.innerText }};
        }})""")


def cells_of(areas, cell):
    """The cells that areas touch."""
    return sorted({index for start, length in areas for index in range(start // cell, (start + length - 1) // cell + 1)})


@check
def the_inventory_is_pyvmomis(visit):
    tab = visit.tab
    # Everything is opened, page after page, until nothing more is there to be opened.
    # What was asked for may take a while to come, so it has to be quiet for some time.
    quiet = 0
    for _ in range(100):
        left = tab.run("""(() => {
            const closed = [...document.querySelectorAll("#tree [aria-expanded=false] > .line, #tree .note button")];
            closed.forEach((found) => found.click());
            return closed.length;
        })()""")
        quiet = 0 if left else quiet + 1
        if quiet == 6:
            break
        tab.run("new Promise((done) => setTimeout(done, 300))")
    expect(left == 0, f"{left} objects are not opened yet")
    shown = tab.run("[...document.querySelectorAll('[role=treeitem]')].map((item) => [item.dataset.id, item.querySelector('.name').textContent])")
    seen = {tuple(pair) for pair in shown}
    content = visit.peer.content
    there = {(entity._moId, entity.name.replace("%2f", "/").replace("%5c", "\\").replace("%25", "%"))
             for entity in visit.peer.all_of(vim.ManagedEntity)}
    expect(seen == there, f"only on the page: {seen - there}; only in pyvmomi: {there - seen}")
    expect(len({pair for pair in seen if pair[0].startswith("vm-")}) == MACHINES, "machines are missing")
    host = visit.peer.all_of(vim.HostSystem)[1]
    below = tab.run(f"[...document.querySelectorAll(\"[data-id='{host._moId}'] > ul > li\")].map((item) => item.dataset.id)")
    expect(sorted(below) == sorted(machine._moId for machine in host.vm), "a host has other machines")
    counts = tab.run("document.querySelector('#counts').innerText")
    expect(f"{MACHINES} machines" in counts.replace("\n", " "), f"the head says {counts!r}")
    expect(content.about.apiVersion in tab.run("document.querySelector('#release').textContent"), "another version is shown")


@check
def the_tree_goes_by_keys(visit):
    tab = visit.tab
    tab.run("document.querySelector('[role=treeitem]').focus()")
    first = tab.run("document.activeElement.dataset.id")
    tab.press("ArrowDown")
    expect(tab.run("document.activeElement.dataset.id") != first, "the arrow down goes nowhere")
    was = tab.run("document.activeElement.getAttribute('aria-expanded')")
    tab.press("Enter")
    tab.until(f"document.activeElement.getAttribute('aria-expanded') !== '{was}'", "Enter neither opens nor closes")
    tab.press("ArrowUp")
    expect(tab.run("document.activeElement.dataset.id") == first, "the arrow up does not lead back")
    tab.press("ArrowLeft")
    tab.until("document.activeElement.getAttribute('aria-expanded') === 'false'", "the arrow to the left does not close")


@check
def the_chain_and_its_maps_are_pyvmomis(visit):
    machine = visit.tracked
    visit.choose(machine)
    told = visit.told(f"machines/{machine._moId}/disks/{KEY}")
    bars = {bar["name"]: bar for bar in visit.bars()}
    disk, chain = disks_of(machine)[KEY], []
    backing = disk.backing
    while backing is not None:
        chain.append(backing.fileName)
        backing = backing.parent
    expect([link["path"] for link in reversed(told["links"])] == chain, f"{told['links']} is not pyvmomi's {chain}")
    files = [path.rsplit("/", 1)[1] for path in chain]
    expect([name for name in bars if name in files] == files, f"the page's chain is {list(bars)}, pyvmomi's {files}")
    for link, file in zip(reversed(told["links"]), files):
        bar, own = bars[file], link["allocated"]
        marked = [at for at, there in enumerate(own["cells"]) if there]
        expect((bar["bytes"], bar["areas"], bar["marks"]) == (own["bytes"], own["areas"], marked), f"the map of {file} is another")
        expect(("live" in bar["text"]) == link["live"], f"{file} is shown as {bar['text']!r}")
    tree = machine.snapshot.rootSnapshotList[0]
    while tree:
        backing = disks_of(tree.snapshot)[KEY].backing
        link = next(link for link in told["links"] if link["path"] == backing.fileName)
        expect(link["frozen_by"] == [tree.snapshot._moId], f"{link['path']} is frozen by {link['frozen_by']}")
        expect(f"frozen by {tree.name}" in bars[backing.fileName.rsplit("/", 1)[1]]["text"], f"the page does not say what {tree.name} froze")
        expect(link["change_id"] == backing.changeId, f"{tree.name} has the change id {backing.changeId}")
        # Nothing was written after the last snapshot, so that what changed up to it has changed up to now.
        areas = changed_areas(machine, machine.snapshot.currentSnapshot, disk, backing.changeId)
        row = bars[tree.snapshot._moId]
        expect(row["bytes"] == sum(length for _, length in areas), f"since {tree.name}: {row['bytes']} bytes on the page, {areas} in pyvmomi")
        expect(row["marks"] == cells_of(areas, told["cell"]), f"since {tree.name}: other places are marked")
        expect(backing.changeId in row["text"], f"since {tree.name}: the change id is not shown")
        tree = tree.childSnapshotList[0] if tree.childSnapshotList else None
    everything = changed_areas(machine, machine.snapshot.currentSnapshot, disk, "*")
    whole = bars["whole disk"]
    expect(whole["bytes"] == visit_sum(visit, machine), "the whole disk's map is not that of /v1/disk-extents")
    expect(set(whole["marks"]) <= set(cells_of(everything, told["cell"])), "more is marked than pyvmomi has as allocated")


def visit_sum(visit, machine):
    extents = visit.told(f"disk-extents?vm={machine._moId}&disk={KEY}")
    return sum(length for _, length in extents["allocated"])


@check
def a_map_follows_a_write(visit):
    visit.choose(visit.tracked)
    before = {bar["name"]: bar for bar in visit.bars()}[visit.first._moId]
    visit.tab.run(f"document.querySelector('#disk-{KEY} details').open = true")
    visit.tab.write(f"#disk-{KEY} [name=offset]", "700m")
    visit.tab.write(f"#disk-{KEY} [name=length]", "128k")
    visit.tab.click(f"#disk-{KEY} details button")
    grown = before["bytes"] + (128 << 10)
    visit.tab.until(f"Number(document.querySelector(\"#disk-{KEY} [data-row='{visit.first._moId}'] .map\").dataset.bytes) === {grown}",
                    f"the map does not show {grown} changed bytes")


@check
def a_branch_is_drawn(visit):
    visit.choose(visit.branched)
    told = visit.told(f"machines/{visit.branched._moId}/disks/{KEY}")
    expect(len(told["links"]) == 3, f"{told['links']}")
    lanes = visit.tab.run(f"[...document.querySelectorAll('#disk-{KEY} .gutter circle')].map((dot) => dot.getAttribute('cx'))")
    expect(len(lanes) == 3 and len(set(lanes)) == 2, f"the links are drawn at {lanes}")
    # Going back renews the tracking: the ids from before are refused, to the page as to pyvmomi.
    expect(all("refused" in since for since in told["changed"]), f"{told['changed']}")
    text = visit.tab.run(f"document.querySelector('#disk-{KEY}').innerText")
    after = snapshot(visit.branched, "after")
    for since in told["changed"]:
        expect(since["refused"] in text, f"the page does not say: {since['refused']}")
        expect_fault(vim.fault.FileFault,
                     lambda since=since: visit.branched.QueryChangedDiskAreas(after, KEY, 0, since["change_id"]))


@check
def a_name_is_never_markup(visit):
    visit.choose(visit.hostile)
    shown = visit.tab.run("document.querySelector('#head h2').textContent")
    expect(shown == HOSTILE, f"the name is shown as {shown!r}")
    expect(visit.tab.run("typeof window.hacked") == "undefined", "a name was run")
    expect(visit.tab.run("document.querySelectorAll('main script, main img').length") == 0, "a name became elements")


@check
def a_rule_is_added_counted_and_taken_back(visit):
    tab = visit.tab
    tab.write("#fault-rule", '{"method": "CurrentTime", "fault": "NoSuchFault"}')
    tab.click("#fault-form button[type=submit]")
    tab.until("document.querySelector('#fault-error').textContent.includes('fault')", "a rule that cannot be is not refused")
    tab.write("#fault-rule", '{"method": "CurrentTime", "fault": "NotSupported", "count": 1}')
    tab.click("#fault-form button[type=submit]")
    tab.until("document.querySelector('[data-rule] .state')?.textContent === '0 of 0 calls'", "the rule does not appear")
    expect(tab.run("document.querySelector('#fault-error').textContent") == "", "the old error stays")
    expect_fault(vmodl.fault.NotSupported, visit.peer.service.CurrentTime)
    visit.peer.service.CurrentTime()
    tab.until("document.querySelector('[data-rule] .state').textContent === '1 of 2 calls'", "the counter does not rise")
    tab.click("[data-rule] button")
    tab.until("!document.querySelector('[data-rule]')", "the rule stays on the page")
    expect(visit.told("faults")["rules"] == [], "the rule stays")


@check
def a_task_is_seen_to_get_on(visit):
    lease = visit.off.ExportVm()
    while lease.state == "initializing":
        pass
    for percent in (20, 65):
        lease.HttpNfcLeaseProgress(percent)
        visit.tab.until(f"[...document.querySelectorAll('.tasks progress')].some((bar) => bar.value === {percent})",
                        f"no task is at {percent} %")
        running = [task for task in visit.told("tasks")["tasks"] if task["state"] == "running"]
        expect([task["progress"] for task in running] == [percent], f"{running}")
        infos = [task.info for task in visit.peer.content.taskManager.recentTask if task.info.state == "running"]
        expect([info.progress for info in infos] == [percent], "pyvmomi sees another progress")
    lease.HttpNfcLeaseComplete()
    visit.tab.until("!document.querySelector('.tasks progress')", "the task does not end")


@check
def screenshots(visit):
    visit.choose(visit.tracked)
    lease = visit.off.ExportVm()
    while lease.state == "initializing":
        pass
    lease.HttpNfcLeaseProgress(42)
    visit.simulator.tell("faults", method="CreateSnapshot_Task", where="task", fault="ApplicationQuiesceFault", progress=60, skip=1)
    visit.simulator.tell("faults", method="CurrentTime", delay_ms=1)
    visit.peer.service.CurrentTime()
    visit.tab.until("document.querySelectorAll('[data-rule]').length === 2 && document.querySelector('.tasks progress')", "all is not there")
    WaitForTask(visit.hostile.Rename_Task("mail-01"))
    # The tree as somebody has opened it who looks at this machine, and nothing else in it.
    visit.tab.run("document.querySelectorAll('#tree [role=group] [aria-expanded=true] > .line').forEach((line) => line.click())")
    for step in ("datacenter-2", visit.tracked.parent.parent._moId, visit.tracked.parent._moId):
        visit.tab.until(f"document.querySelector(\"[data-id='{step}']\")", f"{step} is not in the tree")
        visit.tab.run(f"(() => {{ const item = document.querySelector(\"[data-id='{step}']\");"
                      "if (item.getAttribute('aria-expanded') !== 'true') item.firstChild.click(); })()")
    marked = f"document.querySelector(\"[data-id='{visit.tracked._moId}']\")"
    visit.tab.until(f"{marked}?.getAttribute('aria-selected') === 'true'", "the machine is not marked in the tree")
    visit.tab.run(f"{marked}.scrollIntoView({{ block: 'center' }}); scrollTo(0, 0); document.activeElement.blur()")
    for name, width, dark, height in (("page", 1280, False, 1000), ("page-dark", 1280, True, 1000), ("page-narrow", 480, False, 1600),
                                      ("page-middle", 1000, True, 1400)):
        visit.tab.look(width, dark, height)
        visit.tab.run("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 100)))")
        wider = visit.tab.run("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        expect(wider <= 0, f"at {width} pixels the page is {wider} too wide")
        visit.tab.screenshot(visit.folder / f"{name}.png")
    visit.tab.look(1280)
    lease.HttpNfcLeaseAbort()
    urllib.request.urlopen(urllib.request.Request(f"{visit.simulator.control}/v1/faults", method="DELETE"), timeout=60).close()


@check
def sessions_are_shown_and_expired(visit):
    tab, told = visit.tab, visit.told("sessions")["sessions"]
    cookie = visit.peer.service._stub.cookie.split('"')[1]
    expect(len(cookie) > 20 and cookie not in json.dumps(told), "a cookie is given away")
    expect(visit.peer.content.sessionManager.currentSession.key not in json.dumps(told), "a session's key is given away")
    expect(told[0]["user"] == "peer@vsphere.local" and told[0]["address"] == "127.0.0.1", f"{told}")
    expect("127.0.0.1" in tab.run("document.querySelector('.sessions').innerText"), "the address is not shown")
    tab.click("#sessions button")
    tab.until("document.querySelector('#sessions').textContent.includes('nobody')", "the sessions stay on the page")
    expect_fault(vim.fault.NotAuthenticated, lambda: visit.tracked.name)
    visit.peer = Peer(visit.simulator)


@check
def the_clock_is_advanced(visit):
    before = visit.told("clock")["now"]
    visit.tab.write("#clock-amount", "26")
    visit.tab.run("document.querySelector('#clock-unit').value = '3600'")
    visit.tab.click("#clock-form button")
    visit.tab.until("document.querySelector('#sessions').textContent.includes('nobody')", "an idle session outlives 26 hours")
    after = visit.told("clock")["now"]
    expect(after[:10] > before[:10], f"{before} became {after}")
    visit.peer = Peer(visit.simulator)


@check
def pages_of_others_are_kept_out(visit):
    control = visit.simulator.control
    snare = f"""<!doctype html><title>snare</title><form id=f method=post action="{control}/v1/faults" enctype="text/plain" target=_self>
        <input name='{html.escape('{"method": "*", "where": "http", "message": "')}' value='"}}'></form><script>
        const types = ["text/plain", "application/x-www-form-urlencoded"];
        const asked = types.map((type) => fetch("{control}/v1/sessions/expire", {{ method: "POST", mode: "no-cors",
            headers: {{ "Content-Type": type }}, body: "{{}}" }}).catch(() => 0));
        asked.push(fetch("{control}/v1/sessions").then((answer) => answer.text()).then((text) => {{ window.read = text; }}).catch(() => 0));
        asked.push(fetch("{control}/v1/faults", {{ method: "DELETE" }}).catch(() => 0));
        Promise.all(asked).then(() => {{ window.done = true; }});</script>"""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(snare.encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    visit.simulator.tell("faults", method="Nothing", fault="NotSupported")
    tab = visit.browser.tab()
    tab.open(f"http://127.0.0.1:{server.server_port}/")
    tab.until("window.done", "the snare does not run")
    expect(tab.run("window.read") is None, "a page of another origin read the sessions")
    tab.run("document.querySelector('#f').submit()")
    tab.until(f"location.href === '{control}/v1/faults'", "the form is not sent")
    expect("error" in tab.run("document.body.innerText"), "the form is not refused")
    server.shutdown()
    server.server_close()
    rules = visit.told("faults")["rules"]
    expect([rule["rule"]["method"] for rule in rules] == ["Nothing"], f"a page of another origin changed the rules to {rules}")
    expect(visit.peer.service.CurrentTime() is not None, "a page of another origin ended the session")
    # A name of others that leads to this machine.
    port = control.rsplit(":", 1)[1]
    tab.open(f"http://rebound.example:{port}/v1/sessions")
    expect("loopback" in tab.run("document.body.innerText") and "user" not in tab.run("document.body.innerText"),
           "a name of others is let in")


@check
def nothing_went_wrong_and_nothing_left_the_page(visit):
    visit.tab.run("1")
    # The rule that was refused on purpose is told of by the browser, too.
    problems = [problem for problem in visit.tab.problems if not ("400" in problem and problem.endswith("/v1/faults"))]
    expect(problems == [], f"the console says: {problems}")
    expect(len(visit.tab.problems) - len(problems) == 1, "the refused rule is told of")
    elsewhere = {url for url in visit.tab.requests if origin_of(url) != visit.simulator.control}
    expect(elsewhere == set() and len(visit.tab.requests) > 20, f"asked elsewhere for {elsewhere}")


def main():
    program, *rest = sys.argv[1:]
    with tempfile.TemporaryDirectory() as data, Simulator(program, data, *OPTIONS) as simulator, \
            Browser("rebound.example") as browser:
        visit = Visit(simulator, browser)
        visit.folder = pathlib.Path(rest[0] if rest else data)
        visit.folder.mkdir(parents=True, exist_ok=True)
        sys.exit(0 if run_checks(CHECKS, rest[1:], [], visit) else 1)


if __name__ == "__main__":
    main()
