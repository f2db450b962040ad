// The inventory as a tree. What is below an object is asked for when it is opened, a page at a time.

import { ask, at, draw, el, isHeld, many, number } from "/dom.js";

const PAGE = 100;
const PAUSE = 200;

const SHAPES = {
  Folder: "M2 4h4l1.5 2H14v7H2z",
  Datacenter: "M2 14V5l6-3 6 3v9zM6 14v-4h4v4",
  ClusterComputeResource: "M2 2h5v5H2zM9 2h5v5H9zM2 9h5v5H2zM9 9h5v5H9z",
  ComputeResource: "M2 2h5v5H2zM9 2h5v5H9z",
  HostSystem: "M2 3h12v4H2zM2 9h12v4H2zM4.5 5h.1M4.5 11h.1",
  ResourcePool: "M8 2a6 6 0 1 0 0 12A6 6 0 1 0 8 2M8 8V2M8 8l5 3M8 8l-5 3",
  Datastore: "M2 4c0-2.6 12-2.6 12 0v8c0 2.6-12 2.6-12 0zM2 4c0 2.6 12 2.6 12 0",
  StoragePod: "M2 4c0-2.6 12-2.6 12 0v8c0 2.6-12 2.6-12 0zM2 4c0 2.6 12 2.6 12 0",
  Network: "M8 2v5M4 14v-3.5h8V14M8 7v3.5M6.5 2h3M2.5 14h3M10.5 14h3",
  VirtualMachine: "M2 3h12v8H2zM6 14h4M8 11v3",
};

const SNAPSHOT = "M3 8a5 5 0 1 0 1.6-3.7M3 3v3h3M8 5.5V8l2 1.2";

const WORDS = {
  ClusterComputeResource: "cluster", ComputeResource: "host by itself", Datacenter: "datacenter", Datastore: "datastore",
  Folder: "folder", HostSystem: "host", Network: "network", ResourcePool: "resource pool", StoragePod: "datastore cluster",
  VirtualMachine: "machine",
};

let select;
let marked = null;
let revision = null;
let sought = "";
let busy = false;
// What is open or was: the state of each node by its path of ids, as a machine is below its folder, host, pool and datastore.
const root = { key: "", id: null, list: null, loaded: 0, open: true };
const nodes = new Map([["", root]]);

export function start(onSelect) {
  select = onSelect;
  const list = el("ul", { role: "tree", "aria-label": "Inventory" });
  at("tree").append(list);
  root.list = list;
  list.addEventListener("keydown", keyed);
  let timer;
  at("filter").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(seek, PAUSE);
  });
}

// Shows what has changed, if the server's count of changes says that something may have.
export async function refresh(now) {
  if (now === revision || busy || isHeld(root.list)) return;
  busy = true;
  try {
    if (revision === null) await first();
    else await again();
    revision = now;
  } finally {
    busy = false;
  }
}

// Marks an object wherever it is shown.
export function mark(id) {
  marked = id;
  // Those too that are not shown while something is sought.
  for (const { list } of nodes.values()) {
    for (const item of list?.children ?? []) {
      if (item.dataset.id) item.setAttribute("aria-selected", String(item.dataset.id === id));
    }
  }
}

async function first() {
  await load(root);
  // Down to the folders of the first datacenter, so that there is something to see.
  for (const item of [...root.list.children].slice(0, 1)) {
    const state = nodes.get(item.dataset.key);
    if (state) {
      await open(state, true);
      for (const below of state.list.children) {
        const folder = nodes.get(below.dataset.key);
        if (folder && ["VirtualMachine", "VirtualApp"].includes(below.dataset.holds)) await open(folder, true);
      }
    }
  }
  const item = root.list.querySelector("[role=treeitem]");
  if (item) item.tabIndex = 0;
}

async function again() {
  if (sought) return seek();
  for (const state of [...nodes.values()]) {
    if (state.open && state.list && (state === root || state.list.isConnected)) await load(state);
  }
}

async function seek() {
  sought = at("filter").value.trim();
  if (!sought) {
    Object.assign(root, { loaded: 0, text: null });
    return load(root);
  }
  const wanted = sought;
  const told = await ask("GET", `/v1/inventory?filter=${encodeURIComponent(wanted)}&limit=${PAGE}`);
  if (wanted !== sought) return undefined;
  const items = told.items.map((item) => row(item, { key: "?" }, true));
  const rest = told.total - told.items.length;
  const note = told.total === 0 ? "nothing of that name" : rest > 0 ? `and ${number(rest)} more: filter further` : null;
  root.list.replaceChildren(...items, ...(note ? [el("li.note", { role: "none" }, note)] : []));
  const item = root.list.querySelector("[role=treeitem]");
  if (item) item.tabIndex = 0;
  return undefined;
}

// Asks for what is below, as much of it as was shown before, or the first page; with `more` another page.
async function load(state, more = false) {
  const limit = Math.max(PAGE, state.loaded) + (more ? PAGE : 0);
  const parent = state.id ? `parent=${encodeURIComponent(state.id)}&` : "";
  let told;
  try {
    told = await ask("GET", `/v1/inventory?${parent}limit=${limit}`);
  } catch (error) {
    // It is gone; its parent will be without it in a moment.
    if (error.status === 404) return;
    throw error;
  }
  if (state === root && sought) return;
  state.loaded = told.items.length;
  const text = JSON.stringify(told);
  if (state.text === text && state.list.childElementCount) return;
  state.text = text;
  const focused = state.list.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  const items = told.items.map((item) => row(item, state, false));
  const rest = told.total - told.items.length;
  if (rest > 0) {
    items.push(el("li.note", { role: "none" }, el("button", { type: "button", onclick: () => load(state, true) },
      `show ${Math.min(PAGE, rest)} more of ${number(rest)}`)));
  }
  state.list.replaceChildren(...items);
  if (focused) [...state.list.querySelectorAll("[role=treeitem]")].find((item) => item.dataset.key === focused)?.focus();
}

// An object as an item of the tree.
function row(item, parent, flat) {
  const key = `${parent.key}/${item.id}`;
  const isMachine = item.type === "VirtualMachine";
  const opens = !flat && item.children > 0;
  const line = el("span.line", { title: `${item.name}\n${WORDS[item.type] ?? item.type} ${item.id}` },
    el("span.twist", { "aria-hidden": "true" }, opens ? "▸" : ""),
    icon(item), el("span.name", null, item.name),
    flat && el("span.path", null, item.path.join(" / ")),
    isMachine ? badges(item) : item.children > 0 && el("span.count", { "aria-label": many(item.children, "object") }, number(item.children)));
  const element = el("li", {
    role: "treeitem", tabindex: -1, "data-id": item.id, "data-key": key, "data-type": item.type, "data-holds": item.holds,
    "aria-selected": String(item.id === marked), "aria-expanded": opens ? "false" : null,
    "aria-label": isMachine ? `${item.name}, machine, ${item.power}` : `${item.name}, ${WORDS[item.type] ?? item.type}`,
  }, line);
  line.addEventListener("click", () => {
    focus(element);
    act(element);
  });
  if (opens) {
    const state = nodes.get(key) ?? { key, id: item.id, list: el("ul", { role: "group" }), loaded: 0, open: false };
    nodes.set(key, state);
    state.item = element;
    element.append(state.list);
    expand(state);
  }
  return element;
}

function icon(item) {
  const shape = draw("svg.icon", { viewBox: "0 0 16 16", "aria-hidden": "true" }, draw("path", { d: SHAPES[item.type] ?? SHAPES.Folder }));
  if (item.type === "VirtualMachine") shape.classList.add(item.template ? "template" : item.power);
  return shape;
}

function badges(item) {
  return el("span.marks", null,
    item.template && el("small", null, "template"),
    item.snapshots > 0 && el("small", { title: many(item.snapshots, "snapshot") }, item.snapshots,
      draw("svg.icon", { viewBox: "0 0 16 16", role: "img", "aria-label": "snapshots" }, draw("path", { d: SNAPSHOT }))),
    item.task && el("small.busy", { title: `held by ${item.task}` }, "busy"),
    item.power !== "on" && !item.template && el("small", null, item.power));
}

function expand(state) {
  state.item?.setAttribute("aria-expanded", String(state.open));
  state.list.hidden = !state.open;
}

async function open(state, wanted) {
  state.open = wanted;
  expand(state);
  if (wanted) await load(state);
}

function act(element) {
  if (element.dataset.type === "VirtualMachine") return select(element.dataset.id);
  const state = nodes.get(element.dataset.key);
  return state && open(state, !state.open);
}

function focus(element) {
  for (const other of root.list.querySelectorAll("[role=treeitem][tabindex='0']")) other.tabIndex = -1;
  element.tabIndex = 0;
  element.focus({ preventScroll: false });
}

function keyed(event) {
  const item = event.target.closest("[role=treeitem]");
  if (!item || event.target.closest("button") || event.altKey || event.ctrlKey || event.metaKey) return;
  const visible = [...root.list.querySelectorAll("[role=treeitem]")].filter((found) => found.offsetParent);
  const place = visible.indexOf(item);
  const state = nodes.get(item.dataset.key);
  const opens = item.hasAttribute("aria-expanded") && state;
  const to = {
    ArrowDown: visible[place + 1],
    ArrowUp: visible[place - 1],
    Home: visible[0],
    End: visible.at(-1),
  }[event.key];
  if (to) focus(to);
  else if (event.key === "Enter" || event.key === " ") act(item);
  else if (event.key === "ArrowRight" && opens) {
    if (!state.open) open(state, true);
    else if (visible[place + 1]) focus(visible[place + 1]);
  } else if (event.key === "ArrowLeft") {
    if (opens && state.open) open(state, false);
    else {
      const above = item.parentElement.closest("[role=treeitem]");
      if (above) focus(above);
    }
  } else if (!["ArrowDown", "ArrowUp", "Home", "End"].includes(event.key)) return;
  event.preventDefault();
}
