// The status page: asks the control port every second, and shows what it is told. Nothing is kept, and nothing made up.

import { ask, at, el, many, number, show } from "/dom.js";
import * as tree from "/tree.js";
import * as machine from "/machine.js";
import * as live from "/live.js";

const PAUSE = 1000;

function header(server) {
  document.title = `vsphere-sim ${server.url.replace(/^https:\/\/|\/sdk$/g, "")}`;
  const mode = server.mode === "HostAgent" ? "ESXi host" : "vCenter";
  show(at("release"), [server.version, server.api_version, mode], () => [
    el("span.badge", null, mode), ` API ${server.api_version} · version ${server.version}`,
  ]);
  const c = server.counts;
  const counts = [
    [c.machines, "machine", `${number(c.powered_on)} on`], [c.snapshots, "snapshot"], [c.hosts, "host"], [c.clusters, "cluster"],
    [c.datastores, "datastore"], [c.datacenters, "datacenter"],
  ];
  show(at("counts"), counts, () => counts.map(([count, one, more]) => el("li", null,
    el("b", null, number(count)), ` ${many(count, one).split(" ").pop()}`, more && el("small", null, ` ${more}`))));
}

function connected(problem) {
  const element = at("connection");
  element.classList.toggle("lost", Boolean(problem));
  const text = problem ? `no answer: ${problem}` : "live";
  if (element.textContent !== text) element.textContent = text;
}

async function refresh() {
  const [server, tasks, sessions, faults] = await Promise.all(
    ["server", "tasks", "sessions", "faults"].map((what) => ask("GET", `/v1/${what}`)));
  header(server);
  live.server(server);
  live.tasks(tasks, server);
  live.sessions(sessions);
  live.faults(faults);
  await Promise.all([tree.refresh(server.revision), machine.refresh(tasks.tasks)]);
}

async function run() {
  for (;;) {
    if (!document.hidden) {
      try {
        await refresh();
        connected(null);
      } catch (error) {
        connected(error.message);
      }
    }
    await new Promise((done) => setTimeout(done, PAUSE));
  }
}

function select(id) {
  if (location.hash !== `#${id}`) history.replaceState(null, "", `#${encodeURIComponent(id)}`);
  tree.mark(id);
  machine.select(id);
}

tree.start(select);
machine.start();
live.start({ select, refresh });
const wanted = decodeURIComponent(location.hash.slice(1));
if (/^(vm-)?\d+$/.test(wanted)) select(wanted);
run();
