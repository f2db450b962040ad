// A machine: what it is, its snapshots, and its disks with their chains and maps.

import { ask, at, bytes, draw, el, many, moment, show } from "/dom.js";
import { axis, bar, sum, tip } from "/map.js";

// Disks are asked for every so many rounds: their files are read for it.
const ROUNDS = 2;

const LANE = 16;
const FIRST_LANE = 11;
const NODE = 15;

let id = null;
let round = 0;

export function start() {
  show(at("detail"), null, () => el("div.empty", null,
    el("h2", null, "No machine chosen"),
    el("p", null, "Choose a machine in the inventory to see its disks, the chains of their snapshots, and what has changed since each.")));
}

export function select(wanted) {
  id = wanted;
  round = 0;
  refresh([]).catch(() => {});
}

export async function refresh(tasks) {
  if (!id) return;
  const wanted = id;
  const path = `/v1/machines/${encodeURIComponent(wanted)}`;
  let machine;
  try {
    machine = await ask("GET", path);
  } catch (error) {
    if (error.status !== 404) throw error;
    show(at("detail"), { gone: wanted }, () => el("div.empty", null, el("h2", null, "This machine is gone"),
      el("p", null, `${wanted} is not in the inventory any more.`)));
    return;
  }
  if (wanted !== id) return;
  const detail = at("detail");
  if (detail.machine !== machine.id || !detail.querySelector("#head")) {
    detail.machine = machine.id;
    detail.shownState = undefined;
    detail.replaceChildren(el("div.card", { id: "head" }), el("div.card", { id: "snapshots" }), el("div", { id: "disks" }));
    if (history.replaceState) history.replaceState(null, "", `#${encodeURIComponent(machine.id)}`);
  }
  const task = tasks.find((found) => found.id === machine.task);
  show(at("head"), [machine, task?.progress], () => head(machine, task));
  show(at("snapshots"), [machine.snapshots, machine.current_snapshot], () => snapshots(machine));
  const disks = at("disks");
  const keys = machine.disks.map((disk) => disk.key).join();
  if (disks.dataset.keys !== keys) {
    disks.dataset.keys = keys;
    disks.replaceChildren(...machine.disks.map((disk) => el("section.card.disk", { id: `disk-${disk.key}`, "aria-label": disk.label })));
    round = 0;
  }
  if (round++ % ROUNDS === 0) await Promise.all(machine.disks.map((disk) => chain(path, machine, disk)));
}

async function chain(path, machine, disk) {
  let drawn;
  try {
    drawn = await ask("GET", `${path}/disks/${disk.key}`);
  } catch (error) {
    // A chain that changes just now is asked for again in the next round.
    if (!error.status) throw error;
    drawn = { error: error.message };
  }
  const card = at(`disk-${disk.key}`);
  if (!card || id !== machine.id) return;
  if (show(card, [drawn, disk, machine.snapshots, machine.power], () => diskCard(machine, disk, drawn))) {
    tip(null);
    // All maps stand below each other, behind the lines of the chain.
    const lines = card.querySelector(".gutter");
    if (lines) card.style.setProperty("--gutter", `${lines.getAttribute("width")}px`);
  }
}

function head(machine, task) {
  const badges = [
    el(`span.badge.${machine.power}`, null, machine.power === "suspended" ? "suspended" : `powered ${machine.power}`),
    machine.template && el("span.badge", null, "template"),
    el("span.badge", { class: machine.tracked ? "badge good" : "badge" }, machine.tracked ? "changes are tracked" : "no change tracking"),
    machine.consolidation_needed && el("span.badge.bad", null, "consolidation needed"),
    machine.task && el("span.badge.busy", null, task?.progress != null ? `${task.what}, ${task.progress} %` : `held by ${machine.task}`),
  ];
  const path = (place) => (place ? place.path.join(" / ") : "none");
  const facts = [
    ["Id", machine.id], ["Guest", machine.guest], ["Hardware", `${many(machine.cpus, "CPU")}, ${bytes(machine.memory_mib * 2 ** 20)}`],
    ["Folder", path(machine.folder)], ["Host", path(machine.host)], ["Pool", path(machine.pool)],
    ["Files", machine.vmx], ["Instance uuid", machine.instance_uuid],
  ];
  return [
    el("div.title", null, el("h2", null, machine.name), badges),
    el("dl.facts", null, facts.map(([name, value]) => el("div", null, el("dt", null, name), el("dd", null, value ?? "none")))),
    !machine.has_files && el("p.note", null, "Nobody has used this machine yet: it gets its files when somebody does."),
  ];
}

function snapshots(machine) {
  const title = el("h3", null, "Snapshots ", el("span.count", null, machine.snapshots.length));
  if (!machine.snapshots.length) return [title, el("p.note", null, "none")];
  const here = el("li.here", null, el("b", null, "now"));
  const below = (parent) => {
    const list = machine.snapshots.filter((snapshot) => snapshot.parent === parent).map((snapshot) => el("li", null,
      el("span.snapshot", null, el("b", null, snapshot.name), ` ${snapshot.id}`,
        el("small", null, ` ${moment(snapshot.created)}${snapshot.quiesced ? ", quiesced" : ""}${snapshot.power === "on" ? ", with memory" : ""}`)),
      snapshot.description && el("span.note", null, snapshot.description),
      below(snapshot.id)));
    if (machine.current_snapshot === parent) list.push(here);
    return list.length ? el("ul.snapshots", null, list) : null;
  };
  return [title, below(null)];
}

function diskCard(machine, disk, drawn) {
  const title = el("div.title", null, el("h3", null, disk.label ?? `Disk ${disk.key}`), el("span.badge", null, bytes(disk.capacity)),
    el("span.badge", null, disk.thin ? "thin" : "thick"), drawn.independent && el("span.badge", null, "independent: not in snapshots"),
    el("small.mono", null, `key ${disk.key}`));
  if (drawn.error) return [title, el("p.error", null, drawn.error)];
  const names = new Map(machine.snapshots.map((snapshot) => [snapshot.id, snapshot.name]));
  return [
    title,
    legend(),
    el("h4", null, "Chain"),
    graph(drawn, names),
    el("h4", null, "What a backup reads"),
    row("whole disk", null, drawn.allocated, drawn, "allocated", "all that is allocated, over all links: a full backup"),
    drawn.changed.map((since) => since.map
      ? row(`since ${since.name}`, since.since, since.map, drawn, "changed", `change id ${since.change_id}`)
      : el("div.maprow", null, el("p", null, el("b", null, `since ${since.name} `), el("small", null, since.since)), el("p.error", null, since.refused))),
    drawn.changed.length === 0 && machine.snapshots.length > 0
      && el("p.note", null, "No snapshot has a change id: tracking was off when they were taken, so every backup is a full one."),
    axis(drawn),
    guest(machine, disk),
  ];
}

function legend() {
  const entry = (what, text) => el("span", null, draw("svg.swatch", { viewBox: "0 0 4 1", preserveAspectRatio: "none", class: `swatch map ${what}`, "aria-hidden": "true" },
    [1, 2, 3, 4].map((step) => draw(`rect.step${step}`, { x: step - 1, y: 0, width: 1, height: 1 }))), text);
  return el("p.legend", null, entry("allocated", "allocated"), entry("changed", "changed"),
    el("span.note", null, "paler where a place is so in part; point at a place for its numbers"));
}

function row(name, detail, map, disk, what, more) {
  return el("div.maprow", { "data-row": detail ?? name },
    el("p", null, el("b", null, name), detail && el("small", null, ` ${detail}`), el("span.numbers", null, sum(map, what))),
    bar(map, disk, what, name),
    el("p.note", { class: detail ? "mono note" : "note" }, more));
}

// The links, the live one on top, with the lines that lead down to their parents.
function graph(drawn, names) {
  const links = [...drawn.links].reverse();
  const index = new Map(links.map((link, at) => [link.path, at]));
  const lanes = assign(links, index);
  const width = FIRST_LANE * 2 + Math.max(...lanes) * LANE;
  const x = (lane) => FIRST_LANE + lane * LANE;
  const rows = links.map((link, at) => {
    const lines = [];
    links.forEach((child, above) => {
      const below = index.get(child.parent);
      if (below === undefined) return;
      const lane = lanes[above];
      if (above === at) lines.push([x(lane), NODE, x(lane), "100%"]);
      else if (above < at && at < below) lines.push([x(lane), 0, x(lane), "100%"]);
      else if (at === below) lines.push([x(lane), 0, x(lanes[at]), NODE]);
    });
    const gutter = draw("svg.gutter", { width, "aria-hidden": "true" },
      lines.map(([x1, y1, x2, y2]) => draw("line", { x1, y1, x2, y2 })),
      draw("circle", { cx: x(lanes[at]), cy: NODE, r: 5, class: link.live ? "live" : "frozen" }));
    const frozen = (link.frozen_by ?? []).map((snapshot) => el("span.badge.snap", { title: snapshot }, `frozen by ${names.get(snapshot) ?? snapshot}`));
    const file = link.path.split("/").pop();
    return el("li", { "data-link": file },
      gutter,
      el("div.link", null,
        el("p", null, el("b.mono", { title: link.path }, file), link.live && el("span.badge.good", null, "live"), frozen,
          !link.live && !frozen.length && el("span.badge.bad", { title: "no snapshot owns it: consolidation merges it" }, "nobody’s"),
          el("span.numbers", null, sum(link.allocated, "allocated"))),
        bar(link.allocated, drawn, "allocated", file),
        el("p.mono.note", null, [link.kind === "flat" ? "base" : link.kind, link.cid && `CID ${link.cid}`,
          link.change_id ? `change id ${link.change_id}` : drawn.has_files && "not tracked"].filter(Boolean).join(" · "))));
  });
  return el("ol.chain", { "aria-label": "Links, the live one first" }, rows);
}

// A lane for each link: the live disk's chain has the first, and each branch one of its own, down to where it joins another.
function assign(links, index) {
  const lanes = links.map(() => -1);
  let next = 0;
  const starts = [...links.keys()].sort((one, other) => Number(links[other].live ?? false) - Number(links[one].live ?? false));
  for (const first of starts) {
    if (lanes[first] >= 0) continue;
    for (let at = first; at !== undefined && lanes[at] < 0; at = index.get(links[at].parent)) lanes[at] = next;
    next += 1;
  }
  return lanes;
}

const UNITS = { "": 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3, t: 1024 ** 4 };

// Bytes out of a text such as 64k or 1.5 MiB; NaN if it is none.
function parsed(text) {
  const found = /^\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*$/i.exec(text);
  return found ? Math.round(Number(found[1]) * UNITS[found[2].toLowerCase()]) : Number.NaN;
}

function guest(machine, disk) {
  const field = (name, label, value) => el("label", null, `${label} `,
    el("input", { name, value, size: 8, required: true, autocomplete: "off", "data-focus": `${disk.key} ${name}` }));
  const wrong = el("p.error", { role: "alert" });
  const submit = async (event) => {
    event.preventDefault();
    const told = new FormData(event.target);
    try {
      const [offset, length] = ["offset", "length"].map((name) => parsed(told.get(name)));
      if (Number.isNaN(offset) || Number.isNaN(length)) throw new Error("an offset and a length are numbers of bytes, such as 65536, 64k or 1m");
      await ask("POST", "/v1/guest-write", {
        vm: machine.id, disk: disk.key, offset, length, seed: Math.floor(Math.random() * 2 ** 31), force: machine.power !== "on",
      });
      wrong.textContent = "";
      round = 0;
      await refresh([]);
    } catch (error) {
      wrong.textContent = error.message;
    }
  };
  return el("details", { "data-open": `guest ${disk.key}` }, el("summary", { "data-focus": `guest ${disk.key}` }, "Write to it"),
    el("form.row", { onsubmit: submit }, field("offset", "offset", "0"), field("length", "length", "64k"),
      el("button", { type: "submit", "data-focus": `write ${disk.key}` }, machine.power === "on" ? "Write as the guest" : "Write, although it is off")), wrong);
}
